"""The forward orbit by Newton's method in parallel, believed only where its error is known.

The T equations h_t = step(h_{t−1}, x_t) are solved at once: linearised about a guess they are an
affine recurrence, which an associative scan solves. The last iterate is not believed for its small
defect: the error is the defect carried along by products of Jacobians, and in a chaotic system
that is anything. Here it is computed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from throughtime.dynamics import Step, check_step, rollout, starts
from throughtime.jacobians import jacobians_from, matmul

MEMORY = 256
"""Steps for which roundings are allowed to add up in full; a longer memory counts as amplifying."""


class ParallelOrbit(NamedTuple):
    """An orbit, and whether it was found in parallel.

    |h_t| is the largest component, and no less than tiny/eps of the dtype: what is smaller has
    not all of its digits.

    Attributes:
        states: h_1 … h_T, ``(T, n)``: Newton's if it converged, else those of `rollout`.
        converged: whether Newton's states are the sequential ones to within ``error``.
        iterations: int32, how many corrections were made.
        defect: max_t |h_t − step(h_{t−1}, x_t)| / |h_t| of Newton's states; inf if not finite.
        error: how far Newton's states may be from the sequential ones, max_t |Δh_t| / |h_t|, with
            the rounding of all steps; inf if not finite. It means little where not converged.
    """

    states: Float[Array, "T n"]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]
    defect: Float[Array, ""]
    error: Float[Array, ""]


def parallel_rollout(
    step: Step,
    h0: Shaped[Array, " n"],
    inputs: Float[Array, "T d"],
    *,
    max_iterations: int = 30,
) -> ParallelOrbit:
    """Run the system forward in time by Newton's method, or step by step where that fails.

    h ← h + δ,   δ_t = J_t δ_{t−1} + r_t,   r_t = step(h_{t−1}, x_t) − h_t,   δ_0 = 0,
    J_t = ∂step(h, x_t)/∂h at h_{t−1},   from h_t = 0 until r is rounding

    Newton's states differ from the sequential ones, to first order, by what r and the rounding of
    every step add up to. In units of |h_t|, with which J_t is |h_{t−1}|/|h_t| times as large,

    error = K √n (max |r| + 4 eps),   K² = (m + 1) max_{t,i} (C_t)_ii,   m = min(T, 256),
    C_t = (1 + 1/m) J_t C_{t−1} J_tᵀ + I

    K bounds what vectors of length 1 at every step add up to, max_t Σ_k ‖J_t ⋯ J_{k+1}‖ for each
    component (Cauchy and Schwarz, with weights that grow by 1/m a step). The states are believed if
    every r_t is the rounding of h_t and h_{t−1}, |r_t| <= 4 √n eps √(1 + ‖J_t‖²) with the largest
    row of J_t, if error <= eps^⅖, and if K · error <= 1/2: the condition of Newton and Kantorovich
    for the first order to be all that counts.

    What is taken for granted: that no component of a step rounds by more than 2 eps |h_t|, here and
    there (where its own terms cancel it does), and that a step bends by no more than about one per
    unit of state (a cliff or a kink within ``error`` of the orbit is not seen). A chaotic orbit is
    never believed for long: K grows with it, and two roundings of it have nothing in common. Nor is
    one that remembers for thousands of steps, nor one that passes by zero too closely for that, and
    hardly any in bfloat16 or float16.

    Under jit only one of the two ways is taken; under vmap both are computed for every orbit. The
    states have no derivative here; `rollout` has.

    Args:
        step: the system.
        h0: the state before the first input, floats ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.
        max_iterations: of Newton's method; systems that forget need few, at any length.

    Returns:
        A `ParallelOrbit`. Memory: a few arrays ``(T, n, n)``.

    Raises:
        ValueError: if the state is not a vector of floats that the step maps to its like, T is 0,
            or max_iterations is negative.

    References:
        Lim et al. 2023, arXiv:2309.12252 (DEER); Gonzalez et al. 2024, arXiv:2407.19115; Deuflhard
        2011, Newton methods for nonlinear problems, section 2.1.
    """
    check_step(step, h0, inputs)
    if max_iterations < 0:
        raise ValueError(f"max_iterations must be at least 0, not {max_iterations}.")
    found, defects, iterations = _newton(step, h0, inputs, max_iterations)
    converged, defect, error = _judge(step, h0, inputs, found, defects)
    states = jax.lax.cond(converged, lambda: found, lambda: rollout(step, h0, inputs))
    return ParallelOrbit(_without_derivative(states), converged, iterations, defect, error)


def _newton(step: Step, h0, inputs, max_iterations: int):
    """Correct until every defect is rounding or something is not finite; states and defects."""
    unit = _unit(h0)

    def defects_of(states):
        return jax.vmap(step)(starts(h0, states), inputs) - states

    def goes_on(carry):
        states, defects, iterations = carry
        rounding = jnp.all(jnp.abs(defects) <= unit * _sizes(states)[:, None])
        return (iterations < max_iterations) & jnp.all(jnp.isfinite(defects)) & ~rounding

    def correct(carry):
        states, defects, iterations = carry
        along = jacobians_from(step, starts(h0, states), inputs)
        states = states + _corrections(along, defects)
        return states, defects_of(states), iterations + 1

    guess = jnp.zeros((len(inputs), h0.size), h0.dtype)
    return jax.lax.while_loop(goes_on, correct, (guess, defects_of(guess), jnp.int32(0)))


def _corrections(along: Float[Array, "T n n"], defects: Float[Array, "T n"]):
    """The solution of δ_t = J_t δ_{t−1} + r_t."""

    def compose(earlier, later):
        (a, r), (b, s) = earlier, later
        return matmul(b, a), matmul(b, r) + s

    return jax.lax.associative_scan(compose, (along, defects[:, :, None]))[1][:, :, 0]


def _judge(step: Step, h0, inputs, states, defects):
    """Whether Newton's states are to be believed, their defect and their error."""
    eps = float(jnp.finfo(h0.dtype).eps)
    sizes = _sizes(jnp.concatenate([h0[None], states]))
    ratios = (sizes[:-1] / sizes[1:])[:, None, None]
    along = jacobians_from(step, starts(h0, states), inputs) * ratios
    relative = jnp.max(jnp.abs(defects), axis=1) / sizes[1:]
    magnified = jnp.sqrt(1 + jnp.max(jnp.sum(jnp.square(along), axis=2), axis=1))
    is_rounding = jnp.all(relative <= _unit(h0) * magnified)
    amplification, defect = _amplification(along), jnp.max(relative)
    error = amplification * h0.size**0.5 * (defect + 4 * eps)
    converged = is_rounding & (error <= eps**0.4) & (amplification * error <= 0.5)
    return converged, _or_inf(defect), _or_inf(error)


