"""The recurrent scale at which gradients stop vanishing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from throughtime.statistics.intervals import Interval, quantile_interval
from throughtime.statistics.resampling import medians


class CriticalScale(NamedTuple):
    """A median crossing; −inf and +inf say below and above every scale that was measured.

    Attributes:
        value: recurrent scale; NaN where no network has a crossing, or the two middle ones lie
            beyond opposite ends.
        interval: exact 95% interval of the median; NaN for fewer than six networks.
        num: networks with a crossing, or with one beyond an end.
    """

    value: float
    interval: Interval
    num: int


def critical_scale(
    scales: Float[np.ndarray, " s"], rates: Float[np.ndarray, "s n"]
) -> CriticalScale:
    """Where the rate of the gradient crosses zero: per network, then the median over networks.

        g_c = g_i + (g_{i+1} − g_i) · r_i / (r_i − r_{i+1}),   r_i < 0 ≤ r_{i+1}

    with i the last scale at which the rate is negative: of several upward crossings the lowest one
    that stays. Nothing is extrapolated: a network whose last rate is negative crosses above the
    grid, one without a negative rate below it. Nothing interpolates against a rate of −inf: there
    the crossing is the next scale, an upper bound of the true one less than a step below it.

    Args:
        scales: recurrent scales, strictly increasing.
        rates: of each network, nats per step; NaN where it has none.

    Returns:
        The median crossing. A network whose crossing may lie beside an unknown rate is left out
        of `num`; unknown rates elsewhere are passed over.

    Raises:
        ValueError: where the scales do not increase.
    """
    if not (np.diff(scales) > 0).all():
        raise ValueError(f"recurrent scales must increase strictly, got {scales.tolist()}.")
    crossings = np.array([_crossing(scales, own) for own in rates.T], np.float64)
    known = crossings[~np.isnan(crossings)]
    if known.size == 0:
        return CriticalScale(np.nan, Interval(np.nan, np.nan), 0)
    return CriticalScale(float(medians(known)), quantile_interval(known), known.size)


def _crossing(scales: np.ndarray, rates: np.ndarray) -> float:
    """Where one network's rate crosses zero for the last time; ±inf beyond what is known."""
    negative = np.flatnonzero(rates < 0)
    if negative.size == 0:
        return -np.inf if rates[0] >= 0 else np.nan
    last = negative[-1]
    if last == rates.size - 1:
        return np.inf
    if np.isneginf(rates[last]) and rates[last + 1] >= 0:
        return float(scales[last + 1])
    share = rates[last] / (rates[last] - rates[last + 1])  # NaN beside an unknown rate
    return float(scales[last] + share * (scales[last + 1] - scales[last]))
