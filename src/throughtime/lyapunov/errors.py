"""How far to trust an exponent: its statistical error by blocks of time, and whether it drifts.

The growth of successive steps is correlated, so that the plain standard error of a mean is too
small. Blocks of time that are long beside the correlation are nearly independent.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import correlate
from scipy.stats import kendalltau, ttest_ind_from_stats

from throughtime.lyapunov.orbit import STATUSES
from throughtime.lyapunov.spectrum import LyapunovSpectrum

FEWEST_BLOCKS = 10
"""Fewer would not say how much they differ."""

FALSE_ALARM = 0.01
"""The share of stationary spectra that are called not converged, all their exponents together."""


class ExponentErrors(NamedTuple):
    """What the growth of an orbit says about the error of its exponents, nats per step.

    Attributes:
        standard_error: ``(k,)``; 0 for an exponent of −inf, NaN where it cannot be told: an orbit
            that is not finite, or of fewer than 20 steps.
        low: the lower end of the 95% interval, ``(k,)``; −inf below the floor of the dtype.
        high: its upper end, ``(k,)``; at least the floor; NaN where a leading direction was
            rounded away and nothing is known of it.
        drift: the mean of the later half of the blocks less that of the earlier, ``(k,)``.
        converged: whether the drift is no larger than chance makes it, ``(k,)``.
        block_length: steps per block.
    """

    standard_error: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    drift: Float[np.ndarray, " k"]
    converged: Bool[np.ndarray, " k"]
    block_length: int


def exponent_errors(
    spectrum: LyapunovSpectrum, *, tolerance: float = 1e-3, resamples: int = 999, seed: int = 0
) -> ExponentErrors:
    """Standard errors and 95% intervals of the exponents by the block bootstrap, on the host.

    The S steps are cut into m blocks of equal length, m blocks are drawn with replacement (the same
    for all exponents) and averaged; the percentiles of these means, widened by √(m/(m−1)), are the
    interval. The block length is the longest that `block_length` asks for, and at most S/10.

    An exponent has converged unless the halves of the orbit differ by more than the tolerance, and
    chance does not explain it: by a t-test of their blocks, which sees a step, or by Kendall's rank
    correlation of blocks with time, which sees a slow approach (1% false alarms in all). An orbit
    on a long chaotic transient passes for one on an attractor.

    Args:
        spectrum: of one orbit, no batch axis.
        tolerance: a drift that does not matter, nats per step.
        resamples: how many means are drawn.
        seed: of the draws.

    Returns:
        `ExponentErrors`. They hold for this orbit's law, not for another network's.

    References:
        Carlstein 1986, Ann. Stat. 14, 1171 (blocks that do not overlap); Künsch 1989; Lahiri 2003,
        Resampling methods for dependent data.
    """
    growth = np.asarray(spectrum.growth, np.float64)
    steps, k = growth.shape
    if np.isnan(growth).any() or steps < 2 * FEWEST_BLOCKS:
        unknown = np.full(k, np.nan)
        return ExponentErrors(unknown, unknown, unknown, unknown, np.zeros(k, bool), 1)
    finite = np.asarray(np.isfinite(growth).all(axis=0))
    length = _common_length(growth[:, finite])
    blocks = growth[steps % length :, finite]
    blocks = blocks.reshape(steps // length, length, finite.sum()).mean(axis=1)
    deviations = _deviations(blocks, resamples, seed)
    drift, p_value = _drift(blocks)
    mean = growth.mean(axis=0)
    low, high = mean[finite] + np.quantile(deviations, [0.025, 0.975], axis=0)
    floor = float(spectrum.floor)
    unresolved = np.isfinite(mean) & (mean < floor)

    def among_all(values, otherwise):
        return _filled(values, otherwise, finite)

    return ExponentErrors(
        among_all(deviations.std(axis=0, ddof=1), 0.0),
        np.where(unresolved, -np.inf, among_all(low, -np.inf)),
        np.where(unresolved, floor, among_all(high, _highest_of_the_lost(spectrum))),
        among_all(drift, 0.0),
        among_all((np.abs(drift) <= tolerance) | ~(p_value * k < FALSE_ALARM), 1.0).astype(bool),
        length,
    )


def _highest_of_the_lost(spectrum: LyapunovSpectrum) -> float:
    """Upper bound of an exponent of −inf: −inf, unless units saturate.

    Then it is the resolution of the dtype, where there is one: where the leading direction itself
    was rounded away nothing is known.
    """
    if not np.asarray(spectrum.rounded):
        return -np.inf
    return float(spectrum.floor) if np.isfinite(spectrum.floor) else np.nan


def status_of(spectrum: LyapunovSpectrum, *, tolerance: float = 1e-3) -> str:
    """The standing of a spectrum in one word of `STATUSES`.

    Args:
        spectrum: of one orbit, no batch axis.
        tolerance: a drift that does not matter, nats per step.

    Returns:
        "nonfinite" or "collapsed", with `first_bad_step`; "not_converged" if any of the exponents
        has not, or the orbit is shorter than 20 steps; else "ok".
    """
    word = STATUSES[int(spectrum.status)]
    settled = word != "ok" or exponent_errors(spectrum, tolerance=tolerance).converged.all()
    return word if settled else "not_converged"


def block_length(series: Float[np.ndarray, " T"]) -> float:
    """The block length of least mean squared error of the standard error, chosen from the data.

    b = (G²/g²)^(1/3) T^(1/3),   g = Σ_k R(k),  G = Σ_k |k| R(k)

    with the autocovariance R under a flat-top window that ends where correlations end. (The factor
    is that of blocks that do not overlap: bias G/b, variance 2 g² b/T.)

    Args:
        series: ``(T,)``.

    Returns:
        At least 1, in steps; inf if the sum of the autocovariances is not positive.

    References:
        Politis, White 2004, Econometric Reviews 23, 53; corrected by Patton, Politis, White 2009.
    """
    centred = series - series.mean()
    covariance = correlate(centred, centred, method="fft")[series.size - 1 :] / series.size
    if covariance[0] <= (1e-12 * (1 + np.abs(series).max())) ** 2:
        return 1.0
    lags = np.arange(1, _window(covariance / covariance[0], series.size) + 1)
    weights = np.clip(2 * (1 - lags / lags[-1]), 0, 1)
    g = covariance[0] + 2 * np.sum(weights * covariance[lags])
    G = 2 * np.sum(weights * lags * covariance[lags])
    return max(1.0, float(np.cbrt((G / g) ** 2 * series.size))) if g > 0 else float("inf")


def _window(correlation: np.ndarray, size: int) -> int:
    """Twice the lag after which the correlations stay within their noise for a while."""
    run = max(5, int(np.ceil(np.sqrt(np.log10(size)))))
    largest = min(int(np.ceil(np.sqrt(size))) + run, size - 1)
    loud = np.abs(correlation[1 : largest + 1]) >= 2 * np.sqrt(np.log10(size) / size)
    ends = np.flatnonzero(np.convolve(loud, np.ones(run))[run - 1 :] == 0)
    last = ends[0] if ends.size else largest
    return int(min(2 * max(last, 1), largest))


def _common_length(growth: np.ndarray) -> int:
    """One block length for all exponents, so that they are resampled together."""
    longest = max((block_length(column) for column in growth.T), default=1.0)
    return int(min(np.ceil(longest), len(growth) // FEWEST_BLOCKS))


def _deviations(blocks: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of m blocks drawn with replacement, less the mean of all, as (resamples, k)."""
    m = len(blocks)
    counts = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=resamples)
    return (counts - 1) @ blocks / m * np.sqrt(m / (m - 1))


def _drift(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much later exceeds earlier, and how likely that is by chance, of two tests."""
    early, late = np.array_split(blocks, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = ttest_ind_from_stats(
            *(late.mean(axis=0), late.std(axis=0, ddof=1), len(late)),
            *(early.mean(axis=0), early.std(axis=0, ddof=1), len(early)),
        ).pvalue
    trend = np.array([_trend(column) for column in blocks.T])
    return late.mean(axis=0) - early.mean(axis=0), 2 * np.fmin(step, trend)


def _trend(column: np.ndarray) -> float:
    """How likely by chance its rank correlation with time is; NaN if it is constant."""
    _, p_value = kendalltau(np.arange(len(column)), column)
    return float(np.asarray(p_value))


def _filled(values: np.ndarray, otherwise: float, where: np.ndarray) -> np.ndarray:
    """The values at their places among all, and one value at the other places."""
    filled = np.full(where.shape, otherwise)
    filled[where] = values
    return filled
