"""Random keys of one kind, whatever the process prefers: the same seed is the same network."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt

IMPLEMENTATION = "threefry2x32"


def random_key(seed: int | Int[Array, ""] | UInt[Array, ""]) -> Key[Array, ""]:
    """The key of a seed: what `jax.random.key` gives where JAX's settings are the default ones.

    Made of its two words, (0, seed), it depends neither on ``jax_default_prng_impl`` nor on
    ``jax_random_seed_offset``.

    Args:
        seed: from 0 to 2^32 − 1.

    Returns:
        A threefry2x32 key.
    """
    if isinstance(seed, int):
        words = jnp.asarray(np.array([0, seed], np.uint32))
    else:
        words = jnp.stack([jnp.zeros((), jnp.uint32), seed.astype(jnp.uint32)])
    return jax.random.wrap_key_data(words, impl=IMPLEMENTATION)


@contextlib.contextmanager
def alike() -> Iterator[None]:
    """Let all draws that are traced or made meanwhile be the same, whatever the process prefers.

    Of a threefry key other numbers are drawn where ``jax_threefry_partitionable`` is off.

    Yields:
        Nothing.
    """
    with jax.threefry_partitionable(True):
        yield
