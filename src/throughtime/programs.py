"""What a program is, and where its random numbers come from.

Weights and inputs are drawn by small programs of their own, on the CPU: threefry is most of the
compile time of a program that contains it, and the same seed is then the same network on every
device. A sequence shorter than the program's fills the last of its steps.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt

from throughtime.cells import hidden, make_cell
from throughtime.diagnostics import DIAGNOSTICS
from throughtime.initializers import gaussian
from throughtime.points import Point
from throughtime.tasks import Sample, Task, make_task

SHORTEST_PROGRAM = 64
"""Steps of the shortest program; sequences of 2 to 64 steps share it, then powers of two."""


class ProgramKey(NamedTuple):
    """All that changes a compiled program: structure, sizes and dtype, never a value."""

    cell: str
    cell_options: tuple[tuple[str, Any], ...]
    task: str
    task_options: tuple[tuple[str, Any], ...]
    diagnostic: str
    diagnostic_options: tuple[tuple[str, Any], ...]
    hidden_features: int
    num_seeds: int
    batch_size: int
    dtype: str
    loss_at: str
    num_steps: int

    @property
    def label(self) -> str:
        """The program in words."""
        return f"{self.cell}, {self.diagnostic}, {self.num_steps} steps"


def program_key(point: Point) -> ProgramKey:
    """The program that a point runs in.

    Args:
        point: the point.

    Returns:
        Its key; points of equal key share one compilation.
    """
    num_steps = point.sequence_length
    if DIAGNOSTICS[point.diagnostic].is_padded:
        num_steps = max(SHORTEST_PROGRAM, 1 << (num_steps - 1).bit_length())
    shared = {name: getattr(point, name) for name in ProgramKey._fields if name != "num_steps"}
    return ProgramKey(**shared, num_steps=num_steps)


def network_source(key: ProgramKey):
    """The source of weights; programs that differ in steps or diagnostic alone share it.

    Args:
        key: the program.

    Returns:
        A function of seeds ``(points, networks)`` and scales ``(points,)`` that returns networks as
        `draw_network` does, with these two leading axes.
    """
    anything = {"num_steps": SHORTEST_PROGRAM, "diagnostic": "gradient", "diagnostic_options": ()}
    return _network_source(key._replace(**anything))


@functools.cache
def _network_source(key: ProgramKey):
    """Points × networks, drawn."""
    per_seed = jax.vmap(functools.partial(draw_network, key), (0, None))
    return jax.jit(jax.vmap(per_seed))


def batch_source(key: ProgramKey):
    """The source of inputs; programs that differ in their networks alone share it.

    Args:
        key: the program.

    Returns:
        A function of data seeds ``(points,)`` and lengths ``(points,)`` that returns samples with
        leading axes points and sequences, weighted for the loss that the program measures.
    """
    anything = {"cell": "", "cell_options": (), "hidden_features": 0, "num_seeds": 0}
    anything |= {"diagnostic": "gradient", "diagnostic_options": ()}
    return _batch_source(key._replace(**anything))


@functools.cache
def _batch_source(key: ProgramKey):
    """Points × sequences, drawn."""
    task = task_of(key)

    def draw(data_seed, length) -> Sample:
        keys = jax.random.split(jax.random.key(data_seed), key.batch_size)
        batch = jax.vmap(task.sample, (0, None))(keys, length)
        if key.loss_at == "task":
            return batch
        return batch._replace(weights=jnp.zeros_like(batch.weights).at[:, -1].set(1))

    return jax.jit(jax.vmap(draw))


def draw_network(key: ProgramKey, seed: UInt[Array, ""], scale: Float[Array, ""]):
    """Draw one network: the cell's weights, and a read-out with variance 1/m per weight.

    Args:
        key: the program.
        seed: of the network, uint32.
        scale: the gain of its recurrent weights.

    Returns:
        The state of the cell and the read-out ``(m, k)``.
    """
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    cell = make(key, scale, nnx.Rngs(cell_key))
    weights = nnx.split(cell)[1]
    size = hidden(cell.initialize_carry((cell.in_features,), nnx.Rngs(0))).size
    shape = (size, task_of(key).out_features)
    return weights, gaussian()(readout_key, shape, jnp.dtype(key.dtype))


def make(key: ProgramKey, scale, rngs: nnx.Rngs) -> Any:
    """Build the cell of a program.

    Args:
        key: the program.
        scale: the gain of its recurrent weights.
        rngs: nnx random streams.

    Returns:
        An `nnx.RNNCellBase`.
    """
    return make_cell(
        key.cell,
        task_of(key).in_features,
        key.hidden_features,
        recurrent_scale=scale,
        dtype=jnp.dtype(key.dtype),
        rngs=rngs,
        **dict(key.cell_options),
    )


@functools.cache
def structure_of(key: ProgramKey) -> nnx.GraphDef:
    """The cell of a program without its weights.

    Args:
        key: the program.

    Returns:
        A graph definition for `nnx.merge`.
    """
    cell = nnx.eval_shape(lambda: make(key, 1.0, nnx.Rngs(0)))
    return nnx.split(cell)[0]


@functools.cache
def task_of(key: ProgramKey) -> Task:
    """The task of a program.

    Args:
        key: the program.

    Returns:
        The task, for sequences of up to the program's steps.
    """
    return make_task(key.task, max_length=key.num_steps, dtype=key.dtype, **dict(key.task_options))
