"""The Lyapunov spectrum by the tangent frame, and the leading exponent by a second orbit."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from throughtime.dynamics import Step, check_step, check_transient, first_true
from throughtime.lyapunov import orbit
from throughtime.lyapunov.frames import initial_frame, orthonormalise, push_forward
from throughtime.scaled import at_least_float32, from_float, log_norm
from throughtime.traced import may_be_rounded


class LyapunovSpectrum(NamedTuple):
    """Lyapunov exponents λ_i = (1/S) Σ_t ln r_i(t), in nats per step, and where they come from.

    S is the number of steps after the transient. `status_of` puts the standing of the whole in a
    word, `exponent_errors` gives intervals.

    Attributes:
        exponents: λ_1 … λ_k, ``(k,)``, in the order of the frame: descending in the limit, so that
            neighbours out of order are not told apart by so short an orbit. −inf for a direction
            that is lost; NaN if the orbit does not stay finite.
        growth: ln r_i(t), the finite-time growth, ``(S, k)``; NaN from the first step on that is
            not finite.
        status: int32, an index into `STATUSES`: ok, nonfinite or collapsed: rounding took the
            orbit to an unstable cycle, or the leading derivative to 0 where units saturate.
        first_bad_step: int32, the index into the inputs of the first step with that fault; −1 if
            there is none.
        floor: the mean of ln(4 √n eps ‖J_t Q‖_max), scalar, nats per step: an exponent below it is
            rounding of this dtype, and the true one may lie anywhere below.
        rounded: whether an exponent of −inf may be one that is only too small: units saturate.
    """

    exponents: Float[Array, " k"]
    growth: Float[Array, "S k"]
    status: Int[Array, ""]
    first_bad_step: Int[Array, ""]
    floor: Float[Array, ""]
    rounded: Bool[Array, ""]


class _Stretching(NamedTuple):
    """What happened to k tangent vectors in a step: ln r, which r is 0, and which may be rounding.

    `faint` is to be rounding of its own column, which counts if it persists; `floor` is the log of
    what is rounding of the largest.
    """

    growth: Float[Array, "*T k"]
    lost: Bool[Array, "*T k"]
    faint: Bool[Array, "*T k"]
    floor: Float[Array, "*T"]


def lyapunov_spectrum(
    step: Step,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
    num_exponents: int | None = None,
    *,
    transient: int = 0,
) -> LyapunovSpectrum:
    """The leading k Lyapunov exponents of a driven system along its orbit from h_0.

    h_t = step(h_{t−1}, x_t),   J_t Q_{t−1} = Q_t R_t,   ln r_i(t) = ln (R_t)_ii,
    λ_i = (1/S) Σ_t ln r_i(t),   Σ_{i=1…n} ln r_i(t) = ln |det J_t|,   J_t = ∂step(h, x_t)/∂h

    at h_{t−1}. The frame is made orthonormal at every step: that is always safe, and it makes the
    growth a growth per step. It begins with random directions (the same in every call), which
    align within the transient.

    A direction that the Jacobian annihilates has exponent −inf: where whole rows or columns of
    J_t Q are zero, as with dead rectifiers, or where r_i is mere rounding of its own column in more
    than half of the steps, as with a low-rank Jacobian. The frame is completed and stays
    orthonormal.

    Derivatives pass through the exponents and the growth that are finite (gradient flossing needs
    them); a reverse pass keeps a few (n, k) arrays per step.

    Args:
        step: the system; its state is all of it, so that an LSTM has (c, h).
        h0: the state before the first input, floats ``(n,)``. An orbit that begins on an unstable
            fixed point stays there, and has its exponents.
        inputs: x_1 … x_T, ``(T, d)``; ``(T, 0)`` for an autonomous system.
        num_exponents: k; None is all n.
        transient: how many of the first steps are left out; state and frame pass through them.

    Returns:
        A `LyapunovSpectrum`, usable under jit and vmap. The frame is in at least float32.

    Raises:
        ValueError: if k is not in 1 … n, the transient not in 0 … T−1, T is 0, or the state is not
            a vector of floats that the step maps to its like.

    References:
        Benettin, Galgani, Giorgilli, Strelcyn 1980, Meccanica 15, 9; Eckmann, Ruelle 1985,
        Rev. Mod. Phys. 57, 617; Engelken 2023, arXiv:2312.17306 (gradient flossing); Vogt et al.
        2022, arXiv:2006.14123 (spectra of recurrent networks).
    """
    k = h0.size if num_exponents is None else num_exponents
    check_step(step, h0, inputs)
    check_transient(transient, len(inputs))
    if not 1 <= k <= h0.size:
        raise ValueError(f"a state of size {h0.size} has 1 to {h0.size} exponents, not {k}.")
    resolution = _resolution(h0)

    def stretch(h, frame, x):
        h, tangents = push_forward(step, h, x, frame)
        finite = jnp.all(jnp.isfinite(tangents))
        frame, r = orthonormalise(jnp.where(finite, tangents, frame))
        return h, frame, finite, _stretching(tangents, r, resolution)

    rounded = may_be_rounded(step, h0, inputs[0])
    frame = initial_frame(h0.size, k, h0.dtype)
    return _along_orbit(stretch, frame, h0, inputs, transient, rounded)


def perturbed_exponent(
    step: Step,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
    *,
    size: int | float | None = None,
    transient: int = 0,
) -> LyapunovSpectrum:
    """The leading exponent by a second orbit beside the first: an estimate without derivatives.

    δ_t = step(h_{t−1} + δ, x_t) − h_t,   ln r(t) = ln ‖δ_t‖ / ‖δ‖,   δ = size · δ_{t−1}/‖δ_{t−1}‖

    Its errors are others than those of `lyapunov_spectrum`: of order ``size`` by curvature, and of
    order eps/size by rounding.

    Args:
        step: the system.
        h0: the state before the first input, floats ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.
        size: the distance to which the second orbit is brought back at every step, in units of
            max(1, ‖h‖); None is √eps.
        transient: how many of the first steps are left out.

    Returns:
        A `LyapunovSpectrum` of one exponent.

    Raises:
        ValueError: if the size is not positive, the transient not in 0 … T−1, T is 0, or the state
            is not a vector of floats that the step maps to its like.

    References:
        Benettin, Galgani, Strelcyn 1976, Phys. Rev. A 14, 2338.
    """
    check_step(step, h0, inputs)
    check_transient(transient, len(inputs))
    apart = float(jnp.finfo(h0.dtype).eps) ** 0.5 if size is None else size
    if not apart > 0:
        raise ValueError(f"the size of the perturbation must be positive, not {apart}.")
    dtype = at_least_float32(h0.dtype)

    def stretch(h, direction, x):
        distance = apart * jnp.maximum(1, jnp.exp(log_norm(from_float(h))))
        beside = h + (distance * direction[:, 0]).astype(h.dtype)
        h_next = step(h, x)
        gap = from_float((step(beside, x) - h_next).astype(dtype))
        log_gap, log_start = log_norm(gap), log_norm(from_float(beside - h))
        finite = jnp.isfinite(log_start) & (log_gap < jnp.inf)
        lost = jnp.isneginf(log_gap)[None]
        direction = jnp.where(lost[None], direction, gap.mantissa[:, None])
        direction = direction / jnp.exp(log_norm(from_float(direction)))
        floor = jnp.log(_resolution(h0)) + log_norm(from_float(h_next)) - log_start
        growth = (log_gap - log_start)[None]
        return h_next, direction, finite, _Stretching(growth, lost, jnp.zeros(1, bool), floor)

    rounded = may_be_rounded(step, h0, inputs[0])
    frame = initial_frame(h0.size, 1, h0.dtype)
    return _along_orbit(stretch, frame, h0, inputs, transient, rounded)


def _resolution(h0) -> float:
    """Some ten times the median of what rounding leaves of a column that depends on the others."""
    return 4 * h0.size**0.5 * float(jnp.finfo(h0.dtype).eps)


def _stretching(tangents, r, resolution: float) -> _Stretching:
    """The growth, and where it is none: fewer rows than directions, or rounding."""
    rows = jnp.sum(jnp.any(tangents != 0, axis=1))
    column = jnp.max(jnp.abs(tangents), axis=0)
    lost = (jnp.arange(len(r)) >= rows) | (r == 0)
    floor = jnp.log(resolution * jax.lax.stop_gradient(jnp.max(column)))
    return _Stretching(jnp.log(jnp.where(lost, 1, r)), lost, r <= resolution * column, floor)


def _along_orbit(
    stretch: Callable, frame, h0, inputs: Float[Array, "T d"], transient: int, rounded
) -> LyapunovSpectrum:
    """Run the orbit with its tangent vectors, and sum up what happened after the transient.

    A leading direction that is lost where units may saturate was rounded away: it is no −∞.
    """

    def advance(carry, x):
        h, frame, watch = carry
        h_next, frame, finite, stretching = stretch(h, frame, x)
        leading = jnp.where(stretching.lost[0], -jnp.inf, stretching.growth[0])
        watch = orbit.look(watch, h, h_next, finite, leading)
        return (h_next, frame, watch), stretching

    carry = (h0, frame, orbit.begin(h0, frame.dtype))
    (_, _, watch), stretchings = jax.lax.scan(advance, carry, inputs)
    kept = jax.tree.map(lambda each: each[transient:], stretchings)
    persistent = 2 * jnp.sum(kept.faint, axis=0) > len(kept.growth)
    growth = jnp.where(kept.lost | (kept.faint & persistent[None]), -jnp.inf, kept.growth)
    after = jnp.arange(transient, len(inputs), dtype=jnp.int32)
    broken = (watch.broken >= 0) & (after >= watch.broken)
    growth = jnp.where(broken[:, None], jnp.nan, growth)
    lost = jnp.where(rounded, first_true(kept.lost[:, 0]), -1)
    lost = jnp.where(lost < 0, lost, lost + transient)
    status, first_bad_step = orbit.judge(watch, inputs, lost)
    floor = jnp.where(watch.broken >= 0, jnp.nan, jnp.mean(kept.floor))
    exponents = jnp.mean(growth, axis=0)
    return LyapunovSpectrum(exponents, growth, status, first_bad_step, floor, rounded)
