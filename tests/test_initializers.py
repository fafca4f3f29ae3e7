"""Recurrent ensembles: their moments, spectra and gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, factored, gamma, near
from compiled import float16_compiles

from throughtime import initializers as ini

N = 200


def draw(init, shape=(N, N), dtype=jnp.float64, seed=0):
    return np.asarray(init(jax.random.key(seed), shape, dtype))


@pytest.mark.parametrize("name", ini.INITIALIZERS)
def test_gain_is_traced_and_linear(name):
    initializer = ini.INITIALIZERS[name]
    traced = jax.jit(lambda g: initializer(g)(jax.random.key(0), (N, N), jnp.float64))
    unit = draw(initializer(1.0))
    for gain in (0.0, 0.5, 3.0):
        # Two programs: of the same numbers, the orthogonal ones up to the rounding of their QR.
        assert np.allclose(traced(gain), gain * unit, rtol=0, atol=gain * factored(1, N))


@pytest.mark.parametrize("name", ["gaussian", "uniform"])
def test_variance_is_gain_squared_over_n(name):
    weights = draw(ini.INITIALIZERS[name](1.7))
    variance, fourth = (weights**2).mean(), (weights**4).mean()
    error = np.sqrt((fourth - variance**2) / weights.size)
    assert abs(variance - 1.7**2 / N) < 4 * error
    kurtosis = fourth / variance**2
    assert kurtosis == pytest.approx(3.0 if name == "gaussian" else 1.8, rel=0.05)


def test_orthogonal_has_all_singular_values_at_the_gain():
    singular = np.linalg.svd(draw(ini.orthogonal(1.3)), compute_uv=False)
    assert np.allclose(singular, 1.3, rtol=factored(1, N), atol=0)


def test_a_fused_orthogonal_kernel_has_orthonormal_rows():
    kernel = draw(ini.orthogonal(2.0), (50, 150))
    assert near(kernel @ kernel.T, 4 * np.eye(50), factored(1, 50))
    tall = draw(ini.orthogonal(), (150, 50))
    assert near(tall.T @ tall, np.eye(50), factored(1, 50))


def test_orthogonal_matrices_are_haar_distributed():
    """Moments of the trace of a random orthogonal matrix: E tr² = 1 and E tr⁴ = 3 for N >= 4."""
    keys = jax.random.split(jax.random.key(0), 4000)
    draw_one = lambda key: jnp.trace(ini.orthogonal()(key, (6, 6), jnp.float64))  # noqa: E731
    traces = np.asarray(jax.jit(jax.vmap(draw_one))(keys))
    for moment, expected in ((1, 0), (2, 1), (4, 3)):
        sample = traces**moment
        assert abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(len(keys))


def test_identity_is_the_identity():
    assert np.array_equal(draw(ini.identity(0.7)), 0.7 * np.eye(N))


def test_sparse_has_fifteen_connections_in_and_the_stated_radius():
    kernel = draw(ini.sparse(1.1))
    assert np.all((kernel != 0).sum(axis=0) == 15)
    assert len(set((kernel != 0).sum(axis=1))) > 1
    assert np.abs(np.linalg.eigvals(kernel)).max() == pytest.approx(1.1, rel=1e-10)


def test_gates_are_drawn_one_by_one():
    kernel = draw(ini.per_gate(ini.orthogonal(2.0), 3), (50, 150))
    gates = np.split(kernel, 3, axis=1)
    for gate in gates:
        assert near(gate @ gate.T, 4 * np.eye(50), factored(1, 50))
    assert not np.allclose(gates[0], gates[1])


def test_forget_bias_gives_its_time_constant():
    for tau in (2.0, 10.0, 1000.0):
        keep = 1 / (1 + np.exp(-float(ini.forget_bias_for(tau))))
        assert keep == pytest.approx(1 - 1 / tau, rel=gamma(4 * FUNCTION))


@pytest.mark.parametrize("name", ini.INITIALIZERS)
def test_a_key_is_the_same_matrix_in_every_dtype(name):
    exact = draw(ini.INITIALIZERS[name](1.3), (16, 16))
    rounding = factored(1, 16, jnp.float32)  # at least in float32 they are made orthogonal
    for dtype in (jnp.float32, jnp.bfloat16, *[jnp.float16] * float16_compiles()):
        rounded = draw(ini.INITIALIZERS[name](1.3), (16, 16), dtype).astype(np.float64)
        assert np.allclose(rounded, exact, rtol=gamma(1, dtype), atol=rounding)
