"""Scaled arithmetic against mpmath, far beyond the float range, and exactness of the rescaling."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from bounds import FUNCTION, gamma
from compiled import skip_what_does_not_compile
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime import scaled as sc

mpmath.mp.dps = 40
NATS = 10**6
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])


def as_mpmath(number: sc.Scaled):
    """One scaled number, or the entries of one group, exactly."""
    two = mpmath.power(2, int(number.exponent))
    return [two * mpmath.mpf(float(m)) for m in np.ravel(number.mantissa)]


def draw(rng, shape, dtype) -> sc.Scaled:
    """Random numbers whose logarithms span ±10^6 nats."""
    mantissa = jnp.asarray(rng.uniform(-1, 1, shape), dtype)
    exponent = rng.integers(-NATS / np.log(2), NATS / np.log(2))
    return sc.rescale(mantissa, jnp.int32(exponent))


@DTYPES
@pytest.mark.parametrize("seed", range(20))
def test_product_and_sum_equal_mpmath(dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = draw(rng, (3,), dtype), draw(rng, (3,), dtype)
    near = sc.Scaled(b.mantissa, a.exponent + jnp.int32(rng.integers(-3, 3)))
    for got, exact in (
        (sc.multiply(a, b), [x * y for x, y in zip(as_mpmath(a), as_mpmath(b), strict=True)]),
        (sc.add(a, near), [x + y for x, y in zip(as_mpmath(a), as_mpmath(near), strict=True)]),
        (sc.add(a, b), [x + y for x, y in zip(as_mpmath(a), as_mpmath(b), strict=True)]),
    ):
        largest = max(abs(x) for x in exact)
        for value, truth in zip(as_mpmath(got), exact, strict=True):
            assert abs(value - truth) <= gamma(2, dtype) * largest


@DTYPES
@pytest.mark.parametrize("seed", range(5))
def test_norm_and_its_log_equal_mpmath(dtype, seed):
    vector = draw(np.random.default_rng(seed), (7,), dtype)
    exact = mpmath.sqrt(sum(x**2 for x in as_mpmath(vector)))
    assert abs(as_mpmath(sc.norm(vector))[0] / exact - 1) <= gamma(7 + 2, dtype)
    log = float(mpmath.log(exact))
    assert float(sc.log_norm(vector)) == pytest.approx(log, rel=gamma(FUNCTION, dtype))


@DTYPES
def test_a_million_nats_in_one_scan(dtype):
    factors = jnp.asarray(np.random.default_rng(0).uniform(1e-5, 5e-5, 100_000), dtype)

    @jax.jit
    def product(factors):
        one = sc.from_float(jnp.ones((), dtype))
        multiply = lambda total, f: (sc.multiply(total, sc.from_float(f)), None)  # noqa: E731
        return jax.lax.scan(multiply, one, factors)[0]

    exact = mpmath.fprod(mpmath.mpf(float(f)) for f in factors)
    assert mpmath.log(exact) < -NATS
    ratio = as_mpmath(product(factors))[0] / exact
    assert abs(ratio - 1) < gamma(len(factors), dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16, jnp.float16])
def test_rescaling_moves_no_bit(dtype):
    skip_what_does_not_compile(dtype)
    info = jnp.finfo(dtype)
    span = np.arange(int(info.minexp) + 1, int(info.maxexp) - 1)
    values = jnp.asarray(np.ldexp(0.7, span), dtype)
    each = jax.vmap(sc.from_float)(values)
    assert np.array_equal(sc.to_float(each), values)
    assert np.all((each.mantissa >= 0.5) & (each.mantissa < 1))
    for value, mantissa, exponent in zip(values, *each, strict=True):
        assert as_mpmath(sc.Scaled(mantissa, exponent))[0] == mpmath.mpf(float(value))


@given(st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30) | st.just(0.0), st.integers(-900, 900))
@settings(max_examples=200)
def test_shift_is_multiplication_by_a_power_of_two(x, k):
    assert float(sc.shift(jnp.float64(x), jnp.int32(k))) == np.ldexp(x, k)


def test_zero_inf_and_nan_keep_their_meaning():
    zero = sc.from_float(jnp.zeros(2))
    assert float(sc.log_norm(zero)) == -np.inf
    assert int(zero.exponent) == 0
    small = sc.Scaled(jnp.array([0.5, 0.5]), jnp.int32(-10_000))
    assert sc.add(zero, small).exponent == small.exponent
    assert np.array_equal(sc.to_float(sc.from_float(jnp.array([jnp.inf, 1.0]))), [np.inf, 1.0])
    assert np.isnan(sc.log_norm(sc.from_float(jnp.array([jnp.nan, 1.0]))))


def test_outside_the_float_range_plain_floats_are_zero_and_inf():
    mantissa = jnp.array([0.5, -0.75])
    assert np.array_equal(sc.to_float(sc.Scaled(mantissa, jnp.int32(-5000))), [0.0, 0.0])
    assert np.array_equal(sc.to_float(sc.Scaled(mantissa, jnp.int32(5000))), [np.inf, -np.inf])


def test_a_common_exponent_takes_the_largest_group():
    mantissas = jnp.array([[0.5, 0.75], [0.0, 0.0], [0.625, 0.5]])
    exponents = jnp.array([-2000, 99, -2003], jnp.int32)
    common = sc.common_exponent(sc.Scaled(mantissas, exponents))
    assert int(common.exponent) == -2000
    assert np.array_equal(common.mantissa, [[0.5, 0.75], [0, 0], [0.625 / 8, 0.5 / 8]])


def test_gradients_pass_through():
    x = jnp.array([3.0, 4.0])
    assert np.allclose(
        jax.grad(lambda x: sc.log_norm(sc.from_float(x)))(x), x / 25, rtol=gamma(FUNCTION), atol=0
    )
    tiny = x * 1e-200
    there_and_back = jax.grad(lambda x: jnp.sum(sc.to_float(sc.from_float(x))))(tiny)
    assert np.array_equal(there_and_back, [1.0, 1.0])
    y = sc.from_float(jnp.array([0.5, 2.0]))
    product = jax.jacobian(lambda x: sc.to_float(sc.multiply(sc.from_float(x), y)))(x)
    assert np.array_equal(product, np.diag([0.5, 2.0]))


def test_vmap_gives_every_row_its_exponent():
    rows = jnp.array([[1e-300, 0.0], [1e300, 1.0]])
    each = jax.jit(jax.vmap(sc.from_float))(rows)
    assert np.allclose(sc.log_norm(each), np.log(rows[:, 0]), rtol=gamma(FUNCTION), atol=0)
