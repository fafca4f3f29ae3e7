"""Counts of what happens to the gradients of a training, at every update."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from throughtime.scaled import (
    Scaled,
    at_least_float32,
    common_exponent,
    from_float,
    norm,
    to_float,
)


class Counts(NamedTuple):
    """Counts of what happened to the gradient over the updates so far.

    Attributes:
        updates: how many.
        changed: of these, how many gradients the transformation changed, such as clipped ones.
        nonfinite: how many gradients were not finite.
        first_nonfinite: the number of the first of these, counted from 1; 0 if there is none.
        last: the norm of the latest gradient that was finite, before the transformation. It may be
            beyond the float range where no component is.
        inner: the state of the transformation.
    """

    updates: Int[Array, ""]
    changed: Int[Array, ""]
    nonfinite: Int[Array, ""]
    first_nonfinite: Int[Array, ""]
    last: Scaled
    inner: PyTree

    @property
    def last_norm(self) -> Float[Array, "..."]:
        """The norm ``last`` as a plain float; inf is one beyond the float range."""
        return to_float(Scaled(*map(jnp.asarray, self.last)))


def counted(
    transformation: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """Count what a gradient transformation does, and gradients that are not finite.

    Real and complex leaves are counted; integers, random keys and masked leaves are passed on.

    Args:
        transformation: such as `optax.clip_by_global_norm`; None passes gradients on unchanged.

    Returns:
        The same transformation, whose state is a `Counts`.
    """
    inner = optax.with_extra_args_support(transformation or optax.identity())

    def init(params) -> Counts:
        zero = jnp.zeros((), jnp.int32)
        nothing = jax.tree.map(jnp.zeros_like, scaled_norm(params))
        return Counts(zero, zero, zero, zero, nothing, inner.init(params))

    def update(updates, state: Any, params=None, **extra):
        changed, inner_state = inner.update(updates, state.inner, params, **extra)
        is_finite = all_finite(updates)
        number = state.updates + 1
        is_first = ~is_finite & (state.nonfinite == 0)
        size = scaled_norm(updates)
        return changed, Counts(
            updates=number,
            changed=state.changed + (_differ(updates, changed) & is_finite).astype(jnp.int32),
            nonfinite=state.nonfinite + (~is_finite).astype(jnp.int32),
            first_nonfinite=jnp.where(is_first, number, state.first_nonfinite),
            last=jax.tree.map(
                lambda new, old: jnp.where(is_finite, new, old).astype(old.dtype), size, state.last
            ),
            inner=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Tell whether every number of a tree is finite; a norm that overflows says nothing of that.

    Args:
        tree: of arrays; those that are neither real nor complex do not count.

    Returns:
        A scalar; true of a tree without numbers.
    """
    return _all([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if is_float(leaf)])


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """The norm of all numbers of a tree together, as a plain float of at least float32.

    Right wherever it lies in the float range itself; a sum of squares leaves float32 at norms of
    10^±19.

    Args:
        tree: as `scaled_norm`.

    Returns:
        A scalar; inf where the norm is beyond the float range, or a number of the tree is inf.
    """
    return to_float(scaled_norm(tree))


def scaled_norm(tree: PyTree) -> Scaled:
    """The norm of all numbers of a tree together, whatever the float range.

    ‖tree‖² = Σ |z|² over the leaves that are real or complex

    Args:
        tree: of arrays, of any dtypes; integers, random keys and masked leaves do not count.

    Returns:
        A scalar in the widest dtype of the leaves, at least float32; 0 of a tree without numbers.
    """
    parts = real_parts(tree)
    if not parts:
        return from_float(jnp.zeros((), jnp.float32))
    norms = [norm(from_float(part)) for part in parts]
    mantissas, exponents = (jnp.stack(each) for each in zip(*norms, strict=True))
    return norm(common_exponent(Scaled(mantissas, exponents)))


def real_parts(tree: PyTree) -> list[Float[Array, "..."]]:
    """The numbers of a tree as real arrays of one dtype, the widest of them, at least float32.

    Args:
        tree: of arrays.

    Returns:
        Each real leaf, and of each complex one real and imaginary part, stacked.
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree) if is_float(leaf)]
    parts = [
        jnp.stack([x.real, x.imag]) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x
        for x in leaves
    ]
    dtypes = (at_least_float32(part.dtype) for part in parts)
    dtype = functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))
    return [part.astype(dtype) for part in parts]


def is_float(leaf: Any) -> bool:
    """Tell whether a leaf of a tree is real or complex, and no integer, random key or placeholder.

    Args:
        leaf: an array or a number.

    Returns:
        A plain bool.
    """
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def _differ(one: PyTree, other: PyTree) -> Bool[Array, ""]:
    """Tell whether two trees of one structure differ in any number."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return ~_all([jnp.all(a == b) for a, b in pairs if is_float(a)])


def _all(flags: list[Bool[Array, ""]]) -> Bool[Array, ""]:
    """Tell whether all flags of a list are true; those of an empty list are."""
    return jnp.all(jnp.stack(flags)) if flags else jnp.asarray(True)
