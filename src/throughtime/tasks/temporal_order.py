"""The temporal order problem: two or three rare symbols in a stream, and their order at the end."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Int, Key

from throughtime.tasks.task import (
    Sample,
    Task,
    cross_entropy,
    last_step,
    local_steps,
    share_wrong,
    step_integers,
    zero_padding,
)

TENTHS = {2: (1, 5), 3: (1, 3, 6)}
"""Where the symbols that matter may begin to stand, in tenths of the sequence."""


def temporal_order_task(max_length: int, dtype: DTypeLike, *, symbols: int = 2) -> Task:
    """Say in which order A and B were shown.

    Six channels, one-hot {A, B, c, d, e, f}. Symbol number k = 0, 1 (, 2) is A or B alike and
    stands at one step, uniform among the ⌊L/10⌋ from ⌊m_k L/10⌋ on, with m = (1, 5), or m = (1, 3,
    6) for three symbols; every other step is uniform in {c, d, e, f}. The target of every real step
    is the class Σ_k 2^k [symbol k is B]; the loss of a step is the softmax cross-entropy in nats;
    the last step alone counts.

    All classes are equally probable: the best answer that ignores the inputs has loss ln 4, or ln 8
    for three symbols.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        symbols: how many symbols matter, 2 or 3.

    Returns:
        A task with six inputs and four or eight outputs, of at least 10 steps; it is solved below a
        share of 0.01 wrong.

    Raises:
        ValueError: `symbols` is neither 2 nor 3.

    References:
        Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9(8); the places
        as in Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063) and their program.
    """
    if symbols not in TENTHS:
        raise ValueError(f"symbols is {symbols!r}; the temporal_order task has 2 or 3.")

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        other_key, place_key, symbol_key = jax.random.split(key, 3)
        steps, length = local_steps(max_length, length), jnp.asarray(length, jnp.int32)
        # Tenths in integers: ⌊0.1 L⌋ in floats is not the same for a traced L.
        first = jnp.asarray(TENTHS[symbols], jnp.int32) * length // 10
        places = first + jax.random.randint(place_key, (symbols,), 0, length // 10, jnp.int32)
        shown = jax.random.randint(symbol_key, (symbols,), 0, 2, jnp.int32)
        characters = 2 + step_integers(other_key, steps, 4)
        for k in range(symbols):
            characters = jnp.where(steps == places[k], shown[k], characters)
        target = jnp.sum(shown << jnp.arange(symbols, dtype=jnp.int32), dtype=jnp.int32)
        return Sample(
            zero_padding(jax.nn.one_hot(characters, 6, dtype=dtype), steps),
            zero_padding(jnp.full(max_length, target), steps),
            last_step(max_length, dtype),
        )

    return Task(
        sample,
        cross_entropy,
        6,
        2**symbols,
        shortest=10,
        error=share_wrong,
        baseline=lambda length: symbols * math.log(2),
        solved_below=0.01,
    )
