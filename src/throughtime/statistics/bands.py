"""The recurrent scales over which a gradient survives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from throughtime.statistics.curves import FACTOR


class Band(NamedTuple):
    """An interval of recurrent scale; on an open side it may reach beyond what was measured."""

    low: float
    high: float
    open_low: bool
    open_high: bool


def survival_bands(
    scales: Float[np.ndarray, " s"],
    log10_ratios: Float[np.ndarray, " s"],
    limit: float = FACTOR,
) -> list[Band]:
    """The intervals of recurrent scale over which the gradient stays within 10^±limit.

        {g : |r(g)| ≤ limit},   r linear between neighbouring scales

    A ratio that leaps from -3 to +4 between two scales therefore has its band in between. Nothing
    interpolates against an infinite ratio: there the band ends at the last finite grid point, an
    inner bound of the true edge that lies before the next one. At the ends of the grid, and next
    to an undefined (NaN) ratio, the edge was not seen and the band is open.

    Args:
        scales: recurrent scales, strictly increasing.
        log10_ratios: median log10 of ||dL/dh_1|| / ||dL/dh_T|| at each scale, decades.
        limit: decades, not negative.

    Returns:
        Disjoint bands in ascending order; none where the gradient survives nowhere.

    Raises:
        ValueError: where the scales do not increase, or limit is negative.
    """
    if not (np.diff(scales) > 0).all():
        raise ValueError(f"recurrent scales must increase strictly, got {scales.tolist()}.")
    if not limit >= 0:
        raise ValueError(f"limit must not be negative, got {limit}.")
    unseen = np.isnan(np.concatenate([[np.nan], log10_ratios, [np.nan]]))
    open_low, open_high = set(scales[unseen[:-2]]), set(scales[unseen[2:]])
    pieces = _merged(_pieces(scales, log10_ratios, limit))
    return [Band(low, high, low in open_low, high in open_high) for low, high in pieces]


def _pieces(scales: np.ndarray, ratios: np.ndarray, limit: float) -> list[tuple[float, float]]:
    """Where |r| ≤ limit: at every grid point by itself, then between every two neighbours."""
    inside = [(float(s), float(s)) for s in scales[np.abs(ratios) <= limit]]
    for i in np.flatnonzero(np.isfinite(ratios[:-1]) & np.isfinite(ratios[1:])):
        inside += _segment(scales[i : i + 2], ratios[i : i + 2], limit)
    return sorted(inside)


def _segment(scales: np.ndarray, ratios: np.ndarray, limit: float) -> list[tuple[float, float]]:
    """Where |r| ≤ limit on one straight segment: one piece, or none."""
    order = np.argsort(ratios)
    lowest, highest = ratios[order]
    if lowest > limit or highest < -limit:
        return []
    if lowest == highest:
        return [(float(scales[0]), float(scales[1]))]
    edges = np.interp(np.clip([-limit, limit], lowest, highest), ratios[order], scales[order])
    return [(float(edges.min()), float(edges.max()))]


def _merged(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of sorted intervals as disjoint ones."""
    union: list[tuple[float, float]] = []
    for low, high in pieces:
        if union and low <= union[-1][1]:
            start, end = union.pop()
            low, high = start, max(high, end)
        union.append((low, high))
    return union
