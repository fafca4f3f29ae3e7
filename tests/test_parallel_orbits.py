"""Orbits by Newton's method: right where they are believed, and the sequential ones elsewhere."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from bounds import gamma, states
from flax import nnx

from throughtime.cells import as_step, make_cell
from throughtime.dynamics import rollout
from throughtime.parallel import parallel_rollout

N = 32


def network(gain, length, dtype=jnp.float64):
    """Weights and inputs of a driven tanh network."""
    rng = np.random.default_rng(0)
    weights = gain * rng.normal(size=(N, N)) / np.sqrt(N)
    return jnp.asarray(weights, dtype), jnp.asarray(0.5 * rng.normal(size=(length, N)), dtype)


@jax.jit
def both(weights, inputs):
    step, h0 = lambda h, x: jnp.tanh(weights @ h + x), jnp.zeros(N, weights.dtype)
    return parallel_rollout(step, h0, inputs), rollout(step, h0, inputs)


def apart(states, sequential):
    """max_t |Δh_t| / |h_t|."""
    gaps = np.max(np.abs(np.asarray(states) - np.asarray(sequential)), axis=-1)
    return np.max(gaps / np.maximum(np.max(np.abs(sequential), axis=-1), 1e-290))


@pytest.mark.parametrize(
    ("length", "dtype"),
    [
        (2, jnp.float64),
        pytest.param(100, jnp.float32, marks=pytest.mark.slow),
        (1000, jnp.float64),
        pytest.param(1000, jnp.float32, marks=pytest.mark.slow),
    ],
)
def test_networks_that_forget_converge_in_few_iterations_at_any_length(length, dtype):
    # A step forgets 1 − 0.9 of a rounding at least, so that those of ten steps add up; the bound of
    # the error, which is by entry and in any direction, has some hundred.
    step = states(1, N, dtype)
    for gain in (0.5, 0.9):
        orbit, sequential = both(*network(gain, length, dtype))
        assert orbit.converged
        assert orbit.iterations <= min(length, 7)
        assert apart(orbit.states, sequential) <= min(10 * step, float(orbit.error))
        assert orbit.error < 400 * step


@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
def test_a_chaotic_network_falls_back_and_says_so(dtype):
    """Where a published solver reports success on an error of 10^8: its defect is rounding."""
    orbit, sequential = both(*network(3.0, 1000, dtype))
    assert not orbit.converged
    assert orbit.error == jnp.inf
    assert np.array_equal(orbit.states, sequential)


@pytest.mark.parametrize("name", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_gated_cells(name):
    cell = make_cell(name, 2, 5, recurrent_scale=1.4, dtype=jnp.float64, rngs=nnx.Rngs(1))
    step, h0, _ = as_step(cell)
    inputs = jax.random.normal(jax.random.key(3), (25, 2), jnp.float64)
    run = lambda x: (parallel_rollout(step, h0, x), rollout(step, h0, x))  # noqa: E731
    orbit, sequential = jax.jit(run)(inputs)
    assert orbit.converged
    assert apart(orbit.states, sequential) <= min(states(25, 2 + 5), float(orbit.error))


# Maps of the plane, one program for all: the input says which, and with what parameter

MAPS = (
    lambda h, a: systems.ikeda(a).step(h, jnp.zeros(0)),
    lambda h, a: a * jnp.sin(jnp.pi * h) + 0.1 * h[::-1],
    lambda h, a: jax.nn.relu(h[::-1] * jnp.array([0.9, -0.8]) + a),
    lambda h, a: jnp.tanh(a * jnp.array([[3.0, 2.0], [-2.0, 3.0]]) @ h + 0.5),
    lambda h, a: 2 * h - a,
    lambda h, a: h * h,
    lambda h, a: 1 / h + a,
    lambda h, a: 1e-5 * a * h + 1e-5 * h[::-1] * jnp.array([1.0, 0.0]),
)
LENGTH, ORBITS = 36, 64
IKEDA, SINES, RECTIFIER, NETWORK, DOUBLING, SQUARE, RECIPROCAL, DECAY = range(8)


def mapped(h, x):
    return jax.lax.switch(x[0].astype(jnp.int32), MAPS, h, x[1])


@jax.jit
@jax.vmap
def on_maps(h0, inputs):
    found = parallel_rollout(mapped, h0, inputs, max_iterations=LENGTH)
    return found, rollout(mapped, h0, inputs)


# A repelling cycle from 1 to 0.3 and back.
BALANCED = np.where(np.arange(LENGTH) % 2 == 0, 1.7, -0.4)


def runs(kind, h0, parameters):
    """64 orbits of a map; a parameter for each, or one for each step."""
    h0 = jnp.broadcast_to(jnp.asarray(h0, float), (ORBITS, 2))
    driven = np.stack(np.broadcast_arrays(float(kind), parameters), axis=-1)
    return on_maps(h0, jnp.asarray(np.broadcast_to(driven, (ORBITS, LENGTH, 2))))


def one(kind, h0, parameters):
    """The first of the orbits, all the same."""
    return jax.tree.map(lambda each: each[0], runs(kind, h0, parameters))


RANGES = {IKEDA: (0.4, 0.95), SINES: (0.4, 1.0), RECTIFIER: (0.5, 2), NETWORK: (0.1, 2.5)}


@pytest.mark.parametrize("kind", RANGES)
def test_whatever_is_believed_is_within_its_error(kind):
    """Tame and chaotic orbits: none that is believed is further off than it says."""
    rng = np.random.default_rng(kind)
    parameters = rng.uniform(*RANGES[kind], (ORBITS, 1))
    orbits, sequential = runs(kind, rng.uniform(0.05, 0.2, (ORBITS, 2)), parameters)
    gaps = np.array([apart(*pair) for pair in zip(orbits.states, sequential, strict=True)])
    believed = np.asarray(orbits.converged)
    assert np.all(gaps[believed] <= orbits.error[believed])
    assert np.all(gaps[~believed] == 0)
    assert np.all(orbits.error[believed] <= 2.0**-20)
    if kind in (RECTIFIER, NETWORK):
        assert np.all(believed)
    else:
        assert 6 < np.sum(believed) < ORBITS - 6


def test_a_small_defect_alone_is_not_believed():
    """Doubled from 1 to 0.3 and back, as the rounding of 1.7 is, until no digit is left."""
    grown, sequential = one(DOUBLING, 1.0, -1.0)
    assert grown.converged
    assert apart(grown.states, sequential) <= grown.error < 1e-12
    stays, sequential = one(DOUBLING, 1.0, BALANCED)
    assert np.max(np.abs(sequential)) < 1.1
    assert stays.defect < gamma(4)
    assert stays.error > 1e-5
    assert not stays.converged
    assert np.array_equal(stays.states, sequential)


def test_a_linear_system_takes_one_iteration_however_far_it_decays():
    """(h, k) → 10^-5 (h + k, k): h_t = 10^-5t (h_0 + t k_0)."""
    orbit, _ = one(DECAY, [1.0, -0.7], 1.0)
    t = np.arange(1.0, LENGTH + 1)
    exact = np.stack([1 - 0.7 * t, np.full(LENGTH, -0.7)], axis=1) * 10 ** (-5 * t[:, None])
    assert orbit.converged
    assert orbit.iterations == 1
    assert apart(orbit.states, exact) < gamma(4 * LENGTH)


def test_an_orbit_that_overflows_is_the_sequential_one():
    """h' = h² from 2: h_10 = 2^1024 is inf."""
    orbit, sequential = one(SQUARE, 2.0, 0.0)
    assert not orbit.converged
    assert np.array_equal(orbit.states, sequential)
    assert np.isinf(orbit.states[9:]).all()


