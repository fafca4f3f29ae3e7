"""Where the recurrent kernels are among a cell's parameters, gate by gate."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

RECURRENT = ("recurrent_kernel", "loop_weight", "dense_h", "hi", "hf", "hg", "ho")
"""The attributes that hold recurrent weights: those of the cells here, and Flax's linear maps."""


def map_recurrent(
    change: Callable[[Float[Array, "N N"]], Float[Array, "N N"]], parameters: PyTree
) -> PyTree:
    """Change the recurrent kernel of each gate, and nothing else.

    Args:
        change: maps the kernel of a gate, ``(N, N)``, to the like; a scalar loop weight is a
            matrix of one row.
        parameters: of a cell, wrapped or stacked, too.

    Returns:
        The parameters.

    Raises:
        ValueError: if there is no recurrent kernel among them.
    """
    found = []

    def visit(path: tuple[Any, ...], leaf):
        if not _is_recurrent(path):
            return leaf
        found.append(path)
        square = jnp.atleast_2d(leaf)
        gates = jnp.split(square, square.shape[1] // square.shape[0], axis=1)
        return jnp.concatenate([change(gate) for gate in gates], axis=1).reshape(leaf.shape)

    changed = jax.tree_util.tree_map_with_path(visit, parameters)
    if not found:
        raise ValueError("this cell has no recurrent kernel.")
    return changed


def recurrent_kernels(parameters: PyTree) -> list[Float[Array, "N N"]]:
    """The recurrent kernels of all gates.

    Args:
        parameters: of a cell.

    Returns:
        Matrices ``(N, N)``, which act on a row of states from the right.

    Raises:
        ValueError: if there are none.
    """
    gates = []

    def collect(gate):
        gates.append(gate)
        return gate

    map_recurrent(collect, parameters)
    return gates


def _is_recurrent(path: tuple[Any, ...]) -> bool:
    """Whether a parameter is a recurrent weight: by the names on its path; a bias is none."""
    names = [str(getattr(key, "key", "")) for key in path]
    return any(name in RECURRENT for name in names) and "bias" not in names
