"""The rollout against a Python loop, and standing still in the padding."""

import bounds
import jax
import jax.numpy as jnp
import numpy as np

from throughtime.dynamics import held, pad_front, rollout

SEVEN_STEPS = {"rtol": 0, "atol": bounds.states(7, 2)}


def damped(h, x):
    """A nonlinear step that tells every input and state apart."""
    return jnp.tanh(0.5 * h + jnp.array([1.0, -2.0]) * x[0]) + 0.1 * x[1]


def drive(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def test_rollout_equals_a_python_loop():
    inputs, h, states = drive(0, 7, 2), jnp.zeros(2), []
    for x in inputs:
        h = damped(h, x)
        states.append(h)
    assert np.allclose(rollout(damped, jnp.zeros(2), inputs), states, **SEVEN_STEPS)


def test_perturbations_are_added_after_the_step():
    inputs, errors = drive(0, 7, 2), drive(1, 7, 2)
    h, states = jnp.zeros(2), []
    for x, e in zip(inputs, errors, strict=True):
        h = damped(h, x) + e
        states.append(h)
    assert np.allclose(rollout(damped, jnp.zeros(2), inputs, errors), states, **SEVEN_STEPS)


def test_padding_leaves_the_state_alone():
    inputs, h0 = drive(0, 7, 2), jnp.array([0.3, -0.2])
    padded = rollout(held(damped), h0, pad_front(inputs, 5))
    assert np.array_equal(padded[:5], np.tile(h0, (5, 1)))
    assert np.allclose(padded[5:], rollout(damped, h0, inputs), **SEVEN_STEPS)
