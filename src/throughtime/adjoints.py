"""What backpropagation through time transports: dL/dh_t for every t, beyond the float range.

The adjoint a_t = dL/dh_t is the total derivative of the loss by the state of step t. It obeys

    a_T = ∂L/∂h_T,    a_t = ∂L/∂h_t + J_{t+1}ᵀ a_{t+1},    J_{t+1} = ∂step(h, x_{t+1})/∂h at h_t

(Werbos 1990, Backpropagation through time: what it does and how to do it). One backward pass
computes it, a vector-Jacobian product per step; here its carry is `Scaled`, so that a gradient is
never lost to the float range. `plain_adjoints` is the same quantity as a training loop sees it,
floats and all.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree, Shaped

from throughtime.dynamics import (
    Step,
    check_step,
    first_true,
    held,
    pad_front,
    rollout,
    starts,
    trajectory,
)
from throughtime.scaled import Scaled, from_float, log_norm, rescale, shift

Loss = Callable[[Float[Array, "T n"]], Float[Array, ""]]
"""A loss over the states h_1 … h_T: the last one, all of them, or any subset."""


class StepwiseLoss(NamedTuple):
    """A loss that is a sum over steps, L = Σ_t term(h_t, t).

    It is a `Loss` like any other; only in this form can a loss be differentiated a segment of the
    sequence at a time.

    Attributes:
        term: maps a state ``(n,)`` and its index 0 … T−1 (int32) to a scalar.
    """

    term: Callable[[Float[Array, " n"], Int[Array, ""]], Float[Array, ""]]

    def __call__(self, states: Float[Array, "T n"]) -> Float[Array, ""]:
        """L itself.

        Args:
            states: h_1 … h_T, ``(T, n)``.

        Returns:
            A scalar.
        """
        return jnp.sum(jax.vmap(self.term)(states, jnp.arange(len(states), dtype=jnp.int32)))


def pull_back(
    step: Step,
    direct: Float[Array, "T n"] | Scaled,
    previous: Float[Array, "T n"],
    inputs: Float[Array, "T d"],
    later: Scaled | None = None,
) -> tuple[Scaled, Scaled]:
    """The backward pass itself, along states that are known already.

    a_t = direct_t + b_t,    b_{t−1} = J_tᵀ a_t,    b_T = later

    Args:
        step: the system.
        direct: ∂L/∂h_1 … ∂L/∂h_T, what the loss itself says of h_t, ``(T, n)``; or `Scaled`.
        previous: h_0 … h_{T−1}, the states from which the steps start, ``(T, n)``.
        inputs: x_1 … x_T, ``(T, d)``.
        later: what arrives from after the end, mantissa ``(n,)``; None is zero.

    Returns:
        dL/dh_0, mantissa ``(n,)``, and a_1 … a_T, mantissa ``(T, n)`` and exponent ``(T,)``.
    """

    def backward(future: Scaled, now):
        g, h, x = now
        adjoint = _sum(g, future)
        (mantissa,) = jax.vjp(lambda h: step(h, x), h)[1](adjoint.mantissa)
        return rescale(mantissa, adjoint.exponent, _ZERO), adjoint

    later = from_float(jnp.zeros_like(previous[0])) if later is None else later
    plain = jnp.zeros(len(inputs), jnp.int32)
    told = rescale(*(direct if isinstance(direct, Scaled) else (direct, plain)), _ZERO)
    # Sums are rescaled after the scan, all at once: within it every reduction is waited for.
    last, driven = rescale(*later, _ZERO), (told, previous, inputs)
    first, adjoints = jax.lax.scan(backward, last, driven, reverse=True)
    return rescale(*first), rescale(*adjoints)


_ZERO = int(jnp.iinfo(jnp.int32).min) // 2
"""The exponent of zeros within the backward pass: whatever is added to them has a larger one."""


def _sum(a: Scaled, b: Scaled) -> Scaled:
    """The sum a + b, rounded once as a float is, of numbers whose zeros have exponent `_ZERO`."""
    top = jnp.maximum(a.exponent, b.exponent)
    lower, upper = shift(a.mantissa, a.exponent - top), shift(b.mantissa, b.exponent - top)
    return Scaled(lower + upper, top)


def adjoint_states(
    loss: Loss, step: Step, h0: Shaped[Array, "..."], inputs: Shaped[Array, "..."]
) -> Scaled:
    """The gradient of a loss by every state, dL/dh_1 … dL/dh_T, right at any length.

    a_t = ∂L/∂h_t + J_{t+1}ᵀ a_{t+1},  a_T = ∂L/∂h_T

    Args:
        loss: maps the states ``(T, n)`` to a scalar.
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        `Scaled` with mantissa ``(T, n)`` and exponent ``(T,)``, in the order of time. It is 0 only
        where the gradient is, and never inf, unless the forward pass or a single step's Jacobian
        leaves the float range. Memory: the states and the result, no residuals of the steps.

    References:
        Werbos 1990, Proc. IEEE 78(10); Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, eq. 3–5.
    """
    check_step(step, h0, inputs)
    run = trajectory(step, h0, inputs)
    return pull_back(step, jax.grad(loss)(run.states), run.previous, inputs)[1]


def adjoint_log_norms(
    loss: Loss,
    step: Step,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
    *,
    segment: int | None = None,
) -> Float[Array, " T"]:
    """The natural logarithm of the gradient's norm at every step, ln ‖dL/dh_t‖₂.

    Args:
        loss: maps the states ``(T, n)`` to a scalar; a `StepwiseLoss` if ``segment`` is given.
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.
        segment: for long sequences: keep only every ``segment``-th state and recompute the rest.
            Beside inputs and result, memory is T/segment + segment states, which is O(√T) for
            segment ≈ √T, at the price of a second forward pass.

    Returns:
        ``(T,)``, in the order of time, in nats; −inf where the gradient is exactly zero.

    Raises:
        ValueError: if ``segment`` is below 1, or is given with a loss that is no `StepwiseLoss`.

    References:
        Chen, Xu, Zhang, Guestrin 2016, Training deep nets with sublinear memory cost.
    """
    if segment is None:
        return log_norm(adjoint_states(loss, step, h0, inputs))
    if not isinstance(loss, StepwiseLoss):
        raise ValueError("segment needs a StepwiseLoss, a loss that is a sum over steps.")
    if segment < 1:
        raise ValueError(f"segment must be at least 1, not {segment}.")
    check_step(step, h0, inputs)
    return _segmented_log_norms(loss, step, h0, inputs, segment)


def _segmented_log_norms(loss, step, h0, inputs, segment) -> Float[Array, " T"]:
    """`adjoint_log_norms` with the states recomputed segment by segment."""
    length = len(inputs)
    padding = -length % segment
    flagged = pad_front(inputs, padding).reshape(-1, segment, inputs.shape[1] + 1)
    step = held(step)
    indices = (jnp.arange(padding + length, dtype=jnp.int32) - padding).reshape(-1, segment)

    def forward(h, xs):
        return rollout(step, h, xs)[-1], h

    def backward(later, part):
        h, xs, index = part
        states = rollout(step, h, xs)
        direct = jax.vmap(jax.grad(loss.term))(states, index)
        before, adjoints = pull_back(step, direct, starts(h, states), xs, later)
        return before, log_norm(adjoints)

    nothing = from_float(jnp.zeros_like(h0))
    kept = jax.lax.scan(forward, h0, flagged)[1]
    logs = jax.lax.scan(backward, nothing, (kept, flagged, indices), reverse=True)[1]
    return logs.reshape(-1)[padding:]


def parameter_gradient_by_lag(
    loss: Loss,
    step: Callable[[PyTree, Float[Array, " n"], Float[Array, " d"]], Float[Array, " n"]],
    parameters: PyTree,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
) -> Scaled:
    """How much of ∂L/∂θ each lag contributes: the use of θ at step t = T − k has lag k.

    G_k = (∂step(θ, h_{t−1}, x_t)/∂θ)ᵀ a_t at t = T − k,    Σ_k G_k = dL/dθ

    Lags are counted from the last step; for a loss on the last state that is the distance between
    using a weight and being judged for it.

    Args:
        loss: maps the states ``(T, n)`` to a scalar.
        step: the system as a function of its parameters, ``step(θ, h, x)``.
        parameters: θ, any pytree of floats, p numbers in all.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        `Scaled` with mantissa ``(T, p)`` and exponent ``(T,)``: row k is the share of lag k,
        flattened as `jax.flatten_util.ravel_pytree` flattens θ. Their `total` is dL/dθ.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, eq. 4: the temporal components.
    """
    theta, unravel = ravel_pytree(parameters)

    def frozen(h, x):
        return step(parameters, h, x)

    check_step(frozen, h0, inputs)
    run = trajectory(frozen, h0, inputs)
    adjoints = pull_back(frozen, jax.grad(loss)(run.states), run.previous, inputs)[1]

    def immediate(adjoint: Scaled, h, x):
        pullback = jax.vjp(lambda theta: step(unravel(theta), h, x), theta)[1]
        return rescale(pullback(adjoint.mantissa)[0], adjoint.exponent)

    by_step = jax.vmap(immediate)(adjoints, run.previous, inputs)
    return Scaled(by_step.mantissa[::-1], by_step.exponent[::-1])


def plain_adjoints(
    loss: Loss, step: Step, h0: Shaped[Array, "..."], inputs: Shaped[Array, "..."]
) -> Float[Array, "T n"]:
    """The same gradient as plain BPTT in floats has it, with all that underflows and overflows.

    dL/dh_t = dL/de_t of the rollout with perturbed states h_t + e_t, by autodiff.

    Args:
        loss: maps the states ``(T, n)`` to a scalar.
        step: the system, in the dtype to be looked at (`as_step` casts a cell).
        h0: the state before the first input, ``(n,)``, in that dtype.
        inputs: x_1 … x_T, ``(T, d)``, in that dtype.

    Returns:
        ``(T, n)`` in the dtype of ``h0``: what an optimiser running in that dtype is given.
    """
    check_step(step, h0, inputs)
    unperturbed = jnp.zeros((len(inputs), len(h0)), h0.dtype)
    return jax.grad(lambda e: loss(rollout(step, h0, inputs, e)))(unperturbed)


class LostLags(NamedTuple):
    """Where plain BPTT loses the gradient, as lags before the last step; −1 means nowhere.

    Attributes:
        first_zero: the first lag at which every component is exactly 0.
        first_inf: the first lag at which some component is inf or NaN.
    """

    first_zero: Int[Array, ""]
    first_inf: Int[Array, ""]


def lost_lags(adjoints: Float[Array, "T *n"]) -> LostLags:
    """The first lags at which the gradient of plain BPTT is exactly 0, and not finite.

    Args:
        adjoints: dL/dh_1 … dL/dh_T from `plain_adjoints`, ``(T, …)``.

    Returns:
        Both lags, counted from the last step (lag 0); −1 where it does not happen.
    """
    by_lag = adjoints[::-1].reshape(len(adjoints), -1)
    zero = jnp.all(by_lag == 0, axis=1)
    lost = jnp.any(~jnp.isfinite(by_lag), axis=1)
    return LostLags(first_true(zero), first_true(lost))
