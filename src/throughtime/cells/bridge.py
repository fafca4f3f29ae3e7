"""The only bridge from Flax to the measurements: a cell becomes a `Step` on its flattened carry."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from throughtime.draws import random_key
from throughtime.dynamics import Step


class CellStep(NamedTuple):
    """A cell as a dynamical system.

    Attributes:
        step: maps the flattened carry ``(n,)`` and an input ``(d,)`` to the next carry ``(n,)``.
        h0: the flattened initial carry, ``(n,)``.
        unravel: turns a flattened carry back into the cell's own.
    """

    step: Step
    h0: Float[Array, " n"]
    unravel: Callable[[Float[Array, " n"]], PyTree]


def as_step(cell: Any, carry: PyTree | None = None, *, dtype=None) -> CellStep:
    """See any Flax cell as a `Step` on its whole carry.

    h = ravel(carry),  step(h, x) = ravel(cell(unravel(h), x)[0])

    The whole carry counts: an LSTM's state is (c, h), and leaving c out gives other gradients and
    other exponents.

    Args:
        cell: any `nnx.RNNCellBase`, ours, Flax's or the user's.
        carry: the initial carry of one sequence (no batch axis); None asks the cell for its own.
        dtype: cast the cell's parameters and the carry to it; None leaves them as they are.

    Returns:
        ``(step, h0, unravel)``.

    Raises:
        ValueError: if the carry holds anything but floats, or (when the step is first traced) if
            the cell returns a carry of another dtype than it was given.
    """
    if carry is None:
        carry = cell.initialize_carry((cell.in_features,), nnx.Rngs(random_key(0)))
    for leaf in jax.tree.leaves(carry):
        if not jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating):
            kind = jnp.asarray(leaf).dtype
            raise ValueError(f"a carry must be made of floats to have gradients, not of {kind}.")
    graphdef, state = nnx.split(cell)
    h0, unravel = ravel_pytree(_cast(carry, dtype))
    state = _cast(state, dtype)

    def step(h: Float[Array, " n"], x: Float[Array, " d"]) -> Float[Array, " n"]:
        new_carry, _ = nnx.merge(graphdef, state)(unravel(h), x)
        new_h = ravel_pytree(new_carry)[0]
        if new_h.dtype != h.dtype:
            raise ValueError(
                f"{type(cell).__name__} turns a {h.dtype} carry into {new_h.dtype}; build it with "
                "dtype=None and param_dtype of the dtype wanted, so that it computes in that."
            )
        return new_h

    return CellStep(step, h0, unravel)


def _cast(tree: PyTree, dtype) -> PyTree:
    """The tree with its floats in another dtype; as it is if that is None."""
    if dtype is None:
        return tree

    def cast(leaf):
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def hidden(carry: PyTree) -> Float[Array, "*B m"]:
    """The part of a carry that is read out: all of it, or the last part of a tuple.

    Args:
        carry: a cell's own carry; (c, h) for an LSTM, and for a stack a tuple of such tuples.

    Returns:
        h, ``(…, m)``; of a stack the top layer's.
    """
    while isinstance(carry, tuple):
        carry = carry[-1]
    return carry
