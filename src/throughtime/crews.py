"""A crew: the training runs that one device carries on side by side, chunk by chunk."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from throughtime import checkpoints, devices
from throughtime.draws import alike, random_key
from throughtime.files import DataFile
from throughtime.learned import Look, Run
from throughtime.objectives import Network, Recipe, evaluate, loss_of_outputs
from throughtime.programs import (
    ProgramKey,
    network_source,
    remedy_of,
    structure_of,
    task_of,
    validation_task_of,
    weighted,
)
from throughtime.provenance import comparable
from throughtime.scaled import at_least_float32
from throughtime.tasks import Sample, Task
from throughtime.training import TrainState, fit, prepare, start_training, watch

QUICKLY = {"xla_backend_optimization_level": 1}
"""How trainings are compiled: in half of the time, to code that is as fast."""

SECONDS_BETWEEN_CHECKPOINTS = 30.0

RANDOMNESS, VALIDATION = 2**31 - 1, 2**31 - 2
"""Folded into the key of a network's data for what is random in its updates, and into the key of
all data for the validation set; updates fold in their number, networks their seed."""


class TrainingProgram(NamedTuple):
    """The parts of a training run, each over lanes; compiled for a device when first called there.

    Attributes:
        start: networks, learning rates, keys of the data and of the validation set, to states.
        advance: states and keys of the data, to states and the means of the infos.
        watch: states and keys of the validation set, to a `GradientWatch`.
        evaluate: the same, to loss and error.
    """

    start: Callable
    advance: Callable
    watch: Callable
    evaluate: Callable


@functools.cache
def training_program(key: ProgramKey) -> TrainingProgram:
    """The program of a training; nothing is traced twice.

    Args:
        key: of the program.

    Returns:
        Its parts.
    """
    options, task, judged = dict(key.diagnostic_options), task_of(key), validation_task_of(key)
    recipe = Recipe(
        structure_of(key),
        task.loss,
        options["optimizer"],
        remedy_of(key),
        options["master_weights"],
    )

    def start(network, learning_rate, data_key, validation_key):
        cell, kernel = network
        bias = jnp.zeros(task.out_features, kernel.dtype)
        batch = _batch(judged, key, validation_key, key.batch_size)
        network = Network(cell, kernel, bias)
        loss = loss_of_outputs(recipe, network, batch)
        cell = prepare(recipe.remedy.prepare, recipe.structure, cell, batch.inputs, loss)
        randomness = jax.random.fold_in(data_key, RANDOMNESS)
        return start_training(recipe, network._replace(cell=cell), learning_rate, randomness)

    def advance(state: TrainState, data_key):
        def sample(step):
            return _batch(task, key, jax.random.fold_in(data_key, step), key.batch_size)

        state, infos = fit(state, sample, options["check_every"])
        return state, jax.tree.map(_mean, infos)

    def watched(state: TrainState, validation_key):
        batch = _batch(judged, key, validation_key, key.batch_size)
        return watch(state, batch, options["older_than"])

    def evaluated(state: TrainState, validation_key):
        keys = jax.random.split(validation_key, options["validation_size"])
        return evaluate(recipe, state.network, judged, keys, key.num_steps)

    return TrainingProgram(*(jax.jit(jax.vmap(f)) for f in (start, advance, watched, evaluated)))


class OnDevice:
    """A training program as one device runs it; each part is compiled when it is first called."""

    def __init__(self, program: TrainingProgram):
        self.program = program
        self.compiled: dict[str, Callable] = {}

    def __call__(self, part: str, *arguments):
        """Call a part.

        Args:
            part: a field of `TrainingProgram`.
            *arguments: its own, on the device.

        Returns:
            What it returns.
        """
        return self.ready(part, *arguments)(*arguments)

    def ready(self, part: str, *arguments) -> Callable:
        """A part, compiled if it was not: what is timed must not be.

        Args:
            part: a field of `TrainingProgram`.
            *arguments: such as it will be called with.

        Returns:
            A function of such arguments.
        """
        if part not in self.compiled:
            with alike():
                lowered = getattr(self.program, part).lower(*arguments)
            self.compiled[part] = lowered.compile(QUICKLY)
        return self.compiled[part]


@functools.cache
def on_device(key: ProgramKey, device, num_lanes: int) -> OnDevice:
    """The program of a training for a device; nothing is compiled twice.

    Args:
        key: of the program.
        device: the device.
        num_lanes: how many runs it carries on.

    Returns:
        The program.
    """
    return OnDevice(training_program(key))


def num_programs() -> int:
    """The number of training programs so far, counted for each device."""
    return on_device.cache_info().currsize


def _batch(task: Task, key: ProgramKey, random_key, size: int) -> Sample:
    """Some sequences, weighted for the loss that the program trains on."""
    keys = jax.random.split(random_key, size)
    return weighted(key, jax.vmap(lambda one: task.sample(one, key.num_steps))(keys))


def _mean(values: Float[Array, " updates"]) -> Float[Array, ""]:
    """The mean, in float32 at least; also of numbers whose sum is beyond the float range."""
    values = values.astype(at_least_float32(values.dtype))
    mean = jnp.mean(values)
    return jnp.where(jnp.isinf(mean), jnp.sum(values / len(values)), mean)


class Crew:
    """Runs that a device trains side by side.

    Args:
        key: their program.
        runs: the runs, none of them begun.
        device: the device.
        folder: where they are kept while unfinished; None keeps none.
    """

    def __init__(self, key: ProgramKey, runs: Sequence[Run], device, folder: Path | None):
        self.key, self.runs, self.device, self.folder = key, list(runs), device, folder
        self.program = on_device(key, device, len(self.runs))
        self.solved_below = task_of(key).solved_below
        self.state: Any = None
        self.kept = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(run.is_done(self.solved_below) for run in self.runs)

    @property
    def said(self) -> str:
        """How far it is."""
        run = self.runs[-1]
        updates = max([run.looks[-1].numbers["updates"] for run in self.runs if run.looks] or [0])
        return f"seed {run.seed}, {updates:g}/{run.options['updates']} updates"

    def work(self) -> None:
        """A chunk of updates and a look at what became of it; the first time only the look."""
        if self.state is None:
            self._begin()
        else:
            advance = self.program.ready("advance", self.state, self.data_keys)
            began = time.perf_counter()
            self.state, infos = advance(self.state, self.data_keys)
            jax.block_until_ready(self.state)
            is_done = [run.is_done(self.solved_below) for run in self.runs]
            lanes = [lane for lane, done in enumerate(is_done) if not done]
            self._look(lanes, infos, time.perf_counter() - began)
        is_late = time.monotonic() - self.kept > SECONDS_BETWEEN_CHECKPOINTS
        if is_late or (self.is_done and any(run.point.num_seeds > 1 for run in self.runs)):
            self.keep()

    def keep(self) -> None:
        """Write down every run as it is."""
        if self.folder is None or self.state is None:
            return
        for lane, run in enumerate(self.runs):
            state = jax.tree.map(lambda leaf, at=lane: leaf[at], self.state)
            notes = {"looks": [look.to_json() for look in run.looks], "seconds": run.seconds}
            checkpoints.save(_place(self.folder, run), state, _description(run), notes)
        self.kept = time.monotonic()

    def _begin(self) -> None:
        """Draw the networks, bring back runs that were interrupted, look at the others."""
        seeds = np.array([[run.seed] for run in self.runs], np.uint32)
        scales = np.array([run.point.recurrent_scale for run in self.runs])
        rates = np.array([run.options["learning_rate"] for run in self.runs])
        # On the CPU, wherever they are trained: the same seed is the same network on every device.
        with jax.default_device(jax.local_devices(backend="cpu")[0]), alike():
            drawn = network_source(self.key)(seeds, scales)
        networks = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), drawn)
        keys, judged = _data_keys(self.runs)
        put = functools.partial(jax.device_put, device=self.device)
        self.data_keys, self.validation_keys = put(keys), put(judged)
        rates = put(jnp.asarray(rates, at_least_float32(self.key.dtype)))
        start = self.program("start", put(networks), rates, self.data_keys, self.validation_keys)
        found = [self._restored(lane, run, start) for lane, run in enumerate(self.runs)]
        self.state = put(jax.tree.map(lambda *lanes: jnp.stack(lanes), *found))
        self._look([lane for lane, run in enumerate(self.runs) if not run.looks])

    def _restored(self, lane: int, run: Run, start):
        """The state of a run: as it was kept, or at its start."""
        state = jax.tree.map(lambda leaf: leaf[lane], start)
        if self.folder is None:
            return state
        kept = checkpoints.restore(_place(self.folder, run), state, _description(run))
        if kept is None:
            return state
        state, notes = kept
        run.looks = [Look.from_json(look) for look in notes["looks"]]
        run.seconds = tuple(notes["seconds"])
        return jax.device_put(state, self.device)

    def _look(self, lanes: Sequence[int], infos=None, seconds: float = 0.0) -> None:
        """Look at some runs; those that are done stay as they were found."""
        if not lanes:
            return
        watched = self.program.ready("watch", self.state, self.validation_keys)
        began = time.perf_counter()
        seen = jax.tree.map(np.asarray, watched(self.state, self.validation_keys))
        watching = time.perf_counter() - began
        judged = jax.tree.map(
            np.asarray, self.program("evaluate", self.state, self.validation_keys)
        )
        counts = jax.tree.map(np.asarray, self.state.counts._replace(inner=None))
        infos, overflowed_at = jax.tree.map(np.asarray, (infos, self.state.overflowed_at))
        for lane in lanes:
            run = self.runs[lane]
            found = (seen, judged, counts, infos, overflowed_at)
            of_lane = jax.tree.map(lambda leaf, at=lane: leaf[at], found)
            run.looks.append(Look.of(*of_lane))
            run.seconds = (
                run.seconds[0] + seconds / len(self.runs),
                run.seconds[1] + watching / len(self.runs),
            )


def _data_keys(runs: Sequence[Run]):
    """The keys of the data of each run, and of its validation set, which a point's runs share."""
    with alike():
        data = [random_key(run.point.data_seed) for run in runs]
        own = [jax.random.fold_in(one, run.seed) for one, run in zip(data, runs, strict=True)]
        judged = [jax.random.fold_in(one, VALIDATION) for one in data]
        return jnp.stack(own), jnp.stack(judged)


def _place(folder: Path, run: Run) -> Path:
    """Where a run is kept."""
    return folder / f"{run.point.key}-{run.seed}"


def _description(run: Run) -> dict[str, Any]:
    """Description that a kept run must agree with to go on: of a file its content, not its name."""
    columns, options = run.point.columns(), run.point.task_options
    for name in [name for name, value in options if isinstance(value, DataFile)]:
        del columns[f"task_{name}"]
    return columns | {"seed": run.seed} | comparable(devices.kind())
