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

from throughtime import traced
from throughtime.cells import as_step, output_shape
from throughtime.diagnostics import DIAGNOSTICS
from throughtime.draws import random_key
from throughtime.files import DataFile
from throughtime.initializers import gaussian
from throughtime.mitigations import Mitigation, combine
from throughtime.points import InputError, Point
from throughtime.sizes import CellKind, matched_units, state_size
from throughtime.tasks import Sample, Task, make_task, task_options

SHORTEST_PROGRAM = 64
"""Steps of the shortest program; sequences of 2 to 64 steps share it, then powers of two."""


TRACED = ("learning_rate",)
"""Options of a diagnostic that are values of a program, and no part of it."""


class ProgramKey(NamedTuple):
    """All that changes a compiled program: structure, sizes and dtype, never a value."""

    cell: str
    cell_options: tuple[tuple[str, Any], ...]
    task: str
    task_options: tuple[tuple[str, Any], ...]
    diagnostic: str
    diagnostic_options: tuple[tuple[str, Any], ...]
    mitigation: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
    hidden_features: int
    num_seeds: int
    batch_size: int
    dtype: str
    loss_at: str
    num_steps: int

    @property
    def label(self) -> str:
        """The program in words."""
        remedies = [name for name, _ in self.mitigation]
        return ", ".join([self.cell, *remedies, self.diagnostic, f"{self.num_steps} steps"])


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
    key = ProgramKey(**shared, num_steps=num_steps)
    static = tuple(pair for pair in point.diagnostic_options if pair[0] not in TRACED)
    key = key._replace(diagnostic_options=static)
    try:
        units = matched_units(kind_of(key), point.hidden_features, point.match)
    except (ValueError, ImportError, OSError):  # said in one sentence when the group is refused
        return key
    return key._replace(hidden_features=units)


def network_source(key: ProgramKey):
    """The source of weights; programs that differ in steps or diagnostic alone share it.

    Args:
        key: the program.

    Returns:
        A function of seeds ``(points, networks)`` and scales ``(points,)`` that returns networks as
        `draw_network` does, with these two leading axes.
    """
    cell_options = tuple(sorted(_cell_options(key).items()))
    anything = {"num_steps": max(SHORTEST_PROGRAM, task_of(key).shortest), "diagnostic_options": ()}
    anything |= {"cell_options": cell_options, "mitigation": ()}
    if key.diagnostic != "training":
        anything |= {"diagnostic": "gradient"}
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
    anything |= {"diagnostic": "gradient", "diagnostic_options": (), "mitigation": ()}
    return _batch_source(key._replace(**anything))


@functools.cache
def _batch_source(key: ProgramKey):
    """Points × sequences, drawn."""
    task = task_of(key)

    def draw(data_seed, length) -> Sample:
        keys = jax.random.split(random_key(data_seed), key.batch_size)
        batch = jax.vmap(task.sample, (0, None))(keys, length)
        return weighted(key, batch)

    return jax.jit(jax.vmap(draw))


def weighted(key: ProgramKey, batch: Sample) -> Sample:
    """A batch for the loss that a program measures or trains on.

    Args:
        key: the program.
        batch: as the task draws it.

    Returns:
        The batch with the task's own weights, or with weight 1 at the last step and 0 before.
    """
    if key.loss_at == "task":
        return batch
    return batch._replace(weights=jnp.zeros_like(batch.weights).at[:, -1].set(1))


def draw_network(key: ProgramKey, seed: UInt[Array, ""], scale: Float[Array, ""]):
    """Draw one network: the cell's weights, and a read-out with variance 1/m per weight.

    Args:
        key: the program.
        seed: of the network, uint32.
        scale: the gain of its recurrent weights.

    Returns:
        The state of the cell and the read-out ``(m, k)``.
    """
    cell_key, readout_key = jax.random.split(random_key(seed))
    cell = make(key, scale, nnx.Rngs(cell_key))
    weights = nnx.split(cell)[1]
    shape = (*output_shape(cell).shape, task_of(key).out_features)
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
    kind = kind_of(key)
    kind = kind._replace(options=(*kind.options, ("dtype", jnp.dtype(key.dtype))))
    return kind.make(key.hidden_features, scale, rngs)


