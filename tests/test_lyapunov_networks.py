"""Lyapunov spectra of networks, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from flax import nnx

from throughtime import lyapunov as ly
from throughtime.cells import as_step, make_cell
from throughtime.lyapunov.frames import initial_frame, orthonormalise

# Networks


def tanh_step(weights):
    return lambda h, x: jnp.tanh(weights @ h + x)


def mean_field_exponent(gain, noise):
    """λ_1 = ½ ln χ, χ = g²⟨φ'(√q z)²⟩ at the fixed point q = g²⟨φ(√q z)²⟩ + s²."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(2000):
        q = gain**2 * weights @ np.tanh(np.sqrt(q) * nodes) ** 2 + noise**2
    return np.log(gain**2 * weights @ np.cosh(np.sqrt(q) * nodes) ** -4.0) / 2


def test_four_networks_have_four_exponents():
    """At 256 units the finite-size bias is −(1 … 3)/N, and the weights' own scatter as large."""
    n, noise, gains = 256, 0.5, (0.3, 0.5, 0.9, 1.5)
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(n, n)) / np.sqrt(n))
    inputs = jnp.asarray(noise * rng.normal(size=(500, n)))
    run = lambda g: ly.lyapunov_spectrum(  # noqa: E731
        tanh_step(g * weights), jnp.zeros(n), inputs, 1, transient=100
    )
    exponents = jax.jit(jax.vmap(run))(jnp.array(gains)).exponents[:, 0]
    theory = [mean_field_exponent(g, noise) for g in gains]
    assert np.all(np.abs(exponents - np.array(theory)) < 0.02)
    assert np.all(np.diff(exponents) > 0.1)


def test_autonomous_network_below_the_edge_has_its_spectral_radius():
    weights = np.random.default_rng(0).normal(size=(32, 32)) / np.sqrt(32)
    magnitudes = np.sort(np.abs(np.linalg.eigvals(weights)))[::-1]
    step, h0 = tanh_step(jnp.asarray(0.5 * weights / magnitudes[0])), jnp.full(32, 0.1)
    run = jax.jit(lambda x: ly.lyapunov_spectrum(step, h0, x, transient=500))
    exponents = run(jnp.zeros((2500, 32))).exponents
    # Complex pairs turn in their plane: the two exponents straddle ln |μ| by O(1/T).
    assert np.allclose(exponents, np.log(0.5 * magnitudes / magnitudes[0]), atol=4e-3)


