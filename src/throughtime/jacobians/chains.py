"""Singular values and directions of a product A_T ⋯ A_1, right at any length.

A long product has singular values hundreds of decades apart. Multiplied out it keeps the largest
and loses the others, which fall below the rounding of the first; a single pass of QR, as for
Lyapunov exponents, has them all, but wrong by the angles between the directions. Here orthogonal
passes bring the product to a graded triangle (`triangular`) and Jacobi rotations finish it
(`rotations`). How right that is depends on the chain. So every value is computed a second time,
from the transposed chain with its entries rounded anew, and where the two disagree there is NaN and
no number.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from throughtime.jacobians.factors import matmul
from throughtime.jacobians.rotations import orthogonalise
from throughtime.jacobians.triangular import by_rows, graded_triangle
from throughtime.scaled import (
    Scaled,
    at_least_float32,
    common_exponent,
    from_float,
    log_norm,
    rescale,
)

DISAGREEMENT = {"float64": 1e-10, "float32": 1e-4}
"""How far two computations of a log may differ, relative to it or to 10 nats, before it is NaN."""

GOLDEN = (1 + math.sqrt(5)) / 2
"""Times this every entry of a chain is rounded anew; small integers, such as rounding errors in
units of the last digit, are never in this ratio."""

LAGS_AT_ONCE = 64


class SingularDirections(NamedTuple):
    """The leading singular triples of P: P right_i = σ_i left_i.

    Attributes:
        left: orthonormal columns, ``(n, k)``; NaN where σ_i = 0, which has none of its own.
        log_singular_values: ln σ_i, descending, ``(k,)``.
        right: orthonormal columns, ``(n, k)``; NaN likewise.
    """

    left: Float[Array, "n k"]
    log_singular_values: Float[Array, " k"]
    right: Float[Array, "n k"]


def log_singular_values(chain: Num[Array, "T rows columns"]) -> Float[Array, " n"]:
    """The natural logs of all singular values of A_T ⋯ A_1, also hundreds of decades apart.

    Args:
        chain: A_1 … A_T in the order in which they act, ``(T, n, n)``.

    Returns:
        ln σ_1 >= … >= ln σ_n, ``(n,)``, in the chain's dtype (float32 for narrower ones); the first
        is the log of the spectral norm. Ten digits in float64, four in float32, of the log or of
        10 nats where it is less. −inf is σ = 0: the zeros among the entries of the chain, as those
        of dead units, leave no more than the other directions. NaN is a value that cannot be told,

        - because a factor is singular but for rounding: σ_i and all below it, except those that
          come out as exact zeros twice;
        - because two computations do not agree, and their neighbours. Rounding one factor by eps
          changes ln σ_i by up to eps ‖a‖‖b‖/|a·b|, a and b the left and the right singular vector
          carried to that step; a chain may be that sensitive;
        - all of them, where the chain is not finite, has subnormal entries (XLA takes them for
          zeros), or the rows of a factor are too far apart for the float range: 290 decades in
          float64, 30 in float32. How far the product goes has no limit.

        No reverse-mode derivative.

    Raises:
        ValueError: if the chain is not of shape ``(T, n, n)`` with T and n at least 1, or is not
            made of floats.

    References:
        Demmel, Veselić 1992, Jacobi's method is more accurate than QR; Oliveira, Stewart 2000,
        Exponential splittings of products of matrices.
    """
    return _decompose(_checked(chain)).log_singular_values


def singular_directions(chain: Num[Array, "T rows columns"], k: int) -> SingularDirections:
    """The k leading singular values of A_T ⋯ A_1 with their directions.

    A perturbation of h_0 along right_i arrives at h_T along left_i, σ_i times as large; a gradient
    goes the other way.

    Args:
        chain: A_1 … A_T, ``(T, n, n)``.
        k: how many, 1 to n.

    Returns:
        The triples. Directions are determined up to a common sign and to about eps over the
        relative gap between σ_i and its neighbours; NaN where ln σ_i is.

    Raises:
        ValueError: if k is not between 1 and n; as for `log_singular_values`.
    """
    chain = _checked(chain)
    if not 1 <= k <= chain.shape[1]:
        raise ValueError(f"k is {k}; matrices of size {chain.shape[1]} have 1 to that many.")
    left, logs, right = _decompose(chain)
    return SingularDirections(left[:, :k], logs[:k], right[:, :k])


def product(chain: Num[Array, "T rows columns"]) -> Scaled:
    """The matrix A_T ⋯ A_1 itself, whatever its size, rounded as a float product is.

    Args:
        chain: A_1 … A_T, ``(T, n, n)``.

    Returns:
        `Scaled` with mantissa ``(n, n)`` and a scalar exponent. Small singular values are lost in
        the rounding of large ones: `log_singular_values` has them.

    Raises:
        ValueError: as for `log_singular_values`.
    """
    by_lag = _products_by_lag(_checked(chain))
    return Scaled(by_lag.mantissa[-1], by_lag.exponent[-1])


def log_condition_number(logs: Float[Array, "*B n"]) -> Float[Array, "*B"]:
    """The log of the condition number, ln σ_1 − ln σ_n.

    Args:
        logs: ln σ_1 >= … >= ln σ_n, ``(*B, n)``.

    Returns:
        ``(*B,)``, in nats; inf for a singular matrix, the zero matrix included.
    """
    largest, smallest = logs[..., 0], logs[..., -1]
    return jnp.where(smallest == -jnp.inf, jnp.inf, largest - smallest)


def effective_rank(logs: Float[Array, "*B n"]) -> Float[Array, "*B"]:
    """How many directions carry the energy of a matrix: exp of the entropy of σ² / Σ σ².

    exp(−Σ_i p_i ln p_i),  p_i = σ_i² / Σ_j σ_j²

    n for an orthogonal matrix, 1 where one direction dominates. Roy & Vetterli weigh σ itself; its
    square is the share of an isotropic gradient's energy that leaves along direction i. The stable
    rank Σ σ² / σ_1² (Rudelson & Vershynin 2007) is another, never larger.

    Args:
        logs: ln σ_1 … ln σ_n, ``(*B, n)``.

    Returns:
        ``(*B,)``, from 1 to n; 0 for a matrix of zeros.

    References:
        Roy, Vetterli 2007, The effective rank: a measure of effective dimensionality, EUSIPCO.
    """
    top = jnp.max(logs, axis=-1, keepdims=True)
    shares = jax.nn.softmax(2 * (logs - jnp.where(top == -jnp.inf, 0, top)), axis=-1)
    entropy = jnp.sum(jax.scipy.special.entr(shares), axis=-1)
    return jnp.where(top[..., 0] == -jnp.inf, 0, jnp.exp(entropy))


def effective_rank_by_lag(chain: Num[Array, "T rows columns"]) -> Float[Array, " T"]:
    """The `effective_rank` of A_T ⋯ A_{T−k+1} for every lag k = 1 … T.

    How many directions of a gradient survive k steps back.

    Args:
        chain: A_1 … A_T, ``(T, n, n)``.

    Returns:
        ``(T,)``, from lag 1 to lag T; 0 where the product is zero, NaN from the first lag at which
        it is not finite. Singular values far below the largest do not count, so the float product
        is enough here.

    Raises:
        ValueError: as for `log_singular_values`.
    """

    def at_one_lag(matrix):
        finite = jnp.all(jnp.isfinite(matrix))
        found = orthogonalise(by_rows(jnp.where(finite, matrix, 0))).rows
        # Rows that are rounding may never be orthogonal, nor do they count.
        rows = common_exponent(found).mantissa
        gram = matmul(rows, rows.T)
        rest = jnp.abs(gram - jnp.diag(jnp.diagonal(gram)))
        done = jnp.max(rest) <= 4 * len(rows) * jnp.finfo(rows.dtype).eps * jnp.max(gram)
        return jnp.where(finite & done, effective_rank(log_norm(found)), jnp.nan)

    matrices = _products_by_lag(_checked(chain)).mantissa
    return jax.lax.map(at_one_lag, matrices, batch_size=LAGS_AT_ONCE)


def _checked(chain: Num[Array, "T rows columns"]) -> Float[Array, "T n n"]:
    """The chain, at least float32, if it is one."""
    if not jnp.issubdtype(chain.dtype, jnp.floating):
        raise ValueError(f"a chain must be made of floats, not of {chain.dtype}.")
    if chain.ndim != 3 or chain.shape[1] != chain.shape[2] or chain.size == 0:
        raise ValueError(
            f"a chain is an array (T, n, n) with T and n at least 1, not {list(chain.shape)}."
        )
    return chain.astype(at_least_float32(chain.dtype))


def _products_by_lag(chain: Float[Array, "T n n"]) -> Scaled:
    """A_T, A_T A_{T−1}, …, A_T ⋯ A_1, each rescaled."""

    def multiply(product: Scaled, factor: Scaled):
        mantissa = matmul(product.mantissa, factor.mantissa)
        product = rescale(mantissa, product.exponent + factor.exponent)
        return product, product

    eye = jnp.eye(chain.shape[1], dtype=chain.dtype)
    factors = rescale(chain, jnp.zeros(len(chain), jnp.int32))
    by_start = jax.lax.scan(multiply, from_float(eye), factors, reverse=True)[1]
    return Scaled(by_start.mantissa[::-1], by_start.exponent[::-1])


def _decompose(chain: Float[Array, "T n n"]) -> SingularDirections:
    """All singular triples, with NaN for what cannot be relied on."""
    second, offset = _rounded_anew(chain)
    both = jnp.stack([chain, jnp.swapaxes(second, 1, 2)[::-1]])
    usable = jnp.all(jnp.isfinite(both) & ~_is_subnormal(both))
    triples, sure = jax.vmap(_triples)(jnp.where(usable, both, 0))
    left, logs, right = (x[0] for x in triples)
    again = triples.log_singular_values[1] - offset
    allowed = DISAGREEMENT[chain.dtype.name] * jnp.maximum(10, jnp.abs(logs))
    zero = jnp.isneginf(logs) & jnp.isneginf(again)
    resolved = jnp.arange(len(logs), dtype=jnp.int32) < jnp.min(sure)
    agreed = ~resolved | zero | (jnp.abs(logs - again) <= allowed)
    # An error moves weight between neighbours: one that agrees beside one that does not is luck.
    agreed = jnp.pad(agreed, 1, constant_values=True)
    agreed = agreed[:-2] & agreed[1:-1] & agreed[2:]
    known = usable & ((resolved & agreed) | (zero & (jnp.min(sure) >= 0)))
    directed = (known & ~zero)[None]
    return SingularDirections(
        jnp.where(directed, left, jnp.nan),
        jnp.where(known, logs, jnp.nan),
        jnp.where(directed, right, jnp.nan),
    )


def _rounded_anew(chain: Float[Array, "T n n"]) -> tuple[Float[Array, "T n n"], float]:
    """The chain times the golden ratio and its inverse in turn, and what that adds to the logs."""
    scales = np.resize(np.array([GOLDEN, 1 / GOLDEN], chain.dtype), len(chain))
    offset = float(np.sum(np.log(scales.astype(np.float64))))
    return chain * jnp.asarray(scales)[:, None, None], offset


def _is_subnormal(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Where XLA would take a number for zero, and make a finite log −inf."""
    bits = jax.lax.bitcast_convert_type(jnp.abs(x), f"uint{jnp.finfo(x.dtype).bits}")
    return (bits != 0) & (jnp.abs(x) < jnp.finfo(x.dtype).tiny)


def _triples(chain: Float[Array, "T n n"]) -> tuple[SingularDirections, Int[Array, ""]]:
    """All singular triples of one chain, and how many of them are more than rounding.

    P = L Xᵀ Rᵀ and G X = Σ V with unit rows V: P = (L Vᵀ) Σ (R Gᵀ)ᵀ.
    """
    left, rows, right, graded, sure = graded_triangle(chain)
    found = orthogonalise(rows)
    lengths = jnp.linalg.norm(found.rows.mantissa, axis=1, keepdims=True)
    unit = found.rows.mantissa / jnp.where(lengths == 0, 1, lengths)
    logs = log_norm(found.rows)
    order = jnp.argsort(-logs)
    triples = SingularDirections(
        matmul(left, unit[order].T), logs[order], matmul(right, found.rotation[order].T)
    )
    return triples, jnp.where(graded & found.converged, sure, -1)
