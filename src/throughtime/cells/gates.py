"""What the gates of a cell are at a state and an input, so that one can see them saturate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.antisymmetric import AntisymmetricCell
from throughtime.cells.elman import ElmanCell
from throughtime.cells.foreign import warn
from throughtime.cells.gru import GRUCell
from throughtime.cells.lem import LEMCell
from throughtime.cells.lstm import LSTMCell
from throughtime.cells.lstm_variants import CoupledLSTMCell, PeepholeLSTMCell
from throughtime.cells.minimal import MinGRUCell, MinLSTMCell
from throughtime.cells.one_gate import MGUCell, MinimalRNNCell, UGRNNCell
from throughtime.cells.selective import SelectiveCell
from throughtime.cells.xlstm import FORGET_GATES, MLSTMCell, SLSTMCell


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
        By name: input, forget and output of an LSTM (no input if coupled), reset and update of a
        GRU, and those of them that the smaller gated cells have; the input gate of a gated
        antisymmetric network; step_z and step_y of a LEM (in units of Δt); of the xLSTM's forget
        and output where they are bounded; forget of a selective cell (what it keeps, without its
        gain); hidden of a plain network with a bounded activation; empty for any other cell, and,
        with a warning, for one of Flax's whose ``gate_fn`` is not bounded by 0 and 1.
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


def _peephole(cell: PeepholeLSTMCell, carry, inputs) -> dict[str, Gate]:
    values = zip(("input", "forget", "output"), cell.opened(carry, inputs), strict=False)
    return {name: Gate(value, 0.0, 1.0) for name, value in values}


def _coupled(cell: CoupledLSTMCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.input_terms(inputs) + cell.recurrent_terms(carry[1])
    return _opened("forget output", jnp.split(terms, 3, axis=-1)[::2])


def _mgu(cell: MGUCell, carry, inputs) -> dict[str, Gate]:
    return _opened("forget", [cell.gate_terms(carry, inputs)[0]])


def _minimal(cell: MinimalRNNCell, carry, inputs) -> dict[str, Gate]:
    return _opened("update", [cell.gate_terms(carry, inputs)[0]])


def _ugrnn(cell: UGRNNCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.input_terms(inputs) + cell.recurrent_terms(carry)
    return _opened("update", jnp.split(terms, 2, axis=-1)[:1])


def _antisymmetric(cell: AntisymmetricCell, carry, inputs) -> dict[str, Gate]:
    return _opened("input", cell.terms(carry, inputs)[1:]) if cell.gated else {}


def _lem(cell: LEMCell, carry, inputs) -> dict[str, Gate]:
    terms = jnp.split(cell.input_terms(inputs), 4, axis=-1)[:2]
    read = jnp.split(cell.recurrent_terms(carry[1], 0, 2), 2, axis=-1)
    return _opened("step_z step_y", [a + b for a, b in zip(terms, read, strict=True)])


def _min_gru(cell: MinGRUCell, carry, inputs) -> dict[str, Gate]:
    return _opened("update", jnp.split(cell.input_terms(inputs), 2, axis=-1)[:1])


def _min_lstm(cell: MinLSTMCell, carry, inputs) -> dict[str, Gate]:
    return _opened("input forget", jnp.split(cell.input_terms(inputs), 3, axis=-1)[:2])


def _selective(cell: SelectiveCell, carry, inputs) -> dict[str, Gate]:
    return {"forget": Gate(cell.kept(inputs), 0.0, 1.0)}


def _slstm(cell: SLSTMCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.input_terms(inputs) + cell.recurrent_terms(carry[3])
    _, f, _, o = jnp.split(terms, 4, axis=-1)
    return _forget_and_output(cell, f, o)


def _mlstm(cell: MLSTMCell, carry, inputs) -> dict[str, Gate]:
    o = jnp.split(cell.input_terms(inputs), 4, axis=-1)[3]
    return _forget_and_output(cell, cell.gate_terms(inputs)[..., 1:], o)


def _forget_and_output(cell: SLSTMCell | MLSTMCell, f, o) -> dict[str, Gate]:
    """An exponential forget gate is not bounded, as no input gate of these cells is."""
    output = _opened("output", [o])
    if cell.log_forget is FORGET_GATES["sigmoid"]:
        return _opened("forget", [f]) | output  # an mLSTM has one for all units
    return output


def _flax_gru(cell: nnx.GRUCell, carry, inputs) -> dict[str, Gate]:
    terms = cell.dense_i(inputs) + cell.dense_h(carry)
    return _opened_by(cell, "reset update", jnp.split(terms, 3, axis=-1)[:2])


def _flax_lstm(cell: nnx.LSTMCell, carry, inputs) -> dict[str, Gate]:
    layers = (cell.ii, cell.hi), (cell.if_, cell.hf), (cell.io, cell.ho)
    terms = [a(inputs) + b(carry[1]) for a, b in layers]
    return _opened_by(cell, "input forget output", terms)


def _flax_optimized_lstm(cell: nnx.OptimizedLSTMCell, carry, inputs) -> dict[str, Gate]:
    i, f, _, o = jnp.split(cell.dense_i(inputs) + cell.dense_h(carry[1]), 4, axis=-1)
    return _opened_by(cell, "input forget output", [i, f, o])


def _opened_by(cell: Any, names: str, terms: list[Float[Array, "*B n"]]) -> dict[str, Gate]:
    """Gates by name, of a cell whose gates are a function of the user's choice."""
    if not _is_gate(cell.gate_fn):
        name = getattr(cell.gate_fn, "__name__", "its function")
        warn(
            f"the gates of {type(cell).__name__} are not seen: {name} is not bounded by 0 and 1, "
            "so that they cannot saturate."
        )
        return {}
    pairs = zip(names.split(), terms, strict=True)
    return {name: Gate(cell.gate_fn(term), 0.0, 1.0) for name, term in pairs}


def _is_gate(function: Callable) -> bool:
    """Tell whether a function stays within 0 and 1 at both ends and between."""
    sizes = np.concatenate([np.linspace(0, 10, 101), np.geomspace(10, 1e6, 31)])
    with jax.ensure_compile_time_eval():
        values = np.asarray(function(jnp.asarray(np.concatenate([-sizes, sizes]), jnp.float32)))
    return bool(np.all((values >= 0) & (values <= 1)))


_GATES: dict[type, Callable] = {
    GRUCell: _gru,
    LSTMCell: _lstm,
    PeepholeLSTMCell: _peephole,
    CoupledLSTMCell: _coupled,
    MGUCell: _mgu,
    UGRNNCell: _ugrnn,
    MinimalRNNCell: _minimal,
    AntisymmetricCell: _antisymmetric,
    LEMCell: _lem,
    MinGRUCell: _min_gru,
    MinLSTMCell: _min_lstm,
    SelectiveCell: _selective,
    SLSTMCell: _slstm,
    MLSTMCell: _mlstm,
    nnx.GRUCell: _flax_gru,
    nnx.LSTMCell: _flax_lstm,
    nnx.OptimizedLSTMCell: _flax_optimized_lstm,
}
