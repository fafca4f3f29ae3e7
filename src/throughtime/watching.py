"""Keeping an eye on gradients while a network trains: two lines in any Flax training loop.

    optimizer = optax.chain(counted(optax.clip_by_global_norm(1.0)), optax.adam(1e-3))
    ...
    seen = watch_gradients(model.cell, inputs, lambda outputs: loss(model.head(outputs), targets))

The first counts, at every update and at the cost of a norm, how often a transformation changed the
gradient and when the gradient was first not finite. The second measures where the gradient comes
from: a forward pass and two backward passes over the batch, so that every 100th update it costs a
few hundredths of the training; `results/benchmark/watching.md` has the ratio.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from throughtime.adjoints import first_true, pull_back, starts
from throughtime.cells import as_step, gate_values, hidden
from throughtime.dynamics import rollout
from throughtime.scaled import (
    Scaled,
    add,
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

    Attributes:
        norms: ‖dL/dh_{T−k}‖ by lag k = 0 … T−1, over the states of the whole batch, ``(T,)``.
        parameter_norms: ‖G_k‖ by lag, G_k what the use of the cell's parameters at step T − k
            contributes to dL/dθ, ``(T,)``.
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
    inputs: Float[Array, "B T d"],
    loss: Callable[[Float[Array, "B T m"]], Float[Array, ""]],
    *,
    older_than: int = 10,
) -> GradientWatch:
    """Measure the gradient of a batch by lag: of the states, and of the cell's parameters.

    G_k = Σ_batch (∂step(θ, h_{t−1}, x_t)/∂θ)ᵀ dL/dh_t at t = T − k,    Σ_k G_k = dL/dθ

    Args:
        cell: any `nnx.RNNCellBase`; its `nnx.Param` are θ.
        inputs: x_1 … x_T of each sequence, ``(B, T, d)``.
        loss: of the cell's outputs after each step, ``(B, T, m)``; whatever comes after the cell,
            and the targets, are its own affair.
        older_than: K, the lag from which on a gradient is called old.

    Returns:
        A `GradientWatch`, as arrays.

    Raises:
        ValueError: if ``older_than`` is below 1.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, eq. 4: the temporal components; Karpathy,
        Johnson, Fei-Fei 2015, arXiv:1506.02078: saturated gates.
    """
    if older_than < 1:
        raise ValueError(f"older_than is {older_than}; it must be a lag of at least 1 step")
    step, h0, unravel = as_step(cell, dtype=inputs.dtype)
    states = jax.vmap(lambda xs: rollout(step, h0, xs))(inputs)
    previous = jax.vmap(lambda hs: starts(h0, hs))(states)

    def of_states(states):
        return loss(jax.vmap(jax.vmap(lambda h: hidden(unravel(h))))(states))

    def backward(direct, before, xs):
        return pull_back(step, direct, before, xs)[1]

    adjoints = jax.vmap(backward)(jax.grad(of_states)(states), previous, inputs)
    together = jax.vmap(common_exponent, in_axes=1)(adjoints)  # (T, B, n): one exponent a step
    by_lag = norm(Scaled(together.mantissa[::-1], together.exponent[::-1]))
    shares, young, old = _parameter_gradient(cell, together, previous, inputs, older_than)
    return GradientWatch(
        norms=by_lag,
        parameter_norms=shares,
        older_share=_share(norm(old), norm(young)),
        saturation=_saturation(cell, jax.vmap(jax.vmap(unravel))(previous), inputs),
        first_bad_step=1 + first_true(~jnp.all(jnp.isfinite(states), axis=(0, 2))),
    )


def _parameter_gradient(cell, adjoints: Scaled, previous, inputs, older_than: int):
    """‖G_k‖ by lag, and the sums of the G_k below the lag and from it on, flattened."""
    graphdef, parameters, rest = nnx.split(cell, nnx.Param, ...)
    theta, unflatten = ravel_pytree(parameters)

    def steps(theta, hs, xs):
        # The cell is merged outside of the vmap: what it holds is the same for the whole batch.
        step = as_step(nnx.merge(graphdef, unflatten(theta), rest), dtype=xs.dtype).step
        return jax.vmap(step)(hs, xs)

    def one_lag(sums, now):
        young, old = sums
        mantissa, exponent, hs, xs, lag = now
        (immediate,) = jax.vjp(lambda theta: steps(theta, hs, xs), theta)[1](mantissa)
        gradient = rescale(immediate, exponent)
        is_old = lag >= older_than
        nothing = from_float(jnp.zeros_like(immediate))
        to_old = jax.tree.map(lambda g, z: jnp.where(is_old, g, z), gradient, nothing)
        to_young = jax.tree.map(lambda g, z: jnp.where(is_old, z, g), gradient, nothing)
        return (add(young, to_young), add(old, to_old)), norm(gradient)

    num_steps = inputs.shape[1]
    lags = jnp.arange(num_steps, dtype=jnp.int32)[::-1]
    by_step = (jnp.swapaxes(previous, 0, 1), jnp.swapaxes(inputs, 0, 1), lags)
    nothing = from_float(jnp.zeros_like(theta))
    (young, old), norms = jax.lax.scan(
        one_lag, (nothing, nothing), (*adjoints, *by_step), reverse=True
    )
    return Scaled(norms.mantissa[::-1], norms.exponent[::-1]), young, old


def _share(part: Scaled, rest: Scaled) -> Float[Array, ""]:
    """The share part / (part + rest) of two norms, however large or small; 0 of nothing."""
    whole = add(part, rest)
    nothing = whole.mantissa == 0
    divisor = jnp.where(nothing, 1, whole.mantissa)
    return to_float(Scaled(part.mantissa / divisor, part.exponent - whole.exponent))


def _saturation(cell, carries: PyTree, inputs) -> dict[str, Float[Array, ""]]:
    """The share of saturated values of each gate."""
    shares = {}
    for name, gate in gate_values(cell, carries, inputs).items():
        margin = SATURATED * (gate.high - gate.low)
        is_open = (gate.values > gate.low + margin) & (gate.values < gate.high - margin)
        share = jnp.mean((~is_open).astype(inputs.dtype))
        shares[name] = jnp.where(jnp.all(jnp.isfinite(gate.values)), share, jnp.nan)
    return shares
