"""What the figures share: the style, a panel for every cell, labels and files."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager
from io import BytesIO
from os import PathLike, getpid
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from throughtime.tables import series_columns

SINGLE_COLUMN, DOUBLE_COLUMN = 3.4, 7.0
"""Widths in inches."""

MANY = 13
"""Panels from which on there are four in a row."""

TITLE, LINE = 36, 60
"""Letters in a line of a panel's title, and of any other name."""

NUM_LABELS = 7
"""Scales or lengths that are labelled, at most."""

STYLE = Path(__file__).parents[1] / "throughtime.mplstyle"


def style() -> AbstractContextManager[None]:
    """The package's style and nothing of the user's."""
    return matplotlib.style.context(STYLE, after_reset=True)


def check_one_setting(frame: pd.DataFrame) -> None:
    """Refuse to draw several settings of one cell as if they were one."""
    if others := series_columns(frame)[1:]:
        raise ValueError(f"one figure shows one setting, but {', '.join(others)} varies.")


def spaced(values: np.ndarray, most: int = NUM_LABELS) -> np.ndarray:
    """So many of the values at most, evenly spaced, with both ends."""
    chosen = np.linspace(0, len(values) - 1, min(len(values), most))
    return values[chosen.round().astype(int)]


def literal(name: str, width: int = LINE) -> str:
    """A name as Matplotlib shows it letter by letter: a dollar sign begins no formula."""
    return textwrap.fill(name, width).replace("$", r"\$")


def panels(cells: pd.Series, row_height: float) -> tuple[Figure, dict[str, Axes]]:
    """One panel a cell, by name, on shared axes; pairs of one cell side by side."""
    names = sorted(cells.unique())
    pairs = len(names) == 2 * len({name.partition(",")[0] for name in names})
    columns = 2 if pairs or len(names) == 4 else min(len(names), 3 if len(names) < MANY else 4)
    rows = -(-len(names) // columns)
    width = SINGLE_COLUMN if len(names) == 1 else DOUBLE_COLUMN
    figure = Figure(figsize=(width, rows * row_height + 0.8))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.remove()
    for axes in grid[max(len(names) - columns, 0) : len(names)]:
        axes.tick_params(labelbottom=True)
    for name, axes in zip(names, grid, strict=False):
        axes.set_title(literal(name, TITLE))
    return figure, dict(zip(names, grid, strict=False))


def note(axes: Axes, at: tuple[float, float], text: str, **where: Any) -> None:
    """Small text beside a point: readable where a curve runs through it, below every marker."""
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.2}
    away = (2, -4 if where["va"] == "top" else 4)
    where = {"xycoords": "axes fraction", "textcoords": "offset points"} | where
    axes.annotate(text, at, away, fontsize=6, color="0.2", bbox=box, **where)


def label(figure: Figure, x: str, y: str, panels: dict[str, Axes]) -> None:
    """Axis labels and one legend for all panels, markers in grey as they come in every colour."""
    figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium")
    found = [axes.get_legend_handles_labels() for axes in panels.values()]
    entries = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    if not entries:
        return
    columns = len(entries) if figure.get_figwidth() > SINGLE_COLUMN else 2
    place = {"loc": "outside upper center", "ncols": columns}
    legend = figure.legend(list(entries.values()), list(entries), **place)
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D) and handle.get_linestyle() == "None":
            handle.set_color("0.5")


def save(figure: Figure, stem: str | PathLike[str]) -> list[Path]:
    """Write stem.png (200 dpi) and stem.pdf: each complete or absent, the same bytes every time.

    Args:
        figure: any figure.
        stem: the path without a suffix; its folder is made if it does not exist.

    Returns:
        The two paths.
    """
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    undated = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    return [_write(figure, stem, kind, metadata) for kind, metadata in undated.items()]


def _write(figure: Figure, stem: Path, kind: str, metadata: dict[str, None]) -> Path:
    content = BytesIO()
    with style():
        figure.savefig(content, format=kind, metadata=metadata)
    path = stem.with_name(f"{stem.name}.{kind}")
    beside = stem.with_name(f".{path.name}.{getpid()}")
    beside.write_bytes(content.getvalue())
    return beside.replace(path)
