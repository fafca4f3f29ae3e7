"""Remedies on the parameters, after every update."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from throughtime.mitigations.kernels import map_recurrent
from throughtime.mitigations.mitigation import Mitigation, number
from throughtime.scaled import at_least_float32


def largest_singular_value(kernel: Float[Array, "N M"]) -> Float[Array, ""]:
    """The spectral norm σ_max, by squaring the Gram matrix m times.

    σ_max² = lim (tr A^p)^(1/p),  A = Wᵀ W,  p = 2^m,    1 <= (tr A^p)^(1/p)/σ_max² <= N^(1/p)

    It is the power iteration of p steps from all directions at once, whatever the gap: 2^m >= 1/eps
    leaves a relative error of ln(N) eps/2 beside rounding, where p steps from one vector would
    leave as much only after 1/eps products. Matrix products alone: nothing to deadlock under vmap.

    Args:
        kernel: W.

    Returns:
        σ_max in at least float32; 0 for a matrix of zeros, NaN if an entry is not finite. Rounding
        of A adds a few eps; entries below √tiny of the largest do not count.
    """
    dtype = at_least_float32(kernel.dtype)
    kernel = kernel.astype(dtype)
    largest = jnp.max(jnp.abs(kernel))
    unit = kernel / jnp.where(largest == 0, 1, largest)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    gram = product(unit.T, unit)

    def square(power, so_far):
        gram, log_value = so_far
        size = jnp.sqrt(jnp.sum(jnp.square(gram)))
        size = jnp.where(size == 0, 1, size)
        log_value = log_value + jnp.log(size) * jnp.asarray(0.5, dtype) ** power
        gram = gram / size
        return product(gram, gram), log_value

    squarings = int(jnp.finfo(dtype).nmant) + 1
    _, log_value = jax.lax.fori_loop(0, squarings, square, (gram, jnp.zeros((), dtype)))
    # The trace that is left is 1, the squared norm of the last matrix that was squared.
    return largest * jnp.exp(log_value / 2)


def spectral_norm(*, bound: Any = 1.0) -> Mitigation:
    """Divide the recurrent kernel of each gate by max(1, σ_max/bound) after every update.

    Args:
        bound: the largest spectral norm, > 0.

    Returns:
        The mitigation. Where Miyato et al. take one step of the power iteration per update and
        divide always, here σ_max is computed to rounding, and a kernel within the bound is left
        as it is.

    References:
        Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957.
    """
    bound = number("bound", bound, above=0)

    def shrink(gate: Float[Array, "N N"]) -> Float[Array, "N N"]:
        excess = largest_singular_value(gate) / bound
        return jnp.where(excess > 1, gate.astype(excess.dtype) / excess, gate).astype(gate.dtype)

    return Mitigation(project=lambda parameters: map_recurrent(shrink, parameters))
