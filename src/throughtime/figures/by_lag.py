"""The gradient by lag: how far into the past it reaches, in every cell and at every scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from throughtime.figures.panels import check_one_setting, label, note, panels, spaced, style
from throughtime.medians import FRAME, RANGES, MedianCurve, median_curve
from throughtime.names import unknown

LOST = {"first_zero_lag": ("v", "exactly 0"), "first_inf_lag": ("^", "inf")}
ENDS = ("underflow", "overflow")
RANGE = r"range of floats if $\Vert dL/dh_T\Vert=1$"
GRADIENT = r"$\Vert dL/dh_{T-k}\Vert\,/\,\Vert dL/dh_T\Vert$"
# The last tenth of viridis is too bright for a line on white.
VIRIDIS = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))


def gradient_by_lag(
    curves: pd.DataFrame, rows: pd.DataFrame, sequence_length: int | None = None
) -> Figure:
    """How far into the past the gradient reaches: one panel a cell, one curve a recurrent scale.

    A curve is the median over the seeds with status `ok`; up to `NUM_LABELS` of the scales carry
    the band between the 10% and the 90% order statistic. Triangles sit at the lag by which plain
    BPTT in the run's own dtype has exactly 0 (or inf) in half of these seeds; the dashed lines, the
    ends of that dtype's range, are where this would happen for ||dL/dh_T|| = 1.

    Args:
        curves: columns cell, recurrent_scale, sequence_length, seed, lag, log_norm (natural log).
        rows: rows of the same runs, one per point and seed.
        sequence_length: which T to draw; the longest in `curves` by default.

    Returns:
        A figure, single-column for one cell and double-column for more.

    Raises:
        ValueError: for a length without curves, curves without a row, rows of several settings, no
            `ok` seed, or an `ok` curve with an undefined lag or no gradient at lag 0.
    """
    length = int(curves["sequence_length"].max()) if sequence_length is None else sequence_length
    curves, rows = _of_length(curves, length), _of_length(rows, length)
    points = _median_curves(curves, rows)
    scales = np.unique([scale for _, scale in points])
    colours, labelled, frame = _scale_colours(scales), spaced(scales), _frame(points.values())
    with style():
        figure, by_cell = panels(curves["cell"], row_height=2.0)
        for (cell, scale), curve in points.items():
            _draw_curve(by_cell[cell], curve, colours.to_rgba(scale), scale in labelled)
        for cell, axes in by_cell.items():
            axes.set(xlim=(0, 1.02 * (length - 1)), ylim=frame)
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: rf"$10^{{{y:.0f}}}$"))
            own = rows[rows["cell"] == cell]
            _draw_range(axes, own["dtype"].iloc[0], frame)
            _note_the_unseen(axes, [points[key] for key in points if key[0] == cell], frame)
            _note_the_left_out(axes, own["status"])
        bar = figure.colorbar(colours, ax=list(by_cell.values()), ticks=labelled, pad=0.01)
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda scale, _: f"{scale:.3g}"))
        bar.set_label("recurrent scale")
        label(figure, f"lag $k$: steps before the last of $T={length}$", GRADIENT, by_cell)
    return figure


def _of_length(frame: pd.DataFrame, length: int) -> pd.DataFrame:
    found = frame[frame["sequence_length"] == length]
    if found.empty:
        known = ", ".join(map(str, np.unique(frame["sequence_length"])))
        raise ValueError(f"no curves of sequence length {length}: there are {known}.")
    return found


def _median_curves(curves: pd.DataFrame, rows: pd.DataFrame) -> dict[Any, MedianCurve]:
    """One curve for every (cell, recurrent scale) that has an `ok` seed."""
    check_one_setting(rows)
    keys = ["cell", "recurrent_scale", "seed"]
    joined = curves.merge(rows[[*keys, "status"]], "left", keys, validate="many_to_one")
    if strangers := joined["status"].isna().sum():
        raise ValueError(f"{strangers} values of the curves belong to no row.")
    joined, rows = joined[joined["status"] == "ok"], rows[rows["status"] == "ok"]
    if joined.empty:
        raise ValueError("no seed has status ok: there is no curve to draw.")
    seeds = dict(iter(rows.groupby(keys[:2])))
    return {key: median_curve(lags, seeds[key]) for key, lags in joined.groupby(keys[:2])}


def _frame(curves: Iterable[MedianCurve]) -> tuple[float, float]:
    """The y limits: all that is finite up to ±`FRAME`, and a margin for the notes."""
    ends = np.concatenate([np.concatenate(curve[:3]) for curve in curves])
    ends = np.clip(ends[np.isfinite(ends)], -FRAME, FRAME)
    margin = 0.08 * np.ptp(ends) + 0.2
    return float(ends.min() - margin), float(ends.max() + margin)


def _scale_colours(scales: np.ndarray) -> ScalarMappable:
    """Logarithmic unless a scale is zero; a single scale sits in the middle."""
    low, high = (scales[0], scales[-1]) if scales.size > 1 else (scales[0] / 2, scales[0] * 2 or 1)
    return ScalarMappable(LogNorm(low, high) if low > 0 else Normalize(low, high), VIRIDIS)


def _draw_curve(
    axes: Axes, curve: MedianCurve, colour: tuple | np.ndarray, is_labelled: bool
) -> None:
    """The median, its band, where it becomes exactly zero, and where plain BPTT loses it."""
    lags, finite = np.arange(curve.median.size), np.isfinite(curve.median)
    width = 1.2 if is_labelled else 0.5
    axes.plot(lags, np.where(finite, curve.median, np.nan), color=colour, linewidth=width)
    if is_labelled:
        low = np.maximum(curve.low, -1e6)  # -inf, far below any frame
        axes.fill_between(lags, low, curve.high, finite, color=colour, alpha=0.2, linewidth=0)
    ends = np.flatnonzero(finite[:-1] & ~finite[1:])
    if ends.size:
        axes.plot(ends, curve.median[ends], "x", color=colour, label="gradient exactly 0", zorder=4)
    for name, (marker, what) in LOST.items():
        lag = curve.lost[name]
        if lag < curve.median.size and finite[int(lag)]:
            edge = {"markeredgecolor": "black", "markeredgewidth": 0.5, "zorder": 4}
            at = curve.median[int(lag)]
            axes.plot(lag, at, marker, color=colour, label=f"plain BPTT {what}", **edge)


def _draw_range(axes: Axes, dtype: str, frame: tuple[float, float]) -> None:
    """The ends of the dtype's range, where they lie within the frame."""
    if dtype not in RANGES:
        raise ValueError(unknown("dtype", dtype, RANGES))
    for exponent, what, side in zip(RANGES[dtype], ENDS, ("top", "bottom"), strict=True):
        decades = exponent * np.log10(2)
        if frame[0] < decades < frame[1]:
            axes.axhline(decades, color="0.35", linewidth=0.7, linestyle="--", label=RANGE)
            across = axes.get_yaxis_transform()
            note(axes, (0.0, decades), f"{dtype} {what}", va=side, xycoords=across)


def _note_the_unseen(axes: Axes, curves: list[MedianCurve], frame: tuple[float, float]) -> None:
    """Count the medians that leave the frame, and say how far they go."""
    for sign, end, arrow in ((1.0, frame[1], "↑"), (-1.0, -frame[0], "↓")):
        outward = [sign * curve.median for curve in curves]
        leaving = [m.max() for m in outward if (m[np.isfinite(m)] > end).any()]
        if leaving:
            goal = "0" if np.isinf(max(leaving)) else rf"$10^{{{sign * max(leaving):.0f}}}$"
            text = f"{arrow} {len(leaving)} of {len(curves)} curves, to {goal}"
            note(axes, (0.0, max(sign, 0.0)), text, va="top" if sign > 0 else "bottom")


def _note_the_left_out(axes: Axes, statuses: pd.Series) -> None:
    """Say beside the title how many networks are not in the medians."""
    counts = statuses[statuses != "ok"].value_counts().sort_index()
    if counts.size:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        axes.set_title(
            f"left out of {statuses.size}: {text}", loc="right", fontsize=6, color="0.25"
        )
