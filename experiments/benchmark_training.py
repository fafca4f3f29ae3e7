"""Backpropagation through whole layers, and what measuring adds to training."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch  # pyright: ignore[reportMissingImports]
from flax import nnx

import peers_torch
from benchmark_cases import (
    IN_FEATURES,
    Sizes,
    drawn,
    drawn_cell,
    finished,
    in_torch,
    weights_of,
)
from contestants import Case, Contestant, relative
from throughtime.adjoints import adjoint_log_norms
from throughtime.cells import CellStep, as_step, hidden
from throughtime.dynamics import rollout
from throughtime.initializers import gaussian

# Forward and backward


def bptt_cases(sizes: Sizes) -> Iterator[Case]:
    """A loss over all steps of a layer, and its gradients by the weights."""
    grid = list(itertools.product(*sizes.layers))
    for name, (hidden_features, steps, batch) in itertools.product(("lstm", "gru"), grid):
        cell = drawn_cell(name, hidden_features, hidden_features)
        inputs = drawn(steps, batch, hidden_features)
        layer = peers_torch.module(name, weights_of(cell), is_layer=True)
        ours = Contestant("value_and_grad", finished(*layer_of(cell), inputs), in_order(cell))
        peer = in_torch(torch_layer(layer, inputs), in_our_order)
        case = f"{name}, N = {hidden_features}, T = {steps}, batch {batch}"
        yield Case("bptt", case, ours, [peer], relative, 1e-4)


def layer_of(cell: nnx.RNNCellBase) -> tuple[Callable, Any]:
    """L = mean of h² over all steps, with its gradients; and the weights to call it with."""
    structure, weights = nnx.split(cell)

    def loss(weights, inputs):
        own = nnx.merge(structure, weights)
        h0 = own.initialize_carry(inputs.shape[1:], nnx.Rngs(0))
        return jnp.mean(jax.lax.scan(own, h0, inputs)[1] ** 2)

    return jax.jit(jax.value_and_grad(loss)), weights


def in_order(cell: nnx.RNNCellBase) -> Callable[[Any], list[np.ndarray]]:
    """The loss, and the gradients by input kernel, recurrent kernel and biases."""
    structure = nnx.split(cell)[0]

    def numbers(result) -> list[np.ndarray]:
        loss, gradients = result
        return [np.asarray(loss), *weights_of(nnx.merge(structure, gradients)).values()]

    return numbers


def in_our_order(result: list[np.ndarray]) -> list[np.ndarray]:
    """The same of PyTorch, which has two biases everywhere; only a GRU's candidate needs them."""
    loss, inputs, recurrent, bias, second = result
    numbers = [loss, inputs.T, recurrent.T, bias]
    is_gru = len(bias) == 3 * recurrent.shape[1]
    return [*numbers, second[-recurrent.shape[1] :]] if is_gru else numbers


def torch_layer(layer, inputs: np.ndarray) -> Callable[[], list[np.ndarray]]:
    """The peer in PyTorch, ready to run."""
    return lambda: peers_torch.loss_and_gradients(layer, torch.from_numpy(inputs))


# Measuring while training


