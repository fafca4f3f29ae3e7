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
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from throughtime.scaled import at_least_float32


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


def weighted_loss(loss: Callable, answers: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
    """The loss of a sequence, Σ_t weight_t · loss(answer_t, target_t); no weight, no loss.

    Args:
        loss: of each step, a task's.
        answers: of the network, ``(T, k)``.
        sample: the sequence.

    Returns:
        A scalar in float32 at least: a squared error of 256 is beyond float16.
    """
    fine = at_least_float32(answers.dtype)
    losses, weights = loss(answers.astype(fine), sample.targets), sample.weights.astype(fine)
    return jnp.sum(jnp.where(weights > 0, weights * losses, 0))


def cross_entropy(outputs: Float[Array, "T k"], targets: Int[Array, " T"]) -> Float[Array, " T"]:
    """Softmax cross-entropy of each step in nats, ln Σ_j e^{output_j} - output_target."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(outputs, targets)


def squared_distance(
    outputs: Float[Array, "T k"], targets: Float[Array, "T k"]
) -> Float[Array, " T"]:
    """‖output - target‖² of each step, without the ½."""
    return jnp.sum((outputs - targets.astype(outputs.dtype)) ** 2, axis=-1)


def wrong_answers(outputs: Float[Array, "T k"], targets: Int[Array, " T"]) -> Float[Array, " T"]:
    """1 where the largest output is not the target's, 0 where it is, NaN where an output is NaN."""
    wrong = jnp.argmax(outputs, axis=-1).astype(targets.dtype) != targets
    return jnp.where(jnp.isnan(outputs).any(axis=-1), jnp.nan, wrong.astype(jnp.float32))


def share_wrong(outputs: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
    """The share of the answers of a classifier that are wrong.

        error = sum_t weights_t · [argmax outputs_t ≠ targets_t] / sum_t weights_t

    The division takes out what a narrow dtype rounds of the weights, which sum to 1.

    Args:
        outputs: (T, k) scores of the k classes.
        sample: the sequence; its targets are labels.

    Returns:
        Between 0 and 1; NaN if an output of a step that counts is NaN.
    """
    return _weighted_mean(wrong_answers(outputs, sample.targets), sample.weights)


def mean_squared(outputs: Float[Array, "T k"], sample: Sample) -> Float[Array, ""]:
    """The mean squared distance of the answers of a regression.

        error = sum_t weights_t · ‖outputs_t - targets_t‖² / sum_t weights_t

    Args:
        outputs: (T, k), in the unit of the targets.
        sample: the sequence; its targets are (T, k) floats.

    Returns:
        In the squared unit of the targets; NaN if an output of a step that counts is NaN.
    """
    return _weighted_mean(squared_distance(outputs, sample.targets), sample.weights)


class Task(NamedTuple):
    """A source of sequences and the loss L = sum_t weights_t · loss(outputs, targets)_t.

    Attributes:
        sample: (key, length) -> `Sample`, ONE sequence; `length` may be traced and lies between
            `shortest` and the smaller of `max_length` and `longest`. Whoever knows the number
            checks it: a traced one cannot be refused.
        loss: (outputs (T, k), targets) -> (T,), the loss of each step, unweighted.
        in_features: d, inputs per step.
        out_features: k, outputs per step.
        longest: the longest sequence that the data allow, None where there is no limit.
        shortest: the shortest sequence that the task is defined for.
        error: (outputs (T, k), sample) -> scalar, what "solved" is judged by: the share of the
            answers that are wrong, or the mean squared error of a regression.
        baseline: length -> the LOSS of the best answer that ignores the inputs, in the unit of the
            loss (nats of a cross-entropy): what a network gains by remembering is counted from
            there. The answer may depend on the step. It is the expectation over the sequences that
            `sample` draws; of a cross-entropy an infimum, as no softmax is exactly 0. None where no
            closed form is known.
        solved_below: a network has solved the task when its mean error is below this; None where
            no such bound is customary.
    """

    sample: Callable[[Key[Array, ""], Int[Array, ""] | int], Sample]
    loss: Callable[[Float[Array, "T k"], Shaped[Array, "T ..."]], Float[Array, " T"]]
    in_features: int
    out_features: int
    longest: int | None = None
    shortest: int = 2
    error: Callable[[Float[Array, "T k"], Sample], Float[Array, ""]] = share_wrong
    baseline: Callable[[int], float] | None = None
    solved_below: float | None = None


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


def equal_weights(
    counts: Bool[Array, " T"], number: Int[Array, ""] | int, dtype: DTypeLike
) -> Float[Array, " T"]:
    """Weights of a loss that counts `number` steps alike and no other."""
    fine = np.promote_types(dtype, np.float32)
    return jnp.where(counts, 1 / jnp.asarray(number, fine), 0).astype(dtype)


def step_normals(
    key: Key[Array, ""], steps: Int[Array, " T"], features: int
) -> Float[Array, "T features"]:
    """N(0, 1) in float32, a function of the key and the local step alone.

    Folding in the step, rather than drawing one (T, features) block, makes a sequence independent
    of the padding, and a longer sequence the continuation of a shorter one.
    """
    keys = _step_keys(key, steps)
    return jax.vmap(lambda key: jax.random.normal(key, (features,), jnp.float32))(keys)


def step_uniforms(key: Key[Array, ""], steps: Int[Array, " T"]) -> Float[Array, " T"]:
    """Uniform on [0, 1) in float32, a function of the key and the local step as `step_normals`."""
    return jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(_step_keys(key, steps))


def step_integers(key: Key[Array, ""], steps: Int[Array, " T"], number: int) -> Int[Array, " T"]:
    """Uniform on 0 … number - 1 in int32, a function of the key and the local step likewise."""
    keys = _step_keys(key, steps)
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, number, jnp.int32))(keys)


def random_window(
    key: Key[Array, ""], num_items: int, max_length: int, length: Int[Array, ""] | int
) -> Int[Array, " points"]:
    """Indices of `length` + 1 items in a row, from a random start, in T + 1 places; 0 before."""
    length = jnp.asarray(length, jnp.int32)
    start = jax.random.randint(key, (), 0, num_items - length, jnp.int32)
    steps = local_steps(max_length + 1, length + 1)
    return zero_padding(start + steps, steps)


def entropy(counts: Shaped[np.ndarray, " k"]) -> float:
    """-Σ p ln p in nats of p = counts / Σ counts: the loss of the best constant answer."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _step_keys(key: Key[Array, ""], steps: Int[Array, " T"]) -> Key[Array, " T"]:
    """One key for each step."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, steps)


def _weighted_mean(values: Float[Array, " T"], weights: Float[Array, " T"]) -> Float[Array, ""]:
    """The mean of the steps that count; what the others hold, even NaN, does not matter."""
    fine = np.promote_types(weights.dtype, np.promote_types(values.dtype, np.float32))
    values, weights = values.astype(fine), weights.astype(fine)
    return jnp.sum(jnp.where(weights > 0, weights * values, 0)) / jnp.sum(weights)
