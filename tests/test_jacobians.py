"""Jacobians along an orbit, and what their product does to a perturbation of the first state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from bounds import factored, near, states
from flax import nnx

import throughtime
from throughtime import jacobians as jc
from throughtime import lyapunov as ly
from throughtime.cells import as_step, make_cell


def test_jacobians_are_taken_where_the_steps_start():
    """h' = tanh(W h + x): J_t = diag(1 − h_t²) W, in the order of time, row by row."""
    rng = np.random.default_rng(0)
    weights, inputs, h = rng.normal(size=(3, 3)), rng.normal(size=(5, 3)), rng.normal(size=3)
    step = lambda h, x: jnp.tanh(jnp.asarray(weights) @ h + x)  # noqa: E731
    found = jax.jit(lambda h: jc.jacobians(step, h, jnp.asarray(inputs)))(jnp.asarray(h))
    for t in range(5):
        h = np.tanh(weights @ h + inputs[t])
        # 1 − h² loses to cancellation what tanh was rounded to, relative to 1.
        assert near(found[t], (1 - h**2)[:, None] * weights, states(t + 1, 4) / np.min(1 - h**2))


def test_lstm_logs_sum_to_its_determinants_as_a_lyapunov_spectrum_does():
    """Σ ln σ_i = Σ_t ln |det J_t| = S Σ λ_i, and the leading one bounds the leading exponent."""
    cell = make_cell("lstm", 4, 8, recurrent_scale=1.5, dtype=jnp.float64, rngs=nnx.Rngs(0))
    step, h0, _ = as_step(cell)
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(60, 4)))
    logs = jax.jit(lambda x: throughtime.jacobian_log_singular_values(step, h0, x))(inputs)
    steps = np.asarray(jax.jit(lambda x: jc.jacobians(step, h0, x))(inputs))
    determinants = np.linalg.slogdet(steps)[1]
    spectrum = jax.jit(lambda x: ly.lyapunov_spectrum(step, h0, x))(inputs)
    assert logs.shape == (16,)
    # Each of 60 determinants is right up to the condition of its Jacobian.
    rounding = factored(1, 16) * np.sum(np.linalg.cond(steps))
    assert np.sum(logs) == pytest.approx(np.sum(determinants), abs=rounding)
    assert np.sum(logs) == pytest.approx(60 * float(np.sum(spectrum.exponents)), abs=rounding)
    # The frame begins with random directions, none of which grows by more than the first does.
    sums = np.cumsum(np.sum(np.asarray(spectrum.growth), axis=0))
    assert np.all(np.cumsum(logs) >= sums - 1e-9)
    assert np.all(np.diff(logs) < 0)


@pytest.mark.parametrize("function", [jc.jacobians, throughtime.jacobian_log_singular_values])
def test_what_has_no_jacobians_is_refused(function):
    def same(h, x):
        return h

    h0, inputs = jnp.zeros(3), systems.no_inputs(4)
    with pytest.raises(ValueError, match="inputs must have at least 1 step, not 0"):
        function(same, h0, systems.no_inputs(0))
    with pytest.raises(ValueError, match=r"h0 must be of .*float64, not int32"):
        function(same, jnp.zeros(3, jnp.int32), inputs)
    with pytest.raises(ValueError, match=r"turns a state float64\[3\] into float64\[2\]; it must"):
        function(lambda h, x: h[:2], h0, inputs)
    with pytest.raises(ValueError, match=r"into float32\[3\]; it must return the shape and dtype"):
        function(lambda h, x: h.astype(jnp.float32), h0, inputs)
