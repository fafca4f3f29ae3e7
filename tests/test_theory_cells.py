"""Gates, minimal cells and diagonal recurrences against cells written out and other quadratures."""

import math

import mpmath
import numpy as np
import pytest
from bounds import FUNCTION, gamma
from scipy import integrate
from scipy.linalg import solve_discrete_lyapunov
from scipy.special import expit

from throughtime import theory


def complex_step(function, n):
    """The Jacobian of an analytic function at zero, without the rounding of a difference."""
    return np.stack([np.imag(function(1e-30j * e)) / 1e-30 for e in np.eye(n)], -1)


def sigma(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("bias", [-40.0, -3.0, 0.0, 5.0, 30.0])
def test_decay_time_is_exact_and_the_time_constant_its_first_order(bias):
    exact, first = theory.decay_time(bias), theory.time_constant(bias)
    with mpmath.workdps(40):
        expected = float(1 / mpmath.log1p(mpmath.exp(-bias)))
    assert exact == pytest.approx(expected, rel=gamma(4 * FUNCTION))
    assert (1 - 1 / first) == pytest.approx(expit(bias), rel=gamma(4 * FUNCTION), abs=gamma(2))
    if bias >= 5:
        rounding = gamma(FUNCTION) * first
        late = 0.5 + 1 / (12 * first)
        assert first - exact == pytest.approx(late, rel=0, abs=1 / first**2 + rounding)
    assert theory.decay_time(1e3) == theory.time_constant(1e3) == np.inf


def test_chrono_biases_span_time_constants_from_two_steps_to_the_longest():
    found = theory.chrono_range(500.0)
    assert [theory.time_constant(b) for b in found[:2]] == pytest.approx(
        [2, 500], rel=gamma(4 * FUNCTION)
    )
    assert found[2:] == (2, 500)


def at_rest(cell, candidate, others, biases):
    """The eigenvalues of the Jacobian of a cell written out, at zero state and input."""
    n, (a, b, c) = len(candidate), others

    def gru(h):
        r, z = sigma(a @ h), sigma(b @ h + biases["update_bias"])
        return z * h + (1 - z) * np.tanh(r * (candidate @ h))

    def lstm(state):
        h, memory = state[:n], state[n:]
        f, i = sigma(a @ h + biases["forget_bias"]), sigma(b @ h + biases["input_bias"])
        memory = f * memory + i * np.tanh(candidate @ h)
        return np.concatenate([sigma(c @ h + biases["output_bias"]) * np.tanh(memory), memory])

    cells = {"tanh": lambda h: np.tanh(candidate @ h), "gru": gru, "lstm": lstm}
    return np.linalg.eigvals(complex_step(cells[cell], 2 * n if cell == "lstm" else n))


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_rest_multipliers_are_the_eigenvalues_of_a_cell_written_out(cell):
    candidate, *others = np.random.default_rng(2).normal(size=(4, 3, 3))
    biases = {"update_bias": 0.7, "forget_bias": 1.2, "input_bias": -0.4, "output_bias": 0.3}
    omegas = np.linalg.eigvals(candidate)
    assert np.abs(omegas.imag).max() > 0.1
    found = [getattr(theory.rest_multipliers(complex(w), **biases), cell) for w in omegas]
    expected = at_rest(cell, candidate, others, biases)
    expected = expected[np.argsort(-np.abs(expected))][:3]
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), rtol=1e-7)
    assert theory.rest_multipliers(2.0).lstm == pytest.approx(1.0)


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_at_the_critical_scale_the_spectral_radius_at_rest_is_one(cell):
    # A positive matrix: its largest eigenvalue is real and positive (Perron).
    candidate, *others = np.random.default_rng(3).uniform(size=(4, 3, 3))
    radius = float(np.abs(np.linalg.eigvals(candidate)).max())
    gates = {"forget_bias": 2.0, "input_bias": -1.0, "output_bias": 0.5}
    scale = getattr(theory.critical_scales(radius, **gates), cell)
    for update_bias in (-1.0, 3.0):
        found = at_rest(cell, scale * candidate, others, {"update_bias": update_bias, **gates})
        assert np.abs(found).max() == pytest.approx(1, rel=1e-12)
    assert theory.critical_scales(0.5, forget_bias=1.0).lstm == pytest.approx(8 * expit(-1.0))


def normal_mean(function, mean, std):
    """E f by the trapezoidal rule, which is exponentially exact for analytic f."""
    z = np.linspace(-10, 10, 4001)
    return np.trapezoid(function(mean + std * z) * np.exp(-(z**2) / 2), z) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (-2.0, 0.5), (1.0, 3.0), (-40.0, 20.0)])
