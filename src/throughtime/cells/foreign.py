"""What other people bring as a cell: refused by name, or seen as it is when nothing is learned."""

import sys
import traceback
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PyTree

from throughtime.cells.carries import cast, check_arrays, layout_of
from throughtime.draws import random_key


def check_cell(cell: Any) -> None:
    """Refuse what is no recurrent cell.

    Args:
        cell: anything.

    Raises:
        TypeError: in a sentence that says what to pass instead.
    """
    kind, module = type(cell).__name__, type(cell).__module__
    instead = "pass a cell, an nnx.RNNCellBase with initialize_carry and (carry, x) -> (carry, y)"
    if isinstance(cell, nnx.RNN):
        raise TypeError("an nnx.RNN is no cell; pass its cell, rnn.cell.")
    if isinstance(cell, nnx.Bidirectional):
        raise TypeError("an nnx.Bidirectional is no cell; pass the cells of its two RNNs in turn.")
    if isinstance(cell, type):
        raise TypeError(f"{cell.__name__} is a class; pass a cell that was built from it.")
    if "flax.linen" in module or any("flax.linen" in k.__module__ for k in type(cell).__mro__):
        raise TypeError(
            f"{kind} is a flax.linen module, whose parameters lie outside of it; {instead}."
        )
    is_cell = callable(cell) and hasattr(cell, "initialize_carry")
    if not is_cell or not isinstance(cell, nnx.Module):
        raise TypeError(f"{kind} is no recurrent cell; {instead}.")


def initial_carry(cell: Any, in_features: int | None = None) -> PyTree:
    """The carry of one sequence before its first input.

    Args:
        cell: any recurrent cell.
        in_features: d; None asks the cell.

    Returns:
        The cell's own initial carry, without a batch axis.

    Raises:
        TypeError: if it is no cell, or d is needed.
    """
    check_cell(cell)
    size = getattr(cell, "in_features", None) if in_features is None else in_features
    if size is None:
        raise TypeError(
            f"{type(cell).__name__} has no in_features; pass the initial carry, carry=…."
        )
    return cell.initialize_carry((size,), nnx.Rngs(random_key(0)))


def output_shape(
    cell: Any, in_features: int | None = None, dtype: Any = None
) -> jax.ShapeDtypeStruct:
    """The shape and dtype of the output of one step of one sequence.

    Args:
        cell: any recurrent cell.
        in_features: d; None asks the cell.
        dtype: in which it is to compute, as in `as_step`; None: its own.

    Returns:
        The shape ``(m,)`` and the dtype.

    Raises:
        TypeError: as `initial_carry`, or if the cell does not return a carry and one array.
        ValueError: if the output is not of floats, or has no numbers.
    """
    carry = initial_carry(cell, in_features)
    check_arrays(type(cell).__name__, carry)
    carry = cast(carry, dtype)
    size = cell.in_features if in_features is None else in_features
    graphdef, state = nnx.split(resting(cell))
    arrays, tree = jax.tree.flatten(cast(state, dtype))
    x = jax.ShapeDtypeStruct((size,), layout_of(carry).dtype)

    def output(carry, x):
        returned = nnx.merge(graphdef, jax.tree.unflatten(tree, arrays))(carry, x)
        return pair_of(type(cell).__name__, returned)[1]

    found = jax.eval_shape(output, carry, x)
    check_output(type(cell).__name__, found)
    return found


def pair_of(name: str, returned: Any) -> tuple[PyTree, Array]:
    """The carry and the output, if that is what a cell returned.

    Args:
        name: of the cell.
        returned: anything.

    Returns:
        Both.

    Raises:
        TypeError: if it is something else.
    """
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    if not is_pair or not isinstance(returned[1], jax.Array):
        raise TypeError(f"{name} must return (carry, output), the output one array.")
    return returned


def check_output(name: str, output: Any) -> None:
    """Refuse an output that has no gradient.

    Args:
        name: of the cell.
        output: an array, or its description.

    Raises:
        ValueError: if it is not of floats, or has no numbers.
    """
    if not jnp.issubdtype(output.dtype, jnp.floating) or 0 in output.shape:
        raise ValueError(
            f"{name} puts out {output.dtype}{list(output.shape)}; only an output of at least one "
            "float has a gradient."
        )


def resting(cell: Any) -> Any:
    """A copy of a cell as it is when nothing is learned.

    Args:
        cell: any `nnx.Module`.

    Returns:
        The copy; a warning says so where it differs.
    """
    graphdef, state = nnx.split(cell)
    copy = nnx.merge(graphdef, state)
    copy.eval()
    if nnx.split(copy)[0] != graphdef:
        warn(f"{type(cell).__name__} is measured with deterministic=True, as after its eval().")
    return copy


def warn(sentence: str) -> None:
    """Say something of a number to whoever called the package, once a line of his.

    Args:
        sentence: the warning.
    """
    frames = traceback.walk_stack(sys._getframe())
    names = [frame.f_globals.get("__name__", "") for frame, _ in frames]
    own = [name.partition(".")[0] in _INSIDE for name in names]
    warnings.warn(sentence, UserWarning, stacklevel=1 + own.index(False) if False in own else 1)


_INSIDE = ("throughtime", "jax", "flax", "jaxtyping", "beartype", "contextlib", "functools")
"""Packages whose frames say nothing of where a user's call stands."""
