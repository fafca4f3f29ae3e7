"""The delayed XOR: two bits of the past, one twice as far back as the other, are compared."""

import math

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Int, Key

from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    equal_weights,
    local_steps,
    share_wrong,
    step_integers,
    zero_padding,
)


def delayed_xor_task(max_length: int, dtype: DTypeLike, *, delay: int | None = None) -> Task:
    """Say whether two bits of the past differ.

    The bits x_i are 0 or 1 alike and independent; the input is 2 x_i - 1 = ±1, of mean 0. The
    target of step i is the class

        x_{i - ⌊d/2⌋} xor x_{i - d},    i >= d,

    with the delay d, and 0 before, where nothing is judged. The loss of a step is the softmax
    cross-entropy in nats, and all L - d judged steps count alike.

    A target is independent of either bit alone, and 0 or 1 alike: the best answer that ignores the
    inputs has loss ln 2.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        delay: d, at least 1; None means L - 1, so that the last step alone is judged, by the first
            bit and the one in the middle.

    Returns:
        A task with one input and two outputs, of at least `delay` + 1 steps; it is solved below a
        share of 0.01 wrong.

    Raises:
        ValueError: `delay` is neither None nor an integer >= 1.

    References:
        Engelken 2023, "Gradient Flossing: Improving Gradient Descent through Dynamic Control of
        Jacobians" (arXiv:2312.17306).
    """
    if delay is not None and (not isinstance(delay, int) or delay < 1):
        raise ValueError(f"delay is {delay!r}; the delayed_xor task needs an integer >= 1 or none.")

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        steps, length = local_steps(max_length, length), jnp.asarray(length, jnp.int32)
        back = length - 1 if delay is None else jnp.asarray(delay, jnp.int32)
        judged = steps >= back
        bits = step_integers(key, steps, 2)
        places = jnp.arange(max_length, dtype=jnp.int32)
        near, far = (bits[jnp.maximum(places - lag, 0)] for lag in (back // 2, back))
        return Sample(
            zero_padding((2 * bits - 1).astype(dtype)[:, None], steps),
            jnp.where(judged, near ^ far, 0),
            equal_weights(judged, length - back, dtype),
        )

    return Task(
        sample,
        cross_entropy,
        1,
        2,
        shortest=2 if delay is None else delay + 1,
        error=share_wrong,
        baseline=lambda length: math.log(2),
        solved_below=0.01,
    )