@pytest.mark.slow
def test_autonomous_chaotic_network_at_large_size():
    """x' = J tanh(x), g = 2, N → ∞: λ_1 and dimension, up to fluctuations of 2/√N."""
    n, dtype = 400, jnp.float32
    weights = 2 * np.random.default_rng(1).normal(size=(n, n)) / np.sqrt(n)
    weights, h0 = jnp.asarray(weights, dtype), jnp.linspace(-1, 1, n, dtype=dtype)
    step, inputs = (lambda h, x: weights @ jnp.tanh(h)), systems.no_inputs(400, dtype)
    run = jax.jit(lambda: ly.lyapunov_spectrum(step, h0, inputs, n // 3, transient=100))
    exponents = np.asarray(run().exponents)
    assert exponents[0] == pytest.approx(0.154724, rel=2 / n**0.5)
    assert ly.kaplan_yorke_dimension(exponents, n) == (pytest.approx(0.257555 * n, rel=0.1), False)


def test_lstm_spectrum_is_that_of_cell_and_hidden_state():
    """Without c the leading exponent of a remembering LSTM reads −2.15 instead of nearly 0."""
    cell = make_cell(
        "lstm", 1, 8, recurrent_scale=0.5, forget_bias=5.0, dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    step, h0, _ = as_step(cell)
    inputs = jnp.zeros((600, 1))
    spectrum = jax.jit(lambda: ly.lyapunov_spectrum(step, h0, inputs, transient=400))()
    at_rest = np.asarray(jax.jacfwd(step)(h0, inputs[0]))
    magnitudes = np.sort(np.abs(np.linalg.eigvals(at_rest)))[::-1]
    assert spectrum.exponents.shape == (16,)
    assert spectrum.exponents[0] == pytest.approx(np.log(magnitudes[0]), abs=0.01)
    assert np.all(spectrum.exponents[:8] > -0.2)
    determinant = np.linalg.slogdet(at_rest)[1]
    assert spectrum.exponents.sum() == pytest.approx(determinant, abs=1e-11)


def test_batch_gives_what_one_at_a_time_gives():
    """At this size jaxlib's batched LAPACK would wait for itself on a machine of two cores."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(6, 64, 64)) / 8)
    inputs = jnp.asarray(rng.normal(size=(6, 20, 64)))

    def one(weights, inputs):
        return ly.lyapunov_spectrum(tanh_step(weights), jnp.zeros(64), inputs)

    def loss(weights, inputs):
        return jnp.sum(one(weights, inputs).exponents[:5] ** 2)

    batch = jax.jit(jax.vmap(jax.vmap(one)))(
        *(a.reshape(2, 3, *a.shape[1:]) for a in (weights, inputs))
    )
    gradients = jax.jit(jax.vmap(jax.grad(loss)))(weights, inputs)
    single, gradient = jax.jit(one), jax.jit(jax.grad(loss))
    for i in range(6):
        alone = single(weights[i], inputs[i])
        assert np.allclose(batch.growth.reshape(6, 20, 64)[i], alone.growth, atol=1e-9)
        assert np.allclose(gradients[i], gradient(weights[i], inputs[i]), atol=1e-9)


def test_float32_is_close_to_float64():
    rng = np.random.default_rng(0)
    weights, inputs = 0.9 * rng.normal(size=(20, 20)) / np.sqrt(20), rng.normal(size=(300, 20))

    def run(dtype):
        step = tanh_step(jnp.asarray(weights, dtype))
        return ly.lyapunov_spectrum(step, jnp.zeros(20, dtype), jnp.asarray(inputs, dtype))

    low, high = run(jnp.float32), run(jnp.float64)
    assert low.growth.dtype == jnp.float32
    assert np.allclose(low.exponents, high.exponents, atol=2e-5)


# Derivatives


@pytest.mark.parametrize("k", [1, 5])
def test_derivative_by_the_weights_is_that_of_central_differences(k):
    """d(Σ λ²)/dW, which gradient flossing descends; the differences converge with slope 2."""
    rng = np.random.default_rng(0)
    weights, direction = (jnp.asarray(rng.normal(size=(5, 5)) / 2) for _ in range(2))
    inputs = jnp.asarray(rng.normal(size=(25, 5)))

    @jax.jit
    def loss(weights):
        run = ly.lyapunov_spectrum(tanh_step(weights), jnp.zeros(5), inputs, k, transient=3)
        return jnp.sum(run.exponents**2)

    exact = jnp.sum(jax.grad(loss)(weights) * direction)
    sizes = np.array([1e-3, 5e-4])
    differences = [
        (loss(weights + e * direction) - loss(weights - e * direction)) / (2 * e) for e in sizes
    ]
    gaps = np.abs(np.array(differences) - exact)
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.05)
    assert gaps[1] < 1e-4 * abs(exact)


@pytest.mark.parametrize("shape", [(6, 6), (6, 4)])
def test_derivative_of_the_frame_is_that_of_central_differences(shape):
    rng = np.random.default_rng(1)
    tangents, change, weights = (jnp.asarray(rng.normal(size=shape)) for _ in range(3))

    @jax.jit
    def loss(tangents):
        frame, r = orthonormalise(tangents)
        return jnp.sum(jnp.sin(frame) * weights) + jnp.sum(r**3)

    e = 1e-6
    numeric = (loss(tangents + e * change) - loss(tangents - e * change)) / (2 * e)
    assert jnp.sum(jax.grad(loss)(tangents) * change) == pytest.approx(float(numeric), rel=1e-7)
    assert jax.jvp(loss, (tangents,), (change,))[1] == pytest.approx(float(numeric), rel=1e-7)


def test_lost_directions_leave_the_derivative_of_the_others():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)) / 8)
    bias = jnp.array([0.0, -90.0, 0.0, -90.0, 0.0, 0.0])

    def leading(weights):
        step = lambda h, x: jax.nn.relu(weights @ h + bias + 5)  # noqa: E731
        spectrum = ly.lyapunov_spectrum(step, jnp.ones(6), systems.no_inputs(10))
        return jnp.sum(spectrum.exponents[:4])

    live = np.array([0, 2, 4, 5])
    gradient = np.asarray(jax.jit(jax.grad(leading))(weights))
    assert np.all(np.isfinite(gradient))
    block = np.linalg.inv(np.asarray(weights)[np.ix_(live, live)]).T
    # All but the first step have the determinant of the live block.
    first = np.asarray(
        jax.grad(
            lambda w: jnp.log(orthonormalise(w[live] @ initial_frame(6, 4, jnp.float64))[1]).sum()
        )(weights)
    )
    expected = first / 10
    expected[np.ix_(live, live)] += 0.9 * block
    assert np.allclose(gradient, expected, atol=1e-12)
