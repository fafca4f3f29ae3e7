"""The continuous rate network dx/dt = -x + J tanh(x) as N → ∞: variance and largest exponent."""

from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.linalg import eigh_tridiagonal

from throughtime.theory.averages import gaussian_mean, log_tanh_slope
from throughtime.theory.domain import positive
from throughtime.theory.roots import root

# c = sech²θ: from θ = 10 on, the squared ground state is below e^-40.
_END, _STEP = 10.0, 0.005
_ONSET = 1e-4


class RateNetwork(NamedTuple):
    """The rate network as N → ∞.

    Attributes:
        variance: Δ(0), the variance of x over units and time.
        exponent: λ_max, the largest Lyapunov exponent, nats per unit of time.
    """

    variance: float
    exponent: float


def rate_network(gain: float) -> RateNetwork:
    """The largest Lyapunov exponent of dx/dt = -x + J tanh(x), J_ij ~ N(0, g²/N), as N → ∞.

    The autocorrelation Δ(τ) of x moves like a particle released at rest at Δ(0),

        Δ'' = -V'(Δ),   V(Δ) = -½Δ² + g²(⟨Φ(x)Φ(y)⟩ - ⟨Φ⟩²),   V(Δ(0)) = V(0) = 0,   Φ = ln cosh

    x and y Gaussian with variance Δ(0) and covariance Δ; a small difference grows with the ground
    state of a particle in the potential that V makes along that path:

        [-d²/dτ² + 1 - g²⟨φ'(x)φ'(y)⟩(τ)] ψ = E ψ,   λ_max = -1 + √(1 - E)

    Time is in units of the decay of x. Good to about 1e-8, absolute, for gains up to 10, and meant
    for those: the work grows as g². Within 1e-4 above g = 1 the onset stands in, Δ(0) = g - 1 and
    λ_max = (g - 1)²/2, where rounding would hide it.

    Args:
        gain: g > 0. Up to g = 1 the network rests at 0, and λ_max = g - 1.

    Returns:
        Variance and exponent.

    Raises:
        ValueError: if the gain is not positive.

    References:
        Sompolinsky, Crisanti, Sommers 1988, Phys. Rev. Lett. 61, 259.
    """
    positive("gain", gain)
    if gain <= 1:
        return RateNetwork(0.0, gain - 1)
    if gain - 1 < _ONSET:
        return RateNetwork(gain - 1, (gain - 1) ** 2 / 2)
    variance = _variance(gain)
    series = _hermite_squares(variance)
    # Second-order differences, extrapolated.
    coarse, fine = (_ground_energy(gain, variance, series, h) for h in (_STEP, _STEP / 2))
    energy = (4 * fine - coarse) / 3
    return RateNetwork(variance, float(np.sqrt(1 - energy) - 1))


def _variance(gain: float) -> float:
    """The Δ(0) > 0 with V(Δ(0)) = 0: ½Δ² = g² Var[ln cosh x], x ~ N(0, Δ)."""

    def excess(variance: float) -> float:
        std = variance**0.5
        mean = gaussian_mean(log_tanh_slope, 0.0, std)
        spread = gaussian_mean(lambda x: (log_tanh_slope(x) - mean) ** 2, 0.0, std) / 4
        return 2 * gain**2 * spread / variance**2 - 1

    # Near the onset Δ ≈ g - 1; for large g, Δ is below the g² of a saturated network.
    return root(excess, min(0.1, (gain - 1) / 10), gain**2)


def _hermite_squares(variance: float) -> np.ndarray:
    """The a_n² of ⟨φ(x)φ(y)⟩ = Σ a_n² cⁿ at correlation c; they fall as exp(-π√(2n/Δ))."""
    z = np.linspace(-12.0, 12.0, 2401)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    weighted = density * np.tanh(variance**0.5 * z)
    before, here, squares = np.zeros_like(z), np.ones_like(z), []
    for n in range(100 + int(50 * variance)):
        squares.append((weighted @ here) ** 2)
        before, here = here, (z * here - n**0.5 * before) / (n + 1) ** 0.5
    return np.array(squares)


def _ground_energy(gain: float, variance: float, squares: np.ndarray, step: float) -> float:
    """The ground state by differences in θ, Δ = Δ(0) sech²θ; ψ is even in θ, and 0 at the end.

    dτ/dθ is smooth and never 0 there, both at rest (θ = 0) and where Δ dies exponentially.
    """
    count = round(_END / step)
    centres = step * (np.arange(count) + 0.5)
    edges = step * np.arange(1, count + 1)
    mass = _slowness(gain, variance, squares, centres)
    spring = 1 / _slowness(gain, variance, squares, edges)
    n = np.arange(squares.size)
    slopes = polyval(np.cosh(centres) ** -2, (n * squares)[1:]) / variance
    diagonal = (spring + np.append(0.0, spring[:-1])) / step**2 / mass + 1 - gain**2 * slopes
    off = -spring[:-1] / step**2 / np.sqrt(mass[:-1] * mass[1:])
    return float(eigh_tridiagonal(diagonal, off, True, "i", (0, 0))[0])


def _slowness(gain: float, variance: float, squares: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The time per θ, dτ/dθ = -(dΔ/dθ)/√(-2V), whose zeros at θ = 0 cancel.

    With w_n = a_n²/(n + 1), V(Δ(0)) = 0 turns -2V/Δ² into (2g²/Δ(0)) Σ w_n (1 - c^(n-1)), and
    Σ w_n (1 - c^(n-1))/(1 - c) = Σ_j c^j Σ_{n≥j+2} w_n has no difference left.
    """
    weights = squares / np.arange(1, squares.size + 1)
    tails = np.cumsum(weights[::-1])[::-1]
    return np.sqrt(2 * variance / polyval(np.cosh(theta) ** -2, tails[2:])) / gain
