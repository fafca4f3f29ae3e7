"""Counts of what happens to the gradients of a training, at every update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from throughtime.scaled import Scaled, common_exponent, from_float, norm, to_float


class Counts(NamedTuple):
    """What happened to the gradient over the updates so far.

    Attributes:
        updates: how many.
        changed: of these, how many gradients the transformation changed, such as clipped ones.
        nonfinite: how many gradients were not finite.
        first_nonfinite: the number of the first of these, counted from 1; 0 if there is none.
        last_norm: the norm of the latest gradient that was finite, before the transformation.
        inner: the state of the transformation.
    """

    updates: Int[Array, ""]
    changed: Int[Array, ""]
    nonfinite: Int[Array, ""]
    first_nonfinite: Int[Array, ""]
    last_norm: Float[Array, ""]
    inner: PyTree


def counted(
    transformation: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """Count what a gradient transformation does, and gradients that are not finite.

    Args:
        transformation: such as `optax.clip_by_global_norm`; None passes gradients on unchanged.

    Returns:
        The same transformation, whose state is a `Counts`.
    """
    inner = optax.with_extra_args_support(transformation or optax.identity())

    def init(params) -> Counts:
        zero = jnp.zeros((), jnp.int32)
        size = jnp.zeros_like(global_norm(params))
        return Counts(zero, zero, zero, zero, size, inner.init(params))

    def update(updates, state: Any, params=None, **extra):
        changed, inner_state = inner.update(updates, state.inner, params, **extra)
        pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(changed), strict=True)
        is_changed = jnp.any(jnp.stack([jnp.any(one != other) for one, other in pairs]))
        is_finite = all_finite(updates)
        number = state.updates + 1
        is_first = ~is_finite & (state.nonfinite == 0)
        size = global_norm(updates)
        return changed, Counts(
            updates=number,
            changed=state.changed + (is_changed & is_finite).astype(jnp.int32),
            nonfinite=state.nonfinite + (~is_finite).astype(jnp.int32),
            first_nonfinite=jnp.where(is_first, number, state.first_nonfinite),
            last_norm=jnp.where(is_finite, size, state.last_norm).astype(state.last_norm.dtype),
            inner=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite; a norm that overflows says nothing of that.

    Args:
        tree: of arrays.

    Returns:
        A scalar.
    """
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """The norm of all numbers of a tree together.

    Right wherever it lies in the float range itself; a sum of squares leaves float32 at norms of
    10^±19.

    Args:
        tree: of arrays of one dtype.

    Returns:
        A scalar.
    """
    norms = [norm(from_float(leaf)) for leaf in jax.tree.leaves(tree)]
    mantissas, exponents = (jnp.stack(parts) for parts in zip(*norms, strict=True))
    return to_float(norm(common_exponent(Scaled(mantissas, exponents))))
