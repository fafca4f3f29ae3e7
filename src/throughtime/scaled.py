"""Numbers beyond the float range: ``mantissa · 2^exponent``, rescaled without rounding.

A gradient that shrinks tenfold per step leaves float32 after 38 steps. Kept as a mantissa near one
and an integer exponent it loses nothing: moving a power of two from one to the other is exact, so
the representation adds no error of its own. (Logarithms alone would: a log of −200,000 in float32
is a multiple of 1/64, and a vector has directions, which logs of its entries cannot add.)

One exponent is shared by an array of mantissas: ``exponent.shape`` is a prefix of
``mantissa.shape``, and the axes that follow it share the exponent. A component that is smaller than
the largest of its group by more than the float range (2^-126 in float32, 2^-1022 in float64) is
flushed to zero; it could not have changed the group's norm.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Scaled(NamedTuple):
    """An array of numbers ``mantissa · 2^exponent`` whose range is that of int32 exponents.

    Attributes:
        mantissa: floats ``(*prefix, *shared)``; after `rescale` the largest magnitude of each
            group is in [1/2, 1), or 0.
        exponent: int32 ``(*prefix,)``, one for each group of mantissas.
    """

    mantissa: Float[Array, "*shape"]
    exponent: Int[Array, "*prefix"]


def at_least_float32(dtype) -> jnp.dtype:
    """The dtype itself, or float32 where it is narrower.

    Args:
        dtype: a float type.

    Returns:
        float32 for bfloat16 and float16, which have no QR, no eigenvalues and no digits for logs.
    """
    return jnp.dtype(dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32)


FLOATS = ("bfloat16", "float16", "float32", "float64")
"""The float types whose bits are read here: IEEE's layout of sign, exponent and fraction."""


def check_floats(name: str, array: Any) -> None:
    """Refuse what is no array of floats that can be measured.

    Args:
        name: of the array, for the sentence.
        array: anything.

    Raises:
        TypeError: if it is no array.
        ValueError: if it is of another dtype than `FLOATS`, or one that the device cannot compute.
    """
    if not isinstance(array, jax.Array | np.ndarray):
        raise TypeError(f"{name} must be an array, not a {type(array).__name__}.")
    if str(array.dtype) not in FLOATS:
        raise ValueError(f"{name} must be of {', '.join(FLOATS)}, not {array.dtype}.")
    check_computable(str(array.dtype))


