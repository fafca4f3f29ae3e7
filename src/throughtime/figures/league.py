"""What gates do for gradients, cell by cell: stable bands side by side, and e-folds saved."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from throughtime.figures.panels import DOUBLE_COLUMN, label, literal, panels, style
from throughtime.options import InputError
from throughtime.tables import LIMITS, REFERENCE, bands_of

HEIGHT = 0.08
"""Of a bar, inches."""

MOST_PANELS = 30
"""Cells that are drawn over recurrent scale: those that save the most."""


def stable_bands(
    league: pd.DataFrame, limit: float = LIMITS[0], reference: str = REFERENCE
) -> Figure:
    """The stable band of every cell: a bar for each length, the cells in the order of the league.

    A bar spans the recurrent scales over which the median gradient changes by at most 10^±limit.
    An arrow marks a side on which it may reach further, and thin lines the exact 95% intervals of
    the low edge (below) and of the high one (above); a dot on the left says that the gradient
    survives nowhere. The bands of the reference are shaded through all lines.

    Args:
        league: what `tables.league` returns.
        limit: decades, of those in the league.
        reference: the ungated cell.

    Returns:
        A double-column figure.

    Raises:
        InputError: where the league has no bands of this limit.
    """
    bands = bands_of(league)
    if limit not in set(bands["limit"]):
        known = ", ".join(f"{x:g}" for x in sorted(set(bands["limit"])))
        raise InputError(f"The league has bands within {known} decades, not {limit:g}.")
    bands = bands[bands["limit"] == limit]
    cells = list(league["cell"])[::-1]
    lengths = sorted(bands["sequence_length"].unique())
    thickness = 0.8 / len(lengths)
    with style():
        height = HEIGHT * len(cells) * max(len(lengths), 2)
        figure = Figure(figsize=(DOUBLE_COLUMN, height + 0.9))
        axes = figure.subplots()
        axes.set(
            xlim=_around(bands["scale_min"].min(), bands["scale_max"].max()),
            ylim=(-0.6, len(cells) - 0.4),
        )
        for i, length in enumerate(lengths):
            own = bands[bands["sequence_length"] == length].set_index("cell").loc[cells]
            places = np.arange(len(cells)) + 0.4 - (i + 0.5) * thickness
            if reference in cells and np.isfinite(own.loc[reference, "low"]):
                ends = own.loc[reference, ["low", "high"]].astype(float)
                axes.axvspan(*ends, color=f"C{i}", alpha=0.12, linewidth=0, zorder=0)
            _draw_bars(axes, own, places, thickness, f"T = {length}", f"C{i}")
        axes.set_yticks(np.arange(len(cells)), [literal(cell) for cell in cells])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.3)
        axes.set_axisbelow(True)
        axes.set_xlabel(
            rf"recurrent scale (shaded: {reference}; bands: within $10^{{\pm {limit:g}}}$)"
        )
        figure.legend(loc="outside upper center", ncols=len(lengths))
    return figure


def _around(low: float, high: float) -> tuple[float, float]:
    """The limits of an axis on which both numbers can be seen."""
    margin = 0.03 * (high - low) or 0.1
    return low - margin, high + margin


def _draw_bars(
    axes: Axes, bands: pd.DataFrame, places: np.ndarray, thickness: float, name: str, colour: str
) -> None:
    """The bars of one length, with intervals of their edges and arrows on their open sides."""
    seen = np.isfinite(bands["low"].to_numpy(np.float64))
    own, at = bands[seen], places[seen]
    low, high = own["low"].to_numpy(np.float64), own["high"].to_numpy(np.float64)
    bars: BarContainer = axes.barh(at, high - low, thickness, low, color=colour, alpha=0.75)
    bars.set_label(name)
    for edge, x, away in (("low", low, -0.2), ("high", high, 0.2)):
        ends = own[[f"{edge}_low", f"{edge}_high"]].to_numpy(np.float64)
        shown = np.clip(ends, *axes.get_xlim()).T  # an end beyond what was measured leaves
        axes.hlines(at + away * thickness, *shown, color="0.15", linewidth=0.6)
        is_open = own[f"open_{edge}"].to_numpy(bool)
        marker = "<" if edge == "low" else ">"
        axes.plot(x[is_open], at[is_open], marker, color=colour, markersize=4, clip_on=False)
    nowhere = (bands["width"] == 0).to_numpy(bool) & ~seen
    left = bands["scale_min"].to_numpy(np.float64)
    axes.plot(left[nowhere], places[nowhere], ".", color=colour, markersize=2.5)


def mitigation_by_scale(mitigation: pd.DataFrame, most: int = MOST_PANELS) -> Figure:
    """E-folds of gradient saved per step over recurrent scale, a panel for each cell.

    A line for each length with the exact 95% interval of the median over pairs of the same seed.
    Below zero, where the gate makes it worse, the ground is red; a filled dot is decided, an open
    one is not. Nothing is drawn of an infinite gain.

    Args:
        mitigation: what `tables.mitigation_table` returns.
        most: panels; of more cells those with the highest median over scales at the longest
            sequences are drawn.

    Returns:
        A figure.

    Raises:
        InputError: for no lines.
    """
    if mitigation.empty:
        raise InputError("There is no mitigation to draw: no cell shares a scale with the other.")
    longest = mitigation[mitigation["sequence_length"] == mitigation["sequence_length"].max()]
    order = longest.groupby("cell")["saved"].median().sort_values(ascending=False)
    shown = mitigation[mitigation["cell"].isin(order.index[:most])]
    with style():
        figure, by_cell = panels(shown["cell"], row_height=1.4)
        ends = shown[["saved", "saved_low", "saved_high"]].to_numpy(np.float64)
        ends = ends[np.isfinite(ends)]
        lowest, highest = ends.min(initial=0.0), ends.max(initial=0.0)
        margin = 0.04 * (highest - lowest) or 0.1
        for cell, axes in by_cell.items():
            axes.axhspan(lowest - margin, 0, color="C1", alpha=0.12, linewidth=0)
            axes.axhline(0, color="0.3", linewidth=0.6)
            own = shown[shown["cell"] == cell]
            for i, (length, line) in enumerate(own.groupby("sequence_length")):
                _draw_saved(axes, line.sort_values("recurrent_scale"), f"T = {length}", f"C{2 * i}")
            axes.set_ylim(lowest - margin, highest + margin)
        label(figure, "recurrent scale", "e-folds of gradient saved per step", by_cell)
        worse = Patch(color="C1", alpha=0.12, label="worse than without the gate")
        figure.legend(handles=[worse], loc="outside lower right")
    return figure


def _draw_saved(axes: Axes, line: pd.DataFrame, name: str, colour: str) -> None:
    """One length of one cell."""
    numbers = line[["recurrent_scale", "saved", "saved_low", "saved_high"]].to_numpy(np.float64)
    scales, saved, low, high = np.where(np.isfinite(numbers), numbers, np.nan).T
    axes.plot(scales, saved, color=colour, label=name)
    axes.fill_between(scales, low, high, color=colour, alpha=0.25, linewidth=0)
    is_decided = (line["saved_word"] != "undecided").to_numpy(bool)
    axes.plot(scales[is_decided], saved[is_decided], "o", color=colour, markersize=2)
    axes.plot(scales[~is_decided], saved[~is_decided], "o", color=colour, markersize=2.5,
              markerfacecolor="white", markeredgewidth=0.6)  # fmt: skip