def kind_of(key: ProgramKey) -> CellKind:
    """The cell of a program, but for its size and its floats.

    Args:
        key: the program.

    Returns:
        Its name, its options and its inputs.
    """
    options = tuple(sorted(_cell_options(key).items()))
    return CellKind(key.cell, options, task_of(key).in_features)


@functools.cache
def may_be_rounded(key: ProgramKey, is_silent: bool) -> bool:
    """Tell whether a gradient of 0 may be one that is only too small for the floats.

    Args:
        key: the program.
        is_silent: whether the recurrent scale is 0.

    Returns:
        False where zeros are exact: rectifiers, linear cells, and weights of 0 where the state has
        no other way.
    """
    cell = make(key, 0.0 if is_silent else 1.0, nnx.Rngs(random_key(0)))
    step, h0, _ = as_step(cell)
    return bool(traced.may_be_rounded(step, h0, jnp.zeros(cell.in_features, h0.dtype)))


def state_size_of(key: ProgramKey) -> int:
    """The numbers in the whole state of a program's cell.

    Args:
        key: the program.

    Returns:
        n.
    """
    return state_size(kind_of(key), key.hidden_features)


def _cell_options(key: ProgramKey) -> dict[str, Any]:
    """The options of the cell; a remedy that sets one overrules the cell's own."""
    return dict(key.cell_options) | dict(remedy_of(key).cell_options)


@functools.cache
def remedy_of(key: ProgramKey) -> Mitigation:
    """What a program does about vanishing and exploding gradients.

    Args:
        key: the program.

    Returns:
        All remedies as one.

    Raises:
        ValueError: if one does not exist, does not apply to the cell, or is none for the
            diagnostic.
    """
    remedy = combine([(name, dict(options)) for name, options in key.mitigation], key.cell)
    trains = remedy._replace(cell_options={}, prepare=None) != Mitigation()
    if trains and key.diagnostic != "training":
        names = ", ".join(name for name, _ in key.mitigation)
        raise ValueError(
            f"mitigation [{names}] acts on training, and diagnostic {key.diagnostic!r} trains "
            "nothing: use diagnostic=training, or remedies that change the network itself."
        )
    return remedy


@functools.cache
def structure_of(key: ProgramKey) -> nnx.GraphDef:
    """The cell of a program without its weights.

    Args:
        key: the program.

    Returns:
        A graph definition for `nnx.merge`.
    """
    cell = nnx.eval_shape(lambda: make(key, 1.0, nnx.Rngs(random_key(0))))
    return nnx.split(cell)[0]


def task_of(key: ProgramKey) -> Task:
    """The task of a program.

    Args:
        key: the program.

    Returns:
        The task, for sequences of up to the program's steps; in training, of finite data the part
        to train on.
    """
    return _task(key, "train")


def validation_task_of(key: ProgramKey) -> Task:
    """The task that a training is judged by.

    Args:
        key: the program.

    Returns:
        The task; of finite data, the part that is kept for validation.
    """
    return _task(key, "validation")


@functools.cache
def _task(key: ProgramKey, part: str) -> Task:
    """The task, or a part of its data."""
    options = dict(key.task_options)
    if key.diagnostic == "training" and "part" in task_options(key.task):
        options.setdefault("part", part)
        if part == "validation":
            options.pop("train_size", None)
    task = make_task(key.task, max_length=key.num_steps, dtype=key.dtype, **options)
    for file in options.values():  # what was read is what the key says
        if isinstance(file, DataFile) and not file.is_unchanged():
            raise InputError(f"{file.path} has changed since the command started; run it again.")
    return task
