"""Scalars and products in closed form against simulation, chi-squares and differentiation."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, gamma
from scipy import stats
from scipy.special import expit

from throughtime import theory


def complex_step(function, at):
    """The Jacobian of an analytic function, without the rounding of a difference."""
    return np.stack([np.imag(function(at + 1e-30j * e)) / 1e-30 for e in np.eye(at.size)], -1)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def test_scalar_gradient_is_a_power_beyond_the_floats():
    lags = np.arange(6)
    found = theory.scalar_log_gradient(-0.5, lags)
    np.testing.assert_allclose(found, np.log(0.5**lags), rtol=gamma(FUNCTION))
    assert theory.scalar_log_gradient(0.1, 10**6) == pytest.approx(-(10**6) * math.log(10))
    np.testing.assert_array_equal(theory.scalar_log_gradient(0.0, lags[:3]), [0, -np.inf, -np.inf])


@pytest.mark.parametrize("num_inputs", [1, 2, 7])
def test_first_of_n_inputs_is_multiplied_once_less_than_there_are_inputs(num_inputs):
    def last_state(inputs):
        state = 0.0
        for x in inputs:
            state = 0.7 * state + x
        return np.array([state])

    first = complex_step(last_state, np.zeros(num_inputs))[0, 0]
    assert theory.scalar_log_first_input(0.7, num_inputs) == pytest.approx(math.log(first))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_dtype_horizon_is_where_jax_on_a_cpu_loses_a_power_of_two(dtype):
    info = jnp.finfo(dtype)
    for rate in (-0.03, -1.0):
        expected = math.log(float(info.tiny)) / rate
        assert theory.dtype_horizon(rate, dtype) == pytest.approx(expected, rel=gamma(4 * FUNCTION))
    expected = math.log(float(info.max)) / 0.25
    assert theory.dtype_horizon(0.25, dtype) == pytest.approx(expected, rel=gamma(4 * FUNCTION))
    for factor, lost in ((0.5, 0.0), (2.0, np.inf)):
        value, lag = jnp.ones((), dtype), 0
        while float(value) != lost:
            value, lag = value * jnp.asarray(factor, dtype), lag + 1
        assert lag == math.floor(theory.dtype_horizon(math.log(factor), dtype)) + 1


def test_dtype_horizons_of_the_field():
    down32, up32 = theory.dtype_horizon(-1.0), theory.dtype_horizon(1.0)
    down64, up64 = theory.dtype_horizon(-1.0, "float64"), theory.dtype_horizon(1.0, "float64")
    assert (down32, up32) == pytest.approx((87.34, 88.72), abs=5e-3)
    assert (down64, up64) == pytest.approx((708.4, 709.8), abs=5e-2)
    assert theory.dtype_horizon(0.0) == np.inf


@pytest.mark.parametrize(("activation", "phi"), [("tanh", np.tanh), ("sigmoid", sigma)])
def test_pascanu_threshold_is_one_over_the_steepest_slope(activation, phi):
    x = np.linspace(-3, 3, 6001)
    steepest = np.max(np.imag(phi(x + 1e-30j)) / 1e-30)
    assert theory.pascanu_threshold(activation) == pytest.approx(1 / steepest, rel=1e-12)


@pytest.mark.parametrize("weight", [-3.0, 2.0, 1 / (expit(0.5) * expit(-0.5)), 5.0])
@pytest.mark.parametrize("steps", [1, 50])
def test_cliff_gradient_is_the_derivative_of_the_unrolled_loss(weight, steps):
    def loss(point):
        x, w, b = point
        for _ in range(steps):
            x = w * sigma(x) + b
        return np.array([(sigma(x) - 0.7) ** 2])

    found = theory.cliff(weight, steps)
    point = np.array([0.5, weight, found.bias])
    # Rounding in x_t grows by a per step, to 3e3 at w = 5.
    assert found.loss == pytest.approx(loss(point)[0], rel=1e-10)
    expected = complex_step(loss, point)[0]
    np.testing.assert_allclose(
        [found.by_start, found.by_weight, found.by_bias], expected, rtol=1e-9
    )
    assert found.multiplier**steps == pytest.approx(expected[0] / theory.cliff(0.0, 1).by_bias)


@pytest.mark.parametrize("weight", [4.5, 5.0, 12.0])
def test_saddle_nodes_are_where_the_number_of_fixed_points_changes(weight):
    def fixed_points(bias):
        x = np.linspace(-20, 20, 400_001)
        return np.count_nonzero(np.diff(np.sign(weight * sigma(x) + bias - x)))

    low, high = theory.cliff_saddle_nodes(weight)
    shift = 1e-4
    assert [fixed_points(b) for b in (low - shift, low + shift)] == [1, 3]
    assert [fixed_points(b) for b in (high - shift, high + shift)] == [3, 1]
    assert theory.cliff_saddle_nodes(4.0) == pytest.approx((-2.0, -2.0), abs=1e-12)


@pytest.mark.parametrize("size", [1, 2, 9])
def test_exponents_of_gaussian_products_sum_to_the_mean_log_determinant(size):
    # |det W|² is a product of independent χ²_1 … χ²_N (real) or Γ(1) … Γ(N) (complex).
    real = sum(stats.chi2(i).expect(np.log) for i in range(1, size + 1)) - size * math.log(size)
    found = theory.gaussian_product_exponents(1.3, size).sum()
    assert found == pytest.approx(size * math.log(1.3) + real / 2, rel=1e-7, abs=1e-7)
    cplx = sum(stats.gamma(i).expect(np.log) for i in range(1, size + 1)) - size * math.log(size)
    found = theory.ginibre_product_exponents(1.3, size).sum()
    assert found == pytest.approx(size * math.log(1.3) + cplx / 2, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_partial_sums_of_the_exponents_are_mean_log_volumes(field):
    rng, size, gain = np.random.default_rng(0), 3, 0.8
    matrices = rng.normal(size=(20_000, size, size, 2)) * gain * size**-0.5
    if field == "real":
        exponents, w = theory.gaussian_product_exponents(gain, size), matrices[..., 0]
    else:
        exponents = theory.ginibre_product_exponents(gain, size)
        w = matrices @ np.array([1, 1j]) / math.sqrt(2)
    for m in range(1, size + 1):
        volumes = np.log(np.linalg.svd(w[:, :, :m], compute_uv=False)).sum(-1)
        error = volumes.std() / math.sqrt(volumes.size)
        assert exponents[:m].sum() == pytest.approx(volumes.mean(), abs=4 * error)


def test_large_gaussian_products_obey_the_triangle_law():
    t = (np.arange(1, 2001) - 0.5) / 2000
    for exponents in (theory.gaussian_product_exponents, theory.ginibre_product_exponents):
        gap = exponents(2.0, 2000) - (math.log(2.0) + np.log(1 - t) / 2)
        assert np.abs(gap[:1000]).max() < 1e-3


@pytest.mark.parametrize("size", [1, 3, 50])
def test_growth_of_a_vector_is_a_sum_of_log_chi_squares(size):
    chi2, lags = stats.chi2(size), np.array([0, 1, 40])
    mean = chi2.expect(np.log)
    variance = chi2.expect(lambda x: (np.log(x) - mean) ** 2)
    found = theory.gaussian_product_growth(0.9, size, lags)
    per_step = math.log(0.9) + (mean - math.log(size)) / 2
    np.testing.assert_allclose(found.mean, lags * per_step, rtol=1e-7)
    np.testing.assert_allclose(found.variance, lags * variance / 4, rtol=1e-6)
    np.testing.assert_allclose(found.log_rms, lags / 2 * math.log(0.81 * chi2.mean() / size))
    at_edge = theory.gaussian_product_critical_gain(size)
    assert theory.gaussian_product_growth(at_edge, size, 1).mean == pytest.approx(
        0, abs=gamma(8 * FUNCTION)
    )


def test_typical_critical_gain_lies_above_one_by_half_over_n():
    # ψ(x) = ln x - 1/(2x) - 1/(12x²) + O(x⁻⁴) at x = N/2.
    for size in (100, 1000):
        series = 1 + 1 / (2 * size) + 7 / (24 * size**2)
        assert abs(theory.gaussian_product_critical_gain(size) - series) < 1 / size**3


def test_tied_exponent_is_the_growth_of_high_powers():
    matrix = np.random.default_rng(1).normal(size=(30, 30)) / math.sqrt(30)
    power, log_scale = matrix, 0.0
    for _ in range(20):
        power, log_scale = power @ power, 2 * log_scale
        norm = np.linalg.norm(power, 2)
        power, log_scale = power / norm, log_scale + math.log(norm)
    assert theory.tied_exponent(matrix) == pytest.approx(log_scale / 2**20, abs=1e-5)
    assert theory.tied_exponent(np.array([[0.0, -3.0], [3.0, 0.0]])) == pytest.approx(math.log(3))
    assert theory.tied_exponent(np.triu(np.ones((3, 3)), 1)) == -np.inf


@pytest.mark.parametrize("lag", [0, 1, 2, 5, 60])
@pytest.mark.parametrize("radius", [0.3, 1.0, 1.4])
def test_jordan_norm_is_the_norm_of_the_power(radius, lag):
    for size in (1, 2, 4):
        block = radius * np.eye(size) + np.eye(size, k=1)
        expected = math.log(np.linalg.norm(np.linalg.matrix_power(block, lag), 2))
        found = theory.jordan_log_norm(radius, size, lag)
        # A power of entries that are not negative, and the largest singular value of it.
        rounding = gamma(2 * (lag + FUNCTION) * size**2)
        assert found == pytest.approx(expected, rel=gamma(4 * FUNCTION), abs=rounding)


def test_jordan_norm_beyond_the_floats():
    # 2 x 2: σ_1 = (b + √(b² + 4a²))/2 with a = ρ^k, b = k ρ^(k-1), and the largest term at n = 5.
    rho, k = 0.9, 10**6
    ratio = k / rho
    expected = k * math.log(rho) + math.log((ratio + math.sqrt(ratio**2 + 4)) / 2)
    assert theory.jordan_log_norm(rho, 2, k) == pytest.approx(expected, rel=gamma(8 * FUNCTION))
    term = math.log(math.comb(k, 4)) + (k - 4) * math.log(rho)
    assert theory.jordan_log_norm(rho, 5, k) == pytest.approx(term, rel=gamma(8 * FUNCTION))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.scalar_log_gradient(math.nan, 1), "weight must be finite, got nan"),
        (lambda: theory.scalar_log_gradient(1.0, np.array([2, -1])), "lag must be finite and not"),
        (lambda: theory.scalar_log_first_input(1.0, 0), "num_inputs must be at least 1, got 0"),
        (lambda: theory.dtype_horizon(-1.0, "float3"), "unknown dtype 'float3'; did you mean"),
        (lambda: theory.pascanu_threshold("relu"), "unknown activation 'relu'"),
        (lambda: theory.cliff(1.0, 0), "steps must be at least 1, got 0"),
        (lambda: theory.cliff_saddle_nodes(3.9), "at least 4 for saddle-nodes to exist, got 3.9"),
        (lambda: theory.gaussian_product_exponents(0.0, 3), "gain must be positive and finite"),
        (lambda: theory.ginibre_product_exponents(1.0, 0), "size must be at least 1, got 0"),
        (lambda: theory.gaussian_product_growth(1.0, 3, -1), "lag must be finite and not negative"),
        (lambda: theory.tied_exponent(np.array([[np.nan]])), "got 1 entries that are not"),
        (
            lambda: theory.jordan_log_norm(-0.5, 2, 1),
            "radius must be positive and finite, got -0.5",
        ),
    ],
)
def test_what_lies_outside_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
