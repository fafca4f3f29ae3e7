"""Products of matrices: iid Gaussian (untied), one and the same (tied), and a Jordan block."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import toeplitz
from scipy.special import digamma, polygamma

from throughtime.theory.domain import at_least_one, not_negative, positive


class ProductGrowth(NamedTuple):
    """What k iid Gaussian matrices do to the norm of a vector.

    Attributes:
        mean: E ln‖W_k … W_1 v‖/‖v‖, nats: the typical growth.
        variance: of the same logarithm, nats².
        log_rms: ½ ln E‖W_k … W_1 v‖²/‖v‖², nats: the growth of an average over networks.
    """

    mean: float | Float[np.ndarray, "*lags"]
    variance: float | Float[np.ndarray, "*lags"]
    log_rms: float | Float[np.ndarray, "*lags"]


def gaussian_product_exponents(gain: float, size: int) -> Float[np.ndarray, " N"]:
    """All Lyapunov exponents of products of iid real matrices, W_ij ~ N(0, g²/N).

        λ_i = ln g + ½ (ln(2/N) + ψ((N - i + 1)/2)),   i = 1 … N,   ψ the digamma function

    Exact at every N. λ_1 + … + λ_m is also exactly the mean log growth per step of the volume of
    m given directions at every finite k; a single singular value of a finite product is not.

    Args:
        gain: g > 0.
        size: N, at least 1.

    Returns:
        Nats per step, descending. For large N, λ(t) = ln g + ½ ln(1 - t), t = i/N.

    Raises:
        ValueError: if the gain is not positive or the size is below 1.

    References:
        Newman 1986, Commun. Math. Phys. 103, 121.
    """
    positive("gain", gain)
    at_least_one("size", size)
    return np.log(gain) + (np.log(2 / size) + digamma(np.arange(size, 0, -1) / 2)) / 2


def ginibre_product_exponents(gain: float, size: int) -> Float[np.ndarray, " N"]:
    """All Lyapunov exponents of products of iid complex matrices, E|W_ij|² = g²/N.

        λ_i = ln g + ½ (ψ(N - i + 1) - ln N),   i = 1 … N

    Exact at every N, in the sense of `gaussian_product_exponents`. Real and imaginary parts are
    independent and of variance g²/(2N) each.

    Args:
        gain: g > 0.
        size: N, at least 1.

    Returns:
        Nats per step, descending.

    Raises:
        ValueError: if the gain is not positive or the size is below 1.

    References:
        Forrester 2013, J. Stat. Phys. 151, 796.
    """
    positive("gain", gain)
    at_least_one("size", size)
    return np.log(gain) + (digamma(np.arange(size, 0, -1.0)) - np.log(size)) / 2


def gaussian_product_growth(
    gain: float, size: int, lag: int | Int[np.ndarray, "*lags"]
) -> ProductGrowth:
    """The growth of a vector under k iid real matrices, W_ij ~ N(0, g²/N).

        ln‖W v‖ = ln g + ½ ln(χ²_N/N) for a unit v, independent from step to step:
        mean kλ_1,   variance k ψ_1(N/2)/4,   E‖·‖² = g^{2k}

    Exact at every N and k, for real Gaussian weights drawn anew each step. The typical growth is
    below the RMS growth, which a few networks carry.

    Args:
        gain: g > 0.
        size: N, at least 1.
        lag: k, not negative.

    Returns:
        Mean, variance and half the log of the mean square, each of the shape of `lag`.

    Raises:
        ValueError: if the gain is not positive, the size is below 1 or a lag is negative.

    References:
        Newman 1986, Commun. Math. Phys. 103, 121; Cohen, Newman 1984, Ann. Probab. 12, 283.
    """
    not_negative("lag", lag)
    largest = float(gaussian_product_exponents(gain, size)[0])
    return ProductGrowth(
        lag * largest, lag * float(polygamma(1, size / 2)) / 4, lag * float(np.log(gain))
    )


def gaussian_product_critical_gain(size: int) -> float:
    """The gain at which a typical product of iid real Gaussian matrices neither grows nor decays.

        g = exp(-λ_1(g=1)) = √(N/2) exp(-ψ(N/2)/2) = 1 + 1/(2N) + O(1/N²) > 1

    Exact at every N. The mean square is critical at g = 1, whatever N.

    Args:
        size: N, at least 1.

    Returns:
        The gain.

    Raises:
        ValueError: if the size is below 1.

    References:
        Newman 1986, Commun. Math. Phys. 103, 121.
    """
    return float(np.exp(-gaussian_product_exponents(1.0, size)[0]))


def tied_exponent(matrix: Float[np.ndarray, "n n"]) -> float:
    """The largest Lyapunov exponent of h' = W h with one fixed W: ln ρ(W), exact as lag → ∞.

    ρ is the spectral radius, not the largest singular value, which bounds one step only (≈ ln 2
    above for a large Gaussian W). The approach is slow where W is far from normal, see
    `jordan_log_norm`.

    Args:
        matrix: W.

    Returns:
        Nats per step; -inf where every computed eigenvalue is 0.

    Raises:
        ValueError: if W is not finite.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, section 2.1 (the linear network).
    """
    if not np.isfinite(matrix).all():
        bad = int((~np.isfinite(matrix)).sum())
        raise ValueError(f"matrix must be finite, got {bad} entries that are not.")
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    return float(np.log(radius)) if radius > 0 else float("-inf")


def jordan_log_norm(radius: float, size: int, lag: int) -> float:
    """The spectral norm of the k-th power of an n x n Jordan block, exact (not a bound).

        (ρ I + S)^k = Σ_{j<n} C(k, j) ρ^(k-j) S^j,   S ones above the diagonal

    taken as the largest singular value of that triangular Toeplitz matrix, divided first by its
    largest entry. Grows like k^(n-1) before it decays: the rate at lag k is ln ρ + (n-1)/k.

    Args:
        radius: |ρ| > 0; the norm depends on the magnitude of the eigenvalue only.
        size: n, at least 1.
        lag: k, not negative.

    Returns:
        ln‖J^k‖_2, nats.

    Raises:
        ValueError: if the radius is not positive, the size is below 1 or the lag is negative.

    References:
        Trefethen, Embree 2005, Spectra and Pseudospectra (transient growth of powers).
    """
    positive("radius", radius)
    at_least_one("size", size)
    not_negative("lag", lag)
    j = np.arange(min(size, lag + 1))
    # C(k, j) = Π (k - i)/(i + 1); a difference of log-gammas would lose digits at large k.
    log_entries = lag * np.log(radius) - j * np.log(radius)
    log_entries[1:] += np.cumsum(np.log((lag - j[:-1]) / (j[:-1] + 1)))
    largest = log_entries.max()
    row = np.zeros(size)
    row[: j.size] = np.exp(log_entries - largest)
    power = toeplitz(np.eye(size)[0] * row[0], row)
    return float(largest + np.log(np.linalg.norm(power, 2)))