def _amplification(along: Float[Array, "T n n"]) -> Float[Array, ""]:
    """K, a bound of what vectors of length 1 at every step add up to."""
    memory = min(len(along), MEMORY)

    def compose(earlier, later):
        (a, c), (b, d) = earlier, later
        carried = matmul(matmul(b, c), jnp.swapaxes(b, -1, -2))
        return matmul(b, a), carried + d

    eyes = jnp.broadcast_to(jnp.eye(along.shape[1], dtype=along.dtype), along.shape)
    weighted = (1 + 1 / memory) ** 0.5 * along
    squares = jax.lax.associative_scan(compose, (weighted, eyes))[1]
    return jnp.sqrt((memory + 1) * jnp.max(jnp.diagonal(squares, axis1=1, axis2=2)))


def _unit(h0: Float[Array, " n"]) -> float:
    """The rounding of a step in units of the state: more than a sum of n terms loses."""
    return 4 * h0.size**0.5 * float(jnp.finfo(h0.dtype).eps)


def _sizes(states: Float[Array, "T n"]) -> Float[Array, " T"]:
    """|h_t|_∞, and what is left of the float range at zero."""
    info = jnp.finfo(states.dtype)
    return jnp.maximum(jnp.max(jnp.abs(states), axis=1), float(info.tiny) / float(info.eps))


def _or_inf(x: Float[Array, ""]) -> Float[Array, ""]:
    """The number, or inf if it is none."""
    return jnp.where(jnp.isfinite(x), x, jnp.inf)


@jax.custom_jvp
def _without_derivative(states: Float[Array, "T n"]) -> Float[Array, "T n"]:
    """The states; who differentiates them is told where to go."""
    return states


@_without_derivative.defjvp
def _refuse_derivative(primals, tangents):
    raise ValueError("parallel_rollout has no derivative; differentiate rollout.")