def test_mingru_exponent_is_the_mean_log_of_what_is_kept(mean, std):
    expected = normal_mean(lambda a: -np.log1p(np.exp(-np.abs(a))) - np.maximum(a, 0), mean, std)
    assert theory.mingru_exponent(mean, std) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spread", [(0.0, 0.0), (0.5, 0.0), (1.0, 2.0), (5.0, 5.0)])
def test_minlstm_exponent_is_the_mean_log_of_the_forget_share(spread):
    def given_forget(a_f):
        return normal_mean(lambda a: np.log(sigma(a_f) / (sigma(a_f) + sigma(a))), -1.0, spread[1])

    def shares(a_f):
        return np.array([given_forget(a) for a in a_f])

    z = np.linspace(-9, 9, 181)
    weights = np.exp(-(z**2) / 2) * 0.1 / math.sqrt(2 * math.pi)
    expected = weights @ shares(1.5 + spread[0] * z)
    found = theory.minlstm_exponent(1.5, spread[0], -1.0, spread[1])
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("r_min", "r_max"), [(0.0, 1.0), (0.5, 0.9), (0.9, 1.0), (0.3, 1.2)])
def test_ring_moment_is_the_average_over_the_ring(r_min, r_max):
    for lag in (0, 1, 30):
        total = integrate.quad(lambda square, k=lag: square**k, r_min**2, r_max**2)[0]
        expected = math.log(total / (r_max**2 - r_min**2))
        assert theory.ring_log_moment(r_min, r_max, lag) == pytest.approx(expected, abs=1e-12)
        excess = math.log(1 - (r_min / r_max) ** (2 * lag + 2))
        law = theory.ring_power_law(r_min, r_max, lag)
        assert theory.ring_log_moment(r_min, r_max, lag) - law == pytest.approx(excess, abs=1e-13)


def test_ring_that_touches_the_unit_circle_decays_as_a_power_of_the_lag():
    lags = np.array([10**3, 10**4, 10**6])
    slopes = np.diff(theory.ring_log_moment(0.5, 1.0, lags)) / np.diff(np.log(lags + 1))
    np.testing.assert_allclose(slopes, -1, rtol=1e-12)
    equal = theory.ring_log_moment(0.9, 0.9, lags)
    np.testing.assert_allclose(equal, 2 * lags * math.log(0.9), rtol=gamma(FUNCTION))


@pytest.mark.parametrize("decay", [-0.6, 0.0, 0.5, 0.99])
def test_memory_moments_solve_the_joint_recurrence_of_state_and_sensitivity(decay):
    # s' = λ s + h beside h' = λ h + x: a linear system in (h, s).
    system, entry = np.array([[decay, 0.0], [1.0, decay]]), np.array([1.0, 0.0])
    covariance = solve_discrete_lyapunov(system, np.outer(entry, entry))
    np.testing.assert_allclose(theory.memory_moments(decay), np.diag(covariance), rtol=1e-10)
    rest = np.linalg.solve(np.eye(2) - system, entry)
    np.testing.assert_allclose(theory.memory_moments(decay, "constant"), rest**2, rtol=1e-10)


@pytest.mark.parametrize(("inputs", "powers"), [("white", (1, 3)), ("constant", (2, 4))])
def test_memory_moments_diverge_with_the_powers_of_zucchet_and_orvieto(inputs, powers):
    near, nearer = (np.log(theory.memory_moments(1 - gap, inputs)) for gap in (1e-5, 1e-6))
    np.testing.assert_allclose((nearer - near) / math.log(10), powers, atol=1e-4)
    assert theory.MEMORY_EXPONENTS[inputs] == powers


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.chrono_range(1.5), "longest must be at least 2 steps and finite, got 1.5"),
        (lambda: theory.decay_time(math.inf), "bias must be finite, got inf"),
        (lambda: theory.rest_multipliers(1.0, input_bias=math.nan), "input_bias must be finite"),
        (lambda: theory.critical_scales(0.0), "spectral_radius must be positive and finite, got 0"),
        (lambda: theory.mingru_exponent(0.0, -1.0), "std must be finite and not negative, got -1"),
        (lambda: theory.minlstm_exponent(0.0, 1.0, 0.0, math.nan), "input_std must be finite"),
        (lambda: theory.ring_log_moment(0.9, 0.5, 1), "0 <= r_min <= r_max, 0 < r_max, got 0.9"),
        (lambda: theory.ring_power_law(0.9, 0.9, 1), "no width has no power law, got both radii"),
        (lambda: theory.memory_moments(1.0), "decay must lie strictly between -1 and 1, got 1.0"),
        (lambda: theory.memory_moments(0.5, "whit"), "unknown inputs 'whit'; did you mean 'white'"),
    ],
)
def test_what_lies_outside_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
