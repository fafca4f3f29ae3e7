"""The latching problem: one bit is shown first and asked for last, with noise between."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Int, Key

from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    last_step,
    local_steps,
    share_wrong,
    step_normals,
    zero_padding,
)


def latching_task(max_length: int, dtype: DTypeLike, *, noise: float | int = 0.2) -> Task:
    """Remember one bit through noise.

    The input is 2 b - 1 = ±1 at the first step, free of noise, with b = 0 or 1 alike; at every
    other step it is `noise` · ε_i with ε_i ~ N(0, 1). The target of every real step is the class b;
    the loss of a step is the softmax cross-entropy in nats; the last step alone counts.

    The best answer that ignores the inputs has loss ln 2.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        noise: standard deviation of the inputs after the first; 0 is silence.

    Returns:
        A task with one input and two outputs; it is solved below a share of 0.01 wrong.

    Raises:
        ValueError: `noise` is negative or not finite.

    References:
        Bengio, Simard & Frasconi 1994, "Learning long-term dependencies with gradient descent is
        difficult", IEEE Transactions on Neural Networks 5(2): section II, whose class is shown for
        a few steps by values that are learned; here for one step by ±1.
    """
    noise = float(noise)
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise is {noise}; a standard deviation is finite and not negative.")

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        bit_key, noise_key = jax.random.split(key)
        steps = local_steps(max_length, length)
        fine = np.promote_types(dtype, np.float32)
        bit = jax.random.bernoulli(bit_key).astype(jnp.int32)
        normals = noise * step_normals(noise_key, steps, 1).astype(fine)
        inputs = jnp.where((steps == 0)[:, None], (2 * bit - 1).astype(fine), normals)
        return Sample(
            zero_padding(inputs, steps).astype(dtype),
            zero_padding(jnp.full(max_length, bit), steps),
            last_step(max_length, dtype),
        )

    return Task(
        sample,
        cross_entropy,
        1,
        2,
        error=share_wrong,
        baseline=lambda length: math.log(2),
        solved_below=0.01,
    )
