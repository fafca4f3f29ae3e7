"""What a network is trained on: the loss of a batch, differentiated as far back as is wanted."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from throughtime.cells import as_step
from throughtime.dynamics import held, pad_front, rollout, starts, trajectory
from throughtime.mitigations import Mitigation
from throughtime.scaled import at_least_float32
from throughtime.tasks import Sample, Task, weighted_loss

EVALUATED_AT_ONCE = 500
"""Sequences of a validation set that are run side by side."""


class Network(NamedTuple):
    """What is trained.

    Attributes:
        cell: the parameters of the cell.
        kernel: of the read-out, ``(m, k)``.
        bias: of the read-out, ``(k,)``.
    """

    cell: PyTree
    kernel: Float[Array, "m k"]
    bias: Float[Array, " k"]


class Recipe(NamedTuple):
    """What of a training run is no array.

    Attributes:
        structure: of the cell, for `nnx.merge`.
        loss: of each step, a task's.
        optimizer: a key of `OPTIMIZERS`.
        remedy: what is done about vanishing and exploding gradients.
        master_weights: whether parameters of less than float32 are kept in float32 beside, so that
            small updates add up.
    """

    structure: Any
    loss: Callable
    optimizer: str = "adam"
    remedy: Mitigation = Mitigation()
    master_weights: bool = True


def batch_loss(
    recipe: Recipe, network: Network, batch: Sample, dropout_key: Key[Array, ""] | None = None
) -> Float[Array, ""]:
    """The task's loss on a batch, gradient truncated and outputs dropped as the recipe says.

    Args:
        recipe: how to train.
        network: the parameters.
        batch: samples with a leading batch axis.
        dropout_key: None drops nothing.

    Returns:
        L, a scalar.
    """
    cell, rate = nnx.merge(recipe.structure, network.cell), recipe.remedy.dropout

    def one(sample: Sample, key):
        outputs = _outputs(recipe, cell, sample.inputs)
        if rate and key is not None:
            # One mask for the whole sequence: Gal & Ghahramani 2016.
            keep = jax.random.bernoulli(key, 1 - rate, outputs.shape[-1:])
            outputs = jnp.where(keep, outputs / (1 - rate), 0)
        return _loss_of(recipe, network, outputs, sample)

    if dropout_key is None:
        return jnp.mean(jax.vmap(lambda sample: one(sample, None))(batch))
    keys = jax.random.split(dropout_key, len(batch.inputs))
    return jnp.mean(jax.vmap(one)(batch, keys))


def evaluate(
    recipe: Recipe, network: Network, task: Task, keys: Key[Array, " V"], length: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Loss and error on a validation set, nothing dropped and nothing truncated.

    Args:
        recipe: how the network is built.
        network: its parameters.
        task: whose sequences, loss and error they are.
        keys: of the V sequences, which are drawn as they are needed.
        length: of the sequences.

    Returns:
        The means of the task's own loss and of its error.
    """
    cell = nnx.merge(recipe.structure, network.cell)

    def one(key):
        sample = task.sample(key, length)
        outputs = _all_outputs(cell, sample.inputs)
        answers = outputs @ network.kernel + network.bias[None]
        fine = answers.astype(at_least_float32(answers.dtype))
        return _loss_of(recipe, network, outputs, sample), task.error(fine, sample)

    loss, error = jax.lax.map(one, keys, batch_size=EVALUATED_AT_ONCE)
    return jnp.mean(loss), jnp.mean(error)


def loss_of_outputs(recipe: Recipe, network: Network, batch: Sample) -> Callable:
    """The loss of a batch as a function of what the cell puts out.

    Args:
        recipe: how to train.
        network: of which the read-out is used.
        batch: samples with a leading batch axis.

    Returns:
        A function of outputs ``(B, T, m)``.
    """

    def loss(outputs):
        each = jax.vmap(lambda hs, sample: _loss_of(recipe, network, hs, sample))
        return jnp.mean(each(outputs, batch))

    return loss


def _loss_of(recipe: Recipe, network: Network, outputs, sample: Sample) -> Float[Array, ""]:
    """Σ_t weight_t · loss(output_t @ kernel + bias, target_t); no weight, no loss."""
    answers = outputs @ network.kernel + network.bias[None]
    return weighted_loss(recipe.loss, answers, sample)


def _all_outputs(cell, inputs: Float[Array, "T d"]) -> Float[Array, "T m"]:
    """The outputs of a sequence, with the derivatives that training sees."""
    bridge = as_step(cell, exact=False)
    return bridge.outputs(bridge.follow(inputs))


def _outputs(recipe: Recipe, cell, inputs: Float[Array, "T d"]) -> Float[Array, "T m"]:
    """The outputs of a sequence, through which gradients reach back as far as the recipe lets them.

    With a window (k1, k2) the sequence is cut into pieces of k1 steps, from its end (the first may
    be shorter), and the loss of each reaches back at most k2 steps from the piece's own end
    (Williams & Peng 1990, BPTT(h; h')).
    """
    if recipe.remedy.window is None:
        return _all_outputs(cell, inputs)
    piece, reach = recipe.remedy.window
    return _truncated_outputs(cell, inputs, min(piece, len(inputs)), reach)


def _truncated_outputs(cell, inputs, piece: int, reach: int) -> Float[Array, "T m"]:
    """Outputs whose gradients end at the state `reach` steps before the end of their piece."""
    length = len(inputs)
    reach = min(max(reach, piece), length)
    num_pieces = math.ceil(length / piece)
    bridge = as_step(cell, exact=False)
    flagged = pad_front(inputs, reach + num_pieces * piece - length)
    step, h0 = held(bridge.step), bridge.h0
    # The first `reach` states of the padded sequence are all h_0.
    known = jax.lax.stop_gradient(starts(h0, rollout(step, h0, flagged)))

    def one(index):
        end = reach + (index + 1) * piece
        xs = jax.lax.dynamic_slice_in_dim(flagged, end - reach, reach)
        begin = jax.lax.dynamic_index_in_dim(known, end - reach, keepdims=False)
        run = trajectory(step, begin, xs)
        return bridge.outputs(run._replace(inputs=xs[:, 1:]))[reach - piece :]

    outputs = jax.vmap(one)(jnp.arange(num_pieces, dtype=jnp.int32))
    return outputs.reshape(-1, outputs.shape[-1])[num_pieces * piece - length :]
