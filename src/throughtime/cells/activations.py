"""Activations by name, with derivatives that stay right where the unit saturates.

Autodiff of tanh uses 1 − tanh², which in float32 is exactly 0 from |a| = 9 on although the
derivative there is 6e-8, and that of the logistic function is 0 from a = 17. Written as sech²(a)
and σ(a) σ(−a) they lose no digits, so that a gradient through saturated units is small and not
lost. The values themselves are JAX's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]


@jax.custom_jvp
def sigmoid(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logistic function, σ(a) = 1/(1 + e^−a), with σ'(a) = σ(a) σ(−a).

    Args:
        a: pre-activations.

    Returns:
        Values in (0, 1).
    """
    return jax.nn.sigmoid(a)


@sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    value = jax.nn.sigmoid(a)
    return value, da * value * jax.nn.sigmoid(-a)


@jax.custom_jvp
def tanh(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The hyperbolic tangent, with tanh'(a) = sech²(a) = 4 σ(2a) σ(−2a).

    Args:
        a: pre-activations.

    Returns:
        Values in (−1, 1).
    """
    return jnp.tanh(a)


@tanh.defjvp
def _tanh_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    return jnp.tanh(a), da * (4 * jax.nn.sigmoid(2 * a) * jax.nn.sigmoid(-2 * a))


def identity(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The linear unit, f(a) = a.

    Args:
        a: pre-activations.

    Returns:
        The same.
    """
    return a


ACTIVATIONS: dict[str, Activation] = {
    "identity": identity,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": jax.nn.relu,
}
"""The activations f by name."""
