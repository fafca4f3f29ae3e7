"""The Jacobians along an orbit, and what their product does to a perturbation of h_0."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from throughtime.adjoints import starts
from throughtime.dynamics import Step, rollout
from throughtime.jacobians.chains import log_singular_values
from throughtime.lyapunov.frames import push_forward


def jacobians(
    step: Step, h0: Num[Array, " n"], inputs: Float[Array, "T d"]
) -> Float[Array, "T n n"]:
    """The derivative of every state by the one before it, along the orbit from h_0.

    J_t = ∂step(h, x_t)/∂h at h = h_{t−1},    ∂h_T/∂h_0 = J_T ⋯ J_1

    Args:
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        J_1 … J_T, ``(T, n, n)``; row i is the gradient of state i. Forward mode: n tangents a step.

    Raises:
        ValueError: if there are no steps, the state is not made of floats, or ``step`` returns
            another shape or dtype than it is given.
    """
    _check(step, h0, inputs)
    return jacobians_from(step, starts(h0, rollout(step, h0, inputs)), inputs)


def jacobians_from(
    step: Step, previous: Float[Array, "T n"], inputs: Float[Array, "T d"]
) -> Float[Array, "T n n"]:
    """The same along states that are known already, all at once.

    Args:
        step: the system.
        previous: h_0 … h_{T−1}, the states from which the steps start, ``(T, n)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        J_1 … J_T, ``(T, n, n)``.
    """
    eye = jnp.eye(previous.shape[1], dtype=previous.dtype)
    return jax.vmap(lambda h, x: push_forward(step, h, x, eye)[1])(previous, inputs)


def jacobian_log_singular_values(
    step: Step, h0: Num[Array, " n"], inputs: Float[Array, "T d"]
) -> Float[Array, " n"]:
    """The natural logs of all singular values of ∂h_T/∂h_0, right at any length.

    Args:
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        ``(n,)``, descending, in nats, as `throughtime.jacobians.log_singular_values` has them:
        −inf where dead units leave nothing, NaN where no number can be relied on and where the
        Jacobians are not finite. They are those of the Jacobians as computed, in the state's
        dtype. Memory: all Jacobians, O(T n²).

    Raises:
        ValueError: as for `jacobians`.
    """
    return log_singular_values(jacobians(step, h0, inputs))


def _check(step: Step, h0: Num[Array, " n"], inputs: Float[Array, "T d"]) -> None:
    """Refuse what has no Jacobians."""
    if len(inputs) == 0:
        raise ValueError("an orbit without inputs has no Jacobians; it needs at least one step.")
    if h0.ndim != 1 or not jnp.issubdtype(h0.dtype, jnp.floating):
        raise ValueError(f"h0 must be a vector of floats, not {h0.dtype}{list(h0.shape)}.")
    after = jax.eval_shape(step, h0, inputs[0])
    if (after.shape, after.dtype) != (h0.shape, h0.dtype):
        raise ValueError(
            f"step turns a state {h0.dtype}{list(h0.shape)} into {after.dtype}{list(after.shape)}; "
            "it must return what it is given."
        )
