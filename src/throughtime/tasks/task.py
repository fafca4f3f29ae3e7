"""What a task is: a sampler of sequences and a loss of each step, two pure functions.

A sequence of `length` steps fills the LAST `length` of T = `max_length` steps: step t is real
when t >= T - length. The last real step is therefore the last of the array at every length, so that
`length` may be traced and one compiled program serves all lengths up to T. The local step is
i = t - (T - length).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Shaped


class Sample(NamedTuple):
    """One sequence of a task, aligned at the end; all three arrays are zero in the padding.

    Attributes:
        inputs: (T, d) what the network sees.
        targets: what it should say at each step, (T, k) floats or (T,) int32 labels.
        weights: (T,) how much each step counts in the task's own loss; they sum to 1, up to the
            rounding of the dtype.
    """

    inputs: Float[Array, "T d"]
    targets: Shaped[Array, "T ..."]
    weights: Float[Array, " T"]


class Task(NamedTuple):
    """A source of sequences and the loss L = sum_t weights_t · loss(outputs, targets)_t.

    Attributes:
        sample: (key, length) -> `Sample`, ONE sequence; `length` may be traced and lies between 2
            and the smaller of `max_length` and `longest`. Whoever knows the number checks it: a
            traced one cannot be refused.
        loss: (outputs (T, k), targets) -> (T,), the loss of each step, unweighted.
        in_features: d, inputs per step.
        out_features: k, outputs per step.
        longest: the longest sequence that the data allow, None where there is no limit.
    """

    sample: Callable[[Key[Array, ""], Int[Array, ""] | int], Sample]
    loss: Callable[[Float[Array, "T k"], Shaped[Array, "T ..."]], Float[Array, " T"]]
    in_features: int
    out_features: int
    longest: int | None = None


def local_steps(max_length: int, length: Int[Array, ""] | int) -> Int[Array, " T"]:
    """The local step t - (T - length): 0 at the first real step, negative in the padding."""
    return jnp.arange(max_length, dtype=jnp.int32) - (max_length - jnp.asarray(length, jnp.int32))


def zero_padding(
    values: Shaped[Array, "T *features"], steps: Int[Array, " T"]
) -> Shaped[Array, "T *features"]:
    """The values where the local step is real, 0 in the padding."""
    real = (steps >= 0).reshape(-1, *[1] * (values.ndim - 1))
    return jnp.where(real, values, jnp.zeros_like(values))


def last_step(max_length: int, dtype: DTypeLike) -> Float[Array, " T"]:
    """Weights of a loss that counts the last step alone."""
    return (jnp.arange(max_length) == max_length - 1).astype(dtype)


def step_normals(
    key: Key[Array, ""], steps: Int[Array, " T"], features: int
) -> Float[Array, "T features"]:
    """N(0, 1) in float32, a function of the key and the local step alone.

    Folding in the step, rather than drawing one (T, features) block, makes a sequence independent
    of the padding, and a longer sequence the continuation of a shorter one.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, steps)
    return jax.vmap(lambda key: jax.random.normal(key, (features,), jnp.float32))(keys)


def random_window(
    key: Key[Array, ""], num_items: int, max_length: int, length: Int[Array, ""] | int
) -> Int[Array, " points"]:
    """Indices of `length` + 1 items in a row, from a random start, in T + 1 places; 0 before."""
    length = jnp.asarray(length, jnp.int32)
    start = jax.random.randint(key, (), 0, num_items - length, jnp.int32)
    steps = local_steps(max_length + 1, length + 1)
    return zero_padding(start + steps, steps)
