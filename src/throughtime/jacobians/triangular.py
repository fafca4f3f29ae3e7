"""A chain of matrices reduced to one graded triangle, by orthogonal maps only.

P = A_T ⋯ A_1 is never multiplied out. A pass of QR over the chain, A_t Q_{t−1} = Q_t R_t, makes
every factor triangular, and the next pass runs over the triangles reversed and transposed:

    P = Q X₁,  X₁ = R_T ⋯ R_1;    X₁ᵀ = R_1ᵀ ⋯ R_Tᵀ = Q′ X₂;    P = Q X₂ᵀ Q′ᵀ

Two passes are a step of the LR iteration on Pᵀ P, so X₂ is nearly diagonal wherever singular values
are well apart (Stewart 1994; Oliveira, Stewart 2000). Factors whose rows and columns differ by many
decades, as those of saturated units do, keep their digits: powers of two move from the columns of a
factor to the rows of the one before it, where the QR can bear them. A zero row stays a zero row
through all of this, exactly, so that the rank that zeros leave is never drowned in rounding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from throughtime.jacobians.factors import matmul, qr_by_rows
from throughtime.scaled import Scaled, rescale, shift

MOST_SWEEPS = 10
STEEPEST = 16
"""A row of a triangle is graded if no entry is larger than this times its diagonal."""
LOWEST = int(jnp.iinfo(jnp.int32).min) // 2


class Graded(NamedTuple):
    """P = left · Xᵀ · rightᵀ, with left and right orthogonal.

    Attributes:
        left: ``(n, n)``.
        rows: X, upper triangular, each row with an exponent of its own: mantissa ``(n, n)``,
            exponent ``(n,)``.
        right: ``(n, n)``.
        graded: whether the rows of X are dominated by their diagonal; if not, X is not accurate.
        sure: int32, how many of the leading rows are more than rounding; −1 if a factor left the
            float range, and none is anything.
    """

    left: Float[Array, "n n"]
    rows: Scaled
    right: Float[Array, "n n"]
    graded: Bool[Array, ""]
    sure: Int[Array, ""]


class _Passed(NamedTuple):
    """left · A · rightᵀ, where A is the product of the chain, and how many rows are sure."""

    chain: Scaled
    left: Float[Array, "n n"]
    right: Float[Array, "n n"]
    sure: Int[Array, ""]


def graded_triangle(chain: Float[Array, "T n n"]) -> Graded:
    """Reduce a chain to a graded triangle, by two passes at a time until it is one.

    Args:
        chain: A_1 … A_T, finite, ``(T, n, n)``.

    Returns:
        The triangle and the orthogonal matrices around it.

    References:
        Stewart 1994, On graded QR decompositions of products of matrices, ETNA 3, 39;
        Oliveira, Stewart 2000, Exponential splittings of products of matrices and accurately
        computing singular values of long products, Linear Algebra Appl. 309, 175.
    """
    n = chain.shape[1]
    eye = jnp.eye(n, dtype=chain.dtype)
    factors = Scaled(chain, jnp.zeros(len(chain), jnp.int32))
    nothing = by_rows(jnp.zeros_like(eye))
    start = (0, _Passed(factors, eye, eye, jnp.int32(n)), nothing, jnp.array(False))

    def unfinished(state):
        sweeps, _, _, graded = state
        return ~graded & (sweeps < MOST_SWEEPS)

    def sweep(state):
        sweeps, passed, _, _ = state
        passed = jax.lax.fori_loop(0, 2, lambda _, passed: _pass(passed), passed)
        rows = _product_of_triangles(_transposed(passed.chain))
        return sweeps + 1, passed, rows, _is_graded(rows)

    _, passed, rows, graded = jax.lax.while_loop(unfinished, sweep, start)
    return Graded(passed.left, rows, passed.right, graded, passed.sure)


def _pass(passed: _Passed) -> _Passed:
    """L A Rᵀ = (L Q) X Rᵀ, and of that the transpose, R Xᵀ (L Q)ᵀ."""
    triangles, q, sure = _qr_pass(passed.chain)
    sure = jnp.minimum(passed.sure, sure)
    return _Passed(_transposed(triangles), passed.right, matmul(passed.left, q), sure)


def by_rows(matrix: Float[Array, "n n"]) -> Scaled:
    """A matrix with an exponent for each row.

    Args:
        matrix: ``(n, n)``.

    Returns:
        mantissa ``(n, n)``, exponent ``(n,)``.
    """
    return rescale(matrix, jnp.zeros(len(matrix), jnp.int32))


def _transposed(chain: Scaled) -> Scaled:
    """The chain of the transposed product: reversed, every factor transposed."""
    return Scaled(jnp.swapaxes(chain.mantissa, 1, 2)[::-1], chain.exponent[::-1])


def _qr_pass(chain: Scaled) -> tuple[Scaled, Float[Array, "n n"], Int[Array, ""]]:
    """R_1 … R_T with A_T ⋯ A_1 = Q R_T ⋯ R_1, then Q, and how many rows are sure."""
    factors, first, in_range = _balanced(Scaled(_pruned(chain.mantissa), chain.exponent))

    def forward(q, factor):
        found = qr_by_rows(matmul(factor, q))
        return found.q, (found.r, found.sure)

    eye = jnp.eye(chain.mantissa.shape[1], dtype=chain.mantissa.dtype)
    q, (triangles, sure) = jax.lax.scan(forward, eye, factors.mantissa)
    top = jnp.max(first)
    begin = _times_powers(triangles[0], (first - top)[None])
    in_range &= _survived(triangles[0].T, begin.T)
    triangles = rescale(triangles.at[0].set(begin), factors.exponent.at[0].add(top))
    return triangles, q, jnp.where(in_range, jnp.min(sure), -1)


def _pruned(chain: Float[Array, "T n n"]) -> Float[Array, "T n n"]:
    """The chain with zeros for the rows of each factor that the next ones do not look at."""

    def backward(live, factor):
        factor = jnp.where(live[:, None], factor, 0)
        return jnp.any(factor != 0, axis=0), factor

    return jax.lax.scan(backward, jnp.ones(chain.shape[1], bool), chain, reverse=True)[1]


def _balanced(chain: Scaled) -> tuple[Scaled, Int[Array, " n"], Bool[Array, ""]]:
    """F_t = D_{t+1} A_t D_t⁻¹ and the exponents of D_1, so that A_T ⋯ A_1 = F_T ⋯ F_1 D_1.

    D_t⁻¹ scales the columns of A_t to one, by powers of two; D_{T+1} = 1. Last, whether all rows
    stay in the float range.
    """
    columns, powers = rescale(
        jnp.swapaxes(chain.mantissa, 1, 2), jnp.zeros(chain.mantissa.shape[:2], jnp.int32)
    )
    powers = jnp.where(jnp.all(columns == 0, axis=2), LOWEST, powers)
    later = jnp.concatenate([powers[1:], jnp.zeros_like(powers[:1])])
    top = jnp.max(later, axis=1)
    factors = _times_powers(jnp.swapaxes(columns, 1, 2), (later - top[:, None])[:, :, None])
    in_range = _survived(chain.mantissa, factors)
    return Scaled(factors, chain.exponent + top), powers[0], in_range


def _survived(before: Float[Array, "*B m n"], after: Float[Array, "*B m n"]) -> Bool[Array, ""]:
    """Whether no row has become so small that what it lost to underflow could matter to it."""
    info = jnp.finfo(after.dtype)
    large = jnp.max(jnp.abs(after), axis=-1) >= info.tiny / info.eps
    return jnp.all(large | jnp.all(before == 0, axis=-1))


def _times_powers(x: Float[Array, "..."], powers: Int[Array, "..."]) -> Float[Array, "..."]:
    """Multiply by powers of two that are broadcast."""
    return shift(x, jnp.broadcast_to(powers, x.shape))


def _product_of_triangles(chain: Scaled) -> Scaled:
    """R_T ⋯ R_1 with an exponent for each row, so that small rows keep their digits."""

    def multiply(rows: Scaled, factor: Scaled):
        empty = jnp.all(rows.mantissa == 0, axis=1)
        exponent = jnp.where(empty, LOWEST, rows.exponent)[None]
        top = jnp.max(jnp.where(factor.mantissa == 0, LOWEST, exponent), axis=1)
        weights = _times_powers(factor.mantissa, jnp.minimum(exponent - top[:, None], 0))
        return rescale(matmul(weights, rows.mantissa), top + factor.exponent), None

    eye = jnp.eye(chain.mantissa.shape[1], dtype=chain.mantissa.dtype)
    return jax.lax.scan(multiply, by_rows(eye), chain)[0]


def _is_graded(rows: Scaled) -> Bool[Array, ""]:
    """Whether each row is dominated by its diagonal; a row of zeros is."""
    size = jnp.abs(rows.mantissa)
    return jnp.all(jnp.max(size, axis=1) <= STEEPEST * jnp.diagonal(size))
