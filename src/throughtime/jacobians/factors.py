"""A QR decomposition of one factor of a chain, stable row by row.

Plain array code instead of LAPACK: it runs batched under vmap on every device, and LAPACK's QR errs
relatively to the largest row, which a row of a saturated unit does not survive.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

matmul = partial(jnp.matmul, precision="highest")
"""The matrix product in the operands' own precision, which a GPU or TPU would cut by default."""


class Echelon(NamedTuple):
    """A = Q R with R in row echelon form: below its non-zero rows there are only zeros.

    Attributes:
        q: Q, orthogonal, ``(n, n)``.
        r: R, upper triangular, ``(n, n)``; each non-zero row begins further to the right.
        sure: int32, how many of the leading rows begin with more than rounding.
    """

    q: Float[Array, "n n"]
    r: Float[Array, "n n"]
    sure: Int[Array, ""]


def qr_by_rows(matrix: Float[Array, "n n"]) -> Echelon:
    """A QR decomposition whose error in each row is relative to that row, however small it is.

    A = Q R by Householder reflections; the pivot of a column is its largest remaining entry. A
    column with none left is passed over, so that rows of zeros in A end as rows of zeros in R.

    Args:
        matrix: A, ``(n, n)``.

    Returns:
        An `Echelon`. A pivot is rounding if it is within 4 √n eps of the largest entry of its row,
        some ten times the median of what rounding leaves of a row that depends on others.

    References:
        Cox, Higham 1998, Stability of Householder QR factorization for weighted least squares
        problems; Powell, Reid 1969.
    """
    n = len(matrix)
    indices = jnp.arange(n, dtype=jnp.int32)
    noise = 4 * n**0.5 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix), axis=1)

    def eliminate(k, carry):
        r, q, place, rank, sure = carry
        waiting = place == n
        x = jnp.where(waiting, r[:, k], 0)
        row = jnp.argmax(jnp.where(waiting, jnp.abs(x), -1)).astype(jnp.int32)
        here = indices == row
        w, weights, pivot = _reflection(x, here)
        sign = jnp.where(here & (pivot > 0), -1, 1).astype(r.dtype)[:, None]
        r = sign * (r - weights[:, None] * matmul(w, r)[None])
        q = sign * (q - weights[:, None] * matmul(w, q)[None])
        found = pivot != 0
        place = jnp.where(here & found, rank, place)
        r = r.at[:, k].set(jnp.where(place == n, 0, r[:, k]))
        sure = jnp.where(found & (jnp.abs(pivot) <= noise[row]), jnp.minimum(sure, rank), sure)
        return r, q, place, rank + found.astype(jnp.int32), sure

    eye, everywhere = jnp.eye(n, dtype=matrix.dtype), jnp.full(n, n, jnp.int32)
    start = (matrix, eye, everywhere, jnp.int32(0), jnp.int32(n))
    r, q, place, _, sure = jax.lax.fori_loop(0, n, eliminate, start)
    order = jnp.argsort(place)
    return Echelon(q[order].T, r[order], sure)


def _reflection(x, here) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]]:
    """Find w and w β of the reflection 1 − β w wᵀ that moves x into its pivot, and the pivot.

    x is divided by its largest entry, the pivot, so that nothing leaves the float range.
    """
    pivot = jnp.sum(jnp.where(here, x, 0))
    divisor = jnp.where(pivot == 0, 1, pivot)
    x = x / divisor
    length = jnp.sqrt(jnp.sum(jnp.square(x)))
    w = x + jnp.where(here, length, 0)
    return w, w / jnp.where(pivot == 0, 1, length * (1 + length)), pivot
