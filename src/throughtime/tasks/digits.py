"""Handwritten digits read pixel by pixel or row by row: one label for the whole sequence."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from throughtime.names import known
from throughtime.tasks.task import Sample, Task, last_step, local_steps, zero_padding

FEATURES = {"pixel": 1, "row": 8}


def digits_task(max_length: int, dtype: DTypeLike, *, by: str = "pixel") -> Task:
    """Name a digit after reading its 8x8 image in reading order.

    The 1,797 real images that scikit-learn ships, one drawn uniformly per sequence, grey levels
    scaled to [0, 1]. A sequence shorter than the image is its first `length` pixels or rows. The
    target of every real step is the digit; the loss of a step is the softmax cross-entropy in
    nats; the last step alone counts.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        by: "pixel" (d = 1, at most 64 steps) or "row" (d = 8, at most 8 steps).

    Returns:
        A task with ten outputs; its longest sequence is 64 pixels or 8 rows.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: `by` is neither "pixel" nor "row".

    References:
        Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI repository); pixel
        by pixel as in Le, Jaitly & Hinton 2015 (arXiv:1504.00941), who read MNIST.
    """
    known("order of the digits' pixels", by, FEATURES)
    images, labels = load_images()
    sequences = jnp.asarray(images.reshape(len(images), -1, FEATURES[by]), dtype)
    longest = sequences.shape[1]

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        image = jax.random.randint(key, (), 0, len(images), jnp.int32)
        steps = local_steps(max_length, length)
        inputs = sequences[image, jnp.clip(steps, 0, longest - 1)]
        targets = jnp.broadcast_to(jnp.asarray(labels)[image], (max_length,))
        return Sample(
            zero_padding(inputs, steps), zero_padding(targets, steps), last_step(max_length, dtype)
        )

    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    return Task(sample, loss, FEATURES[by], 10, longest=longest)


@cache
def load_images() -> tuple[Float[np.ndarray, "P 8 8"], Int[np.ndarray, " P"]]:
    """The images, in [0, 1], and their labels, 0 to 9 in int32."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits task needs scikit-learn: pip install throughtime[data]"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels).reshape(-1, 8, 8) / 16, np.asarray(labels, np.int32)
