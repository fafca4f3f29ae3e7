"""What a gradient curve amounts to: its rate, reach and verdict.

A *curve* is `log_norms[lag]`, the natural log of ||dL/dh_{T-lag}||: index 0 is the last step, index
T-1 the first. A gradient that is exactly zero has log-norm -inf. NaN (or +inf, which no scaled
gradient takes) says that the run itself broke, and nothing below turns it into a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FACTOR = 1.0
"""Decades. A change of the gradient within a factor of ten counts as no change."""

EPSILON = 0.01
"""The share of the last step's gradient below which a lag is out of reach."""

VERDICTS = ("vanishing", "stable", "exploding", "transient", "undefined")

# (end, tail): how the gradient at the last lag compares with lag 0, and how the tail moves.
_VERDICT = {
    (-1, -1): "vanishing",
    (-1, 0): "vanishing",
    (-1, 1): "transient",
    (0, -1): "transient",
    (0, 0): "stable",
    (0, 1): "transient",
    (1, -1): "transient",
    (1, 0): "exploding",
    (1, 1): "exploding",
}


STATUSES = ("ok", "nonfinite", "collapsed", "not_converged")
"""The standing of a number; only those that are ok enter a median."""


def status(
    log_norms: Float[np.ndarray, " T"],
    first_bad_step: int | None,
    may_be_rounded: Callable[[], bool],
) -> str:
    """The standing of a curve: whether its numbers are true.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats.
        first_bad_step: the first step whose state is not finite, if there is one.
        may_be_rounded: asked where a gradient is exactly 0: whether rounding may have made it so.

    Returns:
        ok; nonfinite; or collapsed, a gradient of 0 that is only too small for the floats, or none
        at lag 0 with which to compare the others.
    """
    if first_bad_step is not None or not (log_norms < np.inf).all():
        return "nonfinite"
    zero = np.isneginf(log_norms)
    return "collapsed" if zero[:1].any() or (zero.any() and may_be_rounded()) else "ok"


class Horizon(NamedTuple):
    """The largest lag still in reach; a lower bound where `is_bound`."""

    lag: int
    is_bound: bool


def log10_ratio(log_norms: Float[np.ndarray, " T"]) -> float:
    """How much of the gradient is left at the first step: log10 of ||dL/dh_1|| / ||dL/dh_T||.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats.

    Returns:
        Decades; -inf where the gradient is exactly zero at the first step, NaN where a lag is NaN
        or +inf or where there is no gradient at lag 0.

    Raises:
        ValueError: for an empty curve.
    """
    ratios = _log_ratios(log_norms)
    return float("nan") if np.isnan(ratios).any() else float(ratios[-1] / np.log(10))


def rate(log_norms: Float[np.ndarray, " T"]) -> float:
    """Growth of the gradient towards the past: the least-squares slope of the tail.

        rate = Σ (k - k̄) y_k / Σ (k - k̄)²     over the last half of the lags, k = ⌈(T-1)/2⌉ … T-1

    The first lags are left out because products of non-normal Jacobians grow before they die: a
    Jordan block has y_k = ln k + (k-1) ln ρ, whose head says nothing about ln ρ. A bias remains,
    there (18 - 24 ln 2)/T = 1.36/T, and one slope does not make a curve exponential.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats; at least two lags (two give their difference).

    Returns:
        Nats per step; positive where the gradient grows towards the past. -inf where the tail
        holds a gradient of exactly zero, NaN where any lag is NaN or +inf.

    Raises:
        ValueError: for fewer than two lags.
    """
    if log_norms.size < 2:
        raise ValueError(f"a rate needs at least 2 lags, got {log_norms.size}.")
    tail = log_norms[_tail_start(log_norms.size) :].astype(np.float64)
    if not (log_norms < np.inf).all():
        return float("nan")
    if np.isneginf(tail).any():
        return float("-inf")
    lags = np.arange(tail.size) - (tail.size - 1) / 2
    return float(lags @ (tail - tail.mean()) / (lags @ lags))


def horizon(log_norms: Float[np.ndarray, " T"], epsilon: float = EPSILON) -> Horizon:
    """The largest lag whose gradient is still at least `epsilon` times the gradient at lag 0.

        lag = max {k : ||dL/dh_{T-k}|| ≥ ε ||dL/dh_T||}

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats.
        epsilon: the share that counts as reach, in (0, 1].

    Returns:
        The lag in steps. `is_bound` says that it is a lower bound: the sequence ended first, or
        undefined lags follow. Where lag 0 itself is zero or undefined the bound is 0.

    Raises:
        ValueError: for an empty curve or an epsilon outside (0, 1].
    """
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon must be above 0 and at most 1, got {epsilon}.")
    ratios = _log_ratios(log_norms)
    reached = np.flatnonzero(ratios >= np.log(epsilon))
    lag = int(reached[-1]) if reached.size else 0
    is_bound = lag == ratios.size - 1 or bool(np.isnan(ratios[lag + 1 :]).any())
    return Horizon(lag, is_bound)