def test_newtons_own_overflow_does_not_survive():
    """At the guess, 0, the step is not finite; on the orbit it is."""
    orbit, sequential = one(RECIPROCAL, 2.0, 0.5)
    assert (bool(orbit.converged), int(orbit.iterations), float(orbit.defect)) == (False, 0, np.inf)
    assert np.array_equal(orbit.states, sequential)
    assert np.all(np.abs(sequential - 1.28) < 0.3)


def test_alone_an_orbit_is_what_it_is_in_a_batch():
    """Under jit one of the two ways is taken, under vmap one of the two results."""
    single = jax.jit(lambda h0, inputs: parallel_rollout(mapped, h0, inputs))
    for kind, parameters in ((NETWORK, np.full(LENGTH, 0.1)), (DOUBLING, BALANCED)):
        inputs = np.stack([np.full(LENGTH, float(kind)), parameters], axis=1)
        alone, (batched, _) = single(jnp.ones(2), inputs), one(kind, 1.0, parameters)
        assert alone.converged == batched.converged == (kind == NETWORK)
        assert apart(alone.states, batched.states) < states(LENGTH, 2)


def test_roundings_that_all_point_one_way_are_within_the_error():
    """Adding 0.1 in float32 rounds the same way for hundreds of steps on end."""
    step, inputs = lambda h, x: h + x, jnp.full((1000, 1), 0.1, jnp.float32)
    run = lambda h: (parallel_rollout(step, h, inputs), rollout(step, h, inputs))  # noqa: E731
    orbit, sequential = jax.jit(run)(jnp.zeros(1, jnp.float32))
    exact = np.float64(np.float32(0.1)) * np.arange(1, 1001)[:, None]
    assert orbit.converged
    assert 9e-6 < apart(sequential, exact) < 2e-5
    assert 5e-6 < apart(orbit.states, sequential) <= orbit.error < 2.0**-9
    # Σ_k |h_k|/|h_T| = 1001/2, and little is lost by bounding it.
    amplification = float(orbit.error / (orbit.defect + 4 * jnp.finfo(jnp.float32).eps.item()))
    assert 1001 / 2 <= amplification < 1.25 * 1001 / 2


