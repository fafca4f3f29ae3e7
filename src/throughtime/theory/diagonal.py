"""Diagonal linear recurrences: moments of the LRU's ring, and the curse of memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from throughtime.names import known
from throughtime.theory.domain import not_negative


class MemoryMoments(NamedTuple):
    """Stationary second moments of h' = λ h + x under an input of variance 1.

    Attributes:
        state: E h².
        sensitivity: E (dh/dλ)².
    """

    state: float
    sensitivity: float


class MemoryExponents(NamedTuple):
    """The powers of 1/(1 - λ) with which the moments diverge as λ → 1."""

    state: int
    sensitivity: int


MEMORY_EXPONENTS = {"white": MemoryExponents(1, 3), "constant": MemoryExponents(2, 4)}
"""By input: independent from step to step, or one and the same at all steps."""

_MOMENTS: dict[str, Callable[[float], MemoryMoments]] = {
    # Σ λ^2n and Σ n² λ^2(n-1); (Σ λ^n)² and (Σ n λ^(n-1))².
    "white": lambda decay: MemoryMoments(
        1 / ((1 - decay) * (1 + decay)), (1 + decay**2) / ((1 - decay) * (1 + decay)) ** 3
    ),
    "constant": lambda decay: MemoryMoments((1 - decay) ** -2, (1 - decay) ** -4),
}


def ring_log_moment(
    r_min: float, r_max: float, lag: int | Int[np.ndarray, "*lags"]
) -> float | Float[np.ndarray, "*lags"]:
    """The mean square gradient of a linear recurrent unit drawn from the LRU's ring, exact.

        |λ|² ~ U(r_min², r_max²):   E|λ|^2k = (r_max^(2k+2) - r_min^(2k+2))/((k+1)(r_max² - r_min²))

    Args:
        r_min: inner radius, not negative.
        r_max: outer radius, above 0 and not below `r_min`; equal radii give r^2k.
        lag: k, not negative.

    Returns:
        ln E|λ|^2k, nats; half of it is the log of the RMS.

    Raises:
        ValueError: if the radii are not a ring or a lag is negative.

    References:
        Orvieto et al. 2023, arXiv:2303.06349 (the initialisation).
    """
    _refuse_no_ring(r_min, r_max)
    not_negative("lag", lag)
    if r_min == r_max:
        return 2 * lag * np.log(r_max)
    inner = -np.expm1(2 * (lag + 1) * _log_ratio(r_min, r_max))
    return ring_power_law(r_min, r_max, lag) + np.log(inner)


def ring_power_law(
    r_min: float, r_max: float, lag: int | Int[np.ndarray, "*lags"]
) -> float | Float[np.ndarray, "*lags"]:
    """The large-lag law of `ring_log_moment`: r_max^(2k+2)/((k+1)(r_max² - r_min²)).

    At r_max = 1 a pure power: E|λ|^2k ∝ 1/(k+1), the RMS gradient ∝ (k+1)^(-1/2), and no
    exponential rate exists. Too large by the share (r_min/r_max)^(2k+2); exact for r_min = 0.

    Args:
        r_min: inner radius, not negative.
        r_max: outer radius, above `r_min`.
        lag: k, not negative.

    Returns:
        Its natural log.

    Raises:
        ValueError: if the radii are not a ring of some width or a lag is negative.

    References:
        Orvieto et al. 2023, arXiv:2303.06349 (the initialisation).
    """
    _refuse_no_ring(r_min, r_max)
    not_negative("lag", lag)
    if r_min == r_max:
        raise ValueError(f"a ring of no width has no power law, got both radii {r_max}.")
    # r_max^(2k+2)/(r_max² - r_min²) = r_max^2k/(1 - (r_min/r_max)²).
    width = np.log(-np.expm1(2 * _log_ratio(r_min, r_max)))
    return 2 * lag * np.log(r_max) - np.log(lag + 1) - width


def memory_moments(decay: float, inputs: str = "white") -> MemoryMoments:
    """The curse of memory: moments of h' = λ h + x and of dh/dλ, stationary and exact.

        white       E h² = 1/(1 - λ²),      E (dh/dλ)² = (1 + λ²)/(1 - λ²)³
        constant    E h² = 1/(1 - λ)²,      E (dh/dλ)² = 1/(1 - λ)⁴

    Both diverge as λ → 1, with the powers in `MEMORY_EXPONENTS`, though dh_T/dh_t ≤ 1 throughout:
    what explodes is the sensitivity to the parameter, not the gradient by the state.

    Args:
        decay: λ, real, |λ| < 1.
        inputs: white (independent, variance 1) or constant (one draw of variance 1 for all steps).

    Returns:
        The two second moments, for sequences much longer than 1/(1 - |λ|).

    Raises:
        ValueError: if |λ| is not below 1 or the kind of input is unknown.

    References:
        Zucchet, Orvieto 2024, arXiv:2405.21064.
    """
    if not abs(decay) < 1:
        raise ValueError(f"decay must lie strictly between -1 and 1, got {decay}.")
    return _MOMENTS[known("inputs", inputs, _MOMENTS)](decay)


def _refuse_no_ring(r_min: float, r_max: float) -> None:
    """Refuse radii that are not 0 ≤ r_min ≤ r_max, 0 < r_max < ∞."""
    if not (0 <= r_min <= r_max < np.inf and r_max > 0):
        raise ValueError(f"radii must obey 0 <= r_min <= r_max, 0 < r_max, got {r_min}, {r_max}.")


def _log_ratio(r_min: float, r_max: float) -> float:
    """The log ln(r_min/r_max); -inf for a disc."""
    return float(np.log(r_min / r_max)) if r_min > 0 else float("-inf")
