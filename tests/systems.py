"""Systems whose gradients are known in closed form, beside which the instrument is read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from throughtime.adjoints import StepwiseLoss
from throughtime.cells import SYSTEMS


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


class Attractor(NamedTuple):
    """An autonomous step, a point near its attractor, and its exponents in nats per step."""

    step: object
    h0: jax.Array
    exponents: tuple[float, ...]


def classic(name, parameter, h0, exponents) -> Attractor:
    """A system that the package brings, at a parameter."""
    step, parameter = SYSTEMS[name].step, jnp.asarray(parameter, jnp.float64)
    return Attractor(lambda h, x: step(h, parameter), jnp.array(h0), tuple(map(float, exponents)))


def logistic(r=4.0, h0=0.3) -> Attractor:
    """h' = r h (1 − h): at r = 4 conjugate to the tent map, at r = 3.2 on a cycle of two points."""
    exponent = {4.0: np.log(2), 3.2: np.log(abs(4 + 2 * r - r**2)) / 2, 2.5: np.log(abs(2 - r))}
    return classic("logistic", r, [h0], [exponent[r]])


def tent() -> Attractor:
    """The tent map, whose orbits are at 0 after 54 steps of float64."""
    return Attractor(
        lambda h, x: jnp.where(h < 0.5, 2 * h, 2 - 2 * h), jnp.array([0.3]), (float(np.log(2)),)
    )


def doubling() -> Attractor:
    """The doubling map, which shifts one binary digit out per step."""
    return Attractor(lambda h, x: jnp.mod(2 * h, 1.0), jnp.array([0.3]), (float(np.log(2)),))


def henon() -> Attractor:
    """The Hénon map at (1.4, 0.3): det J = −0.3, so that the exponents sum to ln 0.3."""
    return classic("henon", 1.4, [0.1, 0.1], [0.4192, np.log(0.3) - 0.4192])


def cat() -> Attractor:
    """Arnold's cat map: a constant Jacobian, with the golden ratio squared as eigenvalue."""
    exponent = np.log((3 + np.sqrt(5)) / 2)
    return classic("cat", 1.0, [0.1234, 0.3711], [exponent, -exponent])


def ikeda(u=0.9) -> Attractor:
    """The Ikeda map: only the sum 2 ln u of its exponents is known in closed form."""
    return classic("ikeda", u, [0.1, 0.1], [np.nan, np.nan])


def lorenz() -> Attractor:
    """The Lorenz equations (10, 28, 8/3) by the classical Runge–Kutta method, in steps of 0.01."""
    return classic("lorenz", 28.0, [1.0, 1.0, 20.0], [0.009056, 0.0, -0.145723])
