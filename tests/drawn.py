"""What tests of tasks share: batches as NumPy arrays, and files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from compiled import CAREFULLY

from throughtime.tasks import make_task


def batch(task, length, size=16, seed=0):
    """`size` sequences as NumPy arrays; the real steps are the last `length`."""
    keys = jax.random.split(jax.random.key(seed), size)
    return jax.tree.map(np.asarray, sampler(task)(keys, jnp.int32(length)))


@functools.cache
def sampler(task):
    """The sampler of a task over keys, compiled once for all lengths."""
    return jax.jit(jax.vmap(task.sample, (0, None)), compiler_options=CAREFULLY)


@functools.cache
def made(name, **options):
    """A task of up to 24 steps in float64, made once: what compiles for it is shared."""
    return make_task(name, **{"max_length": 24, "dtype": jnp.float64, **options})


def entropy(labels):
    """Of the frequencies of labels, in nats."""
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return -np.sum(share * np.log(share))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path
