"""Ensembles of recurrent weights with a traced gain, so that one program serves every scale.

Each function takes the gain g and returns an initializer ``init(key, shape, dtype)`` as JAX and
Flax have them; a kernel of shape (N, N) acts on a row of states from the right, h @ kernel. All are
linear in g, and scaled so that g = 1 is the edge for a linear network: variance g²/N per weight for
the random ones (spectral radius → g as N → ∞), singular values g for the orthogonal and identity
ones, spectral radius exactly g for the sparse one. A key gives the same weights in every dtype, up
to rounding.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from throughtime.scaled import at_least_float32

Initializer = Callable[..., Float[Array, "..."]]
"""An initializer as JAX and Flax have them, ``init(key, shape, dtype)``."""

Gain = int | float | Float[Array, ""]


def gaussian(gain: Gain = 1.0) -> Initializer:
    """Independent Gaussian weights, W_ij ~ N(0, g²/N), N the number of rows.

    Args:
        gain: g; a float or a traced scalar.

    Returns:
        An initializer for kernels ``(N, m)``.

    References:
        Sompolinsky, Crisanti, Sommers 1988, Phys. Rev. Lett. 61, 259.
    """

    def init(key, shape, dtype=jnp.float32):
        return _times(gain, _normal(key, shape, dtype) * max(shape[0], 1) ** -0.5, dtype)

    return init


def uniform(gain: Gain = 1.0) -> Initializer:
    """Independent uniform weights of variance g²/N, W_ij ~ U(−g√(3/N), g√(3/N)).

    Args:
        gain: g; PyTorch's default for recurrent cells, U(−1/√N, 1/√N), is g = 1/√3.

    Returns:
        An initializer for kernels ``(N, m)``.
    """

    def init(key, shape, dtype=jnp.float32):
        weights = jax.random.uniform(key, shape, jnp.float32, minval=-1.0, maxval=1.0)
        weights = weights.astype(at_least_float32(dtype))
        return _times(gain, weights * (3 / shape[0]) ** 0.5, dtype)

    return init


def orthogonal(gain: Gain = 1.0) -> Initializer:
    """A random orthogonal matrix times g: every singular value is g.

    Args:
        gain: g.

    Returns:
        An initializer for kernels ``(N, m)``, Haar distributed, with orthonormal columns (rows
        where there are fewer) times g.

    References:
        Saxe, McClelland, Ganguli 2014, arXiv:1312.6120.
    """

    def init(key, shape, dtype=jnp.float32):
        columns = _orthonormal(_normal(key, sorted(shape, reverse=True), dtype))
        return _times(gain, columns if shape[0] >= shape[1] else columns.T, dtype)

    return init


def identity(gain: Gain = 1.0) -> Initializer:
    """The identity matrix times g, as in the IRNN.

    Args:
        gain: g.

    Returns:
        An initializer for square kernels ``(N, N)``.

    References:
        Le, Jaitly, Hinton 2015, arXiv:1504.00941.
    """

    def init(key, shape, dtype=jnp.float32):
        del key
        return _times(gain, jnp.eye(*shape, dtype=dtype), dtype)

    return init


def sparse(gain: Gain = 1.0, connections: int = 15) -> Initializer:
    """Few connections into each unit, scaled to a spectral radius of exactly g.

    Args:
        gain: g.
        connections: Gaussian weights into each unit; all N where N is smaller.

    Returns:
        An initializer for square kernels ``(N, N)``.

    References:
        Martens, Sutskever 2011, Learning recurrent neural networks with Hessian-free optimization;
        Sutskever, Martens, Dahl, Hinton 2013, On the importance of initialization and momentum.
    """

    def init(key, shape, dtype=jnp.float32):
        order_key, weight_key = jax.random.split(key)
        # A column's entries ranked at random: the first `connections` of each column are kept.
        ranks = jnp.argsort(jax.random.uniform(order_key, shape), axis=0)
        weights = jnp.where(ranks < connections, _normal(weight_key, shape, dtype), 0)
        return _times(gain, weights / _spectral_radius(weights), dtype)

    return init


# One matrix at a time, also under vmap: jaxlib's batched LAPACK kernels wait for tasks that they
# queue on the thread pool they run on, and with two cores they wait forever (seen with jax 0.10).
@jax.custom_batching.sequential_vmap
def _orthonormal(weights: Float[Array, "N m"]) -> Float[Array, "N m"]:
    """The orthonormal columns of a Gaussian matrix, with signs that make them Haar distributed."""
    q, r = jnp.linalg.qr(weights)
    return q * jnp.sign(jnp.diagonal(r))[None]


@jax.custom_batching.sequential_vmap
def _spectral_radius(weights: Float[Array, "N N"]) -> Float[Array, ""]:
    """The largest magnitude of any eigenvalue."""
    return jnp.max(jnp.abs(jnp.linalg.eigvals(weights)))


def _normal(key, shape, dtype) -> Float[Array, "N m"]:
    """Gaussian draws that are the same in every dtype, which JAX's own streams are not."""
    return jax.random.normal(key, tuple(shape), jnp.float32).astype(at_least_float32(dtype))


def _times(gain: Gain, weights: Float[Array, "N m"], dtype) -> Float[Array, "N m"]:
    """The gain times the weights, rounded once to the dtype asked for."""
    return (jnp.asarray(gain, weights.dtype) * weights).astype(dtype)


def per_gate(initializer: Initializer, gates: int) -> Initializer:
    """Draw each gate's kernel from the ensemble on its own and lay them side by side.

    A fused kernel drawn at once is another ensemble: an "orthogonal" (N, 4N) matrix is orthogonal
    in none of its four gates.

    Args:
        initializer: the ensemble of one gate, for kernels ``(m, N)``.
        gates: how many.

    Returns:
        An initializer for kernels ``(m, gates · N)``.
    """

    def init(key, shape, dtype=jnp.float32):
        rows, columns = shape
        keys = jax.random.split(key, gates)
        return jnp.concatenate(
            [initializer(k, (rows, columns // gates), dtype) for k in keys], axis=1
        )

    return init


def forget_bias_for(time_constant: float | Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The bias that gives a gate σ(b) a time constant, b = ln(τ − 1).

    Args:
        time_constant: τ > 1 in steps: a state multiplied by σ(b) each step decays as (1 − 1/τ)^k.

    Returns:
        b, of the same shape.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188, eq. 16.
    """
    return jnp.log(jnp.asarray(time_constant) - 1.0)


def chrono(longest: int | float) -> Initializer:
    """Chrono biases for a forget gate, b_f = ln u with u ~ U[1, T_max − 1].

    The input gate of an LSTM is given −b_f; the update gate of a GRU that keeps its state where the
    gate is open, h' = (1 − z) n + z h, is given b_f itself.

    Args:
        longest: T_max >= 2, the longest dependency expected, in steps.

    Returns:
        An initializer for biases ``(N,)``.

    Raises:
        ValueError: if ``longest`` is below 2.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188, eq. 16.
    """
    if longest < 2:
        raise ValueError(f"chrono initialisation needs a longest dependency >= 2, not {longest}.")

    def init(key, shape, dtype=jnp.float32):
        times = jax.random.uniform(key, shape, jnp.float32, minval=1.0, maxval=longest - 1.0)
        return jnp.log(times.astype(at_least_float32(dtype))).astype(dtype)

    return init


INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    "gaussian": gaussian,
    "orthogonal": orthogonal,
    "identity": identity,
    "uniform": uniform,
    "sparse": sparse,
}
"""The recurrent ensembles by name."""
