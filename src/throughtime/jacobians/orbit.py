"""The Jacobians along an orbit, and what their product does to a perturbation of h_0."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from throughtime.dynamics import Step, check_step, trajectory
from throughtime.jacobians.chains import log_singular_values
from throughtime.lyapunov.frames import push_forward


def jacobians(
    step: Step, h0: Shaped[Array, "..."], inputs: Shaped[Array, "..."]
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
    check_step(step, h0, inputs)
    return jacobians_from(step, trajectory(step, h0, inputs).previous, inputs)


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
    step: Step, h0: Shaped[Array, "..."], inputs: Shaped[Array, "..."]
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
