"""Adjoints against closed forms, identities, plain autodiff and a Python loop."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import systems
from bounds import FUNCTION, factored, gamma, near, states
from cell_steps import STEPS
from compiled import skip_what_does_not_compile
from flax import nnx
from jax.flatten_util import ravel_pytree

from throughtime import adjoints as ad
from throughtime.cells import CELLS, SYSTEMS, as_step, make_cell
from throughtime.dynamics import rollout
from throughtime.scaled import log_norm, to_float, total

LENGTHS = (2, 50, 5000)
SCALARS = (0.1, 0.5, 0.9, 1.0, 1.1, 2.0)


def log_norms(system, length):
    inputs = systems.no_inputs(length, system.h0.dtype)
    return jax.jit(lambda: ad.adjoint_log_norms(systems.last_sum, system.step, system.h0, inputs))()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("w", SCALARS)
def test_scalar_weight_to_the_power_of_the_lag(w, length):
    lags = np.arange(length)[::-1]
    found = log_norms(systems.scalar(w), length)
    assert np.allclose(found, lags * np.log(w), rtol=gamma(FUNCTION), atol=gamma(length))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("gain", [0.3, 1.0, 1.7])
def test_orthogonal_matrix_scales_the_gradient_by_its_gain(gain, length):
    system = systems.orthogonal(gain)
    lags = np.arange(length)[::-1]
    expected = lags * np.log(gain) + np.log(len(system.h0)) / 2
    rounding = factored(length, len(system.h0))
    assert np.allclose(log_norms(system, length), expected, rtol=gamma(FUNCTION), atol=rounding)


def test_identity_rectifier_changes_nothing():
    system = systems.irnn()
    logs = log_norms(system, 1000)
    assert np.allclose(logs, np.log(len(system.h0)) / 2, rtol=gamma(FUNCTION), atol=0)


def test_jordan_block_grows_before_it_dies():
    rho, length = 0.95, 400
    block = systems.jordan(rho)
    loss = lambda states: states[-1, 0]  # noqa: E731
    logs = ad.adjoint_log_norms(
        loss, lambda h, x: block @ h, jnp.ones(2), systems.no_inputs(length)
    )
    k = np.arange(length)[::-1]
    exact = np.log(np.hypot(rho**k, k * rho ** (k - 1.0)))
    # Sums of two products of positive numbers: nothing cancels.
    assert np.allclose(logs, exact, rtol=gamma(FUNCTION), atol=gamma(3 * length))
    assert logs.argmax() < length - 10


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("w", [np.exp(-2.0), np.exp(2.0)])
def test_hundred_thousand_steps(dtype, w):
    length = 100_001
    system = systems.scalar(w, dtype)
    inputs = systems.no_inputs(length, dtype)
    compute = jax.jit(lambda: ad.adjoint_states(systems.last_sum, system.step, system.h0, inputs))
    adjoints = compute()
    mpmath.mp.dps = 40
    exact = mpmath.mpf(system.factor) ** (length - 1)
    got = mpmath.mpf(float(adjoints.mantissa[0, 0])) * mpmath.mpf(2) ** int(adjoints.exponent[0])
    assert abs(mpmath.log(exact)) > 199_999
    assert abs(got / exact - 1) < gamma(length, dtype)
    logs = log_norm(adjoints)
    bound = gamma(FUNCTION, dtype) + gamma(length, dtype) / 199_999
    assert float(logs[0]) == pytest.approx(float(mpmath.log(exact)), rel=bound)


# Flax's gated cells take long to compile; ours and `flax_simple` run through the same identities.
# The derivatives of the cells of `cell_steps` are tested with their equations.
LONG = ("flax_gru", "flax_lstm", "flax_optimized_lstm", "slstm", "mlstm", *STEPS)
SLOW = pytest.mark.slow


def every_cell(dtype=jnp.float64):
    for name in (name for name in CELLS if name not in SYSTEMS):
        hidden = {"scalar": 1, "lru": 6, "s5": 6}.get(name, 5)
        cell = make_cell(
            name, 3, hidden, recurrent_scale=1.4, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(1)
        )
        yield pytest.param(cell, id=name, marks=SLOW if name in LONG else ())


def inputs_for(length, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(3), (length, 3), dtype)


LOSSES = {
    "last": lambda states: jnp.sum(jnp.sin(states[-1])),
    "every": lambda states: jnp.sum(jnp.sin(states)) / len(states),
    "subset": lambda states: jnp.sum(states[3] ** 2) + jnp.prod(states[-1] + 2),
}


@pytest.mark.parametrize("cell", [*every_cell()])
def test_identities_of_every_cell_and_loss(cell):
    """a_t = ∂L/∂h_t + J_{t+1}ᵀ a_{t+1}; equal to plain autodiff; the lags sum to jax.grad."""
    graphdef, parameters = nnx.split(cell)
    h0, inputs = as_step(cell).h0, inputs_for(12)

    def step(p, h, x):
        return as_step(nnx.merge(graphdef, p)).step(h, x)

    def frozen(h, x):
        return step(parameters, h, x)

    def measure(loss):
        states = rollout(frozen, h0, inputs)
        adjoints = to_float(ad.adjoint_states(loss, frozen, h0, inputs))
        jacobians = jax.vmap(jax.jacfwd(frozen))(states[:-1], inputs[1:])
        later = jnp.einsum("tij,ti->tj", jacobians, adjoints[1:])
        recursion = jax.grad(loss)(states) + jnp.pad(later, ((0, 1), (0, 0)))
        by_lag = ad.parameter_gradient_by_lag(loss, step, parameters, h0, inputs)
        gradient = jax.grad(lambda p: loss(rollout(lambda h, x: step(p, h, x), h0, inputs)))
        return (
            (adjoints, recursion),
            (adjoints, ad.plain_adjoints(loss, frozen, h0, inputs)),
            (to_float(total(by_lag)), ravel_pytree(gradient(parameters))[0]),
        )

    for pairs in jax.jit(lambda: [measure(loss) for loss in LOSSES.values()])():
        for ours, theirs in pairs:
            assert near(ours, theirs, states(2 * len(inputs), len(h0) + 3))


@pytest.mark.parametrize("segment", [1, 7, 20, 64, 100])
def test_recomputed_segments_give_the_same_norms(segment):
    cell = make_cell("lstm", 3, 5, recurrent_scale=1.4, dtype=jnp.float64, rngs=nnx.Rngs(1))
    step, h0, _ = as_step(cell)
    loss = ad.StepwiseLoss(lambda h, t: jnp.sum(jnp.sin(h)) * (t + 1).astype(h.dtype))
    xs = inputs_for(64)
    whole = jax.jit(lambda: ad.adjoint_log_norms(loss, step, h0, xs))()
    parts = jax.jit(lambda: ad.adjoint_log_norms(loss, step, h0, xs, segment=segment))()
    assert np.allclose(parts, whole, rtol=0, atol=states(len(xs), 5 + 3))


def test_segments_need_a_loss_that_is_a_sum():
    arguments = (lambda h, x: h, jnp.ones(1), systems.no_inputs(4))
    with pytest.raises(ValueError, match="StepwiseLoss"):
        ad.adjoint_log_norms(systems.last_sum, *arguments, segment=2)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        ad.adjoint_log_norms(systems.last_sum_stepwise(4), *arguments, segment=0)


def test_memory_of_segments_grows_like_the_square_root():
    def temporary_bytes(length, segment):
        cell = make_cell("lstm", 1, 32, recurrent_scale=1.0, dtype=jnp.float32, rngs=nnx.Rngs(0))
        step, h0, _ = as_step(cell)
        loss = systems.last_sum_stepwise(length)
        inputs = jnp.zeros((length, 1), jnp.float32)
        run = jax.jit(lambda x: ad.adjoint_log_norms(loss, step, h0, x, segment=segment))
        return run.lower(inputs).compile().memory_analysis().temp_size_in_bytes

    # The padded copy of the inputs and the logs are O(T), but of 3 floats a step, not of 64 · 4.
    per_step = 16
    growth = temporary_bytes(40_000, 200) - temporary_bytes(10_000, 100)
    assert growth < 30_000 * per_step + 200 * 64 * 4 * 20
    assert temporary_bytes(40_000, None) > 40_000 * 64 * 4


def test_lag_decomposition_of_the_scalar_neuron():
    """dL/dw of h_T = Σ_k w^k x_{T−k}: the use at lag k contributes w^k h_{T−k−1}."""
    w, xs = 0.7, np.array([1.0, -2.0, 0.5, 3.0])
    step = lambda w, h, x: w * h + x  # noqa: E731
    by_lag = ad.parameter_gradient_by_lag(
        systems.last_sum, step, jnp.float64(w), jnp.zeros(1), jnp.asarray(xs)[:, None]
    )
    before, h = [], 0.0
    for x in xs:
        before.append(h)
        h = w * h + x
    expected = [w**k * before[len(xs) - 1 - k] for k in range(len(xs))]
    assert np.allclose(to_float(by_lag)[:, 0], expected, rtol=gamma(3 * len(xs)), atol=0)


@pytest.mark.parametrize(
    ("dtype", "w", "zero", "inf"),
    [
        # Subnormals are flushed on the CPU: the last power of two left is the smallest normal.
        (jnp.float32, 0.5, 127, -1),
        (jnp.float32, 2.0, -1, 128),
        (jnp.float16, 2.0, -1, 16),
        (jnp.bfloat16, 0.5, 127, -1),
        (jnp.bfloat16, 2.0, -1, 128),
        (jnp.float64, 0.5, 1023, -1),
        (jnp.float64, 2.0, -1, 1024),
        (jnp.float32, 1.0, -1, -1),
    ],
)
def test_plain_floats_lose_the_gradient_at_the_known_lag(dtype, w, zero, inf):
    skip_what_does_not_compile(dtype)
    system = systems.scalar(w, dtype)
    plain = jax.jit(
        lambda: ad.plain_adjoints(
            systems.last_sum, system.step, system.h0 * 0, systems.no_inputs(1100, dtype)
        )
    )()
    lost = ad.lost_lags(plain)
    assert (int(lost.first_zero), int(lost.first_inf)) == (zero, inf)


def test_lost_means_all_zero_or_any_component_not_finite():
    by_lag = jnp.array([[1.0, 1.0], [0.0, 1.0], [1.0, jnp.inf], [0.0, 0.0], [jnp.nan, 0.0]])
    assert ad.lost_lags(by_lag[::-1]) == (3, 2)
    assert ad.lost_lags(by_lag[:2]) == (-1, -1)


def test_a_gradient_that_plain_floats_lose_is_still_there():
    system = systems.scalar(0.5, jnp.float32)
    inputs = systems.no_inputs(1100, jnp.float32)
    scaled = ad.adjoint_states(systems.last_sum, system.step, system.h0, inputs)
    assert np.array_equal(scaled.exponent[::-1], 1 - np.arange(1100))
    assert np.all(scaled.mantissa == 0.5)
