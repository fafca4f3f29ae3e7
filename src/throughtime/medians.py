"""The curves of many networks as one: its median by lag, its band, and where plain floats lose it.

Shared by everything that draws gradients by lag, so that a figure and a page show one number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

FRAME = 60.0
"""Decades: no axis of gradients by lag reaches further."""

RANGES = {
    "float16": (-14, 16),
    "bfloat16": (-126, 128),
    "float32": (-126, 128),
    "float64": (-1022, 1024),
}
"""Binary exponents of the smallest normal number and of the end of the range."""

LOST = ("first_zero_lag", "first_inf_lag")
"""The columns of rows that say from which lag on plain floats hold a gradient no more."""


class MedianCurve(NamedTuple):
    """Median and 10-90% band over the `ok` seeds, in decades relative to lag 0, by lag.

    Attributes:
        median: log10 of the gradient relative to that at lag 0; -inf where it is exactly zero.
        low: the 10% order statistic.
        high: the 90% order statistic.
        lost: for each column of `LOST` the lag by which half the seeds are lost; inf where fewer
            ever are.
    """

    median: Float[np.ndarray, " T"]
    low: Float[np.ndarray, " T"]
    high: Float[np.ndarray, " T"]
    lost: dict[str, float]


def median_curve(curves: pd.DataFrame, rows: pd.DataFrame) -> MedianCurve:
    """The median curve of one point.

    Args:
        curves: seed, lag and log_norm (nats) of its `ok` networks.
        rows: their rows.

    Returns:
        Median, band and lost lags.

    Raises:
        ValueError: for a curve with an undefined lag, or with no gradient at lag 0.
    """
    norms = curves.pivot(index="lag", columns="seed", values="log_norm").to_numpy(np.float64)
    if not np.isfinite(norms[0]).all() or not (norms < np.inf).all():
        raise ValueError("a curve with status ok has an undefined lag, or no gradient at lag 0.")
    lost = {name: _half_lost(rows[name]) for name in LOST}
    return MedianCurve(*middle_and_band((norms - norms[0]) / np.log(10)), lost)


def middle_and_band(curves: Float[np.ndarray, "T n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lines drawn of several curves: at every lag the median and the band around it.

    Args:
        curves: one in each column, of any unit.

    Returns:
        The median, and the 10% and the 90% order statistic, ``(T,)`` each.
    """
    low = np.quantile(curves, 0.1, axis=1, method="lower")
    high = np.quantile(curves, 0.9, axis=1, method="higher")
    return np.median(curves, axis=1), low, high


def _half_lost(lags: pd.Series) -> float:
    """The lag by which half the seeds are lost; inf where fewer ever are."""
    never = lags.astype("Float64").fillna(np.inf).to_numpy(np.float64)
    return float(np.quantile(never, 0.5, method="lower"))