def half_life(log_norms: Float[np.ndarray, " T"]) -> Horizon:
    """The first lag from which the gradient stays at or below half of that at lag 0.

        lag = 1 + max {k : ||dL/dh_{T-k}|| > ||dL/dh_T|| / 2}

    A gradient that falls to half and comes back has not lost it; one that grows never does.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats.

    Returns:
        The lag in steps. `is_bound` says that it is a lower bound, as in `horizon`: T where the
        sequence ended first. Where lag 0 itself is zero or undefined the bound is 0.

    Raises:
        ValueError: for an empty curve.
    """
    ratios = _log_ratios(log_norms)
    above = np.flatnonzero(ratios > -np.log(2))
    lag = int(above[-1]) + 1 if above.size else 0
    return Horizon(lag, lag == ratios.size or bool(np.isnan(ratios[lag:]).any()))


def area(log_norms: Float[np.ndarray, " T"]) -> float:
    """How many decades of gradient are lost, on average over the lags.

        area = Σ_{k=0}^{T-1} min(0, log10 ||dL/dh_{T-k}|| / ||dL/dh_T||) / T

    Growth counts as no loss, and makes up for none at other lags. An exponential w^k loses
    (T-1)/2 · |log10 w|.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats.

    Returns:
        Decades, at most 0; -inf where the gradient is exactly zero at some lag, NaN where a lag is
        NaN or +inf or where there is no gradient at lag 0.

    Raises:
        ValueError: for an empty curve.
    """
    return float(np.minimum(_log_ratios(log_norms), 0.0).mean() / np.log(10))


def verdict(log_norms: Float[np.ndarray, " T"]) -> str:
    """Vanishing, stable, exploding, transient or undefined, from the far end and the tail.

    Two changes, in decades: `end`, the log10 ratio of the last lag to lag 0, and `tail`, the
    tail's rate times its length. A change within `FACTOR` counts as none. Then

        stable      neither end nor tail changed
        vanishing   the end fell, and the tail does not climb back
        exploding   the end grew, and the tail does not fall back
        transient   end and tail disagree: a longer sequence would be judged otherwise
        undefined   the ratio does not exist: NaN or +inf at some lag, or no gradient at lag 0

    The sign of a rate alone would decide nothing: on a flat tail it is noise. A gradient of
    exactly zero counts as vanishing.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats; at least two lags.

    Returns:
        One of `VERDICTS`.

    Raises:
        ValueError: for fewer than two lags.
    """
    tail_rate = rate(log_norms)
    end = log10_ratio(log_norms)
    if np.isnan(end):
        return "undefined"
    tail_length = log_norms.size - 1 - _tail_start(log_norms.size)
    return _VERDICT[_change(end), _change(tail_rate * tail_length / np.log(10))]


def exponent_verdict(low: float, high: float, resolution: float) -> str:
    """Vanishing, stable or exploding, from the interval of the leading Lyapunov exponent.

    Gradients over many steps go like exp(λ_1 · lag): they vanish where all of the interval is below
    zero, explode where all of it is above, and are called stable where it holds zero.

    Args:
        low: the lower end, nats per step.
        high: the upper end.
        resolution: an exponent this close to zero is not told apart from it, nats per step.

    Returns:
        One of `VERDICTS`; undefined where an end is NaN.
    """
    if np.isnan(low) or np.isnan(high):
        return "undefined"
    return "vanishing" if high < -resolution else "exploding" if low > resolution else "stable"


def _tail_start(num_lags: int) -> int:
    """⌈(T-1)/2⌉, but never fewer than two lags."""
    return min(num_lags // 2, num_lags - 2)


def _change(decades: float) -> int:
    """-1, 0 or 1: fell, stayed within `FACTOR`, grew."""
    return int(np.sign(decades)) if abs(decades) > FACTOR else 0


def _log_ratios(log_norms: np.ndarray) -> np.ndarray:
    """Natural log of each gradient relative to lag 0; NaN where the ratio does not exist."""
    if log_norms.size == 0:
        raise ValueError("an empty curve has no ratios.")
    norms = log_norms.astype(np.float64)
    if not np.isfinite(norms[0]):
        return np.full_like(norms, np.nan)
    return np.where(np.isposinf(norms), np.nan, norms) - norms[0]
