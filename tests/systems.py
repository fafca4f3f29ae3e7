"""Systems whose gradients are known in closed form, beside which the instrument is read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from throughtime.adjoints import StepwiseLoss


class System(NamedTuple):
    """A step whose gradient of the summed last state changes by `factor` per step, exactly."""

    step: object
    h0: jax.Array
    factor: float


def scalar(w, dtype=jnp.float64) -> System:
    """h = w h: dL/dh_{T−k} = w^k."""
    weight = jnp.asarray(w, dtype)
    return System(lambda h, x: weight * h, jnp.ones(1, dtype), float(weight))


def orthogonal(gain, n=8, dtype=jnp.float64) -> System:
    """h = g Q h: the norm of the gradient changes by g per step, whatever its direction."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    matrix = jnp.asarray(gain * q, dtype)
    return System(lambda h, x: matrix @ h, jnp.ones(n, dtype), gain)


def irnn(n=8, dtype=jnp.float64) -> System:
    """h = relu(1 · h) of a positive state: nothing changes."""
    eye = jnp.eye(n, dtype=dtype)
    return System(lambda h, x: jax.nn.relu(eye @ h), jnp.ones(n, dtype), 1.0)


def jordan(rho, n=2, dtype=jnp.float64) -> jax.Array:
    """A Jordan block, whose powers grow like k ρ^(k−1) before they die."""
    return jnp.asarray(rho * np.eye(n) + np.eye(n, k=1), dtype)


def last_sum(states):
    """L = Σ_i h_T[i], whose gradient by h_T is all ones."""
    return jnp.sum(states[-1])


def last_sum_stepwise(length) -> StepwiseLoss:
    """The same, as a sum over steps."""
    return StepwiseLoss(lambda h, t: jnp.where(t == length - 1, jnp.sum(h), 0))


def no_inputs(length, dtype=jnp.float64):
    """The inputs (T, 0) of an autonomous system."""
    return jnp.zeros((length, 0), dtype)
