"""Recurrent cells by name, each an `nnx.RNNCellBase`, and the bridge from cells to measurements."""

import inspect
from collections.abc import Callable, Iterable

from flax import nnx

from throughtime.cells.activations import ACTIVATIONS
from throughtime.cells.antisymmetric import AntisymmetricCell
from throughtime.cells.bridge import CellStep, as_step, output_cut
from throughtime.cells.carries import hidden
from throughtime.cells.complex_diagonal import LRUCell, S5Cell
from throughtime.cells.elman import ElmanCell
from throughtime.cells.flax_cells import FLAX_CELLS
from throughtime.cells.foreign import check_cell, initial_carry, output_shape
from throughtime.cells.gates import Gate, gate_values
from throughtime.cells.gru import GRUCell
from throughtime.cells.lem import LEMCell
from throughtime.cells.lstm import LSTMCell
from throughtime.cells.lstm_variants import CoupledLSTMCell, PeepholeLSTMCell
from throughtime.cells.minimal import MinGRUCell, MinLSTMCell
from throughtime.cells.one_gate import MGUCell, MinimalRNNCell, UGRNNCell
from throughtime.cells.order_blind import OrderBlindCell
from throughtime.cells.orthogonal import ExpRNNCell
from throughtime.cells.oscillators import CoRNNCell
from throughtime.cells.scalar import ScalarCell, inputs_of_their_own
from throughtime.cells.selective import SelectiveCell
from throughtime.cells.stacked import StackedCell
from throughtime.cells.systems import SYSTEM_CELLS, SYSTEMS
from throughtime.cells.wrapped import WRAPPERS, LeakyCell, SkipCell, wrapped
from throughtime.cells.xlstm import MLSTMCell, SLSTMCell
from throughtime.initializers import INITIALIZERS, Gain
from throughtime.names import known, unknown

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "SYSTEMS",
    "AntisymmetricCell",
    "CellStep",
    "CoRNNCell",
    "CoupledLSTMCell",
    "ElmanCell",
    "ExpRNNCell",
    "GRUCell",
    "Gate",
    "LEMCell",
    "LRUCell",
    "LSTMCell",
    "LeakyCell",
    "MGUCell",
    "MLSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "MinimalRNNCell",
    "OrderBlindCell",
    "PeepholeLSTMCell",
    "S5Cell",
    "SLSTMCell",
    "ScalarCell",
    "SelectiveCell",
    "SkipCell",
    "StackedCell",
    "UGRNNCell",
    "as_step",
    "check_cell",
    "gate_values",
    "hidden",
    "initial_carry",
    "inputs_of_their_own",
    "make_cell",
    "options_of",
    "output_cut",
    "output_shape",
]

CELLS: dict[str, Callable[..., nnx.RNNCellBase]] = {
    "scalar": ScalarCell,
    "elman": ElmanCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    "lstm_peephole": PeepholeLSTMCell,
    "lstm_coupled": CoupledLSTMCell,
    "mgu": MGUCell,
    "ugrnn": UGRNNCell,
    "minimal_rnn": MinimalRNNCell,
    "exp_rnn": ExpRNNCell,
    "antisymmetric": AntisymmetricCell,
    "cornn": CoRNNCell,
    "lem": LEMCell,
    "min_gru": MinGRUCell,
    "min_lstm": MinLSTMCell,
    "lru": LRUCell,
    "s5": S5Cell,
    "selective": SelectiveCell,
    "slstm": SLSTMCell,
    "mlstm": MLSTMCell,
    "order_blind": OrderBlindCell,
    **FLAX_CELLS,
    **SYSTEM_CELLS,
}
"""The cells by name."""

STACKING = ("layers", "slow_every")
"""The options of every cell that has inputs."""


def make_cell(
    name: str,
    in_features: int,
    hidden_features: int,
    *,
    recurrent_scale: Gain,
    initializer: str | None = None,
    rngs: nnx.Rngs,
    **options,
) -> nnx.RNNCellBase:
    """Build a cell by name.

    Args:
        name: a key of `CELLS`.
        in_features: d, numbers per input.
        hidden_features: N, hidden units.
        recurrent_scale: the gain of the recurrent weights; a float or a traced scalar.
        initializer: the recurrent ensemble, a key of `INITIALIZERS`; None is the cell's own.
        rngs: nnx random streams.
        **options: the cell's own, such as ``forget_bias`` or ``activation``, and ``dtype``. Every
            cell but the classic systems has also ``leak`` and ``skip``, which wrap it in a
            `LeakyCell` and a `SkipCell`; ``layers``, L: a `StackedCell` of that many, layer 1
            reading the input, the others the N units below, each drawn by itself; and
            ``slow_every``, s: layer l = 1 … L moves at every s^(l−1)-th step. Both are 1 if not
            given; one layer is the cell itself.

    Returns:
        The cell.

    Raises:
        ValueError: if a name or an option is unknown; the nearest is named; or if a value is not
            what the cell allows.
    """
    build = CELLS[known("cell", name, CELLS)]
    allowed = options_of(name)
    _check_known(name, options, allowed)
    wrappers = {option: options.pop(option) for option in WRAPPERS if option in options}
    if "activation" in options:
        known("activation", options["activation"], ACTIVATIONS)
    if initializer is not None:
        if "ensemble" not in allowed:
            raise ValueError(f"cell {name!r} draws no recurrent weights: initializer must be null.")
        options["ensemble"] = INITIALIZERS[known("initializer", initializer, INITIALIZERS)]()
    layers, slow_every = (options.pop(option, 1) for option in STACKING)
    for option, value in zip(STACKING, (layers, slow_every), strict=True):
        if type(value) is not int or value < 1:
            raise ValueError(f"{option} must be an integer >= 1, not {value!r}.")
    options |= {"recurrent_scale": recurrent_scale, "rngs": rngs}
    widths = [in_features] + [hidden_features] * (layers - 1)
    cells = [wrapped(build(width, hidden_features, **options), **wrappers) for width in widths]
    if layers == 1:
        return cells[0]
    return StackedCell(cells, [slow_every**layer for layer in range(layers)])


def _check_known(name: str, options: Iterable[str], allowed: list[str]) -> None:
    """Refuse an option that a cell does not have; of an ensemble a caller gives the name."""
    choices = ["initializer" if each == "ensemble" else each for each in allowed]
    for option in options:
        if option not in allowed:
            raise ValueError(unknown(f"option of cell {name!r}", option, choices))


def options_of(name: str) -> list[str]:
    """The options that a cell takes in `make_cell`.

    Args:
        name: a key of `CELLS`.

    Returns:
        Their names: those of the cell's constructor, and those that wrap it, which the classic
        systems do not have. ``ensemble`` among them says that it takes an ``initializer``.

    Raises:
        ValueError: if there is no such cell.
    """
    own = _options(CELLS[known("cell", name, CELLS)])
    return own if name in SYSTEMS else [*own, *WRAPPERS, *STACKING]


def _options(build: Callable) -> list[str]:
    """The keyword options of a cell's constructor, and of its parents' where it hands them on."""
    lineage = build.__mro__ if inspect.isclass(build) else (build,)
    names: dict[str, None] = {}
    for constructor in lineage[: lineage.index(nnx.RNNCellBase)] if lineage[1:] else lineage:
        target = constructor.__init__ if inspect.isclass(constructor) else constructor
        names |= dict.fromkeys(
            parameter.name
            for parameter in inspect.signature(target).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )
    return [name for name in names if name not in ("recurrent_scale", "rngs")]
