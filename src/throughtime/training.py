"""Training a recurrent network: BPTT, full or truncated, as a scan over updates.

A training run is a `TrainState` and a pure `train_step`; everything else (what is drawn, when one
looks, when it ends) is said around it. The state holds learning rate and random key as arrays, so
that `jax.vmap` trains many seeds and learning rates side by side.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct
from jaxtyping import Array, Float, Int, Key, PyTree

from throughtime.counting import Counts, all_finite, counted, global_norm, is_float
from throughtime.mitigations import Preparation
from throughtime.objectives import Network, Recipe, batch_loss, loss_of_outputs
from throughtime.scaled import at_least_float32
from throughtime.tasks import Sample
from throughtime.watching import GradientWatch, watch_gradients

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "rmsprop": lambda learning_rate: optax.rmsprop(learning_rate, decay=0.9),
    "adam": optax.adam,
}
"""The optimisers by name, functions of the learning rate."""


@struct.dataclass
class TrainState:
    """A training run between two updates; or several, each leaf with an axis for them.

    JAX builds it around placeholders, too: what it is made of cannot be checked here.

    Attributes:
        step: updates made, an int32 scalar.
        network: the parameters, a `Network`.
        optimizer: the optimiser's state, the counts of `counting.counted` in it; its numbers are
            float32 at least.
        key: of what is random in an update, such as dropout.
        recipe: what is no array.
        master: the master weights, the parameters before they were rounded to the network's dtype;
            None where there are none.
        overflowed_at: the first update, counted from 1, whose gradient was finite, as all before,
            and whose optimiser's moments or new parameters are not; 0 if there is none.
    """

    step: PyTree
    network: PyTree
    optimizer: PyTree
    key: PyTree
    recipe: Recipe = struct.field(pytree_node=False)
    master: PyTree = None
    overflowed_at: PyTree = 0

    @property
    def counts(self) -> Counts:
        """What happened to the gradients so far."""
        return self.optimizer[0]


class TrainInfo(NamedTuple):
    """What is only looked at.

    Attributes:
        loss: of the batch, the task's own, without penalties.
        penalty: what the remedies add to it.
        gradient_norm: of all parameters, before any remedy, in float32 at least; inf where it is
            beyond that range.
    """

    loss: Float[Array, ""]
    penalty: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def start_training(
    recipe: Recipe, network: Network, learning_rate: Float[Array, ""], key: Key[Array, ""]
) -> TrainState:
    """The state before the first update.

    Args:
        recipe: how to train.
        network: the parameters to begin with.
        learning_rate: a scalar, used in the parameters' dtype, but float32 at least; may be traced.
        key: of what is random in the updates.

    Returns:
        The state.
    """
    noise_key, key = jax.random.split(key)
    weights = _widened(network)
    state = _transformation(recipe, noise_key).init(weights)
    state = optax.tree.set(state, learning_rate=jnp.asarray(learning_rate, weights.bias.dtype))
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, network, state, key, recipe, _master(recipe, network, weights), zero)


def train_step(state: TrainState, batch: Sample) -> tuple[TrainState, TrainInfo]:
    """One update: forward, backward through time, remedies, optimiser.

    θ ← project(θ − optimizer(remedy(∂(L + penalty)/∂θ))),    L = mean over the batch of
    Σ_t weight_t · loss(h_t @ kernel + bias, target_t)

    Forward and backward pass are in the network's dtype, all else in float32 at least: in bfloat16
    Adam's β₂ = 0.999 is 1, and in float16 its ε = 1e-8 is 0. Without master weights θ is rounded to
    the network's dtype at every update, which loses updates of less than half an ulp of θ.

    Args:
        state: of the run.
        batch: samples with a leading batch axis.

    Returns:
        The next state and what is only looked at; ready for `jax.lax.scan` and `jax.vmap`.

    References:
        Werbos 1990, Proc. IEEE 78(10): backpropagation through time; Micikevicius et al. 2018,
        arXiv:1710.03740: master weights (without their scaling of the loss).
    """
    recipe, key = state.recipe, state.key
    dropout_key = None
    if recipe.remedy.dropout:
        key, dropout_key = jax.random.split(key)

    def objective(network: Network):
        loss = batch_loss(recipe, network, batch, dropout_key)
        extra = _penalty(recipe, network, batch)
        return sum(_widened((loss, extra))), (loss, extra)

    gradients, (loss, penalty) = jax.grad(objective, has_aux=True)(state.network)
    gradients, weights = _widened((gradients, state.network))
    weights = weights if state.master is None else state.master
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the power of integers
        transformation = _transformation(recipe, key)
        updates, optimizer = transformation.update(gradients, state.optimizer, weights)
    weights: Any = optax.apply_updates(weights, updates)
    if recipe.remedy.project is not None:
        weights = weights._replace(cell=recipe.remedy.project(weights.cell))
    network = _like(weights, state.network)
    info = TrainInfo(loss, penalty, global_norm(gradients))
    overflowed_at = _overflowed_at(state, network, optimizer)
    master = _master(recipe, network, weights)
    return TrainState(state.step + 1, network, optimizer, key, recipe, master, overflowed_at), info


def fit(
    state: TrainState, sample: Callable[[Int[Array, ""]], Sample], num_updates: int
) -> tuple[TrainState, TrainInfo]:
    """Many updates, each on a batch of its own: `train_step` under `jax.lax.scan`.

    Args:
        state: to begin with; the batches are those of its own next steps, so that a run in two
            pieces is the run in one.
        sample: the batch of an update, a function of its number alone.
        num_updates: how many.

    Returns:
        The state after them, and their infos, stacked.
    """

    def update(state: TrainState, _):
        return train_step(state, sample(state.step))

    return jax.lax.scan(update, state, length=num_updates)


def prepare(
    preparation: Preparation | None,
    structure: Any,
    parameters: PyTree,
    inputs: Float[Array, "B T d"],
    loss: Callable,
) -> PyTree:
    """A cell's parameters after what a remedy does before training, such as gradient flossing.

    Adam works on parameters of float32 at least, and they are rounded to the cell's dtype wherever
    it measures them.

    Args:
        preparation: what is minimised, how often and how fast; None leaves them as they are.
        structure: of the cell, for `nnx.merge`.
        parameters: of the cell, as they were drawn.
        inputs: on which the remedy measures.
        loss: of the cell's outputs ``(B, T, m)``.

    Returns:
        The parameters to begin with.
    """
    if preparation is None:
        return parameters
    optimizer = optax.adam(preparation.learning_rate)

    def objective(weights):
        cell = nnx.merge(structure, _like(weights, parameters))
        return preparation.penalty(cell, inputs, loss)

    def update(now, _):
        weights, state = now
        gradients = jax.grad(objective)(weights)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), None

    weights = _widened(parameters)
    begin = (weights, optimizer.init(weights))
    return _like(jax.lax.scan(update, begin, length=preparation.steps)[0][0], parameters)


def watch(state: TrainState, batch: Sample, older_than: int) -> GradientWatch:
    """Where the gradient of a run comes from at this moment.

    Args:
        state: of the run.
        batch: samples with a leading batch axis.
        older_than: the lag from which on a gradient is called old.

    Returns:
        What `watch_gradients` says of the task's loss.
    """
    recipe, network = state.recipe, state.network
    cell = nnx.merge(recipe.structure, network.cell)
    return watch_gradients(
        cell, batch.inputs, loss_of_outputs(recipe, network, batch), older_than=older_than
    )


def _transformation(recipe: Recipe, key: Key[Array, ""]) -> optax.GradientTransformation:
    """What turns gradients into updates: the remedies, which are counted, and the optimiser."""
    remedy = None if recipe.remedy.gradient is None else recipe.remedy.gradient(key)
    build = optax.inject_hyperparams(OPTIMIZERS[recipe.optimizer])
    return optax.chain(counted(remedy), build(learning_rate=0.0))


def _widened(tree: PyTree) -> Any:
    """A tree whose floats are float32 at least."""
    return jax.tree.map(
        lambda leaf: leaf.astype(at_least_float32(leaf.dtype)) if is_float(leaf) else leaf, tree
    )


def _like(weights: PyTree, network: PyTree) -> Any:
    """Weights rounded to the dtypes of a network."""
    return jax.tree.map(lambda weight, leaf: weight.astype(leaf.dtype), weights, network)


def _master(recipe: Recipe, network: Network, weights: Network) -> Network | None:
    """The weights to keep beside a network: those that it has not room for, if they are wanted."""
    is_narrow = any(
        one.dtype != other.dtype
        for one, other in zip(jax.tree.leaves(network), jax.tree.leaves(weights), strict=True)
    )
    return weights if recipe.master_weights and is_narrow else None


def _overflowed_at(state: TrainState, network: Network, optimizer) -> Int[Array, ""]:
    """The first update at which the optimiser left the floats, and no gradient had; or 0."""
    is_first = (state.overflowed_at == 0) & (optimizer[0].nonfinite == 0)
    has_overflowed = is_first & ~all_finite((network, optimizer))
    return jnp.where(has_overflowed, optimizer[0].updates, state.overflowed_at)


def _penalty(recipe: Recipe, network: Network, batch: Sample) -> Float[Array, ""]:
    """What the remedies add to the loss."""
    if recipe.remedy.penalty is None:
        return jnp.zeros((), network.bias.dtype)
    cell = nnx.merge(recipe.structure, network.cell)
    return recipe.remedy.penalty(cell, batch.inputs, loss_of_outputs(recipe, network, batch))
