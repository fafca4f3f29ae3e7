"""How well one number of a network foretells another: rank correlation and AUC, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from throughtime.statistics.intervals import Interval
from throughtime.statistics.resampling import MOST_WITHOUT, RESAMPLES


class Prediction(NamedTuple):
    """How well a number foretells success.

    Attributes:
        value: an AUC or a rank correlation; NaN where it does not exist.
        interval: 95%, from resampled clusters; NaN where too few resamples have a value.
        num: networks.
        num_clusters: groups of networks that are alike, which were resampled.
    """

    value: float
    interval: Interval
    num: int
    num_clusters: int


def area_under_curve(
    scores: Float[np.ndarray, " n"],
    outcomes: Bool[np.ndarray, " n"],
    clusters: Shaped[np.ndarray, " n"],
) -> Prediction:
    """The chance that a success has a higher score than a failure, ties counted half.

        AUC = P(s_+ > s_-) + P(s_+ = s_-)/2 = (R_+ − n_+(n_+ + 1)/2) / (n_+ n_-)

    with R_+ the sum of the ranks of the successes.

    Args:
        scores: of each network; −inf ranks lowest.
        outcomes: whether it succeeded.
        clusters: labels; networks of one point are alike, and are resampled together.

    Returns:
        ½ says that the score foretells nothing; NaN where all succeeded or none did.

    References:
        Hanley, McNeil 1982, Radiology 143, 29; Efron, Tibshirani 1993, An introduction to the
        bootstrap, ch. 8 (clusters), 13 (percentile interval).
    """
    return _with_interval(_auc, scores, outcomes.astype(np.float64), clusters)


def rank_correlation(
    scores: Float[np.ndarray, " n"],
    outcomes: Float[np.ndarray, " n"],
    clusters: Shaped[np.ndarray, " n"],
) -> Prediction:
    """Spearman's rank correlation, ρ = corr(rank s, rank o), ties given their mean rank.

    Args:
        scores: of each network; −inf ranks lowest.
        outcomes: likewise.
        clusters: labels, as in `area_under_curve`.

    Returns:
        Between −1 and 1; NaN where one of both does not vary.

    References:
        Spearman 1904, Am. J. Psychol. 15, 72.
    """
    return _with_interval(_spearman, scores, outcomes, clusters)


def _auc(scores: np.ndarray, outcomes: np.ndarray) -> float:
    """The AUC of a sample."""
    from scipy.stats import rankdata

    won = outcomes > 0
    num_won, num_lost = int(won.sum()), int((~won).sum())
    if not (num_won and num_lost):
        return np.nan
    ranks = rankdata(scores)[won].sum()
    return float((ranks - num_won * (num_won + 1) / 2) / (num_won * num_lost))


def _spearman(scores: np.ndarray, outcomes: np.ndarray) -> float:
    """The rank correlation of a sample."""
    from scipy.stats import rankdata

    one, other = rankdata(scores), rankdata(outcomes)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])


def _with_interval(statistic: Callable, scores, outcomes, clusters) -> Prediction:
    """A statistic, and its percentile interval over resampled clusters."""
    if np.isnan(scores).any() or np.isnan(outcomes).any():
        raise ValueError("scores and outcomes must not be NaN: separate statuses first.")
    labels, members = np.unique(clusters, return_inverse=True)
    groups = [np.flatnonzero(members == i) for i in range(labels.size)]
    draws = np.random.default_rng(0).integers(labels.size, size=(RESAMPLES, labels.size))
    values = np.empty(RESAMPLES)
    for place, draw in enumerate(draws):
        chosen = np.concatenate([groups[i] for i in draw])
        values[place] = statistic(scores[chosen], outcomes[chosen])
    interval = Interval(np.nan, np.nan)
    # A resample without a value is one in which nothing varied; few of them do not matter.
    if labels.size > 1 and np.isnan(values).mean() < MOST_WITHOUT:
        low, high = np.nanquantile(values, [0.025, 0.975])
        interval = Interval(float(low), float(high))
    return Prediction(statistic(scores, outcomes), interval, scores.size, labels.size)
