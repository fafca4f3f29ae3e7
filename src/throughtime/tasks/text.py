"""Next-character prediction on English prose, or on the user's own text file."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Int, Key, UInt8

from throughtime.tasks.files import of_regular_file
from throughtime.tasks.parts import part_of
from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    entropy,
    equal_weights,
    local_steps,
    random_window,
    share_wrong,
    zero_padding,
)

ALPHABET = "".join(map(chr, range(32, 127))) + "\n"
OTHER = len(ALPHABET)  # the class of every character outside the alphabet
CLASSES = len(ALPHABET) + 1


def encode(text: str) -> UInt8[np.ndarray, " P"]:
    """Classes of the characters: places in `ALPHABET`, or `OTHER`."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    classes = np.where((points >= 32) & (points < 127), points - 32, OTHER)
    return np.where(points == ord("\n"), ALPHABET.index("\n"), classes).astype(np.uint8)


def text_task(
    max_length: int,
    dtype: DTypeLike,
    *,
    file: str | os.PathLike | None = None,
    part: str = "all",
    train_size: int | None = None,
) -> Task:
    """Predict the next character of English prose.

    A sequence is a window of `length` + 1 consecutive characters from a random start: the inputs
    are one-hot, the target of each real step is the class of the next character. There are 97
    classes: printable ASCII (95), the newline, and one for every other character, whatever the
    text. The loss of a step is the softmax cross-entropy in nats, and every real step counts alike.

    Without a file the text is the reference manual inside the interpreter (`pydoc_data.topics`,
    about half a million characters, topics in alphabetical order). It is installed wherever Python
    is, but its wording differs between Python versions.

    The best answer that ignores what was read is the frequency of the characters: its loss is their
    unigram entropy in the text that is drawn from, each character counted as often as windows of
    that length end their steps on it, which makes a difference at the ends of a short text only.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        file: a UTF-8 text file to read instead.
        part: what is drawn from: "all", the first 90 % of the characters ("train") or the last
            10 % ("validation").
        train_size: only the first so many characters of the train part.

    Returns:
        A task with 97 inputs and 97 outputs; its longest sequence is one character shorter than
        the text.

    Raises:
        ValueError: the file is no regular file that can be read, is not UTF-8, or holds fewer than
            three characters, or `part_of` refuses the part.
    """
    text = text_classes(file, part, train_size)
    classes = jnp.asarray(text)

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        window = classes[random_window(key, len(classes), max_length, length)].astype(jnp.int32)
        steps = local_steps(max_length, length)
        inputs = jax.nn.one_hot(window[:-1], CLASSES, dtype=dtype)
        weights = equal_weights(steps >= 0, length, dtype)
        return Sample(zero_padding(inputs, steps), zero_padding(window[1:], steps), weights)

    return Task(
        sample,
        cross_entropy,
        CLASSES,
        CLASSES,
        longest=len(classes) - 1,
        error=share_wrong,
        baseline=lambda length: _unigram_entropy(text, length),
    )


def text_classes(
    file: str | os.PathLike | None, part: str, train_size: int | None = None
) -> UInt8[np.ndarray, " P"]:
    """The classes of the characters of a part of a text; without a file, of the manual."""
    classes = encode(_manual() if file is None else _read(Path(file)))
    size = len(classes)
    return classes[part_of(size, 9 * size // 10, part, train_size, of="characters", fewest=3)]


def _unigram_entropy(classes: UInt8[np.ndarray, " P"], length: int) -> float:
    """The entropy of the targets of all windows: character p is one of as many as cover it."""
    place = np.arange(1, len(classes))
    first = np.maximum(place - length, 0)
    last = np.minimum(place - 1, len(classes) - length - 1)
    return entropy(np.bincount(classes[1:], weights=last - first + 1))


def _manual() -> str:
    """The interpreter's own reference manual."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


def _read(path: Path) -> str:
    """The text of a file that holds at least one sequence."""
    try:
        with of_regular_file("text file", path):
            text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the text file {path} is not UTF-8: {error}.") from error
    if len(text) < 3:
        raise ValueError(
            f"the text file {path} holds {len(text)} characters; at least 3 are needed."
        )
    return text
