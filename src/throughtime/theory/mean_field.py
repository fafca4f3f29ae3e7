"""Mean field of discrete-time random networks, N → ∞: W_ij ~ N(0, g²/N), a' = W φ(a) + s ξ."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from throughtime.theory.averages import Activation, gaussian_mean, preset
from throughtime.theory.domain import not_negative, positive
from throughtime.theory.roots import root

_TINY = 1e-12
_HUGE = 1e15


class MeanField(NamedTuple):
    """A driven network as N → ∞.

    Attributes:
        variance: q, the variance of a pre-activation over units; inf where it grows forever.
        chi: χ_1, the growth per step of the mean square of a small difference, or of a gradient.
        exponent: λ_1 = ½ ln χ_1, nats per step.
    """

    variance: float
    chi: float
    exponent: float


def driven_network(gain: float, drive: float, activation: str | Activation = "tanh") -> MeanField:
    """Variance, χ_1 and largest exponent of a random network under white Gaussian input.

        q = g²⟨φ(√q z)²⟩ + s²,   χ_1 = g²⟨φ'(√q z)²⟩,   λ_1 = ½ ln χ_1,   z ~ N(0, 1)

    Valid as N → ∞, for weights tied or drawn anew each step; a simulated tanh network of N units
    has an exponent lower by about 1/N to 3/N. The presets have one stable q; for a φ with several
    it is the one that growth from 0, by factors of four, brackets first.

    Args:
        gain: g > 0.
        drive: s, the standard deviation of the input to a unit, not negative.
        activation: tanh, relu, identity, erf, or an `Activation`.

    Returns:
        The three numbers. Where the variance grows forever (relu from g = √2 on, identity from
        g = 1 on) q = inf and χ_1 is its limit.

    Raises:
        ValueError: if the gain is not positive, the drive negative, the activation unknown, or χ_1
            undefined at an infinite variance.

    References:
        Molgedey, Schuchhardt, Schuster 1992, Phys. Rev. Lett. 69, 3717; Poole, Lahiri, Raghu,
        Sohl-Dickstein, Ganguli 2016, arXiv:1606.05340 (the same q and χ_1 by depth).
    """
    positive("gain", gain)
    not_negative("drive", drive)
    phi = preset(activation)
    variance = fixed_variance(gain, drive, phi)
    chi = gain**2 * slope_square(phi, variance)
    if not np.isfinite(chi):
        raise ValueError(f"chi is not defined at the variance {variance} of gain {gain}.")
    with np.errstate(divide="ignore"):
        return MeanField(variance, chi, float(np.log(chi) / 2))


def log_rms_gradient(
    gain: float,
    drive: float,
    lag: int | Int[np.ndarray, "*lags"],
    activation: str | Activation = "tanh",
) -> float | Float[np.ndarray, "*lags"]:
    """The root mean square of the gradient at a lag, over networks, as N → ∞.

        ½ ln E‖dL/da_{T-k}‖² / E‖dL/da_T‖² = (k/2) ln χ_1

    Valid at lags that do not grow with N: at a fixed N, networks spread around it as
    `gaussian_product_growth` says.

    Args:
        gain: g > 0.
        drive: s, not negative.
        lag: k, not negative.
        activation: as in `driven_network`.

    Returns:
        Nats, of the shape of `lag`.

    Raises:
        ValueError: as `driven_network`, and if a lag is negative.

    References:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232 (by depth).
    """
    not_negative("lag", lag)
    return lag * driven_network(gain, drive, activation).exponent


def critical_gain(drive: float = 0.0, activation: str | Activation = "tanh") -> float:
    """The gain at which gradients neither vanish nor explode under a drive s: χ_1(g, s) = 1.

    Without a drive g = 1/√⟨φ'(0)²⟩: 1 for tanh and identity, √2 for relu, √π/2 for erf. Input
    pushes a saturating φ off its steepest point and the critical gain up; for tanh and a small s,
    g = 1 + (3 s²/4)^(1/3). Valid as N → ∞; computed to about 1e-9.

    Args:
        drive: s, not negative.
        activation: as in `driven_network`, with φ(0) = 0 where s = 0.

    Returns:
        g_c; for a φ whose χ_1 crosses 1 more than once, a crossing that search upwards from 0, by
        factors of four, brackets first.

    Raises:
        ValueError: if the drive is negative, the activation unknown, or there is no critical gain.

    References:
        Molgedey, Schuchhardt, Schuster 1992, Phys. Rev. Lett. 69, 3717.
    """
    not_negative("drive", drive)
    phi = preset(activation)
    if drive == 0 and phi.phi(np.zeros(1))[0] == 0:
        return slope_square(phi, _TINY**2) ** -0.5
    high = _TINY
    while driven_network(high, drive, phi).exponent < 0:
        high *= 4
        if high > _HUGE:
            raise ValueError(f"no gain below {_HUGE:g} is critical under the drive {drive}.")
    return root(lambda gain: driven_network(gain, drive, phi).exponent, high / 4, high)


def fixed_variance(gain: float, drive: float, phi: Activation) -> float:
    """The fixed point q = g²⟨φ(√q z)²⟩ + s² nearest above 0; inf where q grows forever."""

    def excess(q: float) -> float:
        return gain**2 * _square(phi, q) + drive**2 - q

    start = excess(0.0)
    # Growth by less than 1e-12 cannot be told from rounding.
    if start == 0 and excess(_TINY) <= _TINY**2:
        return 0.0
    high = max(start, _TINY)
    while excess(high) > 0:
        high *= 4
        if high > _HUGE * max(start, gain**2, 1.0):
            return float("inf")
    return root(excess, 0.0 if start else _TINY, high)


def slope_square(phi: Activation, variance: float) -> float:
    """The moment ⟨φ'(√q z)²⟩ at the variance q."""
    if phi.slope_square is not None:
        return phi.slope_square(variance)
    return gaussian_mean(lambda x: phi.dphi(x) ** 2, 0.0, variance**0.5)


def _square(phi: Activation, variance: float) -> float:
    """The moment ⟨φ(√q z)²⟩ at the variance q."""
    if phi.square is not None:
        return phi.square(variance)
    return gaussian_mean(lambda x: phi.phi(x) ** 2, 0.0, variance**0.5)
