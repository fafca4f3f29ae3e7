"""Rows times the rotation that a skew matrix stands for, and how that changes with the matrix.

    exp(A)                            Aᵀ = −A
    cayley(A) = (I + A)⁻¹ (I − A)     likewise orthogonal; eigenvalues −1 are out of its reach

A cell makes its rotation anew at every step. In a loop the compiler does that once, if it is made
of matrix products alone, which no LAPACK call is. The derivative by A is not the same at every
step, and through the products it would cost their N³ again; here it is written for one row, of N²:

    h exp(A), by A: through the series of h exp(A/4), four times
    h Q, Q = cayley(A):  d(h Q) = −½ ((h + h Q) dA) (I + Q)
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from throughtime.scaled import at_least_float32

WIDEST = 4 * math.pi
"""The largest norm of A: the angles of exp(A) may turn twice. The sums below are cut for it."""

_HALVINGS, _TERMS = 6, 12  # (4π/64)^13/13!, the first term left out, times 64 is 1e-17
_PARTS, _ROW_TERMS = 4, 28  # π^29/29! is 3e-17
_NEWTON = 13  # (n²/(n² + 2))^(2^13), n = 4π, is 1e-44; 12 would do for float64


def _exp(a: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """exp(A) − I by Taylor's sum of A/2^s, doubled s times, so that small angles stay exact."""
    small = a / 2**_HALVINGS
    total = small
    for k in range(_TERMS, 1, -1):
        total = small + small @ total / k
    for _ in range(_HALVINGS):
        total = 2 * total + total @ total
    return total


def _cayley(a: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """(I + A)⁻¹ (I − A) − I = −2 A (I + A)⁻¹, the inverse by Newton's iteration."""
    identity = jnp.eye(len(a), dtype=a.dtype)
    inverse = (identity - a) * (2 / (2 + _norm(a) ** 2))
    for _ in range(_NEWTON):
        inverse = inverse @ (2 * identity - inverse - a @ inverse)
    return -2 * a @ inverse


MAPS = {"exp": _exp, "cayley": _cayley}
"""By name, what turns a skew matrix A into a rotation less the identity."""


def _norm(a: Float[Array, "N N"]) -> Float[Array, ""]:
    """A bound of the spectral norm of a skew matrix: by its rows, or by all its entries."""
    by_rows = jnp.max(jnp.sum(jnp.abs(a), axis=1))
    return jnp.minimum(by_rows, jnp.sqrt(jnp.sum(jnp.square(a)) / 2))


def skew(kernel: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """The skew matrix with the entries of a kernel above its diagonal.

    Args:
        kernel: K; what is on and below the diagonal is not used.

    Returns:
        A = U − Uᵀ, U the part of K above the diagonal.
    """
    upper = jnp.triu(kernel, 1)
    return upper - upper.T


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def turn(map: str, h: Float[Array, "*B N"], a: Float[Array, "N N"]) -> Float[Array, "*B N"]:
    """Rows times a rotation, h Q(A).

    Args:
        map: a key of `MAPS`.
        h: ``(…, N)``.
        a: A, skew.

    Returns:
        ``(…, N)``, in the dtype of h, of the length of h to rounding; NaN where A is so large that
        neither bound of its norm, the largest sum of a row or the root of half the sum of its
        squares, is at most `WIDEST`.
    """
    wide = a.astype(at_least_float32(a.dtype))
    rows = h.astype(wide.dtype)
    with jax.default_matmul_precision("highest"):
        turned = rows + rows @ MAPS[map](wide)
    return jnp.where(_norm(wide) <= WIDEST, turned, jnp.nan).astype(h.dtype)


def _turn_jvp(map, primals, tangents):
    (h, a), (dh, da) = primals, tangents
    turned = turn(map, h, a)
    # What is not differentiated is not computed: a spectrum has N tangents of h and none of A.
    parts = [] if isinstance(dh, SymbolicZero) else [turn(map, dh, a)]
    if isinstance(da, SymbolicZero):
        return turned, sum(parts, jnp.zeros_like(turned))
    if map == "exp":
        parts.append(jax.jvp(functools.partial(_along, h), (a,), (da,))[1])
    else:
        across = -((h + turned) @ da) / 2
        parts += [across, turn(map, across, a)]
    return turned, sum(parts[1:], parts[0])


turn.defjvp(_turn_jvp, symbolic_zeros=True)


def _along(h: Float[Array, "*B N"], a: Float[Array, "N N"]) -> Float[Array, "*B N"]:
    """Rows times exp(A); every term of the sum is a row times A."""
    wide = at_least_float32(a.dtype)
    rows, a = h.astype(wide), a.astype(wide)

    def term(so_far, k):
        total, power = so_far
        power = power @ a / (_PARTS * k)
        return (total + power, power), None

    def part(rows, _):
        numbers = jnp.arange(1, _ROW_TERMS + 1, dtype=wide)
        return jax.lax.scan(term, (rows, rows), numbers)[0][0], None

    return jax.lax.scan(part, rows, length=_PARTS)[0].astype(h.dtype)
