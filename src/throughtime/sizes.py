"""How large a cell is, in numbers of state, parameters and operations; and cells of equal size.

Cells of as many units are of different size: an LSTM of N units has 2 N numbers of state and four
recurrent kernels. Like for like is therefore one of three things, and a point says which.
"""

import functools
from typing import Any, NamedTuple

import jax
from flax import nnx

from throughtime.cells import SYSTEMS, as_step, make_cell
from throughtime.draws import random_key

PLAIN = "elman"
"""The cell with as many units as a point says, whatever is matched."""

OF_ONE_SIZE = ("scalar", *SYSTEMS)
"""Cells whose size is their own, and which nothing can match."""


class CellKind(NamedTuple):
    """A cell up to its size.

    Attributes:
        name: of the cell.
        options: what `make_cell` is given, as sorted pairs.
        in_features: d.
    """

    name: str
    options: tuple[tuple[str, Any], ...]
    in_features: int

    def make(self, hidden_features: int, recurrent_scale=1.0, rngs: nnx.Rngs | None = None) -> Any:
        """Build the cell.

        Args:
            hidden_features: N.
            recurrent_scale: of its recurrent weights.
            rngs: nnx random streams; None are those of seed 0.

        Returns:
            An `nnx.RNNCellBase`.

        Raises:
            ValueError: as `make_cell`.
        """
        size = self.in_features, hidden_features
        rngs = nnx.Rngs(random_key(0)) if rngs is None else rngs
        options = dict(self.options)
        return make_cell(self.name, *size, recurrent_scale=recurrent_scale, rngs=rngs, **options)


@functools.cache
def state_size(kind: CellKind, hidden_features: int) -> int:
    """The numbers in the whole state of a cell.

    Args:
        kind: of the cell.
        hidden_features: N.

    Returns:
        n.

    Raises:
        ValueError: as `make_cell`.
    """
    return jax.eval_shape(lambda: as_step(kind.make(hidden_features)).h0).size


@functools.cache
def num_parameters(kind: CellKind, hidden_features: int) -> int:
    """The parameters of a cell, without a read-out.

    Args:
        kind: of the cell.
        hidden_features: N.

    Returns:
        Their number.

    Raises:
        ValueError: as `make_cell`.
    """
    weights = jax.eval_shape(lambda: nnx.split(kind.make(hidden_features), nnx.Param, ...)[1])
    return sum(leaf.size for leaf in jax.tree.leaves(weights))


@functools.cache
def flops_per_step(kind: CellKind, hidden_features: int) -> int | None:
    """The floating-point operations of one step of one sequence.

    Args:
        kind: of the cell.
        hidden_features: N.

    Returns:
        As XLA counts them in the step as it is written, before it optimises: a multiplication with
        an addition is two, a tanh is counted apart and not here. None if it does not say.
    """
    cell = nnx.eval_shape(lambda: kind.make(hidden_features))
    structure, weights = nnx.split(cell)
    carry = jax.eval_shape(
        lambda: kind.make(hidden_features).initialize_carry(
            (kind.in_features,), nnx.Rngs(random_key(0))
        )
    )
    inputs = jax.ShapeDtypeStruct((kind.in_features,), jax.tree.leaves(carry)[0].dtype)

    def step(weights, carry, x):
        return nnx.merge(structure, weights)(carry, x)[0]

    analysis = jax.jit(step).lower(weights, carry, inputs).cost_analysis()
    return int(analysis["flops"]) if analysis and "flops" in analysis else None


def size_columns(kind: CellKind, hidden_features: int) -> dict[str, int | None]:
    """How large a cell is, as columns of a row.

    Args:
        kind: of the cell.
        hidden_features: N.

    Returns:
        in_features, units, state_size, parameters and flops_per_step.
    """
    return {
        "in_features": kind.in_features,
        "units": hidden_features,
        "state_size": state_size(kind, hidden_features),
        "parameters": num_parameters(kind, hidden_features),
        "flops_per_step": flops_per_step(kind, hidden_features),
    }


def matched_units(kind: CellKind, like: int, match: str) -> int:
    """The units of a cell that is as large as a plain network.

    Args:
        kind: of the cell.
        like: units of the plain network, `PLAIN` of the same inputs.
        match: ``units``, as many units; ``state``, as many numbers of state; ``parameters``, as
            many parameters.

    Returns:
        The most units with which the cell is not larger than that, or the fewest that it can have;
        those of the plain network for a cell whose size is its own.

    Raises:
        ValueError: if there is no such cell, or an option is not its own.
    """
    if match == "units" or kind.name in OF_ONE_SIZE:
        return like
    plain = CellKind(PLAIN, (), kind.in_features)
    size = state_size if match == "state" else num_parameters
    target = size(plain, like)

    def fits(units: int) -> bool:
        return _size_up_to(size, kind, units) <= target

    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return _allowed(kind, low)


def _size_up_to(size, kind: CellKind, units: int) -> int:
    """The size of the largest cell of at most so many units."""
    return size(kind, _allowed(kind, units))


@functools.cache
def _allowed(kind: CellKind, units: int) -> int:
    """The largest number of units, one or two fewer at most, that the cell can have.

    Complex states come in pairs of numbers, and a normalised layer has at least two units.
    """
    for fewer in range(min(2, units)):
        try:
            state_size(kind, units - fewer)
        except ValueError:
            continue
        return units - fewer
    state_size(kind, units + 1)  # raises what is wrong with the cell, if it is not its size
    return units + 1
