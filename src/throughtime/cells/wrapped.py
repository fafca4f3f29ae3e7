"""Cells around a cell: one that leaks, and one that also sees a state from further back."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from throughtime.cells.bridge import output_cut
from throughtime.cells.carries import hidden
from throughtime.cells.vector import VectorCell


class WrappedCell(VectorCell):
    """A cell around another, of the same inputs and the same hidden state.

    Args:
        cell: any `nnx.RNNCellBase`.

    Attributes:
        cell: the cell within.
        in_features: d, as the cell within has it.
        hidden_features: N, likewise.
    """

    def __init__(self, cell: Any):
        self.cell = cell
        self.in_features: int = cell.in_features
        self.hidden_features: int = cell.hidden_features

    def initialize_carry(self, input_shape, rngs=None, carry_init=None) -> Any:
        """The state before the first input: that of the cell within.

        Args:
            input_shape: the shape of one input, ``(…, d)``.
            rngs: for the cell within.
            carry_init: likewise.

        Returns:
            Its carry.
        """
        options = {} if carry_init is None else {"carry_init": carry_init}
        return self.cell.initialize_carry(input_shape, rngs, **options)


class LeakyCell(WrappedCell):
    """A cell whose whole state follows slowly, as a leaky integrator does.

    s_t = (1 − α) s_{t−1} + α cell(s_{t−1}, x_t),    J_t = (1 − α) I + α J_t of the cell

    s is the whole carry, c and h of an LSTM. The gradient keeps a path on which it is multiplied
    by 1 − α a step; fixed points stay where they are.

    Args:
        cell: the cell within.
        leak: α, in (0, 1]; a time constant of about 1/α steps. 1 is the cell itself.

    Raises:
        ValueError: if α is not in (0, 1].

    References:
        Jaeger, Lukoševičius, Popovici, Siewert 2007, Neural Networks 20, 335; Bengio,
        Boulanger-Lewandowski, Pascanu 2012, arXiv:1212.0901 (leaky integration).
    """

    def __init__(self, cell: Any, leak: int | float):
        if not 0 < leak <= 1:
            raise ValueError(f"leak must be > 0 and at most 1, not {leak}.")
        super().__init__(cell)
        self.leak = leak

    def __call__(
        self, carry: PyTree, inputs: Float[Array, "*B d"]
    ) -> tuple[PyTree, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: s_{t−1}, as the cell within has it.
            inputs: x_t, ``(…, d)``.

        Returns:
            s_t, and the output that the cell makes of it.
        """
        new = self.cell(carry, inputs)[0]
        slow = jax.tree.map(lambda s, to: (1 - self.leak) * s + self.leak * to, carry, new)
        output = output_cut(self.cell, carry, inputs)
        return slow, output((*jax.tree.leaves(carry), inputs), jax.tree.leaves(slow))


class SkipCell(WrappedCell):
    """A cell whose recurrence also sees the hidden state of s steps ago, through a delay line.

    h_t = cell((h_{t−1} + h_{t−s}) / 2, x_t),    h_t = h_0 for t < 0

    Through the line, k steps are k/s factors of a Jacobian. The delayed state passes through the
    weights of the state before, where the papers give it weights of its own: so the cell keeps its
    parameters, its fixed points, and its edge, recurrent scale 1 in a linear network. Only the
    hidden state is delayed, not the c of an LSTM. The whole state has N (s − 1) more numbers.

    Args:
        cell: the cell within.
        lag: s >= 2.

    Raises:
        ValueError: if s is below 2.

    References:
        Lin, Horne, Tiňo, Giles 1996, IEEE Trans. Neural Networks 7, 1329 (NARX); Zhang et al.
        2016, arXiv:1602.08210 (recurrent skip coefficients).
    """

    def __init__(self, cell: Any, lag: int):
        if lag < 2:
            raise ValueError(f"skip must be at least 2 steps, not {lag}.")
        super().__init__(cell)
        self.lag = lag

    def __call__(
        self, carry: tuple, inputs: Float[Array, "*B d"]
    ) -> tuple[tuple, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: h_{t−s} … h_{t−2}, ``(…, s − 1, N)``, then the carry of the cell within.
            inputs: x_t, ``(…, d)``.

        Returns:
            The next carry, and the output of the cell within.
        """
        line, *inner = carry
        h = inner[-1]
        seen = (*inner[:-1], (h + line[..., 0, :]) / 2)
        new, output = self.cell(seen if len(seen) > 1 else seen[0], inputs)
        line = jnp.concatenate([line[..., 1:, :], h[..., None, :]], axis=-2)
        return (line, *_parts(new)), output

    def initialize_carry(self, input_shape, rngs=None, carry_init=None) -> Any:
        """The state before the first input: that of the cell within, as if it had always been so.

        Args:
            input_shape: the shape of one input, ``(…, d)``.
            rngs: for the cell within.
            carry_init: likewise.

        Returns:
            The delay line ``(…, s − 1, N)`` and the carry of the cell within, in one tuple.
        """
        inner = super().initialize_carry(input_shape, rngs, carry_init)
        line = jnp.repeat(hidden(inner)[..., None, :], self.lag - 1, axis=-2)
        return (line, *_parts(inner))


def _parts(carry: PyTree) -> tuple:
    """A carry as a tuple, which its hidden part ends."""
    return carry if isinstance(carry, tuple) else (carry,)


WRAPPERS = ("leak", "skip")
"""The options that wrap a cell."""


def wrapped(cell: Any, *, leak: int | float | None = None, skip: int | None = None) -> Any:
    """Wrap a cell as asked; what leaks is the cell, not the delay line around it.

    Args:
        cell: any `nnx.RNNCellBase`.
        leak: α of a `LeakyCell`; None for none.
        skip: the lag of a `SkipCell`; None for none.

    Returns:
        The cell, or one around it.

    Raises:
        ValueError: if a value is out of range.
    """
    cell = cell if leak is None else LeakyCell(cell, leak)
    return cell if skip is None else SkipCell(cell, skip)
