"""Networks of several layers as one cell, whose layers may move at rates of their own."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.cells.bridge import output_cut
from throughtime.cells.carries import layout_of
from throughtime.cells.foreign import output_shape
from throughtime.cells.vector import VectorCell


class StackedCell(VectorCell):
    """Recurrent layers one upon the other, a cell like any other: its carry holds all of theirs.

    h^1_t, y^1_t = cell_1(h^1_{t−1}, x_t),    h^l_t, y^l_t = cell_l(h^l_{t−1}, y^{l−1}_t)

    What a layer hands up is its output.

    With ``every`` the network is hierarchical: counted from t = 1, layer l moves at the steps t
    that are multiples of ``every[l]``, and keeps its carry at all others. Of the layer below it
    sees those steps alone: an input between them reaches it only as far as that layer remembers it.
    The clock is in the carry, as a float modulo the least common multiple of ``every``, and its
    derivative is zero: it adds one exponent of −∞ to a spectrum, and nothing to any gradient. (In
    the clockwork network of Koutník et al. slow units drive fast ones, all in one layer; here, as
    with El Hihi and Bengio, the slow layers are above.)

    Args:
        cells: the layers from the bottom, any `nnx.RNNCellBase`; each must have as many
            ``in_features`` as the one below puts out.
        every: for each layer, how many steps lie between its moves, at least 1; None is 1 for all.

    Raises:
        ValueError: if there are no cells, two do not fit, or ``every`` is not one such number for
            each; and when used, if the clock is too long for the floats of the carry.

    Attributes:
        cells: the layers, an `nnx.List`.
        every: as given, a tuple of ints.
        period: of the clock, in steps; 1 is none.

    References:
        El Hihi, Bengio 1996, Hierarchical recurrent neural networks for long-term dependencies;
        Graves 2013, arXiv:1308.0850 (stacks); Koutník et al. 2014, arXiv:1402.3511 (clocks).
    """

    def __init__(self, cells: Iterable[Any], every: Iterable[int] | None = None):
        cells = list(cells)
        every = (1,) * len(cells) if every is None else tuple(every)
        _check(cells, every)
        self.cells = nnx.List(cells)
        self.every = every
        self.period = math.lcm(*every)
        self.in_features = cells[0].in_features
        self.hidden_features = _width(cells[-1])

    def __call__(
        self, carry: tuple, inputs: Float[Array, "*B d"]
    ) -> tuple[tuple, Float[Array, "*B m"]]:
        """One step of all layers, from the bottom; see the class.

        Args:
            carry: the layers' carries, a tuple; before them the clock, if there is one, ``(…,)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            The new carries, and the output of the top layer, ``(…, m)``.
        """
        clock, carries = self._tick(carry)
        new = []
        for cell, every, old in zip(self.cells, self.every, carries, strict=True):
            moved, output = cell(old, inputs)
            if every > 1:
                moved = _where(jnp.mod(clock[0], every) == 0, moved, old)
                output = _held_output(cell, old, inputs, moved)
            new.append(moved)
            inputs = output
        return (*clock, *new), inputs

    def initialize_carry(self, input_shape, rngs=None, carry_init=None) -> Any:
        """The layers before the first input: their own initial carries, and the clock at 0.

        Args:
            input_shape: the shape of one input, ``(…, d)``.
            rngs: handed to the layers.
            carry_init: likewise.

        Returns:
            A tuple.
        """
        shapes = [(*input_shape[:-1], cell.in_features) for cell in self.cells]
        carries = tuple(
            cell.initialize_carry(shape, rngs, carry_init)
            for cell, shape in zip(self.cells, shapes, strict=True)
        )
        if self.period == 1:
            return carries
        return self._counting(jnp.zeros(input_shape[:-1], layout_of(carries).dtype)), *carries

    def _tick(self, carry: tuple) -> tuple[tuple, tuple]:
        """The clock after this step, ``t mod period``, if there is one; and the layers' carries."""
        if self.period == 1:
            return (), carry
        before, *carries = carry
        # Rounded, so that a start moved a little off the count (for a spectrum) still counts.
        count = jnp.round(jax.lax.stop_gradient(self._counting(before))) + 1
        return (jnp.mod(count, self.period),), tuple(carries)

    def _counting(self, clock: Array) -> Array:
        """The clock, if its floats can count to the period."""
        most = int(2 / jnp.finfo(clock.dtype).eps)
        if self.period > most:
            raise ValueError(
                f"layers that move every {self.every} steps repeat after {self.period}, and "
                f"{clock.dtype} counts to {most} at most."
            )
        return clock


def _held_output(cell: Any, old: PyTree, inputs: Array, carry: PyTree) -> Array:
    """The output of a layer that may stand still: that of the carry it has, old or new."""
    output = output_cut(cell, old, inputs)
    if any(output.uses_inputs):
        raise ValueError(
            f"a layer that stands still must have an output made of its carry alone, which "
            f"{type(cell).__name__} has not."
        )
    return output((*jax.tree.leaves(old), inputs), jax.tree.leaves(carry))


def _where(moves: Array, moved: PyTree, old: PyTree) -> PyTree:
    """The new carry where the layer moves, a flag for each sequence; else the old one."""

    def choose(new, old):
        return jnp.where(jnp.expand_dims(moves, tuple(range(moves.ndim, new.ndim))), new, old)

    return jax.tree.map(choose, moved, old)


def _width(cell: Any) -> int:
    """Number of outputs of a cell."""
    return output_shape(cell).shape[-1]


def _check(cells: list, every: tuple) -> None:
    """Refuse layers that do not fit."""
    if not cells:
        raise ValueError("a stack must have at least 1 cell, not 0.")
    if len(every) != len(cells) or any(type(n) is not int or n < 1 for n in every):
        raise ValueError(
            f"every must be {len(cells)} integers >= 1, one for each layer, not {every}."
        )
    for number, (below, above) in enumerate(itertools.pairwise(cells), start=1):
        if _width(below) != above.in_features:
            raise ValueError(
                f"layer {number} hands up {_width(below)} numbers, but layer {number + 1} has "
                f"in_features={above.in_features}."
            )
