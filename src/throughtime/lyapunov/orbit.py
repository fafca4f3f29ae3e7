"""Watching an orbit: does it stay finite, and does it stay an orbit of the system.

A chaotic orbit never returns to where it was; in floats it may. The tent map doubles the distance
from 0 and each doubling shifts a binary digit out: within 54 steps nothing is left but 0, and the
stretching then is that of the unstable fixed point and not of the attractor.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

STATUSES = ("ok", "nonfinite", "collapsed", "not_converged")
"""The standing of a spectrum, in the order of its code; the last is judged by `status_of`."""


class Watch(NamedTuple):
    """What is remembered of an orbit: Brent's search for a cycle, and the first faults.

    The state kept for comparison is exchanged at ages 1, 2, 4, 8 …, so that a cycle of any length
    is found within three times the steps it takes to be on it and to go around.

    Attributes:
        origin: h_0, ``(n,)``.
        home: whether the orbit came back to exactly h_0.
        kept: a state of the past, ``(n,)``.
        age: int32, how many steps ago that was.
        patience: int32, the age at which the state of the day takes its place.
        now: int32, the index of the next step.
        broken: int32, the first step that was not finite; −1 if none was.
        caught: int32, the first step that closed a cycle; −1 if none did.
        gain: by how much the first tangent vector grew from then on, in nats. A single step or
            round would say nothing: where J is not normal, vectors also grow on their way to 0.

    References:
        Brent 1980, An improved Monte Carlo factorization algorithm, section 2.
    """

    origin: Float[Array, " n"]
    home: Bool[Array, ""]
    kept: Float[Array, " n"]
    age: Int[Array, ""]
    patience: Int[Array, ""]
    now: Int[Array, ""]
    broken: Int[Array, ""]
    caught: Int[Array, ""]
    gain: Float[Array, ""]


def begin(h0: Float[Array, " n"], dtype) -> Watch:
    """Begin to watch.

    Args:
        h0: the state before the first input, ``(n,)``.
        dtype: of the growth.

    Returns:
        A `Watch`.
    """
    h0, none, zero = jax.lax.stop_gradient(h0), jnp.int32(-1), jnp.int32(0)
    gain = jnp.zeros((), dtype)
    return Watch(h0, jnp.bool_(False), h0, zero, jnp.int32(1), zero, none, none, gain)


def look(
    watch: Watch,
    before: Float[Array, " n"],
    h: Float[Array, " n"],
    finite: Bool[Array, ""],
    leading: Float[Array, ""],
) -> Watch:
    """Look at the next state.

    Args:
        watch: as the previous step left it.
        before: h_{t−1}, ``(n,)``.
        h: h_t, ``(n,)``.
        finite: whether everything else at this step is.
        leading: the growth of the first tangent vector in this step, in nats.

    Returns:
        The watch of the next step.
    """
    before, h, leading = jax.lax.stop_gradient((before, h, leading))
    age, finite = watch.age + 1, finite & jnp.all(jnp.isfinite(h))
    late = age == watch.patience
    caught = _first(watch.caught, jnp.all(h == before) | jnp.all(h == watch.kept), watch.now)
    # A cycle that neither attracts nor repels is an orbit: what rounding adds to it does not count.
    growth = leading - jnp.finfo(leading.dtype).eps ** 0.5
    return Watch(
        origin=watch.origin,
        home=watch.home | jnp.all(h == watch.origin),
        kept=jnp.where(late, h, watch.kept),
        age=jnp.where(late, 0, age),
        patience=jnp.where(late, 2 * watch.patience, watch.patience),
        now=watch.now + 1,
        broken=_first(watch.broken, ~finite, watch.now),
        caught=caught,
        gain=watch.gain + jnp.where(caught >= 0, growth, 0),
    )


def _first(found, here: Bool[Array, ""], now: Int[Array, ""]) -> Int[Array, ""]:
    """The step found before, or this one if it is the first."""
    return jnp.where((found < 0) & here, now, found)


def judge(
    watch: Watch, inputs: Float[Array, "T d"], lost: Int[Array, ""]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """What became of the orbit.

    It has collapsed if it arrived at an exact cycle on which tangent vectors grow, from the first
    return to the end: no orbit does but by rounding (or by starting on one of the few points that
    lead there). A cycle that attracts, or one that h_0 itself lies on, is an orbit like any other.
    Only constant inputs, or none, make a repeated state a cycle. It has collapsed, too, where
    its leading tangent vector was rounded to 0.

    Args:
        watch: as the last step left it.
        inputs: x_1 … x_T, ``(T, d)``.
        lost: the index of the first step at which that happened; −1 if it did not.

    Returns:
        The index into `STATUSES` (ok, nonfinite or collapsed), and the index into the inputs of
        the first step with the fault, or −1.
    """
    collapsed = (watch.caught >= 0) & (watch.gain > 0) & ~watch.home & jnp.all(inputs == inputs[:1])
    fallen = jnp.where(collapsed, watch.caught, lost)
    status = jnp.where(watch.broken >= 0, 1, jnp.where(fallen >= 0, 2, 0))
    first = jnp.where(watch.broken >= 0, watch.broken, fallen)
    return status.astype(jnp.int32), first
