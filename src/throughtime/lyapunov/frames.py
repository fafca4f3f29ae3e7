"""Orthonormal frames of tangent vectors: pushed forward by a step, and made orthonormal again."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from throughtime.dynamics import Step
from throughtime.scaled import at_least_float32


def initial_frame(n: int, k: int, dtype) -> Float[Array, "n k"]:
    """The frame to begin with: k random directions, the same in every call.

    Unit vectors would be the wrong choice: where units do not mix, as in an element-wise cell, the
    frame would stay on them, and the leading exponent would be that of the first unit.

    Args:
        n: the size of the state.
        k: how many directions, at most n; the first of them are the same for every k.
        dtype: of the state.

    Returns:
        Orthonormal columns ``(n, k)``, in at least float32.
    """
    draws = np.random.default_rng(0).normal(size=(k, n)).T
    return jnp.asarray(np.linalg.qr(draws)[0], at_least_float32(dtype))


def push_forward(
    step: Step, h: Float[Array, " n"], x: Float[Array, " d"], frame: Float[Array, "n k"]
) -> tuple[Float[Array, " n"], Float[Array, "n k"]]:
    """Take a step, and the tangent vectors with it; the Jacobian J is never formed.

    Args:
        step: the system.
        h: the state h_{t−1} from which the step starts, ``(n,)``.
        x: the input x_t, ``(d,)``.
        frame: tangent vectors Q at h, ``(n, k)``.

    Returns:
        h_t, ``(n,)``, and J_t Q, ``(n, k)``, J_t = ∂step(h, x_t)/∂h at h_{t−1}.
    """
    h_next, jacobian_times = jax.linearize(lambda h: step(h, x), h)
    tangents = jax.vmap(jacobian_times, in_axes=1, out_axes=1)(frame.astype(h.dtype))
    return h_next, tangents.astype(frame.dtype)


def _one_at_a_time_on_cpu(function: Callable) -> Callable:
    """Under vmap, call a LAPACK routine for one matrix after the other, but only on the CPU.

    jaxlib's batched LAPACK kernels wait for tasks that they queue on the thread pool they run on,
    and with two cores they wait forever (seen with jax 0.10).
    """
    single = jax.custom_batching.custom_vmap(function)

    @single.def_vmap
    def batched(axis_size, in_batched, matrices):
        del axis_size, in_batched
        out = jax.lax.platform_dependent(
            matrices, cpu=lambda m: jax.lax.map(single, m), default=jax.vmap(function)
        )
        return out, jax.tree.map(lambda _: True, out)

    return single


@_one_at_a_time_on_cpu
def _qr(tangents: Float[Array, "n k"]) -> tuple[Float[Array, "n k"], Float[Array, "k k"]]:
    """The QR decomposition whose R has no negative diagonal entry, which makes it unique."""
    q, r = jnp.linalg.qr(tangents)
    signs = jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(r.dtype)
    return q * signs[None], r * signs[:, None]


@_one_at_a_time_on_cpu
def _inverse(r: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """R⁻¹; a lost direction (0 on the diagonal) is given a 1, and leaves those before it alone."""
    lost = jnp.diag(jnp.where(jnp.diagonal(r) == 0, 1, 0).astype(r.dtype))
    return jax.scipy.linalg.solve_triangular(r + lost, jnp.eye(len(r), dtype=r.dtype))


@jax.custom_jvp
def orthonormalise(
    tangents: Float[Array, "n k"],
) -> tuple[Float[Array, "n k"], Float[Array, " k"]]:
    """An orthonormal frame of the same nested subspaces, and what each direction was stretched by.

    A = Q R,  r_j = R_jj >= 0;    with dA: M = Qᵀ dA R⁻¹,  dr_j = M_jj r_j,
    dQ = (I − Q Qᵀ) dA R⁻¹ + Q (L − Lᵀ),  L the strictly lower part of M

    Args:
        tangents: A, ``(n, k)``. Of dependent columns (Householder) Q is still orthonormal: what is
            missing is completed.

    Returns:
        Q, ``(n, k)``, and r, ``(k,)``, not negative. JAX's own derivative of a QR solves under vmap
        what must not be solved there; this one only multiplies.

    References:
        Walter, Lehmann, Lamour 2012, On evaluating higher-order derivatives of the QR
        decomposition of tall matrices with full column rank.
    """
    q, r = _qr(tangents)
    return q, jnp.diagonal(r)


@orthonormalise.defjvp
def _orthonormalise_jvp(primals, changes):
    q, r = _qr(*primals)
    change = changes[0] @ _inverse(r)
    m = q.T @ change
    lower = jnp.tril(m, -1)
    turned = change - q @ m + q @ (lower - lower.T)
    return (q, jnp.diagonal(r)), (turned, jnp.diagonal(m) * jnp.diagonal(r))
