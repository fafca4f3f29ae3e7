"""Training: who solves a task at which length, and what gradients do meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from throughtime.figures.panels import DOUBLE_COLUMN, SINGLE_COLUMN, literal, style

OFFSET = 0.12
"""Between the markers of neighbouring series at one length, in shares of the lengths' spacing."""


def success_by_length(summary: pd.DataFrame) -> Figure:
    """The share of networks that solved the task over the length of its sequences, one line a cell.

    Bars are 95% intervals of the share (Wilson); series are set a little apart.

    Args:
        summary: what `tables.summarise` returns, of trainings, where a cell is one setting.

    Returns:
        A single-column figure.
    """
    names = list(dict.fromkeys(summary["cell"]))
    lengths = np.unique(summary["sequence_length"])
    spacing = np.diff(lengths).min() if lengths.size > 1 else 1
    with style():
        figure = Figure(figsize=(SINGLE_COLUMN, 2.6))
        axes = figure.subplots()
        for place, name in enumerate(names):
            own = summary[summary["cell"] == name].sort_values("sequence_length")
            share = own["share_solved"].to_numpy(np.float64)
            ends = own[["share_solved_low", "share_solved_high"]].to_numpy(np.float64).T
            shift = OFFSET * spacing * (place - (len(names) - 1) / 2) / max(len(names) - 1, 1)
            bars = np.abs(ends - share)
            x = own["sequence_length"] + shift
            axes.errorbar(
                x, share, bars, marker="o", markersize=3, elinewidth=0.7, label=literal(name)
            )
        axes.set(xlabel="sequence length $T$", ylabel="share of networks that solved it")
        axes.set(ylim=(-0.05, 1.05), xticks=lengths)
        columns = _columns(names, figure)
        figure.legend(loc="outside upper center", ncols=columns)
    return figure


def loss_by_update(course: pd.DataFrame) -> Figure:
    """Loss over updates: solid on the validation set, dotted in training.

    Medians over all networks: one that has solved its task or diverged stays as it was.

    Args:
        course: what `frames.course_frame` returns.

    Returns:
        A figure with a panel for each length; the baseline, the best answer that ignores the
        inputs, is a grey line.
    """

    def draw(axes: Axes, one: pd.DataFrame, name: str) -> None:
        lines = one.groupby("updates")[["validation_loss", "train_loss"]].median()
        (line,) = axes.plot(lines["validation_loss"].dropna(), label=literal(name))
        axes.plot(lines["train_loss"].dropna(), ":", color=line.get_color(), linewidth=0.8)
        for value in one["baseline"].dropna().unique():
            axes.axhline(value, color="0.6", linewidth=0.6, zorder=0)

    figure, grid = _panels(course, draw)
    for axes in grid:
        axes.set_yscale("log")
    figure.supylabel("loss", fontsize="medium")
    return figure


def horizon_by_update(course: pd.DataFrame) -> Figure:
    """How far back the gradient reaches while networks train: median and 10–90% band.

    A network that has solved its task or diverged stays as it was.

    The horizon is the largest lag whose gradient is still 1% of the last step's; the grey line is
    the sequence's own end, beyond which nothing can be seen.

    Args:
        course: what `frames.course_frame` returns.

    Returns:
        A figure with a panel for each length.
    """

    def draw(axes: Axes, one: pd.DataFrame, name: str) -> None:
        by_update = one.groupby("updates")["horizon"]
        (line,) = axes.plot(by_update.median(), label=literal(name))
        low, high = by_update.quantile(0.1), by_update.quantile(0.9)
        axes.fill_between(low.index, low, high, alpha=0.2, linewidth=0, color=line.get_color())
        axes.axhline(one["sequence_length"].iloc[0] - 1, color="0.6", linewidth=0.6, zorder=0)

    figure, grid = _panels(course, draw)
    for axes in grid:
        axes.set_ylim(bottom=0)
    figure.supylabel("horizon, steps", fontsize="medium")
    return figure


def _panels(course: pd.DataFrame, draw) -> tuple[Figure, list[Axes]]:
    """A panel for each length, in each of which every cell is drawn; one legend."""
    lengths = np.unique(course["sequence_length"])
    columns = 2 if len(lengths) == 4 else min(len(lengths), 3)
    rows = -(-len(lengths) // columns)
    with style():
        figure = Figure(figsize=(DOUBLE_COLUMN, 2.0 * rows + 0.6))
        grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for axes in grid[len(lengths) :]:
            axes.remove()
        grid = grid[: len(lengths)]
        for length, axes in zip(lengths, grid, strict=True):
            axes.set_title(f"$T={length}$")
            # A second round of colours is dashed.
            axes.set_prop_cycle(cycler(linestyle=["-", "--"]) * rcParams["axes.prop_cycle"])
            of_length = course[course["sequence_length"] == length]
            for name in dict.fromkeys(of_length["cell"]):
                draw(axes, _carried_on(of_length[of_length["cell"] == name]), str(name))
        _legend(figure, grid)
        figure.supxlabel("updates", fontsize="medium")
    return figure, grid


def _legend(figure: Figure, grid: list[Axes]) -> None:
    """One legend: above several panels, beside a single one."""
    entries = {}
    for axes in grid:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    place: Any = "outside right upper" if len(grid) == 1 else "outside upper center"
    columns = 1 if len(grid) == 1 else _columns(entries, figure)
    figure.legend(entries.values(), entries, ncols=columns, loc=place)


def _columns(names: Iterable[str], figure: Figure) -> int:
    """As many columns of a legend as fit across: about 14 letters an inch."""
    return max(1, min(3, int(14 * figure.get_figwidth()) // (max(map(len, names)) + 8)))


def _carried_on(course: pd.DataFrame) -> pd.DataFrame:
    """A row for each network at every look of any of them: after its last, as it was then."""
    looks = pd.MultiIndex.from_product(
        [course["seed"].unique(), np.sort(course["updates"].unique())], names=["seed", "updates"]
    )
    indexed = course.set_index(["seed", "updates"]).reindex(looks)
    return indexed.groupby(level="seed").ffill().reset_index()
