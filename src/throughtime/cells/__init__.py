"""Recurrent cells by name, each an `nnx.RNNCellBase`, and the bridge from cells to measurements."""

import inspect
from collections.abc import Callable

from flax import nnx

from throughtime.cells.activations import ACTIVATIONS
from throughtime.cells.bridge import CellStep, as_step, hidden
from throughtime.cells.elman import ElmanCell
from throughtime.cells.flax_cells import FLAX_CELLS
from throughtime.cells.gru import GRUCell
from throughtime.cells.lstm import LSTMCell
from throughtime.cells.scalar import ScalarCell, inputs_of_their_own
from throughtime.cells.systems import SYSTEM_CELLS, SYSTEMS
from throughtime.initializers import INITIALIZERS, Gain
from throughtime.names import known

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "SYSTEMS",
    "CellStep",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "ScalarCell",
    "as_step",
    "hidden",
    "inputs_of_their_own",
    "make_cell",
]

CELLS: dict[str, Callable[..., nnx.RNNCellBase]] = {
    "scalar": ScalarCell,
    "elman": ElmanCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    **FLAX_CELLS,
    **SYSTEM_CELLS,
}
"""The cells by name."""


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
        **options: the cell's own, such as ``forget_bias`` or ``activation``, and ``dtype``.

    Returns:
        The cell.

    Raises:
        ValueError: if a name or an option is unknown; the nearest is named.
    """
    build = CELLS[known("cell", name, CELLS)]
    allowed = _options(build)
    for option in options:
        known(f"option of cell {name!r}", option, allowed)
    if "activation" in options:
        known("activation", options["activation"], ACTIVATIONS)
    if initializer is not None:
        if "ensemble" not in allowed:
            raise ValueError(f"cell {name!r} draws no recurrent weights: initializer must be null.")
        options["ensemble"] = INITIALIZERS[known("initializer", initializer, INITIALIZERS)]()
    return build(
        in_features, hidden_features, recurrent_scale=recurrent_scale, rngs=rngs, **options
    )


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
