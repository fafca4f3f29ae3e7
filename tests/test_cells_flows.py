"""Cells that turn, swing or flow: closed forms of what they keep."""

import bounds
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from cell_steps import rotation
from flax import nnx

from throughtime.cells import as_step, make_cell
from throughtime.cells.orthogonal import mod_relu
from throughtime.cells.rotations import WIDEST, skew, turn
from throughtime.dynamics import rollout

D = 2
QUIET = jnp.zeros((50, D), jnp.float64)


def build(name, size=6, **options):
    options = {"recurrent_scale": 1.0, "dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return make_cell(name, D, size, **options)


def kernels(norm, size=7):
    """A skew matrix of a spectral norm, as a kernel whose lower half is not used.

    Above 9 it turns one plane alone: its spectral norm is then the bound by which `turn` refuses.
    """
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(size, size))
    if norm > 9:
        kernel = np.outer(*rng.normal(size=(2, size)))
        kernel = kernel - kernel.T
    return kernel * norm / np.linalg.norm(np.triu(kernel, 1) - np.triu(kernel, 1).T, 2)


@pytest.mark.parametrize("map", ["exp", "cayley"])
def test_turns_are_scipys_and_keep_every_length(map):
    rows = np.random.default_rng(1).normal(size=(5, 7))
    turned = jax.jit(lambda h, kernel: turn(map, h, skew(kernel)))
    for norm in (1e-9, 0.5, 3.0, 8.9, 0.999 * WIDEST):
        kernel = kernels(norm)
        found = turned(jnp.asarray(rows), jnp.asarray(kernel))
        q = rotation({"map": map, "skew_kernel": kernel})
        # Squarings and a Taylor series in one and Padé's in the other; at a norm of 8.9 the
        # exponential of SciPy errs most, by ‖A‖ times as much as of a small one.
        rounding = bounds.gamma(64 * 7**1.5) * np.linalg.norm(rows, axis=1).max()
        assert np.allclose(found, rows @ q, rtol=0, atol=rounding)
        lengths = np.linalg.norm(found, axis=1) / np.linalg.norm(rows, axis=1)
        assert np.allclose(lengths, 1, rtol=0, atol=bounds.gamma(64 * 7**1.5))
        small = turned(jnp.asarray(rows, jnp.float32), jnp.asarray(kernel, jnp.float32))
        assert bounds.near(small, rows @ q, bounds.gamma(64 * 7**1.5, jnp.float32))
    assert np.isnan(turned(jnp.asarray(rows), jnp.asarray(kernels(WIDEST * 1.01)))).all()


