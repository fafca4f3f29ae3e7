"""Which bracket closes? Windows of real text that end where a far bracket is closed."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, UInt8

from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    entropy,
    last_step,
    local_steps,
    wrong_answers,
    zero_padding,
)
from throughtime.tasks.text import CLASSES, encode, text_classes

OPENERS, CLOSERS = encode("([{"), encode(")]}")
FEWEST_OTHERS = 10
"""A length is used where so many windows end otherwise than in the most frequent bracket: where
there are none, as in the manual beyond some hundred characters, nothing is to be remembered."""


class Windows(NamedTuple):
    """The windows of all lengths in use.

    Attributes:
        shortest: the shortest length L in use.
        counts: (lengths, 3) how many windows of L = shortest, shortest + 1, … end in each closer.
        starts: (lengths,) where the windows of a length begin in `ends`.
        ends: the places in the text of the closers, length by length; a window of L is the L
            characters before.
    """

    shortest: int
    counts: Int[np.ndarray, "lengths 3"]
    starts: Int[np.ndarray, " lengths"]
    ends: Int[np.ndarray, " windows"]


def brackets_task(
    max_length: int,
    dtype: DTypeLike,
    *,
    file: str | os.PathLike | None = None,
    part: str = "all",
) -> Task:
    """Close a bracket that was opened in the first half of what was read.

    The text, its 97 classes and its parts are those of the `text` task. A sequence is a window of L
    consecutive characters whose NEXT character is one of ) ] } and whose matching opener is d
    characters before that one with L/2 < d <= L, so in the first half of the window. Openers and
    closers are matched by a stack; where a closer does not match, all that is open is given up,
    so that no pair encloses an error. All such windows of a length are drawn alike.

    The inputs are one-hot, the target of each real step is the class of the next character; the
    loss of a step is the softmax cross-entropy in nats; the last step alone counts, the one before
    the closer. The error is the share of sequences where the largest of the outputs of the THREE
    CLOSERS is not that of the right one.

    The baseline is the entropy of the closers among the windows of that length. It is the loss of
    the best answer that ignores ALL that was read. A network that reads the last few characters can
    be below it and remember nothing from far: the probe is the error of a network trained on the
    text, beside the share that the most frequent closer is wrong in.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        file: a UTF-8 text file to read instead of the manual.
        part: "all", "train" or "validation", as in the `text` task.

    Returns:
        A task with 97 inputs and 97 outputs. Its lengths are the longest run of lengths of each of
        which at least `FEWEST_OTHERS` windows end otherwise than in the most frequent closer (about
        2 to 89 for the manual, whose wording differs between Python versions).

    Raises:
        ValueError: the file or the part is refused as by the `text` task, or there are too few
            windows of every length up to `max_length`.

    References:
        Karpathy, Johnson & Fei-Fei 2015, "Visualizing and Understanding Recurrent Networks"
        (arXiv:1506.02078): brackets and quotes as the long-range dependencies of text.
    """
    text = text_classes(file, part)
    found = find_windows(text)
    longest = found.shortest + len(found.counts) - 1
    if not len(found.counts) or found.shortest > max_length:
        raise ValueError(
            f"the text {file or 'of the manual'} has no length up to {max_length} of which at least"
            f" {FEWEST_OTHERS} windows close a bracket otherwise than most."
        )
    characters = jnp.asarray(text)
    numbers, starts, ends = (
        jnp.asarray(each, jnp.int32) for each in (found.counts.sum(1), found.starts, found.ends)
    )

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        length = jnp.asarray(length, jnp.int32)
        row = length - found.shortest
        choice = jax.random.randint(key, (), 0, numbers[row], jnp.int32)
        places = ends[starts[row] + choice] - length + local_steps(max_length + 1, length + 1)
        window = characters[jnp.maximum(places, 0)].astype(jnp.int32)
        steps = local_steps(max_length, length)
        inputs = jax.nn.one_hot(window[:-1], CLASSES, dtype=dtype)
        return Sample(
            zero_padding(inputs, steps),
            zero_padding(window[1:], steps),
            last_step(max_length, dtype),
        )

    return Task(
        sample,
        cross_entropy,
        CLASSES,
        CLASSES,
        longest=longest,
        shortest=found.shortest,
        error=wrong_closer,
        baseline=lambda length: entropy(found.counts[length - found.shortest]),
    )


def wrong_closer(outputs: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
    """1 if among the closers another than the right one has the largest output at the end."""
    closers = jnp.asarray(CLOSERS, jnp.int32)
    target = jnp.argmax(closers == sample.targets[-1]).astype(jnp.int32)
    return wrong_answers(outputs[-1:, closers], target[None])[0]


def match_brackets(classes: UInt8[np.ndarray, " P"]) -> Int[np.ndarray, "pairs 3"]:
    """Opener's place, closer's place and which closer (0 to 2), of all pairs without an error."""
    opened, pairs = [], []
    for place in np.flatnonzero(np.isin(classes, np.concatenate([OPENERS, CLOSERS]))):
        if classes[place] in OPENERS:
            opened.append(place)
            continue
        (kind,) = np.flatnonzero(classes[place] == CLOSERS)
        if opened and classes[opened[-1]] == OPENERS[kind]:
            pairs.append((opened.pop(), place, kind))
        else:
            opened.clear()
    return np.array(pairs, np.int64).reshape(-1, 3)


def find_windows(classes: UInt8[np.ndarray, " P"]) -> Windows:
    """The windows of the longest run of lengths with enough of them."""
    opener, closer, kind = match_brackets(classes).T
    distance = closer - opener
    # A pair suits the lengths d <= L < 2 d, as far as the text goes back.
    first, last = distance, np.minimum(2 * distance - 1, closer)
    steps = np.zeros((max(last, default=0) + 2, 3), np.int64)
    np.add.at(steps, (first, kind), 1)
    np.add.at(steps, (last + 1, kind), -1)
    counts = steps.cumsum(axis=0)
    used = np.flatnonzero(counts.sum(axis=1) - counts.max(axis=1) >= FEWEST_OTHERS)
    used = used[used >= 2]
    lengths = max(np.split(used, np.flatnonzero(np.diff(used) > 1) + 1), key=len)
    ends = [closer[(first <= length) & (length <= last)] for length in lengths]
    starts = np.cumsum([0, *map(len, ends)])[:-1]
    shortest = int(lengths[0]) if len(lengths) else 0
    return Windows(shortest, counts[lengths], starts, np.concatenate([[0], *ends])[1:])
