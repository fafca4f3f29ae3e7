"""Which way a gradient goes: along the highway, through the gates, around the loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from throughtime.figures.panels import DOUBLE_COLUMN, TITLE, label, literal, spaced, style
from throughtime.medians import middle_and_band

COLUMNS = 3
"""Scales that are drawn, at most: the ends, and one between."""

PANEL, ROOM = 1.7, 0.8
"""Height of a row of panels, and of legend and labels, inches."""

LOOKS = {
    "whole": {"color": "black", "linewidth": 1.4},
    "highway": {"color": "C0"},
    "gates": {"color": "C1"},
    "recurrent": {"color": "C2"},
}
NORM = r"$\Vert\cdot\Vert$ relative to lag 0"


def gradient_paths(paths: pd.DataFrame) -> Figure:
    """The gradient of the memory by lag, whole and by path: a row a cell, a column a scale.

    Lines are medians over the networks with status `ok`, with the band between the 10% and the 90%
    order statistic. Paths may be far above the whole where they cancel. What nothing takes, as the
    loop at scale 0, has no line.

    Args:
        paths: what `frames.paths_frame` returns, of one sequence length.

    Returns:
        A double-column figure.

    Raises:
        ValueError: if no network is ok, or there are several lengths.
    """
    lengths = sorted(set(paths["sequence_length"]))
    if len(lengths) != 1:
        raise ValueError(f"a figure of paths shows one sequence length, not {lengths}.")
    cells, scales = sorted(set(paths["cell"])), spaced(np.unique(paths["recurrent_scale"]), COLUMNS)
    with style():
        figure = Figure(figsize=(DOUBLE_COLUMN, PANEL * len(cells) + ROOM))
        size = (len(cells), len(scales))
        grid = figure.subplots(*size, squeeze=False, sharex=True, sharey="row")
        named = {}
        for row, cell in zip(grid, cells, strict=True):
            for axes, scale in zip(row, scales, strict=True):
                one = paths[(paths["cell"] == cell) & (paths["recurrent_scale"] == scale)]
                _draw(axes, one)
                axes.set_title(literal(f"{cell}, scale {scale:g}", TITLE))
                named[f"{cell} {scale}"] = axes
        label(figure, f"lag $k$: steps before the last of $T={lengths[0]}$", NORM, named)
    return figure


def _draw(axes: Axes, paths: pd.DataFrame) -> None:
    """The lines of a panel, in decades relative to the whole at lag 0, which is the highway's."""
    norms = {
        name: one.pivot(index="lag", columns="seed", values="log_norm").to_numpy(np.float64)
        for name, one in paths.groupby("path")
    }
    for name, look in LOOKS.items():
        decades = (norms[name] - norms["whole"][:1]) / np.log(10)
        median, low, high = middle_and_band(decades)
        lags = np.flatnonzero(np.isfinite(median))
        axes.plot(lags, median[lags], label=name, **look)
        band = {"color": look["color"], "alpha": 0.15, "linewidth": 0}
        axes.fill_between(lags, low[lags], high[lags], **band)
    axes.yaxis.set_major_formatter(lambda y, _: rf"$10^{{{y:.0f}}}$")
