"""Products of chains against mpmath, and the leading exponent against the sequential spectrum."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from bounds import FUNCTION, factored, gamma
from flax import nnx

from throughtime.cells import as_step, make_cell
from throughtime.dynamics import rollout
from throughtime.lyapunov import lyapunov_spectrum
from throughtime.parallel import cumulative_products, leading_exponent
from throughtime.scaled import log_norm

N, LENGTH = 3, 400
DTYPES = pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
products_of = jax.jit(cumulative_products)


def gaussian(seed, gain=1.0, length=LENGTH, n=N):
    return gain * np.random.default_rng(seed).normal(size=(length, n, n)) / np.sqrt(n)


def two_sided(turn=200):
    """Contract one axis by 2^-10 a step, then the other by 2^-20: first one is lost, then both."""
    first, then = np.diag([1, 2.0**-10, 2.0**-30]), np.diag([2.0**-20, 1, 2.0**-30])
    return np.concatenate([np.tile(first, (turn, 1, 1)), np.tile(then, (LENGTH - turn, 1, 1))])


def with_zeros():
    """Half of the entries are 0, and from the 300th on, a matrix without any is too late."""
    chain = gaussian(3) * (np.random.default_rng(4).uniform(size=(LENGTH, N, N)) < 0.5)
    chain[300] = 0
    return chain


CHAINS = {
    "contracting": gaussian(0, np.exp(-25)),
    "expanding": np.abs(gaussian(1, np.exp(25))),
    "positive": np.abs(gaussian(2, 0.7)),
    "neutral": gaussian(5),
    "zeros": with_zeros(),
    "nilpotent": np.tile(np.eye(N, k=1), (LENGTH, 1, 1)),
    "two-sided": two_sided(),
}


def exactly(mantissa, exponent):
    """A matrix of scaled floats as mpmath has it."""
    return mpmath.matrix(mantissa.tolist()) * mpmath.power(2, int(exponent))


def errors(chain, dtype):
    """|P̂_t − P_t| in units of t n u, by the bound's |A_t| ⋯ |A_1| and by ‖P_t‖, and ln ‖P_T‖."""
    chain = jnp.asarray(chain, dtype)
    mantissa, exponent = map(np.asarray, products_of(chain))
    exact = bound = mpmath.eye(N)
    by_entry, by_norm = [], []
    for t, factor in enumerate(np.asarray(chain), start=1):
        exact = mpmath.matrix(factor.tolist()) * exact
        bound = mpmath.matrix(np.abs(factor).tolist()) * bound
        if not np.all(np.isfinite(mantissa[t - 1])):
            by_entry.append(np.nan)
            by_norm.append(np.nan)
            continue
        gap = exactly(mantissa[t - 1], exponent[t - 1]) - exact
        unit = max(t - 1, 1) * N * float(jnp.finfo(dtype).eps) / 2
        pairs = [(abs(g), b) for g, b in zip(gap, bound, strict=True) if g != 0]
        by_entry.append(
            float(max((g / b if b else mpmath.inf for g, b in pairs), default=0)) / unit
        )
        size = mpmath.mnorm(exact, "f")
        by_norm.append(
            float(mpmath.mnorm(gap, "f") / size) / unit if size else float(gap != 0 * gap)
        )
    return np.array(by_entry), np.array(by_norm), float(mpmath.log(mpmath.mnorm(bound, "f") or 1))


@DTYPES
@pytest.mark.parametrize("name", [*CHAINS])
def test_products_are_the_sequential_ones_to_rounding(name, dtype):
    mpmath.mp.dps = 60
    by_entry, by_norm, nats = errors(CHAINS[name], dtype)
    kept = ~np.isnan(by_norm)
    # Proven by entry. By norm a product whose factors cancel may be worse, and hardly is.
    assert np.all(by_norm[kept] <= (2 if name == "neutral" else 1))
    assert np.all(by_norm[kept][100:] <= 0.5)
    if name == "two-sided":
        # All that is kept is right; what is lost (over 126 or 1022 binary digits) is NaN for good.
        assert 200 < np.argmin(kept) < {jnp.float64: 260, jnp.float32: 210}[dtype]
        assert not np.any(kept[np.argmin(kept) :])
        return
    assert np.all(kept)
    assert np.all(by_entry <= 1)
    if name in ("contracting", "expanding"):
        assert abs(nats) == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 7])
def test_products_are_nan_from_the_first_matrix_that_is_not_finite(bad, at):
    chain = gaussian(0)
    chain[at, 1, 2] = bad
    mantissa = np.asarray(products_of(jnp.asarray(chain)).mantissa)
    assert np.array_equal(np.all(np.isnan(mantissa), axis=(1, 2)), np.arange(LENGTH) >= at)
    assert np.array_equal(mantissa[:at], products_of(jnp.asarray(gaussian(0))).mantissa[:at])


