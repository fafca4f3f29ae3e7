"""Remedies side by side: who solves the task, after how long, at which price."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from throughtime.figures.panels import DOUBLE_COLUMN, literal, style

HEIGHT = 0.17
"""Of a line, inches."""


def remedies(summary: pd.DataFrame) -> Figure:
    """One line a setting: share solved, updates to solve, horizon before and after, price.

    Bars of the share are 95% intervals (Wilson). The horizon is that of the gradient at the start
    of training (open circle) and at its end (dot). The price is the time of an update, in units of
    the first setting without a remedy. Settings are sorted by success, then by updates.

    Args:
        summary: what `tables.summarise` returns, of trainings of one length, where a cell is one
            setting.

    Returns:
        A double-column figure.
    """
    order = summary.sort_values(
        ["share_solved", "updates_to_solve_median", "error_median"], ascending=[True, False, False]
    ).reset_index(drop=True)
    lines = np.arange(len(order))
    with style():
        figure = Figure(figsize=(DOUBLE_COLUMN, HEIGHT * len(order) + 0.9))
        share, updates, horizon, price = figure.subplots(1, 4, sharey=True)
        _draw_shares(share, order, lines)
        updates.plot(order["updates_to_solve_median"], lines, "o", markersize=3)
        updates.set(xlabel="updates to solve", xlim=(0, None))
        start, end = order["horizon_at_start_median"], order["horizon_at_end_median"]
        horizon.hlines(lines, start, end, linewidth=0.7, color="0.6")
        horizon.plot(start, lines, "o", markersize=3, markerfacecolor="white")
        horizon.plot(end, lines, "o", markersize=3, color="C0")
        horizon.set(xlabel="horizon, steps", xlim=(0, None))
        plain = _plain(order)
        price.plot(order["milliseconds_per_update"] / plain, lines, "o", markersize=3)
        price.set(xlabel="time of an update", xlim=(0, None))
        share.set_yticks(lines, order["cell"].map(literal))
        for axes in (share, updates, horizon, price):
            axes.grid(axis="y", linewidth=0.3)
    return figure


def _draw_shares(axes: Axes, order: pd.DataFrame, lines: np.ndarray) -> None:
    """Shares with their intervals."""
    share = order["share_solved"].to_numpy(np.float64)
    ends = order[["share_solved_low", "share_solved_high"]].to_numpy(np.float64).T
    axes.errorbar(share, lines, xerr=np.abs(ends - share), fmt="o", markersize=3, elinewidth=0.7)
    axes.set(xlabel="share solved", xlim=(-0.05, 1.05))


def _plain(order: pd.DataFrame) -> float:
    """The time of an update without a remedy; of the cheapest setting where all have one."""
    without = order.loc[~order["cell"].str.contains(", "), "milliseconds_per_update"]
    return float((without if len(without) else order["milliseconds_per_update"]).min())
