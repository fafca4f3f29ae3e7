"""Keeping an eye on gradients while a network trains: two lines in any Flax training loop.

    optimizer = optax.chain(counted(optax.clip_by_global_norm(1.0)), optax.adam(1e-3))
    ...
    seen = watch_gradients(model.cell, inputs, lambda outputs: loss(model.head(outputs), targets))

The first counts, at every update and at the cost of a norm, how often a transformation changed the
gradient and when the gradient was first not finite. The second measures where the gradient comes
from: a forward pass and two backward passes over the batch, so that every 100th update it costs a
few hundredths of the training; `results/benchmark/watching.md` has the ratio.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from throughtime.adjoints import pull_back
from throughtime.batches import carry_of, checked_batch
from throughtime.cells import CellStep, as_step, gate_values, output_shape
from throughtime.cells.carries import cast
from throughtime.cells.foreign import warn
from throughtime.dynamics import Trajectory, aligned, first_true
from throughtime.scaled import (
    Scaled,
    add,
    beside,
    by_step,
    common_exponent,
    from_float,
    norm,
    rescale,
    to_float,
)

SATURATED = 0.05
"""A gate closer than this share of its range to an end of it is saturated."""


class GradientWatch(NamedTuple):
    """Where the gradient of a batch comes from, whatever the float range.

    Lag k of a sequence is the step k before its last one. A sequence that is too short for a lag
    has no part in it.

    Attributes:
        norms: ‖dL/dh_{T−k}‖ by lag k = 0 … T−1, over the states of the whole batch, ``(T,)``.
            Where outputs are made of nothing that the carry hands on, with their gradient.
        parameter_norms: ‖G_k‖ by lag, G_k the contribution to dL/dθ of the use of the cell's
            parameters at step T − k, ``(T,)``.
        older_share: ‖Σ_{k ≥ K} G_k‖ / (‖Σ_{k < K} G_k‖ + ‖Σ_{k ≥ K} G_k‖), K = ``older_than``: the
            share of the gradient that is older than K steps.
        saturation: by gate, the share of its values over units, steps and batch that lie within
            `SATURATED` of an end of its range; NaN if one is not finite.
        first_bad_step: the first step 1 … T at which a state is not finite; 0 if all are.
    """

    norms: Scaled
    parameter_norms: Scaled
    older_share: Float[Array, ""]
    saturation: dict[str, Float[Array, ""]]
    first_bad_step: Int[Array, ""]


def watch_gradients(
    cell: Any,
    inputs: Any,
    loss: Callable[[Float[Array, "B T ..."]], Float[Array, ""]],
    *,
    older_than: int = 10,
    lengths: Any = None,
) -> GradientWatch:
    """Measure the gradient of a batch by lag: of the states, and of the cell's parameters.

    G_k = Σ_batch (∂step(θ, h_{t−1}, x_t)/∂θ)ᵀ dL/dh_t + (∂y_t/∂θ)ᵀ ∂L/∂y_t at t = T − k,
    Σ_k G_k = dL/dθ,    ∂y_t/∂θ at fixed h_{t−1} and h_t

    Args:
        cell: any `nnx.RNNCellBase`; its `nnx.Param` are θ.
        inputs: x_1 … x_T of each sequence, ``(B, T, d)``.
        loss: of the cell's outputs at each step, ``(B, T, m)``, the second values that it returns;
            all that comes after the cell, and the targets, are the loss's own.
        older_than: K, the lag from which on a gradient is called old.
        lengths: how many of the T steps are each sequence's own, ``(B,)`` integers, where sequences
            are padded at their end (the ``seq_lengths`` of `nnx.RNN`). Lags are then counted from
            each sequence's own last step, and what the loss takes from the padding does not count.

    Returns:
        A `GradientWatch`, as arrays.

    Raises:
        TypeError: if the cell is none, or the inputs are no array.
        ValueError: if ``older_than`` is below 1, the inputs are no such floats or not finite, the
            lengths are not B integers from 1 to T, the output of the cell is not of floats, or the
            loss is not one real number.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, eq. 4: the temporal components; Karpathy,
        Johnson, Fei-Fei 2015, arXiv:1506.02078: saturated gates.
    """
    if older_than < 1:
        raise ValueError(f"older_than must be a lag of at least 1 step, not {older_than}.")
    inputs, lengths = checked_batch(cell, inputs, lengths)
    output_shape(cell, inputs.shape[-1], inputs.dtype)  # refuses one without a gradient
    bridge = as_step(cell, carry_of(cell, inputs), dtype=inputs.dtype)
    runs = jax.vmap(bridge.follow)(inputs)
    by_output = jax.grad(_scalar(loss))(jax.vmap(bridge.outputs)(runs))
    live = jnp.ones(inputs.shape[:2], bool)
    if lengths is not None:
        live = jnp.arange(inputs.shape[1], dtype=jnp.int32)[None] < lengths[:, None]
    finite = jnp.all(jnp.isfinite(runs.states), axis=2) | ~live
    if lengths is not None:
        runs, by_output = _aligned(bridge, runs, by_output, lengths)
        live = live[:, ::-1]
    adjoints = _adjoints(bridge, runs, by_output, live)
    together = jax.vmap(common_exponent, in_axes=1)(adjoints)  # (T, B, n): one exponent a step
    shares, young, old = _parameter_gradient(cell, bridge, together, runs, by_output, older_than)
    previous = jax.vmap(lambda run: run.previous)(runs)
    return GradientWatch(
        norms=_by_lag(together, by_output, bridge.is_apart(inputs[0, 0])),
        parameter_norms=shares,
        older_share=_share(norm(old), norm(young)),
        saturation=_saturation(cell, jax.vmap(jax.vmap(bridge.unravel))(previous), runs, live),
        first_bad_step=1 + first_true(~jnp.all(finite, axis=0)),
    )


def _scalar(loss: Callable) -> Callable:
    """The loss; a sentence if it is not one real number."""

    def checked(outputs):
        value = jnp.asarray(loss(outputs))
        if value.ndim or not jnp.issubdtype(value.dtype, jnp.floating):
            found = f"{value.dtype}{list(value.shape)}"
            raise ValueError(f"the loss must return one real number, not {found}.")
        return value

    return checked


def _aligned(bridge: CellStep, runs: Trajectory, by_output, lengths):
    """The trajectories and the gradients by their outputs, moved to end together.

    Before a sequence begins it stands at h_0, and is driven by zeros.
    """
    states = aligned(runs.states, lengths, bridge.h0)
    moved = runs._replace(states=states, inputs=aligned(runs.inputs, lengths))
    return moved, aligned(by_output, lengths)


def _adjoints(bridge: CellStep, runs: Trajectory, by_output, live) -> Scaled:
    """dL/dh_t of every sequence and step, mantissa ``(B, T, n)``; 0 where it has not begun."""

    def one(run: Trajectory, by_output, live) -> Scaled:
        def outputs(states):
            return bridge.outputs(run._replace(states=states))

        (direct,) = jax.vjp(outputs, run.states)[1](by_output)
        adjoints = pull_back(bridge.step, direct, run.previous, run.inputs)[1]
        return adjoints._replace(mantissa=jnp.where(live[:, None], adjoints.mantissa, 0))

    return jax.vmap(one)(runs, by_output, live)


def _by_lag(adjoints: Scaled, by_output, is_apart: bool) -> Scaled:
    """The norms over the batch, from the last step on; adjoints ``(T, B, n)``."""
    rows = Scaled(adjoints.mantissa.reshape(len(adjoints.exponent), -1), adjoints.exponent)
    if is_apart:
        rows = beside(rows, by_step(jnp.swapaxes(by_output, 0, 1)))
    return norm(Scaled(rows.mantissa[::-1], rows.exponent[::-1]))


def _parameter_gradient(cell, bridge, adjoints: Scaled, runs, by_output, older_than: int):
    """‖G_k‖ by lag, and the sums of the G_k below the lag and from it on, flattened."""
    graphdef, parameters, rest = nnx.split(cell, nnx.All(nnx.Param, _is_learned), ...)
    dtypes = [np.dtype(leaf.dtype) for leaf in jax.tree.leaves(parameters)]
    if not dtypes:
        warn(f"{type(cell).__name__} has no nnx.Param, and its parameter_norms are 0.")
    # One vector has one dtype, and strict promotion finds none for two.
    widest = functools.reduce(np.promote_types, dtypes) if dtypes else None
    theta, unflatten = ravel_pytree(cast(parameters, widest))

    def at(theta) -> CellStep:
        # The cell is merged outside of the vmap: what it holds is the same for the whole batch.
        merged = nnx.merge(graphdef, unflatten(theta), rest)
        return as_step(merged, carry_of(cell, runs.inputs), dtype=runs.inputs.dtype)

    def one_lag(sums, now):
        young, old = sums
        mantissa, exponent, by_output, before, after, xs, lag = now
        gradient = _immediate(at, theta, Scaled(mantissa, exponent), by_output, before, after, xs)
        is_old = lag >= older_than
        nothing = from_float(jnp.zeros_like(theta))
        to_old = jax.tree.map(lambda g, z: jnp.where(is_old, g, z), gradient, nothing)
        to_young = jax.tree.map(lambda g, z: jnp.where(is_old, z, g), gradient, nothing)
        return (add(young, to_young), add(old, to_old)), norm(gradient)

    previous = jax.vmap(lambda run: run.previous)(runs)
    lags = jnp.arange(runs.inputs.shape[1], dtype=jnp.int32)[::-1]
    batched = (by_output, previous, runs.states, runs.inputs)
    driven = (*adjoints, *(jnp.swapaxes(each, 0, 1) for each in batched), lags)
    nothing = from_float(jnp.zeros_like(theta))
    (young, old), norms = jax.lax.scan(one_lag, (nothing, nothing), driven, reverse=True)
    return Scaled(norms.mantissa[::-1], norms.exponent[::-1]), young, old


def _is_learned(path: Any, variable: Any) -> bool:
    """Tell whether a parameter has a gradient; integers have none."""
    return jnp.issubdtype(variable[...].dtype, jnp.floating)


def _immediate(at: Callable, theta, adjoints: Scaled, by_output, before, after, xs) -> Scaled:
    """The gradient by the parameters as one step uses them, for the new carry and the output."""

    def steps(theta):
        return jax.vmap(at(theta).step)(before, xs)

    (by_carry,) = jax.vjp(steps, theta)[1](adjoints.mantissa)
    gradient = rescale(by_carry, adjoints.exponent)
    if not at(theta).cut(xs[0]).equations:  # a part of the carry, of which nothing more is made
        return gradient
    outputs = jax.vjp(lambda theta: jax.vmap(at(theta).output)(before, after, xs), theta)[1]
    return add(gradient, from_float(outputs(by_output)[0]))


def _share(part: Scaled, rest: Scaled) -> Float[Array, ""]:
    """The share part / (part + rest) of two norms, however large or small; 0 of nothing."""
    whole = add(part, rest)
    nothing = whole.mantissa == 0
    divisor = jnp.where(nothing, 1, whole.mantissa)
    return to_float(Scaled(part.mantissa / divisor, part.exponent - whole.exponent))


def _saturation(cell, carries: PyTree, runs: Trajectory, live) -> dict[str, Float[Array, ""]]:
    """The share of saturated values of each gate, over the steps of the sequences."""
    shares = {}
    for name, gate in gate_values(cell, carries, runs.inputs).items():
        margin = SATURATED * (gate.high - gate.low)
        is_open = (gate.values > gate.low + margin) & (gate.values < gate.high - margin)
        counts = jnp.broadcast_to(live[..., None], gate.values.shape)
        dtype = runs.inputs.dtype
        share = jnp.mean((~is_open).astype(dtype), where=counts)
        finite = jnp.all(jnp.isfinite(gate.values) | ~counts)
        shares[name] = jnp.where(finite, share, jnp.nan)
    return shares
