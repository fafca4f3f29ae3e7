"""Handwritten digits read pixel by pixel or row by row: one label for the whole sequence."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from throughtime.names import known
from throughtime.tasks.parts import part_of
from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    entropy,
    last_step,
    local_steps,
    share_wrong,
    zero_padding,
)

FEATURES = {"pixel": 1, "row": 8}


def digits_task(
    max_length: int,
    dtype: DTypeLike,
    *,
    by: str = "pixel",
    part: str = "all",
    train_size: int | None = None,
) -> Task:
    """Name a digit after reading its 8x8 image in reading order.

    The 1,797 real images that scikit-learn ships, one drawn uniformly per sequence, grey levels
    scaled to [0, 1]. A sequence shorter than the image is its first `length` pixels or rows. The
    target of every real step is the digit; the loss of a step is the softmax cross-entropy in
    nats; the last step alone counts. The best answer that ignores the image is the frequency of the
    digits among the images drawn from: its loss is their entropy, ln 10 up to 2e-4 for all images.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        by: "pixel" (d = 1, at most 64 steps) or "row" (d = 8, at most 8 steps).
        part: the images drawn from: "all", the 1,437 of "train" or the 360 of "validation", 80 and
            20 % of a fixed permutation.
        train_size: only the first so many images of the train part.

    Returns:
        A task with ten outputs; its longest sequence is 64 pixels or 8 rows.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: `by` is neither "pixel" nor "row", or `part_of` refuses the part.

    References:
        Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI repository); pixel
        by pixel as in Le, Jaitly & Hinton 2015 (arXiv:1504.00941), who read MNIST.
    """
    known("order of the digits' pixels", by, FEATURES)
    images, labels = _images_of(part, train_size)
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

    chance = entropy(np.bincount(labels))
    return Task(
        sample,
        cross_entropy,
        FEATURES[by],
        10,
        longest=longest,
        error=share_wrong,
        baseline=lambda length: chance,
        solved_below=0.1,
    )


def _images_of(
    part: str, train_size: int | None
) -> tuple[Float[np.ndarray, "P 8 8"], Int[np.ndarray, " P"]]:
    """The images and labels of a part, in the order of scikit-learn for all of them."""
    images, labels = load_images()
    chosen = part_of(len(images), 4 * len(images) // 5, part, train_size, of="images")
    if part == "all":
        return images, labels
    # NumPy promises the raw stream of a bit generator for ever, but no permutation made of it.
    order = np.argsort(np.random.PCG64(0).random_raw(len(images)), kind="stable")[chosen]
    return images[order], labels[order]


@cache
def load_images() -> tuple[Float[np.ndarray, "P 8 8"], Int[np.ndarray, " P"]]:
    """The images, in [0, 1], and their labels, 0 to 9 in int32."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits task needs scikit-learn: pip install throughtime[data]."
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels).reshape(-1, 8, 8) / 16, np.asarray(labels, np.int32)
