"""Exact mean field of the autonomous tanh network, N → ∞: its whole Lyapunov spectrum."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from throughtime.theory.averages import PRESETS, gaussian_mean, log_tanh_slope
from throughtime.theory.domain import positive
from throughtime.theory.mean_field import fixed_variance
from throughtime.theory.roots import root


class Autonomous(NamedTuple):
    """The network x' = J tanh(x) as N → ∞.

    Attributes:
        variance: q, the variance of x over units.
        exponent: λ_1, the largest exponent, nats per step.
        mean_exponent: the average over all N exponents, nats per step: the mean of ln|det|/N.
        entropy: the sum of the positive exponents over N, nats per step: the entropy rate.
        kaplan_yorke: the Kaplan-Yorke dimension over N.
    """

    variance: float
    exponent: float
    mean_exponent: float
    entropy: float
    kaplan_yorke: float


def autonomous_network(gain: float) -> Autonomous:
    """What x' = J tanh(x), J_ij ~ N(0, g²/N), does to volumes, exact as N → ∞.

        q = g²⟨tanh²(√q z)⟩,   λ_1 = ln(g √⟨φ'²⟩),   mean = ln g - ½ + ⟨ln φ'⟩

    averages over x ~ N(0, q). Entropy and dimension come from the spectrum λ(t) of
    `autonomous_spectrum`, whose integral is closed at t = t(y) = ⟨σ(y + ln φ'²)⟩:

        Λ = ∫_0^t λ = ½ [t (ln g² + ln t - 1 - y) + ⟨softplus(y + ln φ'²)⟩]

    The entropy is Λ where λ(t) = 0, the dimension the t > 0 where Λ = 0. Computed to
    about 1e-13, absolute; simulations at N = 4096 agree to under 1% (Clark).

    Args:
        gain: g > 0. Up to g = 1 the network rests at 0, and entropy and dimension are 0.

    Returns:
        The five numbers.

    Raises:
        ValueError: if the gain is not positive.

    References:
        Kargin 2008, J. Funct. Anal. 255, 1874 (exponents of free operators); Clark,
        arXiv:2610.12426 (this network).
    """
    spectrum = _spectrum(gain)
    largest = float(np.log(gain**2 * spectrum.mean(np.exp)) / 2)
    mean = float(np.log(gain) - 0.5 + spectrum.mean(lambda log_x: log_x) / 2)
    if spectrum.variance == 0:
        return Autonomous(0.0, largest, mean, 0.0, 0.0)
    zero = root(spectrum.exponent, -60.0, 2 * np.log(gain))
    beyond = zero + 1.0
    while spectrum.integral(beyond) > 0:
        beyond += beyond - zero
    end = root(spectrum.integral, zero, beyond)
    return Autonomous(
        spectrum.variance, largest, mean, spectrum.integral(zero), spectrum.fraction(end)
    )


def autonomous_spectrum(gain: float, fractions: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """The Lyapunov spectrum of x' = J tanh(x), exact as N → ∞: λ at the fraction t of exponents.

        λ(t) = -½ ln[S_J(-t) S_X(-t)],   S_J(z) = 1/(g²(1 + z)),   X = φ'(x)², x ~ N(0, q)

    with S the S-transforms of JᵀJ and X, taken as free of each other. At z = -t the second is
    S_X = u (1 - t)/t, where u inverts the ψ-transform, ⟨u X/(1 + u X)⟩ = t, so that

        λ(t) = ½ ln(g² t/u(t))

    Exponent i of a network of N lies at t ≈ (i - ½)/N.

    Args:
        gain: g > 0.
        fractions: t in [0, 1], the share of exponents above λ.

    Returns:
        Nats per step, falling from λ_1 at t = 0 to -inf at t = 1.

    Raises:
        ValueError: if the gain is not positive or a fraction lies outside [0, 1].

    References:
        Kargin 2008, J. Funct. Anal. 255, 1874; Clark, arXiv:2610.12426.
    """
    spectrum = _spectrum(gain)
    if not ((fractions >= 0) & (fractions <= 1)).all():
        raise ValueError(f"fractions must lie between 0 and 1, got {fractions}.")
    inner = np.clip(fractions, 1e-100, 1 - np.finfo(float).epsneg)
    found = np.array([spectrum.exponent(spectrum.log_u(t)) for t in inner])
    return np.where(fractions < 1, found, -np.inf)


class _Spectrum(NamedTuple):
    """The spectrum along y = ln u, from -∞ (t = 0) to ∞ (t = 1)."""

    gain: float
    variance: float

    def mean(self, function) -> float:
        """The average ⟨f(ln X)⟩."""
        return gaussian_mean(lambda x: function(2 * log_tanh_slope(x)), 0.0, self.variance**0.5)

    def fraction(self, y: float) -> float:
        """The fraction t = ⟨uX/(1 + uX)⟩."""
        return self.mean(lambda log_x: expit(y + log_x))

    def exponent(self, y: float) -> float:
        """λ at t(y)."""
        return float(np.log(self.gain**2 * self.fraction(y)) - y) / 2

    def integral(self, y: float) -> float:
        """Λ, by parts: ∫ ln u dt = y t - ⟨softplus(y + ln X)⟩."""
        softplus = self.mean(lambda log_x: np.logaddexp(0.0, y + log_x))
        return self.fraction(y) * (2 * self.exponent(y) - 1) / 2 + softplus / 2

    def log_u(self, t: float) -> float:
        """The y of a fraction; X ≤ 1 bounds it below, ln X ≥ -4|x| and |z| ≤ 12 above."""
        low = float(logit(t))
        high = low + 50 * self.variance**0.5 + 1
        return root(lambda y: np.log(self.fraction(y) / t), low - 1, high)


def _spectrum(gain: float) -> _Spectrum:
    """The spectrum at the gain's own variance."""
    positive("gain", gain)
    return _Spectrum(gain, fixed_variance(gain, 0.0, PRESETS["tanh"]))
