"""The leading Lyapunov exponent from products of Jacobians, parallel in time."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from throughtime.dynamics import Step, check_step, check_transient, rollout, starts
from throughtime.jacobians import jacobians_from
from throughtime.lyapunov.frames import initial_frame
from throughtime.parallel.products import agrees, product, rescaled_each, scanned
from throughtime.scaled import Scaled, at_least_float32, norm


def leading_exponent(
    step: Step,
    h0: Shaped[Array, " n"],
    inputs: Float[Array, "T d"],
    *,
    transient: int = 0,
    states: Float[Array, "T n"] | None = None,
) -> Float[Array, ""]:
    """The leading Lyapunov exponent, from the growth of one direction under products of Jacobians.

    λ_1 = (1/S) ln (‖P_T v‖ / ‖P_{T−S} v‖),   P_t = J_t ⋯ J_1,   S = T − transient

    v is the direction with which `lyapunov_spectrum` begins; with one exponent, that is this number
    to rounding. The products are taken in a scan of depth log T (`cumulative_products`), and every
    P_t v is compared with J_t P_{t−1} v. Memory: a few arrays ``(T, n, n)``.

    Args:
        step: the system.
        h0: the state before the first input, floats ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.
        transient: how many of the first steps are left out; the direction passes through them.
        states: h_1 … h_T, ``(T, n)``, where they are known, as by `parallel_rollout`; None runs
            the system, one step after the other.

    Returns:
        λ_1 in nats per step, in at least float32. −inf if the direction is annihilated; NaN if
        that happens within the transient, if a state or a Jacobian is not finite, or if a product
        is lost to the floats. Whether rounding took the orbit to an unstable cycle (collapsed) is
        not looked at here, only by `lyapunov_spectrum`.

    Raises:
        ValueError: if the transient is not in 0 … T−1, or the state is not a vector of floats that
            the step maps to its like.

    References:
        Oseledets 1968; Gonzalez et al. 2024, arXiv:2407.19115 (scans along an orbit).
    """
    check_step(step, h0, inputs)
    check_transient(transient, len(inputs))
    states = rollout(step, h0, inputs) if states is None else states
    chain = jacobians_from(step, starts(h0, states), inputs)
    factors = rescaled_each(chain.astype(at_least_float32(chain.dtype)))
    directions, sound = _directions(factors, initial_frame(h0.size, 1, h0.dtype))
    length = norm(directions)
    first, last = (jax.tree.map(lambda each, at=at: each[at], length) for at in (transient, -1))
    doublings = (last.exponent - first.exponent).astype(length.mantissa.dtype)
    nats = jnp.log(last.mantissa) - jnp.log(first.mantissa) + doublings * math.log(2)
    sound = sound & jnp.all(jnp.isfinite(states))
    return jnp.where(sound, nats / (len(inputs) - transient), jnp.nan)


def _directions(factors: Scaled, v: Float[Array, "n 1"]):
    """P_0 v … P_T v, ``(T + 1, n, 1)``, and whether each follows from the one before."""
    start = rescaled_each(v[None])
    spread = Scaled(
        jnp.broadcast_to(v[None], (len(factors.exponent), *v.shape)), 0 * factors.exponent
    )
    grown = product(scanned(factors), spread)
    directions = jax.tree.map(lambda *parts: jnp.concatenate(parts), start, grown)
    before = jax.tree.map(lambda each: each[:-1], directions)
    return directions, jnp.all(agrees(grown, product(factors, before)))
