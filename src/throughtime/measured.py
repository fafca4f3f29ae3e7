"""One cell on one's own sequences, in one call: what a sweep measures of it, without a sweep."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree, Shaped

from throughtime import statistics
from throughtime.cells import hidden
from throughtime.diagnostics import GradientDiagnostics, gradient_diagnostics
from throughtime.draws import random_key
from throughtime.initializers import gaussian
from throughtime.results import natural_logs
from throughtime.tasks import Sample


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
    """

    log_norms: np.ndarray
    log10_ratio: float
    rate: float
    horizon: statistics.Horizon
    verdict: str
    first_zero_lag: int | None
    first_inf_lag: int | None
    first_bad_step: int | None


def measure(cell: Any, inputs: Shaped[Array, "..."]) -> Measured:
    """Measure the gradient of any Flax cell by lag, on one sequence or a batch of them.

    L = mean over the batch of hidden(h_T) · w,   w_i ~ N(0, 1/m), the same for every cell

    Args:
        cell: any `nnx.RNNCellBase`: yours, Flax's or one of `make_cell`.
        inputs: one sequence ``(T, d)``, or a batch ``(B, T, d)``, in the dtype of the cell.

    Returns:
        What a sweep says of a network, as NumPy numbers. The carry is the cell's own at the start.

    Raises:
        ValueError: if the inputs are no such array, have fewer than two steps, or not as many
            numbers as the cell reads.
    """
    batch = inputs[None] if inputs.ndim == 2 else inputs
    if batch.ndim != 3 or batch.shape[1] < 2 or batch.shape[2] != cell.in_features:
        raise ValueError(
            f"inputs must be (T, {cell.in_features}) or (B, T, {cell.in_features}) with at least "
            f"2 steps, not {inputs.shape}."
        )
    graphdef, state = nnx.split(cell)
    found = _measured(graphdef, state, batch)
    curve = natural_logs(found.norms)
    lags = (int(lag) for lag in found.lost)
    zero, inf = (None if lag < 0 else lag for lag in lags)
    return Measured(
        log_norms=curve,
        log10_ratio=statistics.log10_ratio(curve),
        rate=statistics.rate(curve),
        horizon=statistics.horizon(curve),
        verdict=statistics.verdict(curve),
        first_zero_lag=zero,
        first_inf_lag=inf,
        first_bad_step=int(found.first_bad_step) or None,
    )


@functools.partial(jax.jit, static_argnums=0)
def _measured(
    graphdef: nnx.GraphDef, state: PyTree, batch: Float[Array, "B T d"]
) -> GradientDiagnostics:
    """The diagnostics of a sweep, for a loss that is linear in the last state."""
    cell = nnx.merge(graphdef, state)
    size = hidden(cell.initialize_carry((cell.in_features,), nnx.Rngs(random_key(0)))).size
    readout = gaussian()(random_key(0), (size, 1), batch.dtype)
    sequences, steps, _ = batch.shape
    last = jnp.zeros((sequences, steps), batch.dtype).at[:, -1].set(1)
    sample = Sample(inputs=batch, targets=last[..., None], weights=last)
    length = jnp.int32(steps)
    return gradient_diagnostics(cell, readout, lambda y, _: y[:, 0], sample, length)
