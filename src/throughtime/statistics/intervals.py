"""Intervals over seeds: of a quantile, and of a share."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import bdtr, bdtrc


class Interval(NamedTuple):
    """A confidence interval; NaN on a side that the sample is too small to bound."""

    low: float
    high: float


def quantile_interval(
    values: Float[np.ndarray, " n"], probability: float = 0.5, confidence: float = 0.95
) -> Interval:
    """The exact distribution-free interval of a quantile, between two order statistics.

        P(X_(l) ≤ q ≤ X_(u)) ≥ confidence,   P(q < X_(l)) = P(Bin(n, p) < l)

    with either tail at most (1 - confidence)/2. It only ranks, so -inf is a value like any other.

    Args:
        values: the sample; no NaN.
        probability: which quantile, in (0, 1).
        confidence: in (0, 1).

    Returns:
        Two values of the sample; NaN on a side where n is too small (the median at 95%: n < 6).

    Raises:
        ValueError: for NaN values, or a probability or confidence outside (0, 1).

    References:
        Conover, Practical Nonparametric Statistics, section 3.2.
    """
    for name, number in (("probability", probability), ("confidence", confidence)):
        if not 0 < number < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {number}.")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} values are NaN: separate statuses first.")
    ranked = np.concatenate([[np.nan], np.sort(values), [np.nan]])
    low, high = _interval_ranks(values.size, probability, confidence)
    return Interval(float(ranked[low]), float(ranked[high]))


def share_interval(count: int, total: int, confidence: float = 0.95) -> Interval:
    """The interval of a share, as of networks that solved a task (Wilson's score interval).

    Args:
        count: how many did.
        total: of how many, >= 1.
        confidence: of the interval.

    Returns:
        Its ends, within [0, 1].

    References:
        Wilson 1927, J. Am. Stat. Assoc. 22, 209; Brown, Cai, DasGupta 2001, Interval estimation
        for a binomial proportion.
    """
    from scipy.stats import binomtest  # half a second, which a sweep need not wait for

    found = binomtest(count, total).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


@cache
def _interval_ranks(count: int, probability: float, confidence: float) -> tuple[int, int]:
    """Ranks (1 … n) of the bounding order statistics; 0 and n + 1 where there is none."""
    tail = (1 - confidence) / 2
    below = bdtr(np.arange(count), count, probability)
    above = bdtrc(np.arange(count), count, probability)
    return int((below <= tail).sum()), count + 1 - int((above <= tail).sum())
