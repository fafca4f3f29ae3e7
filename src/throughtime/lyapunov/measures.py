"""What a spectrum says about the attractor: its dimension, and how fast it makes information."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Bounded(NamedTuple):
    """A number; only a lower bound where too few exponents were given to know it."""

    value: float
    is_bound: bool


def kaplan_yorke_dimension(exponents: Float[np.ndarray, " k"], state_size: int) -> Bounded:
    """The Kaplan–Yorke (Lyapunov) dimension, where the sum of the leading exponents crosses zero.

    D = j + (λ_1 + … + λ_j)/|λ_{j+1}|,   j the largest with λ_1 + … + λ_j >= 0

    It equals the information dimension of the attractor by conjecture, proven only in part.

    Args:
        exponents: the leading k of n, nats per step; sorted here.
        state_size: n.

    Returns:
        D, between 0 and n; k as a lower bound if the sum of all k < n is not negative. NaN if an
        exponent is.

    Raises:
        ValueError: if there is no exponent, or there are more than n.

    References:
        Kaplan, Yorke 1979; Frederickson, Kaplan, Yorke, Yorke 1983, J. Differ. Equ. 49, 185.
    """
    ranked = _ranked(exponents, state_size)
    if np.isnan(ranked).any():
        return Bounded(float("nan"), False)
    sums = np.cumsum(ranked)
    j = int(np.flatnonzero(np.append(sums, -np.inf) < 0)[0])
    if j == ranked.size:
        return Bounded(float(j), j < state_size)
    return Bounded(float(j + (sums[j - 1] if j else 0.0) / -ranked[j]), False)


def entropy_rate(exponents: Float[np.ndarray, " k"], state_size: int) -> Bounded:
    """The sum of the positive exponents, nats per step: the entropy rate by Pesin's identity.

    h = Σ_{λ_i > 0} λ_i

    An upper bound of the metric entropy for any smooth system (Ruelle), and equal to it where the
    invariant measure is smooth along the unstable directions (Pesin).

    Args:
        exponents: the leading k of n, nats per step.
        state_size: n.

    Returns:
        The sum; a lower bound of it if all k < n are positive. NaN if an exponent is.

    Raises:
        ValueError: if there is no exponent, or there are more than n.

    References:
        Ruelle 1978; Pesin 1977; Eckmann, Ruelle 1985, Rev. Mod. Phys. 57, 617, section IV.
    """
    ranked = _ranked(exponents, state_size)
    if np.isnan(ranked).any():
        return Bounded(float("nan"), False)
    too_few = ranked[-1] > 0 and ranked.size < state_size
    return Bounded(float(ranked[ranked > 0].sum()), bool(too_few))


def _ranked(exponents: np.ndarray, state_size: int) -> np.ndarray:
    """The exponents in float64, descending; NaN first or last, but there."""
    if not 1 <= exponents.size <= state_size:
        raise ValueError(
            f"a state of size {state_size} has 1 to {state_size} exponents, not {exponents.size}."
        )
    return np.sort(exponents.astype(np.float64))[::-1]
