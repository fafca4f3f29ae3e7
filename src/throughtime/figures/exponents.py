"""Lyapunov exponents: the leading one against recurrent scale, and whole spectra."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from throughtime.figures.by_lag import VIRIDIS
from throughtime.figures.panels import check_one_setting, label, note, panels, spaced, style
from throughtime.tables import EXPONENT

NOT_OK = "not every network ok"
NATS = "nats per step"
THEORY = {"color": "black", "linestyle": "--", "linewidth": 0.9}


def exponent_by_scale(summary: pd.DataFrame, predictions: pd.DataFrame) -> Figure:
    """The leading exponent over recurrent scale: one panel a cell, theory dashed.

    The line is the median over networks, the band reaches from their 10% to their 90% order
    statistic. Below the grey line gradients vanish, above it they explode. Points whose networks
    are not all `ok` have open markers; where none is, there is no point, and a note says so.

    Args:
        summary: what `tables.summarise` returns, of spectra.
        predictions: columns cell, source, recurrent_scale, exponent.

    Returns:
        A figure, single-column for one cell and double-column for more.

    Raises:
        ValueError: where more than recurrent scale and sequence length vary within a cell.
    """
    check_one_setting(summary)
    with style():
        figure, by_cell = panels(summary["cell"], row_height=1.9)
        for cell, axes in by_cell.items():
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
            for length, points in summary[summary["cell"] == cell].groupby("sequence_length"):
                _draw_exponents(axes, points.sort_values("recurrent_scale"), f"$T={length}$")
            for source, curves in predictions[predictions["cell"] == cell].groupby("source"):
                _draw_predictions(axes, curves, str(source))
        label(figure, "recurrent scale", rf"leading exponent $\lambda_1$, {NATS}", by_cell)
    return figure


def _draw_exponents(axes: Axes, points: pd.DataFrame, name: str) -> None:
    """Median, band, and open markers where a network is not ok."""
    scales = points["recurrent_scale"].to_numpy(np.float64)
    median, low, high = (
        points[f"{EXPONENT}_{part}"].to_numpy(np.float64) for part in ("median", "q10", "q90")
    )
    (line,) = axes.plot(scales, median, "-", label=name)
    axes.fill_between(scales, low, high, alpha=0.25, linewidth=0, color=line.get_color())
    mixed = (points["status"] != "ok").to_numpy() & np.isfinite(median)
    marked = {"marker": "o", "linestyle": "None", "markersize": 3, "markerfacecolor": "white"}
    if mixed.any():
        axes.plot(scales[mixed], median[mixed], color=line.get_color(), label=NOT_OK, **marked)
    if lost := int((~np.isfinite(median)).sum()):
        note(axes, (0.02, 0.02), f"{lost} scales without a finite exponent", va="bottom", ha="left")


def _draw_predictions(axes: Axes, curves: pd.DataFrame, source: str) -> None:
    """A dashed curve, in pieces where scales jump; a cross for a single value."""
    x = curves["recurrent_scale"].to_numpy(np.float64)
    y = curves["exponent"].to_numpy(np.float64)
    steps = np.diff(x)
    cuts = np.flatnonzero(steps > 3 * np.median(steps)) + 1 if steps.size else []
    for xs, ys in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
        if xs.size == 1:
            axes.plot(xs, ys, "x", color="black", markersize=5, label="known value")
        else:
            axes.plot(xs, ys, label=source, **THEORY)


def spectra(exponents: pd.DataFrame) -> Figure:
    """All measured exponents of the state, sorted: one panel a cell, one curve a recurrent scale.

    A curve is the median over the networks with status `ok`. Exponents of −∞ (lost directions) are
    below every axis; a note counts them.

    Args:
        exponents: columns cell, recurrent_scale, seed, fraction ((i − ½)/n), exponent.

    Returns:
        A figure, single-column for one cell and double-column for more.

    Raises:
        ValueError: if no network is ok.
    """
    if exponents.empty:
        raise ValueError("no network has status ok: there is no spectrum to draw.")
    scales = np.unique(exponents["recurrent_scale"])
    shown = spaced(scales)
    with style():
        figure, by_cell = panels(exponents["cell"], row_height=1.9)
        for cell, axes in by_cell.items():
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
            own = exponents[exponents["cell"] == cell]
            for scale, one in own[own["recurrent_scale"].isin(shown)].groupby("recurrent_scale"):
                median = one.groupby("fraction")["exponent"].median()
                place = np.flatnonzero(shown == scale).item() / max(len(shown) - 1, 1)
                axes.plot(median, color=VIRIDIS(place), label=f"{scale:g}")
            if lost := int(np.isneginf(own["exponent"]).sum()):
                note(axes, (0.02, 0.02), f"{lost} exponents are −∞", va="bottom", ha="left")
        label(figure, "fraction of the exponents", rf"exponent $\lambda_i$, {NATS}", by_cell)
    return figure