@pytest.mark.parametrize("map", ["exp", "cayley"])
def test_the_derivative_of_a_turn_by_its_matrix(map):
    """Of exp against SciPy's Fréchet derivative, of Cayley's by the quotient rule; and twice."""
    rng = np.random.default_rng(2)
    h, row = rng.normal(size=(2, 7))
    e = np.asarray(skew(jnp.asarray(rng.normal(size=(7, 7)))))

    def along(t, a):
        return turn(map, jnp.asarray(h), a + t * jnp.asarray(e)) @ jnp.asarray(row)

    slope = jax.grad(along)
    both = jax.jit(lambda t, a: (slope(t, a), jax.jvp(slope, (t, a), (1.0 + 0 * t, 0 * a))[1]))
    for norm in (0.5, 8.9, 0.999 * WIDEST):
        a = np.asarray(skew(jnp.asarray(kernels(norm))))
        if map == "exp":
            expected = scipy.linalg.expm_frechet(a, e, compute_expm=False)
        else:
            inverse = np.linalg.inv(np.eye(7) + a)
            expected = -inverse @ e @ inverse @ (np.eye(7) - a) - inverse @ e
        first, second = both(jnp.zeros((), jnp.float64), a)
        assert np.isclose(first, h @ expected @ row, rtol=1e-12)
        beside = [both(jnp.asarray(t, jnp.float64), a)[0] for t in (1e-5, -1e-5)]
        assert np.isclose(second, (beside[0] - beside[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("map", ["exp", "cayley"])
def test_the_gradient_of_a_rotating_network_is_a_power_of_its_gain(map):
    """Also where the pre-activations are 0, and in every direction alike."""
    cell = build("exp_rnn", map=map, recurrent_scale=0.9)
    cell.skew_kernel[...] = jnp.asarray(kernels(2.0, 6))
    step, h0, _ = as_step(cell)
    jacobian = jax.jit(lambda xs: jax.jacfwd(lambda h: rollout(step, h, xs)[-1])(h0))
    for inputs in (QUIET, jnp.asarray(np.random.default_rng(3).normal(size=QUIET.shape))):
        values = np.linalg.svd(jacobian(inputs), compute_uv=False)
        assert np.allclose(values, 0.9 ** len(inputs), rtol=bounds.factored(len(inputs), 6), atol=0)


@pytest.mark.parametrize("map", ["exp", "cayley"])
def test_pairs_of_units_turn_by_the_angles_of_the_papers(map):
    size, (low, high) = 401, {"exp": (-np.pi, np.pi), "cayley": (0, np.pi / 2)}[map]
    kernel = np.asarray(build("exp_rnn", size, map=map, dtype=jnp.float32).skew_kernel[...])
    assert np.count_nonzero(kernel) == size // 2
    entries = kernel[range(0, size - 1, 2), range(1, size, 2)]
    angles = entries if map == "exp" else 2 * np.arctan(entries)
    assert low <= angles.min() < angles.max() <= high
    spread = (high - low) / np.sqrt(12)
    assert abs(angles.mean() - (low + high) / 2) < 4 * spread / np.sqrt(size // 2)
    assert abs(angles.std() / spread - 1) < 4 * np.sqrt(0.2 / (size // 2))
    four = {"map": map, "skew_kernel": kernel[:4, :4].astype(np.float64)}
    assert np.allclose(
        rotation(four)[0, :2],
        [np.cos(angles[0]), np.sin(angles[0]) * (1 if map == "exp" else -1)],
        rtol=1e-6,
    )


def test_the_rectifier_of_magnitudes():
    a = jnp.array([-2.0, -0.3, 0.0, 0.3, 2.0], jnp.float64)
    b = jnp.full(5, -0.5, jnp.float64)
    assert np.array_equal(mod_relu(a, b), [-1.5, 0, 0, 0, 1.5])
    assert np.array_equal(mod_relu(a, 0 * b), a)
    slopes = jax.vmap(jax.grad(mod_relu, argnums=(0, 1)))
    assert np.array_equal(slopes(a, b), ([1, 0, 0, 0, 1], [-1, 0, 0, 0, 1]))
    assert np.array_equal(slopes(a, 0 * b)[0], np.ones(5))


def test_an_antisymmetric_network_stretches_by_its_frequencies():
    """At rest J = I + ε (W − Wᵀ − γ I), whose singular values are |1 + ε (iω − γ)|."""
    eps, gamma = 0.2, 0.3
    rates = {}
    for gain in (1.5, 3.0):
        cell = build("antisymmetric", recurrent_scale=gain, step_size=eps, damping=gamma)
        step, h0, _ = as_step(cell)
        jacobian = np.asarray(jax.jit(jax.jacfwd(step))(h0, QUIET[0]))
        rates[gain] = np.linalg.eigvals((jacobian - np.eye(6)) / eps)
        stretch = np.sort(np.abs(1 + eps * (1j * rates[gain].imag - gamma)))[::-1]
        assert np.allclose(rates[gain].real, -gamma, rtol=1e-12)
        assert np.allclose(np.linalg.svd(jacobian, compute_uv=False), stretch, rtol=1e-12)
    slow, fast = (np.sort(each.imag) for each in rates.values())
    assert np.allclose(fast, 2 * slow, rtol=1e-12)


def test_oscillators_keep_their_energy_or_lose_it_at_their_rate():
    """One oscillator alone is linear: two numbers, whose invariant and eigenvalues are known."""
    dt, gamma = 0.3, 2.0
    options = {"recurrent_scale": 0.0, "step_size": dt, "frequency": gamma, "damping": 0.0}
    step, h0, _ = as_step(build("cornn", 1, **options))
    zs, ys = rollout(step, h0 + jnp.array([0.4, 1.0]), QUIET).T
    energy = zs**2 + gamma * ys**2 - dt * gamma * ys * zs
    rounding = bounds.states(len(QUIET), 4)
    assert np.allclose(energy, 0.4**2 + gamma - dt * gamma * 0.4, rtol=rounding, atol=0)
    assert np.ptp(ys) > 1.9
    jacobian = jax.jacfwd(as_step(build("cornn", 1, recurrent_scale=0.0)).step)(h0, QUIET[0])
    found = np.sort(np.linalg.eigvals(jacobian))
    dt, gamma, eps = 0.042, 2.7, 4.7
    assert np.allclose(found, np.sort(np.roots([1, -(2 - eps * dt - gamma * dt**2), 1 - eps * dt])))
    assert np.allclose(found, [0.825, 0.973], atol=5e-4)


def test_a_lem_without_input_forgets_at_its_step():
    """At g = 0 and zero biases both steps are Δt/2; y has then the eigenvalue 1 − Δt/2 as z has."""
    step, h0, _ = as_step(build("lem", 3, recurrent_scale=0.0, step_size=0.5))
    last = rollout(step, h0 + jnp.arange(6.0), QUIET)[-1]
    assert bounds.near(last, 0.75 ** len(QUIET) * np.arange(6.0), bounds.states(len(QUIET), D + 3))