@functools.cache
def check_computable(dtype: str) -> None:
    """Refuse float16 where XLA cannot compile it: on an x86 CPU without F16C, for one.

    Args:
        dtype: a name of `FLOATS`; that it can be computed is tried once.

    Raises:
        ValueError: if it cannot.
    """
    if dtype != "float16":
        return
    try:
        jax.jit(lambda x: x * x + 1).lower(jax.ShapeDtypeStruct((3,), dtype)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "Failed to materialize symbols" not in str(error):
            raise
        raise ValueError(
            "float16 cannot be computed on this device (an x86 CPU needs F16C for it); use "
            "bfloat16 or float32."
        ) from None


def _word(dtype) -> tuple[jnp.dtype, int, int]:
    """The unsigned type, the mantissa bits and the exponent bias of an IEEE float type."""
    info = jnp.finfo(dtype)
    return jnp.dtype(f"uint{info.bits}"), int(info.nmant), int(info.maxexp) - 1


def _binary_exponent(x: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """The integer e with 1/2 <= |x|/2^e < 1, read from the bits; zero has the lowest."""
    word, mantissa_bits, bias = _word(x.dtype)
    biased = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(jnp.abs(x)), word) >> mantissa_bits
    return biased.astype(jnp.int32) - (bias - 1)


def _power_of_two(k: Int[Array, "*shape"], dtype) -> Float[Array, "*shape"]:
    """2^k exactly, for k in the range of normal numbers; `jnp.ldexp` goes through a rounded pow."""
    word, mantissa_bits, bias = _word(dtype)
    return jax.lax.bitcast_convert_type((k + bias).astype(word) << mantissa_bits, dtype)


def shift(x: Float[Array, "..."], k: Int[Array, "..."]) -> Float[Array, "..."]:
    """Multiply by a power of two, ``x · 2^k``, exactly unless the result leaves the float range.

    Args:
        x: floats ``(*prefix, *shared)``.
        k: int32 ``(*prefix,)``, the trailing axes of x share it; beyond twice the float's exponent
            range it saturates, where the result is 0 or inf in any case.

    Returns:
        ``x · 2^k`` in the dtype of ``x``. Two factors, since 2^k alone may be out of range.
    """
    limit = 2 * (int(jnp.finfo(x.dtype).maxexp) - 2)
    k = jnp.clip(k, -limit, limit)
    half = k // 2
    axes = tuple(range(k.ndim, x.ndim))
    one, other = (_power_of_two(part, x.dtype) for part in (half, k - half))
    return x * jnp.expand_dims(one, axes) * jnp.expand_dims(other, axes)


def rescale(mantissa: Float[Array, "..."], exponent: Int[Array, "..."], zero: int = 0) -> Scaled:
    """Move powers of two into the exponent until the largest mantissa is in [1/2, 1).

    mantissa · 2^exponent = (mantissa · 2^-e) · 2^(exponent + e), without rounding.

    Args:
        mantissa: floats ``(*prefix, *shared)``.
        exponent: int32 ``(*prefix,)``; the trailing axes of the mantissa share it.
        zero: the exponent of a group of zeros.

    Returns:
        The same numbers; inf and NaN stay what they are.
        The gradient passes through the mantissa; exponents are constants.
    """
    axes = tuple(range(exponent.ndim, mantissa.ndim))
    largest = jnp.max(jnp.abs(mantissa), axis=axes, initial=0)
    e = jnp.where(jnp.isfinite(largest), _binary_exponent(largest), 0)
    lifted = shift(mantissa, -e)
    return Scaled(lifted, jnp.where(largest == 0, zero, exponent + e).astype(jnp.int32))


def from_float(x: Float[Array, "..."]) -> Scaled:
    """Represent an array of floats with one exponent for all of it.

    Args:
        x: floats of any shape (`jax.vmap` gives one exponent for each row).

    Returns:
        `Scaled` with mantissa of the shape of ``x`` and a scalar exponent.
    """
    return rescale(x, jnp.zeros((), jnp.int32))


def by_step(x: Float[Array, "T ..."]) -> Scaled:
    """Represent an array of floats with one exponent for each of its rows, flattened.

    Args:
        x: floats ``(T, …)``.

    Returns:
        mantissa ``(T, m)``, exponent ``(T,)``.
    """
    rows = x.reshape(len(x), -1)
    return rescale(rows, jnp.zeros(len(x), jnp.int32))


def to_float(scaled: Scaled) -> Float[Array, "..."]:
    """The plain floats ``mantissa · 2^exponent``: 0 or inf where they leave the float range."""
    return shift(scaled.mantissa, scaled.exponent)


def common_exponent(scaled: Scaled) -> Scaled:
    """Give all groups of an array one exponent, so that they can be added or normed together.

    Args:
        scaled: mantissa ``(*prefix, *shared)``, exponent ``(*prefix,)``.

    Returns:
        mantissa of the same shape and a scalar exponent, the largest of any non-zero group.
        Groups below it by more than the float range are flushed to zero.
    """
    axes = tuple(range(scaled.exponent.ndim, scaled.mantissa.ndim))
    empty = jnp.all(scaled.mantissa == 0, axis=axes)
    lowest = jnp.iinfo(jnp.int32).min // 2
    top = jnp.max(jnp.where(empty, lowest, scaled.exponent), initial=lowest)
    top = jnp.where(top == lowest, 0, top).astype(jnp.int32)
    shifts = jnp.where(empty, 0, scaled.exponent - top)
    return Scaled(shift(scaled.mantissa, shifts), top)


def add(a: Scaled, b: Scaled) -> Scaled:
    """The sum a + b, rounded once, in the mantissas, as a float sum is.

    Args:
        a: mantissa ``(*shared)``, scalar exponent.
        b: likewise, of the same shape and dtype.

    Returns:
        ``a + b``, rescaled.
    """
    both = Scaled(jnp.stack([a.mantissa, b.mantissa]), jnp.stack([a.exponent, b.exponent]))
    return total(both)


def beside(a: Scaled, b: Scaled) -> Scaled:
    """Two rows of groups side by side, one exponent for each pair of groups.

    Args:
        a: mantissa ``(*prefix, n)``, exponent ``(*prefix,)``.
        b: mantissa ``(*prefix, m)``, exponent likewise.

    Returns:
        mantissa ``(*prefix, n + m)``; what is below the larger of two groups by more than the float
        range is flushed to zero.
    """
    lowest = int(jnp.iinfo(jnp.int32).min) // 2
    a, b = rescale(*a, lowest), rescale(*b, lowest)
    top = jnp.maximum(a.exponent, b.exponent)
    parts = [shift(each.mantissa, each.exponent - top) for each in (a, b)]
    return rescale(jnp.concatenate(parts, axis=-1), top)


def multiply(a: Scaled, b: Scaled) -> Scaled:
    """The product a · b, element by element; mantissas are multiplied, exponents added.

    Args:
        a: mantissa ``(*prefix, *shared)``, exponent ``(*prefix,)``.
        b: likewise, of the same shapes and dtype.

    Returns:
        ``a · b``, rescaled.
    """
    return rescale(a.mantissa * b.mantissa, a.exponent + b.exponent)


def total(scaled: Scaled) -> Scaled:
    """The sum over the leading axis, Σ_i mantissa_i · 2^exponent_i.

    Args:
        scaled: mantissa ``(m, *shared)``, exponent ``(m,)``.

    Returns:
        mantissa ``(*shared)`` with a scalar exponent.
    """
    aligned = common_exponent(scaled)
    return rescale(jnp.sum(aligned.mantissa, axis=0), aligned.exponent)


def norm(scaled: Scaled) -> Scaled:
    """The Euclidean norm over the axes that share an exponent: ‖mantissa‖₂ · 2^exponent.

    Args:
        scaled: mantissa ``(*prefix, *shared)``, exponent ``(*prefix,)``.

    Returns:
        mantissa ``(*prefix,)`` and exponent ``(*prefix,)``. Squaring loses nothing that counts,
        because the largest mantissa is near one; `jnp.linalg.norm` of small floats is 0. The sum
        is in float32 at least: one of 65,504 squares or more may leave float16.
    """
    axes = tuple(range(scaled.exponent.ndim, scaled.mantissa.ndim))
    lifted = rescale(*scaled)
    dtype = lifted.mantissa.dtype
    squares = jnp.square(lifted.mantissa.astype(at_least_float32(dtype)))
    return rescale(jnp.sqrt(jnp.sum(squares, axis=axes)).astype(dtype), lifted.exponent)


def log_norm(scaled: Scaled) -> Float[Array, "..."]:
    """The natural logarithm of the norm, ln ‖mantissa‖₂ + exponent · ln 2.

    Args:
        scaled: mantissa ``(*prefix, *shared)``, exponent ``(*prefix,)``.

    Returns:
        ``(*prefix,)`` in the mantissa's dtype, at least float32; −inf for an exact zero. A log of
        −200,000 in float32 is rounded to 1/64; `norm` keeps the digits.
    """
    length = norm(scaled)
    dtype = at_least_float32(length.mantissa.dtype)
    return jnp.log(length.mantissa.astype(dtype)) + length.exponent.astype(dtype) * math.log(2.0)
