"""One-sided Jacobi on rows with exponents of their own: the singular values to the last digit.

QR passes separate singular values that are far apart and hardly touch those that are close. Jacobi
rotations finish exactly those, and err relatively to each singular value, however small it is
(Demmel, Veselić 1992, Jacobi's method is more accurate than QR).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from throughtime.jacobians.factors import matmul
from throughtime.scaled import Scaled, rescale, shift

MOST_SWEEPS = 40


class Orthogonal(NamedTuple):
    """Rows G X that are orthogonal, with the rotation G that makes them so.

    Attributes:
        rows: G X, mantissa ``(m, n)``, exponent ``(m,)``; in no order.
        rotation: G, orthogonal, ``(m, m)``.
        converged: whether all cosines between rows are at rounding level.
    """

    rows: Scaled
    rotation: Float[Array, "m m"]
    converged: Bool[Array, ""]


class _Row(NamedTuple):
    """A row of G X, its exponent, and the same row of G."""

    mantissa: Float[Array, "... n"]
    exponent: Int[Array, "..."]
    rotation: Float[Array, "... m"]


def orthogonalise(rows: Scaled) -> Orthogonal:
    """Rotate pairs of rows until all are orthogonal.

    Args:
        rows: X, mantissa ``(m, n)``, exponent ``(m,)``; scaled to unit length, they should be well
            conditioned.

    Returns:
        The orthogonal rows, whose lengths are the singular values of X.

    References:
        Demmel, Veselić 1992, SIAM J. Matrix Anal. Appl. 13, 1204; for the parallel order of the
        pairs Brent, Luk 1985, SIAM J. Sci. Stat. Comput. 6, 69.
    """
    m = len(rows.mantissa)
    even = m + m % 2
    padding = ((0, even - m), (0, 0))
    start = _Row(
        jnp.pad(rows.mantissa, padding),
        jnp.pad(rows.exponent, padding[0]),
        jnp.eye(even, dtype=rows.mantissa.dtype),
    )
    tolerance = 4 * even * jnp.finfo(rows.mantissa.dtype).eps

    def unfinished(state):
        sweeps, table = state
        return (_largest_cosine(table.mantissa) > tolerance) & (sweeps < MOST_SWEEPS)

    def sweep(state):
        sweeps, table = state
        table = jax.lax.fori_loop(0, even - 1, lambda _, table: _round(table), table)
        return sweeps + 1, _Row(*rescale(table.mantissa, table.exponent), table.rotation)

    table = jax.lax.while_loop(unfinished, sweep, (0, start))[1]
    converged = _largest_cosine(table.mantissa) <= tolerance
    found = Scaled(table.mantissa[:m], table.exponent[:m])
    return Orthogonal(found, table.rotation[:m, :m], converged)


def _largest_cosine(rows: Float[Array, "m n"]) -> Float[Array, ""]:
    """The largest cosine of the angle between any two rows; rows of zeros are orthogonal to all."""
    lengths = jnp.sqrt(jnp.sum(jnp.square(rows), axis=1, keepdims=True))
    unit = rows / jnp.where(lengths == 0, 1, lengths)
    cosines = matmul(unit, unit.T)
    return jnp.max(jnp.abs(cosines - jnp.diag(jnp.diagonal(cosines))))


def _round(table: _Row) -> _Row:
    """Rotate row i with row m−1−i, for all i at once, then move all but the first on by one."""
    half = len(table.exponent) // 2
    top = jax.tree.map(lambda x: x[:half], table)
    bottom = jax.tree.map(lambda x: x[half:][::-1], table)
    top, bottom = jax.vmap(_rotate)(top, bottom)

    def turned(a, b):
        rows = jnp.concatenate([a, b[::-1]])
        return jnp.concatenate([rows[:1], jnp.roll(rows[1:], 1, axis=0)])

    return jax.tree.map(turned, top, bottom)


def _rotate(a: _Row, b: _Row) -> tuple[_Row, _Row]:
    """The rotation by at most 45° that makes two rows orthogonal.

    With rows x and r·y, where r = 2^d <= 1 is the ratio of their scales, the tangent is t = τ r,
    τ = 2 x·y / (δ ± √(δ² + 4 r² (x·y)²)),  δ = x·x − r² y·y, and the new rows are
    x′ = c (x + τ r² y) and r·y′ with y′ = c (y − τ x): r may be zero, and nothing is lost.
    """
    swap = b.exponent > a.exponent
    a, b = _swapped(swap, a, b)
    x, y = a.mantissa, b.mantissa
    r = shift(jnp.ones((), x.dtype), b.exponent - a.exponent)
    gamma = jnp.sum(x * y)
    delta = jnp.sum(x * x) - r * r * jnp.sum(y * y)
    root = jnp.sqrt(delta * delta + 4 * jnp.square(r * gamma))
    tau = 2 * gamma / jnp.where(gamma == 0, 1, delta + jnp.where(delta < 0, -root, root))
    t = tau * r
    c = 1 / jnp.sqrt(1 + t * t)
    larger = _Row(c * (x + t * r * y), a.exponent, c * (a.rotation + t * b.rotation))
    smaller = _Row(c * (y - tau * x), b.exponent, c * (b.rotation - t * a.rotation))
    return _swapped(swap, larger, smaller)


def _swapped(swap: Bool[Array, ""], a: _Row, b: _Row) -> tuple[_Row, _Row]:
    """The two rows, in the other order if asked."""
    return (
        jax.tree.map(lambda p, q: jnp.where(swap, q, p), a, b),
        jax.tree.map(lambda p, q: jnp.where(swap, p, q), a, b),
    )
