"""The gradient left at the first step: a field over recurrent scale and one thing more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from throughtime.figures.panels import check_one_setting, label, panels, spaced, style
from throughtime.tables import RATIO

COLOUR_LIMIT = 20.0
"""Decades at which the colours of a heat map end."""

COLOURS = "RdBu_r"
LIMIT = r"theory, $N\to\infty$"
NOT_OK = "not every seed ok"
END_RATIO = r"$\log_{10}\,\Vert dL/dh_1\Vert\,/\,\Vert dL/dh_T\Vert$"


def ratio_heatmap(summary: pd.DataFrame) -> Figure:
    """How much of the gradient is left at the first step, over recurrent scale and length.

    One panel a cell; blue vanishes, red explodes, the line is where the median ratio is 1. Colours
    end at ±`COLOUR_LIMIT` decades. A point is hatched where its status is not `ok`, and blank where
    there is no number.

    Args:
        summary: what `tables.summarise` returns.

    Returns:
        A figure, single-column for one cell and double-column for more.

    Raises:
        ValueError: where more than recurrent scale and sequence length vary within a cell.
    """
    return _heatmap(summary, Across("sequence_length", "sequence length $T$", is_log=True))


def phase_diagram(summary: pd.DataFrame, edges: pd.DataFrame | None = None) -> Figure:
    """How much of the gradient is left at the first step, over recurrent scale and input scale.

    As `ratio_heatmap`: the line between blue and red is the edge, which a stronger input moves.

    Args:
        summary: what `tables.summarise` returns, of one sequence length.
        edges: where theory has the edge, columns cell, input_scale and recurrent_scale.

    Returns:
        A figure, single-column for one cell and double-column for more.

    Raises:
        ValueError: where more than recurrent scale and input scale vary within a cell.
    """
    lengths = sorted(set(summary["sequence_length"]))
    if len(lengths) != 1:
        raise ValueError(f"a phase diagram shows one sequence length, not {lengths}.")
    across = Across("input_scale", f"input scale, $T={lengths[0]}$", is_log=False)
    return _heatmap(summary, across, edges)


class Across(NamedTuple):
    """What the vertical axis of a heat map is.

    Attributes:
        column: of the summary.
        name: beside the axis.
        is_log: whether it is spaced by ratios.
    """

    column: str
    name: str
    is_log: bool


def _heatmap(summary: pd.DataFrame, across: Across, edges: pd.DataFrame | None = None) -> Figure:
    """A field for each cell, and the edge of theory where there is one."""
    check_one_setting(summary.drop(columns=across.column).assign(sequence_length=0))
    medians = summary[f"{RATIO}_median"].to_numpy(np.float64)
    limit = min(np.abs(medians[np.isfinite(medians)]).max(initial=0.0), COLOUR_LIMIT) or 1.0
    norm = Normalize(-limit, limit)
    marks = spaced(np.unique(summary[across.column]))
    with style():
        figure, by_cell = panels(summary["cell"], row_height=1.7)
        for cell, axes in by_cell.items():
            _draw_heatmap(axes, summary[summary["cell"] == cell], norm, across)
            if edges is not None and len(own := edges[edges["cell"] == cell]):
                line = {"color": "black", "linestyle": "--", "linewidth": 1.0}
                axes.plot(own["recurrent_scale"], own[across.column], label=LIMIT, **line)
            axes.set_yscale("log" if across.is_log else "linear")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
        beyond = bool((medians < -limit).any()), bool((medians > limit).any())
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
        bar = figure.colorbar(
            ScalarMappable(norm, COLOURS),
            ax=list(by_cell.values()),
            extend=extend.get(beyond, "neither"),
            pad=0.01,
        )
        bar.set_label("median " + END_RATIO)
        label(figure, "recurrent scale", across.name, by_cell)
    return figure


def _draw_heatmap(axes: Axes, points: pd.DataFrame, norm: Normalize, across: Across) -> None:
    """The field, its zero contour, and the points that are not `ok`."""
    field = points.pivot(index=across.column, columns="recurrent_scale", values=f"{RATIO}_median")
    scales, others = field.columns.to_numpy(np.float64), field.index.to_numpy(np.float64)
    ratios = field.to_numpy(np.float64)
    x, y = _edges(scales), np.exp(_edges(np.log(others))) if across.is_log else _edges(others)
    shown = np.ma.masked_invalid(np.clip(ratios, -1e6, 1e6))
    axes.pcolormesh(x, y, shown, norm=norm, cmap=COLOURS, rasterized=True)
    _draw_zero(axes, scales, others, np.ma.masked_invalid(ratios))
    for _, point in points[points["status"] != "ok"].iterrows():
        j, i = scales == point["recurrent_scale"], others == point[across.column]
        corner = x[:-1][j].item(), y[:-1][i].item()
        size = np.diff(x)[j].item(), np.diff(y)[i].item()
        axes.add_patch(
            Rectangle(corner, *size, fill=False, linewidth=0, hatch="/////", label=NOT_OK)
        )


def _draw_zero(
    axes: Axes, scales: np.ndarray, others: np.ndarray, ratios: np.ma.MaskedArray
) -> None:
    """Where the ratio is 1; nothing interpolates against an infinite or undefined ratio."""
    signs = np.sign(ratios.compressed())
    if min(ratios.shape) > 1 and {-1, 1} <= set(signs):
        axes.contour(scales, others, ratios, levels=[0.0], colors="black", linewidths=1.0)
        axes.plot([], [], color="black", linewidth=1.0, label="median ratio 1")


def _edges(centres: np.ndarray) -> np.ndarray:
    """Midpoints, and as far beyond the ends."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
