"""The gradient of every layer at every step: through depth as well as through time.

A stack is a system of systems: layer l is driven by what the layer below it hands up. The backward
pass therefore goes from layer to layer. Within one it is that of `adjoints.pull_back`; then it
steps down, by the derivative of the layer's step by its input. Every layer has exponents of its
own, so that a layer's gradient is not lost beside another's, however much larger that is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from throughtime.adjoints import pull_back
from throughtime.cells import CellStep, StackedCell, as_step, output_shape
from throughtime.dynamics import Trajectory, held, trajectory
from throughtime.models import Model
from throughtime.scaled import Scaled, add, norm, rescale


class _Layer(NamedTuple):
    """A layer as a driven system, where it has been, and at which steps it moved."""

    cell: CellStep
    run: Trajectory
    moves: Float[Array, " T"]

    def step(self, h, moves, x):
        """The system: the cell where it moves, at rest where not."""
        return held(self.cell.step)(h, jnp.concatenate([moves[None], x]))

    def outputs(self, previous, states, inputs):
        """Its outputs at every step; while it rests, that of the carry it has."""
        return jax.vmap(self.cell.output)(previous, states, inputs)


def gradients_by_layer(
    cell: Any,
    loss: Callable[[Float[Array, "T m"]], Float[Array, ""]],
    inputs: Float[Array, "T d"],
    *,
    upward: bool = False,
) -> Scaled:
    """The norm of a loss's gradient by the carry of each layer at each step.

    ‖dL/dh^l_t‖₂,   h^l_t the carry with which layer l leaves step t,   l = 1 … L, t = 1 … T

    In a network of layers h^l_t has two successors, h^l_{t+1} and h^{l+1}_t. As part of the state
    of the whole stack, as in `adjoint_states` and `gradient_diagnostics`, it only has the first:
    the layer above has read it within the step. That is the default, and the squares of a step's
    norms then sum to the square of ‖dL/dh_t‖ of the whole; a loss of the last output alone has no
    gradient by the lower layers' last carry. With ``upward`` both ways count: it is the gradient by
    a node of the unrolled network, and what the layer's weights at step t are given.

    Args:
        cell: a stack; any other cell is one layer.
        loss: maps the outputs ``(T, m)``, of the top layer, to a scalar.
        inputs: x_1 … x_T, ``(T, d)``, in the cell's dtype; `jax.vmap` over a batch.
        upward: whether the way up to the next layer, within the step, counts.

    Returns:
        `Scaled` with mantissa and exponent ``(L, T)``, the bottom layer first, in the order of
        time. It is 0 only where the gradient is, and never inf, unless a state or the Jacobian of
        a single step leaves the float range. `log_norm` turns it into nats.

    Raises:
        ValueError: if T is 0.

    References:
        Pascanu, Gulcehre, Cho, Bengio 2014, arXiv:1312.6026 (depth in recurrent networks); El Hihi,
        Bengio 1996 (slow layers shorten the way).
    """
    if len(inputs) == 0:
        raise ValueError("inputs must have at least 1 step, not 0.")
    layers = _orbits(cell, inputs)
    top = layers[-1].run
    outputs = layers[-1].outputs(top.previous, top.states, top.inputs)
    above = Scaled(jax.grad(loss)(outputs), jnp.zeros(len(inputs), jnp.int32))
    norms = []
    for depth, layer in enumerate(reversed(layers)):
        nodes, onward, above = _backward(layer, above)
        norms.append(norm(nodes if upward or depth == 0 else onward))
    return jax.tree.map(lambda *rows: jnp.stack(rows), *reversed(norms))


class GradientsByDirection(NamedTuple):
    """`gradients_by_layer` of both directions of a model, column t at input x_t in each.

    Attributes:
        forward: mantissa and exponent ``(L, T)``.
        backward: likewise, of the cell that reads backwards; None if there is none. Its steps run
            from T to 1, so that its gradient travels from small t to large.
    """

    forward: Scaled
    backward: Scaled | None


def gradients_by_direction(
    model: Model,
    loss: Callable[[Float[Array, "T k"]], Float[Array, ""]],
    inputs: Float[Array, "T d"],
    *,
    upward: bool = False,
) -> GradientsByDirection:
    """The norm of the gradient by each layer's carry, in both directions of a model.

    ‖dL/dh^l_t‖₂,  ‖dL/dg^l_t‖₂,    L = loss(y_1 … y_T)

    Args:
        model: of one or two directions.
        loss: maps the outputs ``(T, k)`` of the model to a scalar.
        inputs: x_1 … x_T, ``(T, d)``.
        upward: as in `gradients_by_layer`.

    Returns:
        Both, in the order of the inputs.

    Raises:
        ValueError: if T is 0.
    """
    states = model.states(inputs)
    width = output_shape(model.cell).shape[-1]
    forward, backward = states[:, :width], states[:, width:]

    def by_forward(h):
        return loss(model.read(jnp.concatenate([h, backward], axis=1)))

    def by_backward(g):
        return loss(model.read(jnp.concatenate([forward, g[::-1]], axis=1)))

    ahead = gradients_by_layer(model.cell, by_forward, inputs, upward=upward)
    if model.backward is None:
        return GradientsByDirection(ahead, None)
    behind = gradients_by_layer(model.backward, by_backward, inputs[::-1], upward=upward)
    return GradientsByDirection(ahead, jax.tree.map(lambda rows: rows[:, ::-1], behind))


def _orbits(cell: Any, inputs: Float[Array, "T d"]) -> list[_Layer]:
    """The layers, each run along what the one below hands up."""
    cells, every = (cell.cells, cell.every) if isinstance(cell, StackedCell) else ([cell], [1])
    layers = []
    for one, stride in zip(cells, every, strict=True):
        layer = _orbit(one, inputs, stride)
        layers.append(layer)
        inputs = layer.outputs(layer.run.previous, layer.run.states, layer.run.inputs)
    return layers


def _orbit(cell: Any, inputs: Float[Array, "T d"], stride: int) -> _Layer:
    """One layer on its inputs, moving at every stride-th step."""
    bridge = as_step(cell)
    moves = ((jnp.arange(len(inputs)) + 1) % stride == 0).astype(inputs.dtype)
    flagged = jnp.concatenate([moves[:, None], inputs], axis=1)
    run = trajectory(held(bridge.step), bridge.h0, flagged)
    return _Layer(bridge, run._replace(inputs=inputs), moves)


def _backward(layer: _Layer, above: Scaled) -> tuple[Scaled, Scaled, Scaled]:
    """The gradient by what a layer put out, pulled back through it.

    Returns the gradients by its nodes, the part of them that comes by way of the layer's own next
    step, and the gradients by its inputs. An output may be made of the carry before its step and of
    the input besides the new carry.
    """
    previous, states, inputs = layer.run.previous, layer.run.states, layer.run.inputs
    read_before, direct, read_input = _pulled(layer.outputs, above, previous, states, inputs)
    flagged = jnp.concatenate([layer.moves[:, None], inputs], axis=1)
    told = _added(direct, _one_step_back(read_before))
    nodes = pull_back(held(layer.cell.step), told, previous, flagged)[1]

    def steps(hs, xs):
        return jax.vmap(layer.step)(hs, layer.moves, xs)

    by_state, by_input = _pulled(steps, nodes, previous, inputs)
    onward = _one_step_back(_added(by_state, read_before))
    return nodes, onward, _added(by_input, read_input)


def _pulled(f: Callable, cotangents: Scaled, *points: Array) -> list[Scaled]:
    """Cotangents ``(T, n)`` times the derivatives of f by each of its arguments, row by row."""
    found = jax.vjp(f, *points)[1](cotangents.mantissa)
    return [rescale(mantissa, cotangents.exponent) for mantissa in found]


def _one_step_back(rows: Scaled) -> Scaled:
    """Move what step t says of the state before it to that state; nothing follows the last."""
    return jax.tree.map(lambda x: jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]), rows)


def _added(a: Scaled, b: Scaled) -> Scaled:
    """The sum of two lists of rows, each row with an exponent of its own."""
    return jax.vmap(add)(a, b)