class Student(NamedTuple):
    """An LSTM that learns to name random targets after random sequences.

    Its parameters are the weights of the cell, and a read-out ``(N, 2)``.
    """

    structure: nnx.GraphDef
    inputs: jax.Array
    targets: jax.Array

    def step(self, parameters) -> CellStep:
        """The network as a system."""
        return as_step(nnx.merge(self.structure, parameters[0]))

    def error(self, parameters, last, target):
        """A sequence's part of the loss, ½ ‖h_T W_y − target‖² by the number of sequences."""
        output = hidden(self.step(parameters).unravel(last)) @ parameters[1]
        return 0.5 * jnp.sum((output - target) ** 2) / len(self.targets)

    def loss(self, parameters, perturbations=None):
        """L, of states that are perturbed or not."""
        step, h0, _ = self.step(parameters)
        run = jax.vmap(lambda x, e: rollout(step, h0, x, e)[-1])
        last = run(self.inputs, perturbations)
        return jnp.sum(jax.vmap(self.error, (None, 0, 0))(parameters, last, self.targets))

    def plain(self, parameters):
        """L, its gradient, and ln ‖dL/dh_t‖ from the same backward pass: dL/dh_t = dL/de_t."""
        size = self.step(parameters).h0.size
        zeros = jnp.zeros((*self.inputs.shape[:2], size), self.inputs.dtype)
        value, both = jax.value_and_grad(self.loss, argnums=(0, 1))(parameters, zeros)
        gradient, adjoints = both
        return value, gradient, 0.5 * jnp.log(jnp.sum(adjoints**2, axis=(0, 2)))

    def alone(self, parameters):
        """L and its gradient."""
        return *jax.value_and_grad(self.loss)(parameters), None

    def scaled(self, parameters):
        """L, its gradient, and ln ‖dL/dh_t‖ by a pass of its own, which nothing underflows in."""
        step, h0, _ = self.step(parameters)

        def logs(x, target):
            return adjoint_log_norms(lambda h: self.error(parameters, h[-1], target), step, h0, x)

        of_sequences = jax.vmap(logs)(self.inputs, self.targets)
        return *self.alone(parameters)[:2], 0.5 * jax.nn.logsumexp(2 * of_sequences, axis=0)


def training_cases(sizes: Sizes) -> Iterator[Case]:
    """Adam on an LSTM, with the gradient of every step measured and without."""
    student, parameters = enrolled(sizes)
    optimiser = optax.adam(1e-3)
    start = (parameters, optimiser.init(parameters))
    updates = {
        each: update(getattr(student, each), optimiser) for each in ("alone", "plain", "scaled")
    }
    alone = trained([updates["alone"]] * sizes.updates, start)
    peer = Contestant("training alone", alone, learned)
    case = f"lstm, N = {sizes.hidden}, T = {sizes.steps}, batch {sizes.training_batch}, "
    for name, every in itertools.product(("plain", "scaled"), (1, 10)):
        plan = [updates[name if index % every == 0 else "alone"] for index in range(sizes.updates)]
        ours = Contestant(f"{name} adjoints", trained(plan, start), learned)
        text = case + ("every update" if every == 1 else f"every {every}th update")
        yield Case("training", text, ours, [peer], relative, 1e-5, aim=1.05, is_cost=True)


def enrolled(sizes: Sizes) -> tuple[Student, Any]:
    """A student and the parameters that it begins with."""
    inputs = jnp.asarray(drawn(sizes.training_batch, sizes.steps, IN_FEATURES))
    targets = jnp.asarray(drawn(sizes.training_batch, 2))
    structure, weights = nnx.split(drawn_cell("lstm", sizes.hidden))
    readout = gaussian()(jax.random.key(1), (sizes.hidden, 2), jnp.float32)
    return Student(structure, inputs, targets), (weights, readout)


def update(measurement: Callable, optimiser: optax.GradientTransformation) -> Callable:
    """An update of the parameters, with what was measured of those before."""

    @jax.jit
    def updated(parameters, state):
        loss, gradient, logs = measurement(parameters)
        changes, state = optimiser.update(gradient, state)
        return optax.apply_updates(parameters, changes), state, loss, logs

    return updated


def trained(plan: list[Callable], start: tuple) -> Callable:
    """The updates of a plan, one after the other from the start."""

    def run():
        (parameters, state), losses, measured = start, [], []
        for each in plan:
            parameters, state, loss, logs = each(parameters, state)
            losses.append(loss)
            measured.append(logs)
        return jax.block_until_ready((parameters, losses, measured))

    return run


def learned(result) -> list[np.ndarray]:
    """The losses and the parameters at the end: measuring must not change what is learned."""
    parameters, losses, _ = result
    return [np.array(losses), *map(np.asarray, jax.tree.leaves(parameters))]