def test_one_matrix_is_its_product_and_none_is_refused():
    one = cumulative_products(jnp.asarray(gaussian(0)[:1]))
    size = np.log(np.linalg.norm(gaussian(0)[0]))
    assert np.allclose(log_norm(one), size, rtol=0, atol=gamma(N * N + FUNCTION))
    with pytest.raises(ValueError, match="at least one matrix, not 0"):
        cumulative_products(jnp.zeros((0, 2, 2)))


# The leading exponent


def linear(h, x):
    """A step whose Jacobian is its input."""
    return x.reshape(N, N) @ h


def driven_by(chain, transient=20):
    """Both exponents of the chain, at the origin."""
    chain = jnp.asarray(chain).reshape(len(chain), N * N)
    return _both_of_a_chain(chain, transient)


@jax.jit(static_argnums=1)
def _both_of_a_chain(chain, transient):
    h0 = jnp.zeros(N, chain.dtype)
    spectrum = lyapunov_spectrum(linear, h0, chain, 1, transient=transient)
    return leading_exponent(linear, h0, chain, transient=transient), spectrum.exponents[0]


@pytest.mark.parametrize("name", ["contracting", "expanding", "neutral"])
def test_exponent_of_a_chain_is_the_sequential_one(name):
    parallel, sequential = driven_by(CHAINS[name])
    # The rate of a mean over steps; an exponent of 25 nats is itself rounded.
    assert abs(parallel - sequential) < 10 * factored(1, N) * max(1, abs(sequential))


def test_an_annihilated_direction_has_the_exponent_of_nothing():
    chain = gaussian(0)
    chain[100] = 0
    assert np.array_equal(driven_by(chain), [-np.inf, -np.inf])
    chain[10] = 0
    assert np.isnan(driven_by(chain)[0])


def test_a_direction_that_the_products_lose_is_nan():
    """The sequential spectrum keeps one vector, and goes on with what is left of it."""
    assert np.isnan(driven_by(two_sided())[0])
    parallel, sequential = driven_by(two_sided(391))
    assert parallel == pytest.approx(float(sequential), rel=10 * factored(1, N))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_exponent_of_what_is_not_finite_is_nan(bad):
    chain = gaussian(0)
    chain[5, 0, 0] = bad
    assert np.all(np.isnan(driven_by(chain)))


@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
def test_exponents_of_networks_are_the_sequential_ones(dtype):
    """Below the edge, near it, and chaotic, each along its own orbit."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(16, 16)) / 4, dtype)
    inputs = jnp.asarray(0.5 * rng.normal(size=(60, 16)), dtype)

    def both(gain):
        step = lambda h, x: jnp.tanh(gain * weights @ h + x)  # noqa: E731
        h0 = jnp.zeros(16, dtype)
        spectrum = lyapunov_spectrum(step, h0, inputs, 1, transient=20)
        return leading_exponent(step, h0, inputs, transient=20), spectrum.exponents[0]

    parallel, sequential = jax.jit(jax.vmap(both))(jnp.asarray([0.5, 1.2, 3.0], dtype))
    assert np.all(np.abs(parallel - sequential) < factored(1, 16, dtype))
    assert np.all(np.diff(parallel) > 0.3)
    assert parallel[2] > 0


def test_exponent_of_an_lstm_is_the_sequential_one_and_takes_known_states():
    cell = make_cell("lstm", 2, 4, recurrent_scale=1.4, dtype=jnp.float64, rngs=nnx.Rngs(1))
    step, h0, _ = as_step(cell)
    inputs = jax.random.normal(jax.random.key(3), (25, 2), jnp.float64)

    @jax.jit
    def measured(states):
        sequential = lyapunov_spectrum(step, h0, inputs, 1, transient=9).exponents[0]
        return sequential, leading_exponent(step, h0, inputs, transient=9, states=states)

    sequential, parallel = measured(rollout(step, h0, inputs))
    assert abs(parallel - sequential) < factored(1, 8)
    assert abs(measured(jnp.zeros((25, 8)))[1] - sequential) > 0.03


@pytest.mark.parametrize("transient", [-1, 5])
def test_a_transient_that_leaves_nothing_is_refused(transient):
    with pytest.raises(ValueError, match=rf"in \[0, 4\] for 5 steps, not {transient}"):
        leading_exponent(linear, jnp.zeros(N), jnp.zeros((5, N * N)), transient=transient)
