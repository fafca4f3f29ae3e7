"""What tests of tasks share: batches as NumPy arrays, and files."""

import jax
import jax.numpy as jnp
import numpy as np


def batch(task, length, size=16, seed=0):
    """`size` sequences as NumPy arrays; the real steps are the last `length`."""
    keys = jax.random.split(jax.random.key(seed), size)
    sample = jax.jit(jax.vmap(task.sample, (0, None)))(keys, jnp.int32(length))
    return jax.tree.map(np.asarray, sample)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path
