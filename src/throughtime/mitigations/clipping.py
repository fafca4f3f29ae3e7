"""Clipping by norms, right to rounding over the whole float range.

`optax.clip_by_global_norm` and `optax.adaptive_grad_clip` square the gradient first: beyond norms
of 1.8e19 in float32, or 256 in float16, they return zeros. Here a gradient is divided by a power of
two before it is squared, and every number is a mantissa and an exponent until the result is known.
Where no square comes near an end of the float range, Optax's own result is taken: trainings amplify
the last bit, and there it is the same.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from throughtime.counting import all_finite, is_float, real_parts
from throughtime.scaled import Scaled, at_least_float32, rescale, shift

MILD = 32
"""Norms of 2^±32 or nearer to 1: in float32, squares that underflow beside theirs, of 2^±64, are
less than 2^-62 of these."""

LEAST_WEIGHT_NORM = 1e-3
"""Of a unit whose weights are smaller, adaptive clipping takes this for their norm."""


def clip_by_norm(max_norm: float) -> optax.GradientTransformation:
    """Shorten a gradient that is too long, g · min(1, max_norm/‖g‖), all leaves together.

    With n components, ‖g‖ has a relative error of at most (n/2 + 2) eps and the result two
    roundings more; a component that comes out below 256 times the least normal float may be 0. The
    arithmetic is in float32 at least. A gradient that is not finite is passed on as it is.

    Args:
        max_norm: > 0; a positive number below or above the range of the floats, too.

    Returns:
        The transformation; it has no state.
    """
    optax_clip = optax.clip_by_global_norm(max_norm)

    def clipped(gradient: PyTree, _: PyTree | None = None) -> PyTree:
        parts = real_parts(gradient)
        if not parts:
            return gradient
        length = _length(parts)
        limit = _constant(max_norm, length.mantissa.dtype)
        unchanged = _is_less(length, limit) | ~all_finite(gradient)
        usual = _is_between(length, -MILD, MILD) & (max_norm <= 256)

        def shorten(x: Float[Array, "..."], by_optax: Float[Array, "..."]) -> Float[Array, "..."]:
            each = _each(x)
            shorter = each.mantissa / length.mantissa * limit.mantissa
            shorter = shift(shorter, each.exponent - length.exponent + limit.exponent)
            return jnp.where(unchanged, x, jnp.where(usual, by_optax, shorter))

        by_optax: Any = optax_clip.update(parts, optax.EmptyState())[0]
        return _with_parts(gradient, list(map(shorten, parts, by_optax)))

    return optax.stateless(clipped)


def clip_by_unit(clipping: float) -> optax.GradientTransformation:
    """Shorten each unit's gradient to ‖g_i‖ <= clipping · max(‖w_i‖, 1e-3).

    A unit is what `optax.adaptive_grad_clip` takes for one: a vector; a column of a matrix; of
    arrays with more axes, all but the last (of three, the first alone). The result has a relative
    error of at most (n + 6) eps, n the size of the unit. The gradient of a unit that is not finite
    is passed on as it is.

    Args:
        clipping: > 0.

    Returns:
        The transformation; it needs the parameters and has no state.

    Raises:
        ValueError: by the update, if there are no parameters, or a gradient is complex.
    """
    optax_clip = optax.adaptive_grad_clip(clipping)

    def shorten(x: Float[Array, "..."], weight: Float[Array, "..."]) -> Float[Array, "..."]:
        length, weights = _unit_lengths(x), _unit_lengths(weight)
        limit = _scaled_by(_constant(clipping, x.dtype), _at_least(weights, LEAST_WEIGHT_NORM))
        each = _each(x)
        shorter = each.mantissa * (limit.mantissa / length.mantissa)
        shorter = shift(shorter, each.exponent + (limit.exponent - length.exponent))
        unchanged = _is_less(length, limit) | ~jnp.isfinite(length.mantissa)
        # Optax divides by 1e-6 at least, which is less than 2^-17.
        usual = _is_between(length, -16, MILD) & _is_between(limit, -MILD, MILD)
        usual = usual & (weights.exponent <= MILD)
        by_optax: Any = optax_clip.update(x, optax.EmptyState(), weight)[0]
        return jnp.where(unchanged, x, jnp.where(usual, by_optax, shorter))

    def one(gradient, weight):
        if not is_float(gradient):
            return gradient
        if jnp.issubdtype(gradient.dtype, jnp.complexfloating):
            raise ValueError(f"adaptive_clip needs real gradients, not {gradient.dtype}.")
        dtype = at_least_float32(gradient.dtype)
        return shorten(gradient.astype(dtype), weight.astype(dtype)).astype(gradient.dtype)

    def clipped(gradient: PyTree, params: PyTree | None = None) -> PyTree:
        if params is None:
            raise ValueError("adaptive_clip needs the parameters: pass params to update.")
        return jax.tree.map(one, gradient, params)

    return optax.stateless(clipped)


def _length(parts: list[Float[Array, "..."]]) -> Scaled:
    """The norm of all arrays together, summed as `optax.tree.norm` sums."""
    sizes = [jnp.max(jnp.abs(part), initial=0) for part in parts]
    exponent = _each(jnp.max(jnp.stack(sizes))).exponent
    lifted = [shift(part, jnp.broadcast_to(-exponent, part.shape)) for part in parts]
    return rescale(optax.tree.norm(lifted), exponent)


def _unit_lengths(x: Float[Array, "..."]) -> Scaled:
    """The norm of each unit, its axes kept with size 1."""
    is_vector = jnp.squeeze(x).ndim <= 1
    axes = tuple(range(x.ndim)) if is_vector else (0,) if x.ndim == 3 else tuple(range(x.ndim - 1))
    exponent = _each(jnp.max(jnp.abs(x), axis=axes, keepdims=True, initial=0)).exponent
    squares = jnp.square(shift(x, jnp.broadcast_to(-exponent, x.shape)))
    return rescale(jnp.sqrt(jnp.sum(squares, axis=axes, keepdims=True)), exponent)


def _each(x: Float[Array, "..."]) -> Scaled:
    """Each number with an exponent of its own, so that the smallest beside the largest is kept."""
    return rescale(x, jnp.zeros(x.shape, jnp.int32))


def _constant(value: float, dtype) -> Scaled:
    """A number that need not be one of the floats' range."""
    mantissa, exponent = math.frexp(value)
    return rescale(jnp.asarray(mantissa, dtype), jnp.asarray(exponent, jnp.int32))