def test_a_defect_that_is_not_rounding_is_not_believed_however_small_the_error():
    step, inputs = lambda h, x: jnp.tanh(0.9 * h + x), jnp.full((9, 1), -0.2)
    few = lambda m: parallel_rollout(step, jnp.zeros(1), inputs, max_iterations=m)  # noqa: E731
    orbit = jax.jit(lambda: few(4))()
    assert (bool(orbit.converged), int(orbit.iterations)) == (False, 4)
    assert orbit.defect == pytest.approx(3.6e-9, rel=0.05)
    assert orbit.error < 1e-7
    sequential = jax.jit(lambda: rollout(step, jnp.zeros(1), inputs))()
    assert apart(orbit.states, sequential) < states(9, 1)


def test_bad_systems_are_refused_in_one_sentence():
    inputs = jnp.zeros((4, 1))
    keep = lambda h, x: h  # noqa: E731
    for step, h0, words in (
        (
            keep,
            jnp.zeros(2, int),
            r"h0 must be of .*float64, not int64\.",
        ),
        (lambda h, x: h[:1], jnp.zeros(2), r"float64\[2\] into float64\[1\]; it must return"),
        (lambda h, x: h.astype(jnp.float32), jnp.zeros(2), r"float64\[2\] into float32\[2\]"),
    ):
        with pytest.raises(ValueError, match=words):
            parallel_rollout(step, h0, inputs)
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        parallel_rollout(keep, jnp.zeros(2), inputs[:0])
    with pytest.raises(ValueError, match="max_iterations must be at least 0, not -1"):
        parallel_rollout(keep, jnp.zeros(2), inputs, max_iterations=-1)


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd])
def test_a_derivative_is_refused_and_not_made_up(derivative):
    inputs = jnp.ones((4, 1))

    def last(h0):
        return parallel_rollout(lambda h, x: jnp.tanh(h + x), h0, inputs).states[-1, 0]

    with pytest.raises(ValueError, match="no derivative; differentiate rollout"):
        jax.eval_shape(derivative(last), jnp.ones(1))


@pytest.mark.slow
def test_the_benchmark_times_both_ways_on_the_same_numbers(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "experiments"))
    from benchmark_parallel import COLUMNS, rows

    found = rows(states=(4,), steps=(16,))
    assert [row["what"] for row in found] == ["exponent", "orbit"]
    for row in found:
        assert tuple(row) == COLUMNS
        assert row["ratio"] == row["sequential_seconds"] / row["parallel_seconds"] > 0
        assert row["equal"] < 1e-6
