"""Products of chains of matrices beyond the float range, all of them in a scan of depth log T."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from throughtime.jacobians import matmul
from throughtime.scaled import Scaled, rescale, shift


def cumulative_products(chain: Float[Array, "T n n"]) -> Scaled:
    """The products of a chain of matrices up to every step, right at any length.

    P_t = A_t ⋯ A_1,  t = 1 … T,  by an associative scan: 2 T products, in a depth of 2 log2 T

    Whatever the order of the multiplications, the error of P_t is, entry by entry and to first
    order, at most (t − 1) n u |A_t| ⋯ |A_1|, u = eps/2: the bound of the product one after the
    other. An entry below the largest of its partial product by more than the float range counts
    as zero. A chain that first loses a direction so, or to rounding, and then lives on that
    direction alone, has no product in these floats; then P_t is not A_t P_{t−1}, which is looked
    at, and is NaN from there on.

    Args:
        chain: A_1 … A_T, floats ``(T, n, n)``.

    Returns:
        `Scaled` with mantissa ``(T, n, n)`` and exponent ``(T,)``, in the order of time. NaN from
        the first t on at which a matrix is not finite, or P_t differs from A_t P_{t−1} by more
        than eps^¼ of it.

    Raises:
        ValueError: if the chain is empty.

    References:
        Blelloch 1990, Prefix sums and their applications; Higham 2002, Accuracy and stability of
        numerical algorithms, section 3.7.
    """
    if len(chain) == 0:
        raise ValueError("a chain must have at least one matrix, not 0.")
    factors = rescaled_each(chain)
    products = scanned(factors)
    before = Scaled(products.mantissa[:-1], products.exponent[:-1])
    later = Scaled(factors.mantissa[1:], factors.exponent[1:])
    expected = product(later, before)
    found = Scaled(products.mantissa[1:], products.exponent[1:])
    agree = jnp.concatenate(
        [jnp.all(jnp.isfinite(chain[:1]), axis=(1, 2)), agrees(found, expected)]
    )
    lost = jnp.cumsum(~agree) > 0
    return products._replace(mantissa=jnp.where(lost[:, None, None], jnp.nan, products.mantissa))


def rescaled_each(numbers: Float[Array, "T *shared"]) -> Scaled:
    """The same floats with an exponent for every step.

    Args:
        numbers: ``(T, …)``.

    Returns:
        mantissa ``(T, …)`` and exponent ``(T,)``.
    """
    return rescale(numbers, jnp.zeros(len(numbers), jnp.int32))


def product(later: Scaled, earlier: Scaled) -> Scaled:
    """The matrix product of two chains, step by step.

    Args:
        later: mantissa ``(T, n, m)``, exponent ``(T,)``.
        earlier: mantissa ``(T, m, k)``, exponent ``(T,)``.

    Returns:
        mantissa ``(T, n, k)`` and exponent ``(T,)``.
    """
    mantissa = matmul(later.mantissa, earlier.mantissa)
    return rescale(mantissa, later.exponent + earlier.exponent)


def scanned(factors: Scaled) -> Scaled:
    """All products of a chain from its beginning, not looked at; see `cumulative_products`.

    Args:
        factors: mantissa ``(T, n, n)``, exponent ``(T,)``.

    Returns:
        mantissa ``(T, n, n)`` and exponent ``(T,)``.
    """
    return jax.lax.associative_scan(lambda earlier, later: product(later, earlier), factors)


def agrees(found: Scaled, expected: Scaled) -> Bool[Array, " T"]:
    """Whether each group of numbers is the one expected, to a quarter of its digits.

    Rounding alone, even of 10^5 factors, keeps a quarter; what was lost keeps none.

    Args:
        found: mantissa ``(T, …)``, exponent ``(T,)``.
        expected: likewise, rescaled.

    Returns:
        ``(T,)``; false where either is not finite.
    """
    axes = tuple(range(1, found.mantissa.ndim))
    beside = shift(found.mantissa, found.exponent - expected.exponent)
    gap = jnp.max(jnp.abs(beside - expected.mantissa), axis=axes)
    tolerance = float(jnp.finfo(found.mantissa.dtype).eps) ** 0.25
    return gap <= tolerance * jnp.max(jnp.abs(expected.mantissa), axis=axes)
