"""Mean-field predictions: published numbers, expansions, identities, other routes, simulations."""

import math

import numpy as np
import pytest
from bounds import FUNCTION, gamma
from scipy import integrate
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh_tridiagonal

from throughtime import theory

NODES = gamma(2048)
"""Of a mean over that many nodes with positive weights."""


def quad_mean(function, std):
    """⟨f(s z)⟩ by adaptive quadrature."""
    weight = math.sqrt(2 * math.pi)
    parts = [(-12, -1 / (1 + std)), (-1 / (1 + std), 0), (0, 1 / (1 + std)), (1 / (1 + std), 12)]
    return sum(
        integrate.quad(lambda z: function(std * z) * math.exp(-z * z / 2) / weight, *part)[0]
        for part in parts
    )


def by_quadrature(name):
    """A preset without its closed forms."""
    return theory.Activation(*theory.PRESETS[name][:2])


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-3.0, 0.7), (2.0, 100.0), (5.0, 0.0)])
def test_gaussian_mean_of_polynomials_and_of_a_kink(mean, std):
    assert theory.gaussian_mean(np.ones_like, mean, std) == pytest.approx(1, rel=NODES)
    fourth = mean**4 + 6 * mean**2 * std**2 + 3 * std**4
    assert theory.gaussian_mean(lambda x: x**4, mean, std) == pytest.approx(fourth, rel=NODES)
    ratio = mean / std if std else math.inf
    rectified = mean * (1 + math.erf(ratio / math.sqrt(2))) / 2
    rectified += std * math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    found = theory.gaussian_mean(lambda x: np.maximum(x, 0), mean, std)
    assert found == pytest.approx(rectified, rel=NODES)


@pytest.mark.parametrize("name", ["tanh", "relu", "identity", "erf"])
@pytest.mark.parametrize("q", [0.04, 1.0, 400.0])
def test_presets_agree_with_their_own_derivatives_and_averages(name, q):
    activation, x, h = theory.PRESETS[name], np.linspace(-2.9, 3.1, 25), 1e-6
    slope = (activation.phi(x + h) - activation.phi(x - h)) / (2 * h)
    np.testing.assert_allclose(activation.dphi(x), slope, atol=1e-9)
    for drive, gain in ((q**0.5, 0.7), (0.1, 0.9)):
        closed = theory.driven_network(gain, drive, name)
        np.testing.assert_allclose(
            closed, theory.driven_network(gain, drive, by_quadrature(name)), rtol=1e-11
        )


@pytest.mark.parametrize("name", ["tanh", "erf"])
@pytest.mark.parametrize(("gain", "drive"), [(0.5, 1.0), (1.5, 0.0), (3.0, 0.2), (20.0, 5.0)])
def test_driven_network_satisfies_its_equations_by_another_quadrature(name, gain, drive):
    phi, dphi = {
        "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
        "erf": (math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x)),
    }[name]
    found = theory.driven_network(gain, drive, name)
    std = found.variance**0.5
    q = gain**2 * quad_mean(lambda x: phi(x) ** 2, std) + drive**2
    chi = gain**2 * quad_mean(lambda x: dphi(x) ** 2, std)
    assert found == pytest.approx((q, chi, math.log(chi) / 2), rel=1e-9)
    lags = np.array([0, 3])
    gradient = theory.log_rms_gradient(gain, drive, lags, name)
    np.testing.assert_allclose(gradient, [0, 1.5 * math.log(chi)], rtol=1e-9)


def test_a_saturated_network_grows_with_the_square_of_its_gain():
    # q → g², and χ_1 → g² ∫ sech⁴(x) dx / √(2π q), the integral 4/3.
    found = theory.driven_network(1e9, 0.0)
    assert found.variance == pytest.approx(1e18, rel=1e-8)
    assert found.chi == pytest.approx(1e9 * 4 / 3 / math.sqrt(2 * math.pi), rel=1e-8)


def test_relu_and_identity_networks_in_closed_form():
    # relu: q = g² q/2 + s²; identity: q = g² q + s².
    for name, half in (("relu", 0.5), ("identity", 1.0)):
        below, above = theory.driven_network(0.9, 0.3, name), theory.driven_network(1.5, 0.3, name)
        assert below.variance == pytest.approx(0.09 / (1 - 0.81 * half), rel=NODES)
        assert above.variance == np.inf
        assert (below.chi, above.chi) == pytest.approx((0.81 * half, 2.25 * half), rel=NODES)
        assert theory.critical_gain(0.3, name) == pytest.approx(half**-0.5, rel=NODES)


@pytest.mark.parametrize(
    ("name", "gain"),
    [("tanh", 1), ("identity", 1), ("relu", 2**0.5), ("erf", math.pi**0.5 / 2)],
)
def test_without_a_drive_the_critical_gain_is_the_inverse_slope_at_zero(name, gain):
    assert theory.critical_gain(0.0, name) == pytest.approx(gain, rel=NODES)
    assert theory.critical_gain(0.0, by_quadrature(name)) == pytest.approx(gain, rel=NODES)
    assert theory.driven_network(0.8 * gain, 0.0, name).variance == 0


