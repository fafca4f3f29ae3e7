"""What the gates of a cell are at a state and an input, so that one can see them saturate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.elman import ElmanCell
from throughtime.cells.gru import GRUCell
from throughtime.cells.lstm import LSTMCell


class Gate(NamedTuple):
    """The values of a bounded unit.

    Attributes:
        values: ``(…, N)``.
        low: what they tend to at one end.
        high: and at the other.
    """

    values: Float[Array, "*B n"]
    low: float
    high: float


def gate_values(cell: Any, carry: PyTree, inputs: Float[Array, "*B d"]) -> dict[str, Gate]:
    """The gates of a cell as it takes a step; the units themselves of a plain tanh network.

    Args:
        cell: ours or Flax's; of those that have no gates nothing is known.
        carry: the carry from which the step starts, ``(…, N)`` each part.
        inputs: of the step, ``(…, d)``.

    Returns:
        By name: input, forget and output of an LSTM, reset and update of a GRU, hidden of a plain
        network with a bounded activation; empty for any other cell.
    """
    if isinstance(cell, ElmanCell):
        return _units(cell, carry, inputs)
    known = next((read for kind, read in _GATES.items() if type(cell) is kind), None)
    return {} if known is None else known(cell, carry, inputs)


def _units(cell: ElmanCell, carry, inputs) -> dict[str, Gate]:
    """The hidden units, if they are bounded."""
    for bounded, low in ((tanh, -1.0), (sigmoid, 0.0)):
        if cell.activation is bounded:
            return {"hidden": Gate(cell(carry, inputs)[0], low, 1.0)}
    return {}


def _opened(names: str, terms: list[Float[Array, "*B n"]]) -> dict[str, Gate]:
    """Gates σ(terms) by name."""
    pairs = zip(names.split(), terms, strict=True)
    return {name: Gate(sigmoid(term), 0.0, 1.0) for name, term in pairs}


def _gru(cell: GRUCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.input_terms(inputs) + cell.recurrent_terms(carry)
    return _opened("reset update", jnp.split(terms, 3, axis=-1)[:2])


def _lstm(cell: LSTMCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.input_terms(inputs) + cell.recurrent_terms(carry[1])
    i, f, _, o = jnp.split(terms, 4, axis=-1)
    return _opened("input forget output", [i, f, o])


def _flax_gru(cell: nnx.GRUCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.dense_i(inputs) + cell.dense_h(carry)
    return _opened("reset update", jnp.split(terms, 3, axis=-1)[:2])


def _flax_lstm(cell: nnx.LSTMCell, carry, inputs) -> dict[str, Gate]:
    layers = (cell.ii, cell.hi), (cell.if_, cell.hf), (cell.io, cell.ho)
    return _opened("input forget output", [a(inputs) + b(carry[1]) for a, b in layers])


def _flax_optimized_lstm(cell: nnx.OptimizedLSTMCell, carry, inputs) -> dict[str, Gate]:
    i, f, _, o = jnp.split(cell.dense_i(inputs) + cell.dense_h(carry[1]), 4, axis=-1)
    return _opened("input forget output", [i, f, o])


_GATES: dict[type, Callable] = {
    GRUCell: _gru,
    LSTMCell: _lstm,
    nnx.GRUCell: _flax_gru,
    nnx.LSTMCell: _flax_lstm,
    nnx.OptimizedLSTMCell: _flax_optimized_lstm,
}
