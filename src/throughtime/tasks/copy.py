"""The copy problem: symbols are repeated after a delay."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

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


def copy_task(max_length: int, dtype: DTypeLike, *, symbols: int = 10, alphabet: int = 8) -> Task:
    """Repeat the first symbols of a sequence at its end, after a delay.

    A sequence of L steps is S = `symbols` symbols, each uniform in an alphabet of K = `alphabet`,
    then blanks, a delimiter at step L - S - 1, and S blanks:

        inputs    s_1 … s_S   blank … blank   delimiter   blank … blank
        targets   blank … … … … … … … … … … … … … blank   s_1 … s_S

    so that L = delay + 2 S, and from a symbol to its recall it is L - S steps. At the shortest
    length, 2 S + 1, the delimiter follows the last symbol at once. Inputs are one-hot: the K
    symbols, the blank (class K), the delimiter (K + 1); the outputs have no delimiter. The loss of
    a step is the softmax cross-entropy in nats, and all L steps count alike. The error is the share
    of the S recalled symbols that are wrong.

    The best answer that ignores the symbols is the blank where it is due and all K symbols alike at
    the last S steps: its loss is S ln K / L.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        symbols: S, at least 1.
        alphabet: K, at least 2.

    Returns:
        A task with K + 2 inputs and K + 1 outputs, of at least 2 S + 1 steps; it is solved below an
        error of 0.01.

    Raises:
        ValueError: `symbols` is not an integer >= 1, or `alphabet` is not an integer >= 2.

    References:
        Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9(8); in the
        form of Arjovsky, Shah & Bengio 2016, "Unitary Evolution Recurrent Neural Networks"
        (arXiv:1511.06464), with S = 10 and K = 8.
    """
    for name, value, low in (("symbols", symbols, 1), ("alphabet", alphabet, 2)):
        if not isinstance(value, int) or value < low:
            raise ValueError(f"{name} is {value!r}; the copy task needs an integer >= {low}.")

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        steps, length = local_steps(max_length, length), jnp.asarray(length, jnp.int32)
        recall = length - symbols  # the step of the first recalled symbol
        inputs = jnp.where(steps < symbols, step_integers(key, steps, alphabet), alphabet)
        inputs = jnp.where(steps == recall - 1, alphabet + 1, inputs)
        recalled = step_integers(key, steps - recall, alphabet)
        targets = jnp.where(steps >= recall, recalled, alphabet)
        return Sample(
            zero_padding(jax.nn.one_hot(inputs, alphabet + 2, dtype=dtype), steps),
            zero_padding(targets, steps),
            equal_weights(steps >= 0, length, dtype),
        )

    def recall_error(outputs: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
        recalled = jnp.arange(max_length) >= max_length - symbols
        weights = recalled.astype(sample.weights.dtype)
        return share_wrong(outputs, sample._replace(weights=weights))

    return Task(
        sample,
        cross_entropy,
        alphabet + 2,
        alphabet + 1,
        shortest=2 * symbols + 1,
        error=recall_error,
        baseline=lambda length: symbols * math.log(alphabet) / length,
        solved_below=0.01,
    )