def _scaled_by(constant: Scaled, each: Scaled) -> Scaled:
    """Numbers times a constant, each rounded once."""
    return rescale(constant.mantissa * each.mantissa, constant.exponent + each.exponent)


def _at_least(each: Scaled, least: float) -> Scaled:
    """Numbers, or the least of them where they are smaller."""
    low = _constant(least, each.mantissa.dtype)
    is_low = _is_less(each, low)
    return jax.tree.map(lambda one, other: jnp.where(is_low, other, one), each, low)


def _is_less(one: Scaled, other: Scaled) -> Bool[Array, "..."]:
    """Mark where numbers >= 0 are less than others that are > 0, exactly."""
    below = one.exponent < other.exponent
    level = (one.exponent == other.exponent) & (one.mantissa < other.mantissa)
    return (one.mantissa == 0) | below | level


def _is_between(each: Scaled, low: int, high: int) -> Bool[Array, "..."]:
    """Mark where the exponents lie between two bounds."""
    return (each.exponent >= low) & (each.exponent <= high)


def _with_parts(tree: PyTree, parts: list[Float[Array, "..."]]) -> PyTree:
    """A tree with other `real_parts`, in the dtypes of its leaves."""
    remaining = iter(parts)

    def put(leaf):
        if not is_float(leaf):
            return leaf
        part = next(remaining)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            part = jax.lax.complex(*part)
        return part.astype(leaf.dtype)

    return jax.tree.map(put, tree)