@pytest.mark.parametrize("name", ["tanh", "relu", "erf"])
@pytest.mark.parametrize("drive", [0.01, 0.5, 20.0])
def test_chi_is_one_at_the_critical_gain(name, drive):
    gain = theory.critical_gain(drive, name)
    assert theory.driven_network(gain, drive, name).chi == pytest.approx(1, abs=1e-12)
    assert theory.driven_network(0.99 * gain, drive, name).exponent < 0


def test_a_weak_drive_moves_the_critical_gain_by_its_power_two_thirds():
    # Small q: q - ⟨φ²⟩/⟨φ'²⟩ = 4q³/3 = s² and g = ⟨φ'²⟩^(-1/2) = 1 + q + O(q²).
    for drive in (1e-6, 1e-5, 1e-4):
        q = (0.75 * drive**2) ** (1 / 3)
        assert theory.critical_gain(drive) - 1 == pytest.approx(q, abs=4 * q**2)


def test_an_activation_without_a_critical_gain_is_refused():
    flat = theory.Activation(np.zeros_like, np.zeros_like)
    assert theory.driven_network(2.0, 1.0, flat) == (1, 0, -np.inf)
    with pytest.raises(ValueError, match=r"no gain below 1e\+15 is critical under the drive 1.0"):
        theory.critical_gain(1.0, flat)
    with pytest.raises(ValueError, match="unknown activation 'tanhh'; did you mean 'tanh'"):
        theory.driven_network(1.0, 1.0, "tanhh")
    with pytest.raises(ValueError, match="drive must be finite and not negative, got -1"):
        theory.driven_network(1.0, -1.0)
    with pytest.raises(ValueError, match="gain must be positive and finite, got nan"):
        theory.autonomous_network(math.nan)
    with pytest.raises(ValueError, match="fractions must lie between 0 and 1, got"):
        theory.autonomous_spectrum(1.0, np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match="gain must be positive and finite, got 0"):
        theory.rate_network(0.0)


def test_autonomous_network_reproduces_the_numbers_known():
    found = theory.autonomous_network(2.0)
    assert found.exponent == pytest.approx(0.154724, abs=5e-7)
    assert found.kaplan_yorke == pytest.approx(0.257555, abs=5e-7)
    assert found.entropy == pytest.approx(0.010683, abs=5e-7)
    assert found.mean_exponent == pytest.approx(-1.149022, abs=1e-6)
    assert theory.autonomous_network(10.0).exponent == pytest.approx(0.856435, abs=5e-7)


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_a_network_at_rest_has_the_circular_law(gain):
    # The exponents are ln|eigenvalues of J|: the share outside radius r is 1 - r²/g².
    t = np.array([0.0, 0.3, 0.9, 0.999])
    expected = math.log(gain) + np.log(1 - t) / 2
    np.testing.assert_allclose(
        theory.autonomous_spectrum(gain, t), expected, rtol=1e-12, atol=gamma(8 * FUNCTION)
    )
    assert theory.autonomous_network(gain) == pytest.approx(
        (0, math.log(gain), math.log(gain) - 0.5, 0, 0), abs=gamma(8 * FUNCTION)
    )


def test_chaos_sets_in_with_the_square_of_the_distance_from_one():
    # g = 1 + δ: q = δ + …, χ_1 = 1 + (4/3) q² + ….
    for delta in (1e-2, 1e-3):
        found = theory.autonomous_network(1 + delta)
        assert found.variance / delta == pytest.approx(1, abs=2 * delta + 1e-6)
        assert found.exponent / delta**2 == pytest.approx(2 / 3, abs=3 * delta)
        # λ(t) = λ_1 - t/2 + … there.
        assert found.entropy / found.exponent**2 == pytest.approx(1, abs=2 * delta)
        assert found.kaplan_yorke / (4 * found.exponent) == pytest.approx(1, abs=2 * delta)


@pytest.mark.parametrize("gain", [1.2, 2.0, 10.0])
def test_spectrum_integrates_to_entropy_dimension_and_mean(gain):
    network = theory.autonomous_network(gain)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u, weights = (nodes + 1) / 2, weights / 2

    def integral(end):
        # t = end (1 - (1 - u)³) thins the points out before the logarithm at t = 1.
        t = end * (1 - (1 - u) ** 3)
        return 3 * end * (weights * (1 - u) ** 2) @ theory.autonomous_spectrum(gain, t)

    start = theory.autonomous_spectrum(gain, np.array([0.0, 1.0]))
    assert start[0] == pytest.approx(network.exponent, rel=1e-10)
    assert start[1] == -np.inf
    assert integral(1.0) == pytest.approx(network.mean_exponent, rel=1e-4)
    assert integral(network.kaplan_yorke) == pytest.approx(0, abs=1e-6)
    ends = np.linspace(0, network.kaplan_yorke, 400)[1:]
    positive = ends[theory.autonomous_spectrum(gain, ends) > 0].max()
    assert integral(positive) == pytest.approx(network.entropy, rel=1e-4)


