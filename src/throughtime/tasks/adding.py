"""The adding problem: two marked numbers, far apart, are added at the end."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Int, Key

from throughtime.tasks.task import (
    Sample,
    Task,
    last_step,
    local_steps,
    mean_squared,
    squared_distance,
    step_uniforms,
    zero_padding,
)


def adding_task(max_length: int, dtype: DTypeLike) -> Task:
    """Add the two numbers that are marked.

    The inputs of step i are a number u_i ~ U[0, 1) and a marker, which is 1 at two steps and 0 at
    all others: at a, uniform in the first half 0 … ⌊L/2⌋ - 1 of the L steps, and at b, uniform in
    the second half ⌊L/2⌋ … L - 1. The target of every real step is u_a + u_b; the loss of a step is
    (output - target)², without a ½; the last step alone counts.

    The best answer that ignores the inputs is the mean, 1. Its loss is the variance of the sum of
    two independent uniform numbers, 2 · 1/12 = 1/6.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats; the sum is rounded to it once.

    Returns:
        A task with two inputs and one output; it is solved below a mean squared error of 0.01.

    References:
        Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9(8); in the
        form of Le, Jaitly & Hinton 2015 (arXiv:1504.00941) and of Arjovsky, Shah & Bengio 2016
        (arXiv:1511.06464), who name the baseline.
    """

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        number_key, first_key, second_key = jax.random.split(key, 3)
        steps, length = local_steps(max_length, length), jnp.asarray(length, jnp.int32)
        fine = np.promote_types(dtype, np.float32)
        numbers = step_uniforms(number_key, steps).astype(fine)
        first = jax.random.randint(first_key, (), 0, length // 2, jnp.int32)
        second = jax.random.randint(second_key, (), length // 2, length, jnp.int32)
        marked = (steps == first) | (steps == second)
        total = jnp.full((max_length, 1), jnp.where(marked, numbers, 0).sum())
        inputs = jnp.stack([numbers, marked.astype(fine)], axis=1)
        return Sample(
            zero_padding(inputs, steps).astype(dtype),
            zero_padding(total, steps).astype(dtype),
            last_step(max_length, dtype),
        )

    return Task(
        sample,
        squared_distance,
        2,
        1,
        error=mean_squared,
        baseline=lambda length: 1 / 6,
        solved_below=0.01,
    )
