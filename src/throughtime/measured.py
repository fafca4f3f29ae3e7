"""One cell on one's own sequences, in one call: what a sweep measures of it, without a sweep."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from throughtime import statistics
from throughtime.batches import carry_of, checked_batch
from throughtime.cells import as_step, output_shape
from throughtime.diagnostics import GradientDiagnostics, gradient_diagnostics
from throughtime.draws import random_key
from throughtime.dynamics import aligned
from throughtime.initializers import gaussian
from throughtime.results import natural_logs
from throughtime.tasks import Sample
from throughtime.traced import may_be_rounded


class Measured(NamedTuple):
    """How the gradient of one network travels back from the last step of its sequences.

    Attributes:
        log_norms: ln ‖dL/dh_{T−k}‖ by lag k = 0 … T−1, nats, ``(T,)``; h is the whole carry.
        log10_ratio: log10 ‖dL/dh_1‖ / ‖dL/dh_T‖.
        rate: growth towards the past, nats per step, over the last half of the lags.
        horizon: the largest lag whose gradient is still 1 % of the last step's.
        verdict: vanishing, stable, exploding, transient or undefined.
        first_zero_lag: at which plain backpropagation in the run's floats is exactly 0; None:
            nowhere.
        first_inf_lag: at which it is not finite; None: nowhere.
        first_bad_step: at which a state is not finite, 1 … T; None: nowhere.
        status: ok; nonfinite, a state, the loss or a single step's Jacobian left the float range;
            or collapsed, units saturate so far that a derivative was rounded to 0, and −inf stands
            where the gradient is only too small, or there is none at lag 0 with which to compare.
            The numbers above hold where it is ok.
    """

    log_norms: np.ndarray
    log10_ratio: float
    rate: float
    horizon: statistics.Horizon
    verdict: str
    first_zero_lag: int | None
    first_inf_lag: int | None
    first_bad_step: int | None
    status: str


def measure(cell: Any, inputs: Any, *, lengths: Any = None) -> Measured:
    """Measure the gradient of any Flax cell by lag, on one sequence or a batch of them.

    L = mean over the batch of y_T · w,   w_i ~ N(0, 1/m), the same for every cell of m outputs

    Args:
        cell: any `nnx.RNNCellBase`: yours, Flax's or one of `make_cell`. It is measured as it is
            when nothing is learned, and in the dtype of the inputs.
        inputs: one sequence ``(T, d)``, or a batch ``(B, T, d)``.
        lengths: how many of the T steps are each sequence's own, ``(B,)`` integers of at least 2,
            where sequences are padded at their end (the ``seq_lengths`` of `nnx.RNN`). L is then
            of each sequence's own last step, from which lags are counted; a sequence has no part
            in lags that it is too short for. None: all T.

    Returns:
        What a sweep says of a network, as NumPy numbers. The carry is the cell's own at the start.

    Raises:
        TypeError: if the cell is none, or the inputs are no array; or within `jax.jit`, `jax.vmap`
            or `jax.grad`.
        ValueError: if the inputs are not such floats, not finite, have fewer than two steps, or not
            as many numbers as the cell reads; or the lengths are none, or the output of the cell is
            not of floats.
    """
    batch, lengths = checked_batch(cell, inputs, lengths, fewest=2, may_be_one=True)
    num_sequences, num_steps = batch.shape[:2]
    if lengths is None:
        lengths = jnp.full(num_sequences, num_steps, jnp.int32)
    graphdef, state = nnx.split(cell)
    found = _measured(graphdef, state, aligned(batch, lengths), lengths)
    if isinstance(found.loss, Tracer):
        raise TypeError(
            "measure returns NumPy numbers, and cannot be called within jit, vmap or grad; "
            "watch_gradients and gradient_diagnostics can."
        )
    curve = natural_logs(found.norms)[: int(lengths.max())]
    zero, inf = (None if int(lag) < 0 else int(lag) for lag in found.lost)
    bad = int(found.first_bad_step) or None
    status = statistics.status(curve, bad, lambda: _may_be_rounded(cell, batch))
    return Measured(
        log_norms=curve,
        log10_ratio=statistics.log10_ratio(curve),
        rate=statistics.rate(curve),
        horizon=statistics.horizon(curve),
        verdict=statistics.verdict(curve) if status == "ok" else "undefined",
        first_zero_lag=zero,
        first_inf_lag=inf,
        first_bad_step=bad,
        status=status,
    )


def _may_be_rounded(cell: Any, batch: Float[Array, "B T d"]) -> bool:
    """Tell whether a gradient that is 0 may be one that is only too small."""
    bridge = as_step(cell, carry_of(cell, batch), dtype=batch.dtype)
    read = bridge.cut(batch[0, 0])
    # A constant output, or one of the inputs alone, has no gradient by any state.
    is_read = read.uses_nodes or read.uses_inputs[0]
    return is_read and bool(may_be_rounded(bridge.step, bridge.h0, batch[0, 0]))


@functools.partial(jax.jit, static_argnums=0)
def _measured(
    graphdef: nnx.GraphDef, state: PyTree, batch: Float[Array, "B T d"], lengths: Int[Array, " B"]
) -> GradientDiagnostics:
    """The diagnostics of a sweep, for a loss that is linear in the last output."""
    cell = nnx.merge(graphdef, state)
    size = math.prod(output_shape(cell, batch.shape[-1], batch.dtype).shape)
    readout = gaussian()(random_key(0), (size, 1), batch.dtype)
    sequences, steps, _ = batch.shape
    last = jnp.zeros((sequences, steps), batch.dtype).at[:, -1].set(1)
    sample = Sample(inputs=batch, targets=last[..., None], weights=last)
    return gradient_diagnostics(cell, readout, lambda y, _: y[:, 0], sample, lengths)