def test_autonomous_spectrum_is_that_of_a_simulated_network():
    n, gain, rng = 100, 2.0, np.random.default_rng(0)
    J = gain / math.sqrt(n) * rng.normal(size=(n, n))
    x, Q, logs = rng.normal(size=n), np.eye(n), []
    for t in range(400):
        Q, R = np.linalg.qr(J @ ((1 - np.tanh(x) ** 2)[:, None] * Q))
        x = J @ np.tanh(x)
        if t >= 100:
            logs.append(np.log(np.abs(np.diag(R))))
    found = np.mean(logs, 0)
    predicted = theory.autonomous_spectrum(gain, (np.arange(n) + 0.5) / n)
    np.testing.assert_allclose(found[:80], predicted[:80], atol=0.12)
    assert found.mean() == pytest.approx(theory.autonomous_network(gain).mean_exponent, abs=0.1)


@pytest.mark.parametrize(("gain", "drive"), [(1.0, 0.5), (2.0, 0.5)])
def test_driven_exponent_is_that_of_a_simulated_network(gain, drive):
    n, rng = 300, np.random.default_rng(1)
    W = gain / math.sqrt(n) * rng.normal(size=(n, n))
    a, v, logs, squares = rng.normal(size=n), rng.normal(size=n), [], []
    for _ in range(600):
        v = W @ ((1 - np.tanh(a) ** 2) * v)
        logs.append(math.log(np.linalg.norm(v)))
        v /= np.linalg.norm(v)
        a = W @ np.tanh(a) + drive * rng.normal(size=n)
        squares.append(np.mean(a**2))
    found = theory.driven_network(gain, drive)
    assert np.mean(squares[100:]) == pytest.approx(found.variance, rel=0.05)
    assert np.mean(logs[100:]) == pytest.approx(found.exponent, abs=0.03)


@pytest.mark.parametrize(("gain", "exponent"), [(1.2, 0.011920), (2.0, 0.112458), (4.0, 0.341469)])
def test_rate_network_reproduces_the_numbers_known(gain, exponent):
    assert theory.rate_network(gain).exponent == pytest.approx(exponent, abs=5e-7)


def test_rate_network_near_its_onset_and_below():
    # The soliton Δ = Δ0 sech: E = -3κ² with κ² = (g - 1)²/3.
    for delta in (1e-2, 1e-3, 1.01e-4, 0.99e-4, 1e-9):
        found = theory.rate_network(1 + delta)
        assert found.variance / delta == pytest.approx(1, abs=2 * delta + 1e-6)
        assert found.exponent == pytest.approx(delta**2 / 2, abs=2 * delta**3 + 5e-11, rel=1e-6)
    assert theory.rate_network(0.7) == (0, pytest.approx(-0.3))


def test_rate_network_by_the_particle_and_its_schroedinger_equation_in_time():
    gain, (variance, exponent) = 2.0, theory.rate_network(2.0)
    z = np.arange(-8, 8, 0.15)
    weights = np.exp(-(z**2) / 2) * 0.15 / math.sqrt(2 * math.pi)

    def correlation(function, c):
        mixed = math.sqrt(c) * z[:, None] + math.sqrt(1 - c) * z
        return weights @ (function(math.sqrt(variance) * mixed) @ weights) ** 2

    def near(c):
        # Where a step in Δ is short, close to Δ(0), so that splines need few knots.
        return 1 - np.sqrt(np.clip(1 - c, 0, 1))

    c = 1 - np.linspace(1, 0, 201) ** 2
    force = CubicSpline(near(c), [correlation(np.tanh, each) for each in c])
    slope = CubicSpline(near(c), [correlation(lambda x: 1 - np.tanh(x) ** 2, each) for each in c])

    def motion(_, state):
        return [state[1], state[0] - gain**2 * force(near(state[0] / variance))]

    end = 36.0
    path = integrate.solve_ivp(
        motion, (0, end), [variance, 0], "DOP853", dense_output=True, rtol=1e-12, atol=1e-13
    )
    # Released at Δ(0) it comes to rest at 0: the condition that fixes Δ(0).
    assert abs(path.sol(end)[0]) < 1e-3

    def lowest(parity, step):
        times = np.arange(step / 2, end, step)
        diagonal = 1 - gain**2 * slope(near(path.sol(times)[0] / variance)) + 2 / step**2
        diagonal[0] -= parity / step**2
        return eigh_tridiagonal(diagonal, -np.ones(times.size - 1) / step**2, True, "i", (0, 0))[0]

    ground, odd = ((4 * lowest(p, 0.02) - lowest(p, 0.04)) / 3 for p in (1, -1))
    assert math.sqrt(1 - ground) - 1 == pytest.approx(exponent, abs=1e-7)
    # Δ' solves the same equation with E = 0, one node up.
    assert odd == pytest.approx(0, abs=1e-6)
