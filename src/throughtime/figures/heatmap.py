"""The gradient left at the first step: a field over recurrent scale and sequence length."""

from __future__ import annotations

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
    check_one_setting(summary)
    medians = summary[f"{RATIO}_median"].to_numpy(np.float64)
    limit = min(np.abs(medians[np.isfinite(medians)]).max(initial=0.0), COLOUR_LIMIT) or 1.0
    norm = Normalize(-limit, limit)
    lengths = spaced(np.unique(summary["sequence_length"]))
    with style():
        figure, by_cell = panels(summary["cell"], row_height=1.7)
        for cell, axes in by_cell.items():
            _draw_heatmap(axes, summary[summary["cell"] == cell], norm)
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_yticks(lengths, [f"{length}" for length in lengths])
        beyond = bool((medians < -limit).any()), bool((medians > limit).any())
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
        bar = figure.colorbar(
            ScalarMappable(norm, COLOURS),
            ax=list(by_cell.values()),
            extend=extend.get(beyond, "neither"),
            pad=0.01,
        )
        bar.set_label("median " + END_RATIO)
        label(figure, "recurrent scale", "sequence length $T$", by_cell)
    return figure


def _draw_heatmap(axes: Axes, points: pd.DataFrame, norm: Normalize) -> None:
    """The field, its zero contour, and the points that are not `ok`."""
    field = points.pivot(
        index="sequence_length", columns="recurrent_scale", values=f"{RATIO}_median"
    )
    scales, lengths = field.columns.to_numpy(np.float64), field.index.to_numpy(np.float64)
    ratios = field.to_numpy(np.float64)
    x, y = _edges(scales), np.exp(_edges(np.log(lengths)))
    shown = np.ma.masked_invalid(np.clip(ratios, -1e6, 1e6))
    axes.pcolormesh(x, y, shown, norm=norm, cmap=COLOURS, rasterized=True)
    _draw_zero(axes, scales, lengths, np.ma.masked_invalid(ratios))
    for _, point in points[points["status"] != "ok"].iterrows():
        j, i = scales == point["recurrent_scale"], lengths == point["sequence_length"]
        corner = x[:-1][j].item(), y[:-1][i].item()
        size = np.diff(x)[j].item(), np.diff(y)[i].item()
        axes.add_patch(
            Rectangle(corner, *size, fill=False, linewidth=0, hatch="/////", label=NOT_OK)
        )


def _draw_zero(
    axes: Axes, scales: np.ndarray, lengths: np.ndarray, ratios: np.ma.MaskedArray
) -> None:
    """Where the ratio is 1; nothing interpolates against an infinite or undefined ratio."""
    signs = np.sign(ratios.compressed())
    if min(ratios.shape) > 1 and {-1, 1} <= set(signs):
        axes.contour(scales, lengths, ratios, levels=[0.0], colors="black", linewidths=1.0)
        axes.plot([], [], color="black", linewidth=1.0, label="median ratio 1")


def _edges(centres: np.ndarray) -> np.ndarray:
    """Midpoints, and as far beyond the ends."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
