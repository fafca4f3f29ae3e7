"""The sentence with a long dependency: what was described first is named last."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, UInt

from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    equal_weights,
    local_steps,
    step_integers,
    wrong_answers,
    zero_padding,
)

COLOURS = (("brown", "white"), ("black", "grey"))
ANIMALS = ("dog", "horse")
ORIGINS = ("german", "belgian", "dutch", "swiss")
BREEDS = ("shepherd", "warmblood")
FILLERS = ("that", "we", "saw", "today", "near", "our", "old", "farm")
VOCABULARY = ("the", "and", "is", "a", *COLOURS[0], *COLOURS[1], *ANIMALS, *ORIGINS, *BREEDS)
VOCABULARY += FILLERS


def shepherd_task(max_length: int, dtype: DTypeLike) -> Task:
    """Name the animal that was described: "the brown and black dog … is a german shepherd".

    A sentence of L + 1 words, drawn from the grammar

        the C1 and C2 A  filler …  is a  ORIGIN BREED

    with C1 in {brown, white}, C2 in {black, grey}, A in {dog, horse}, each alike, and L - 8
    fillers, each uniform in {that, we, saw, today, near, our, old, farm}. The description decides:

        brown and black → german,    brown and grey → belgian,
        white and black → dutch,     white and grey → swiss;
        dog → shepherd,              horse → warmblood.

    Eight descriptions name eight breeds. Either colour alone leaves two origins, and each of the
    three words is needed for the whole name. "a" stands before each origin, and each origin before
    both breeds, so that no word after the description tells anything that is still to be said.

    The inputs are the first L words, one-hot in the 24 of `VOCABULARY`; the target of each real
    step is the next word, as in a language model, so that the origin is an input when the breed is
    asked for. The loss of a step is the softmax cross-entropy in nats; the last two steps, whose
    targets are ORIGIN and BREED, count ½ each. They come L - 3 and L - 5 steps after the word that
    they need from furthest back (C1 and A). The error of a sentence is 1 where any of the two is
    wrong.

    The best answer that ignores the description is four origins alike, then two breeds alike: its
    loss is ½ ln 4 + ½ ln 2 = 1.5 ln 2.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.

    Returns:
        A task with 24 inputs and 24 outputs, of at least 8 steps, which leave no filler; it is
        solved below a share of 0.01 of the sentences wrong.

    References:
        The example of introductory texts on long-term dependencies, made a grammar as in Elman
        1990, "Finding structure in time", Cognitive Science 14(2); both words of all eight names
        are those of true breeds.
    """

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        filler_key, description_key = jax.random.split(key)
        words = _sentence(
            jax.random.bits(description_key, (), jnp.uint32),
            step_integers(filler_key, local_steps(max_length + 1, length + 1), len(FILLERS)),
            jnp.asarray(length, jnp.int32),
        )
        steps = local_steps(max_length, length)
        inputs = jax.nn.one_hot(words[:-1], len(VOCABULARY), dtype=dtype)
        last_two = jnp.arange(max_length) >= max_length - 2
        return Sample(
            zero_padding(inputs, steps),
            zero_padding(words[1:], steps),
            equal_weights(last_two, 2, dtype),
        )

    return Task(
        sample,
        cross_entropy,
        len(VOCABULARY),
        len(VOCABULARY),
        shortest=8,
        error=any_wrong,
        baseline=lambda length: 1.5 * math.log(2),
        solved_below=0.01,
    )


def any_wrong(outputs: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
    """1 if either of the last two words is wrong, 0 if both are right, NaN if an output is NaN."""
    return jnp.max(wrong_answers(outputs[-2:], sample.targets[-2:]))


def _sentence(
    bits: UInt[Array, ""], fillers: Int[Array, " words"], length: Int[Array, ""]
) -> Int[Array, " words"]:
    """The words of a sentence as places in `VOCABULARY`, at the end of the array."""
    at = VOCABULARY.index
    c1, c2, animal = ((bits >> k & 1).astype(jnp.int32) for k in range(3))
    said = {0: at("the"), 1: at("brown") + c1, 2: at("and"), 3: at("black") + c2}
    said |= {4: at("dog") + animal}
    ending = (at("is"), at("a"), at("german") + 2 * c1 + c2, at("shepherd") + animal)
    places = local_steps(len(fillers), length + 1)
    words = at("that") + fillers
    for place, word in said.items():
        words = jnp.where(places == place, word, words)
    for k, word in enumerate(ending, start=-3):
        words = jnp.where(places == length + k, word, words)
    return words
