"""Whether a gradient decays as an exponential, as a power law, or first otherwise than later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SHAPES = ("flat", "exponential", "power law", "transient", "undecided")

MARGIN = 2.0
"""By how much the BIC of a shape must be the lowest: odds of e to 1 (Raftery's positive)."""

FEWEST = 16
"""Lags of the shortest curve that is judged."""

ROUNDING = 1e-6
"""Of log norms, relative to the largest: no residual counts as smaller (float32 has 6e-8)."""


class Shape(NamedTuple):
    """The shape of a curve.

    Attributes:
        name: one of `SHAPES`.
        rate: c, nats per step: of an exponential, or of the late part of a transient; else NaN.
        power: b of a power law, or of the head of a transient that has one; else NaN.
        lead: how far the BIC of the best other shape lies above that of the best, NaN where the
            curve was not judged.
    """

    name: str
    rate: float
    power: float
    lead: float


def shape(log_norms: Float[np.ndarray, " T"], margin: float = MARGIN) -> Shape:
    """The shape of a curve of log norms, by the Bayesian information criterion.

        flat         y_k = a
        exponential  y_k = a + c k
        power law    y_k = a + b ln(1 + k)
        transient    y_k = a + b ln(1 + k) + c k,   or c_1 k up to a lag k*, and c k from there on

    The log norm of a product of random Jacobians walks at random about its mean, so its residuals
    at neighbouring lags are nearly the same number and no independent evidence. The models are
    therefore fitted to the increments y_{k+1} − y_k, in which a random walk is white noise, and

        BIC = n' ln(Σ e² / n) + p ln n',   n' = n (1 − ρ)/(1 + ρ)

    counts n increments whose residuals still have a correlation ρ > 0 between neighbours as n'
    (Bartlett 1946). k* is searched among powers of 2 up to (T-1)/2, and counts as a parameter. A
    shape must lead every other by `margin`; the two transients are one shape.

    A power law is told from an exponential by its first lags: where their noise exceeds b the
    answer is `undecided` or `flat` however long the curve. Give the mean or median of several
    curves to see further.

    Args:
        log_norms: ln ||dL/dh_{T-lag}|| by lag, nats: of one network, or their mean or median.
        margin: of the BIC.

    Returns:
        The shape; `undecided` where none leads by the margin, a lag is not finite, or there are
        fewer than `FEWEST` lags.

    References:
        Schwarz 1978, Ann. Statist. 6, 461; Raftery 1995, Sociol. Methodol. 25, 111; Bartlett 1946,
        J. R. Stat. Soc. Suppl. 8, 27.
    """
    if log_norms.size < FEWEST or not np.isfinite(log_norms).all():
        return Shape("undecided", np.nan, np.nan, np.nan)
    curve = log_norms.astype(np.float64)
    steps = np.diff(curve)
    floor = steps.size * (ROUNDING * max(1.0, float(np.ptp(curve)))) ** 2
    fits = _fits(steps)
    effective = _effective_size(fits, floor)
    best: dict[str, tuple[float, float, float]] = {}
    for name, num_parameters, rate, power, residuals in fits:
        squares = max(float(residuals @ residuals), floor)
        score = effective * np.log(squares / steps.size) + num_parameters * np.log(effective)
        best[name] = min(best.get(name, (np.inf, np.nan, np.nan)), (score, rate, power))
    (first, found), (_, second) = sorted(best.items(), key=lambda item: item[1][0])[:2]
    lead = second[0] - found[0]
    return Shape(first if lead >= margin else "undecided", found[1], found[2], lead)


def _fits(steps: np.ndarray) -> list[tuple[str, int, float, float, np.ndarray]]:
    """Every model fitted to increments: shape, parameters, rate, power, residuals."""
    line, bend = np.ones(steps.size), np.diff(np.log1p(np.arange(steps.size + 1)))
    nan = np.nan
    fits = [("flat", 0, nan, nan, steps)]
    (rate,), rest = _least_squares(steps, line)
    fits.append(("exponential", 1, rate, nan, rest))
    (power,), rest = _least_squares(steps, bend)
    fits.append(("power law", 1, nan, power, rest))
    (power, rate), rest = _least_squares(steps, bend, line)
    fits.append(("transient", 2, rate, power, rest))
    for lag in 2 ** np.arange(1, int(np.log2(steps.size / 2)) + 1):
        head = (np.arange(steps.size) < lag).astype(np.float64)
        (_, rate), rest = _least_squares(steps, head, 1 - head)
        fits.append(("transient", 3, rate, nan, rest))
    return fits


def _least_squares(steps: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and residuals."""
    design = np.stack(columns, axis=1)
    found, *_ = np.linalg.lstsq(design, steps)
    return found, steps - design @ found


def _effective_size(fits: list, floor: float) -> float:
    """How many independent increments there are, by the residuals of the best fit of all."""
    residuals = min((fit[-1] for fit in fits), key=lambda rest: float(rest @ rest))
    squares = float(residuals @ residuals)
    if squares <= floor:  # which is rounding
        return float(residuals.size)
    rho = np.clip(residuals[1:] @ residuals[:-1] / squares, 0.0, 0.95)
    return float(residuals.size * (1 - rho) / (1 + rho))
