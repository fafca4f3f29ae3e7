"""Many points as few programs: what changes the program is its key, everything else is traced.

A program measures a fixed number of networks at once on each device; scale, seed and sequence
length are data. A group of points is cut into batches of that size, the last filled up by
repetition, so that a point's numbers do not depend on which points it was run with, nor on how
many devices shared the work.
"""

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from throughtime import compilation, crews
from throughtime.compilation import Program, compiled
from throughtime.devices import memory_free
from throughtime.diagnostics import DIAGNOSTICS, check_options
from throughtime.draws import random_key
from throughtime.names import sentence
from throughtime.paths import check_told_apart
from throughtime.points import Point
from throughtime.programs import (
    TRACED,
    ProgramKey,
    draw_network,
    kind_of,
    make,
    may_be_rounded,
    program_key,
    state_size_of,
    task_of,
    validation_task_of,
)
from throughtime.results import Failure, Result, results_of
from throughtime.scaled import at_least_float32, check_computable
from throughtime.sizes import size_columns
from throughtime.tasks import Task
from throughtime.trainings import train_group

NETWORKS_AT_ONCE = {"cpu": 16, "gpu": 1024, "tpu": 1024}
"""How many networks a program measures together on a device. More falls out of a CPU's cache."""

WORTH_A_DEVICE = {"cpu": 2**31, "gpu": 1, "tpu": 1}
"""The least work for each device: weights × tangent vectors × steps × sequences × networks.

One more core is worth a compilation of its own only where it saves more than that takes: about as
long as a core needs for so much work. An accelerator is there to be used."""

STATE_COPIES = 20
"""Floats of working memory per state, step and sequence, at most; measured with memory_analysis."""

OVERESTIMATED = 4
"""The estimate of `memory_needed` is at most this often too large."""


def group(points: Sequence[Point]) -> dict[ProgramKey, list[Point]]:
    """Sort points by the program that they run in.

    Args:
        points: in any order.

    Returns:
        Groups in the order of first appearance, points in their own order.
    """
    groups: dict[ProgramKey, list[Point]] = {}
    for point in points:
        groups.setdefault(program_key(point), []).append(point)
    return groups


def refused(key: ProgramKey, points: Sequence[Point]) -> list[Failure]:
    """The points of a group that cannot run, found before anything is compiled.

    Args:
        key: the program.
        points: the points that would run in it.

    Returns:
        A failure for each point whose cell, task, dtype or one of their options cannot be had,
        whose sequence does not suit the data or task, or whose program would not fit in memory.
    """
    try:
        check_computable(key.dtype)
        tasks = task_of(key), validation_task_of(key)
        _check_options(key)
        needed = memory_needed(key, 1)
    except (ValueError, ImportError) as error:
        return [Failure(point, sentence(str(error))) for point in points]
    except OSError as error:
        what = error.filename or f"the data of task {key.task!r}"
        reason = f"cannot read {what}: {error.strerror}."
        return [Failure(point, reason) for point in points]
    free = memory_free()
    if needed > OVERESTIMATED * free:
        sizes = f"hidden_features={key.hidden_features} with batch_size={key.batch_size}"
        reason = (
            f"{sizes}, num_seeds={key.num_seeds} and {key.num_steps} steps needs up to "
            f"{needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free."
        )
        return [Failure(point, reason) for point in points]
    why = {p: _misfit(tasks[0], p) or _misfit(tasks[1], p) or _unsaid(p) for p in points}
    return [Failure(p, reason) for p, reason in why.items() if reason]


def _unsaid(point: Point) -> str | None:
    """Name the fault of an option of a training that is no part of its program, if anything."""
    if point.diagnostic != "training":
        return None
    options = dict(point.diagnostic_options)
    for name in TRACED:
        if name not in options:
            return f"diagnostic.{name} is missing; a training needs it."
        dtype = at_least_float32(point.dtype)
        largest = float(jnp.finfo(dtype).max)
        if options[name] > largest:
            return (
                f"diagnostic.{name} must be at most {largest:.3g} in {dtype}, not {options[name]}."
            )
    return None


def _misfit(task: Task, point: Point) -> str | None:
    """Why a sequence is too short for a task or too long for its data, if it is."""
    reason = "sequence_length must be at {} {} for task {!r}, not {}."
    length = point.sequence_length
    if length < task.shortest:
        return reason.format("least", task.shortest, point.task, length)
    if task.longest is not None and length > task.longest:
        return reason.format("most", task.longest, point.task, length)
    return None


def memory_needed(key: ProgramKey, num_points: int) -> int:
    """The working memory of a program on each device, estimated from above.

    Args:
        key: the program.
        num_points: how many points it measures at once.

    Returns:
        Bytes.

    Raises:
        ValueError: if the cell or the task of the program cannot be made.
        ImportError: if a package that the task needs is not installed.
    """
    weights, state = _weights(key), state_size_of(key)
    task, tangents = task_of(key), _tangents(key)
    per_step = STATE_COPIES * max(state, tangents) + 2 * (task.in_features + task.out_features)
    per_sequence = key.num_steps * per_step + STATE_COPIES * state * tangents
    floats = num_points * key.num_seeds * (4 * weights + key.batch_size * per_sequence)
    return floats * jnp.dtype(key.dtype).itemsize


@functools.cache
def _weights(key: ProgramKey) -> int:
    """The weights of a network."""
    network = jax.eval_shape(functools.partial(draw_network, key), jnp.uint32(0), jnp.float32(1))
    return sum(leaf.size for leaf in jax.tree.leaves(network))


def _tangents(key: ProgramKey) -> int:
    """How many vectors of the state's size a step of the program carries along."""
    return DIAGNOSTICS[key.diagnostic].tangents(state_size_of(key), **dict(key.diagnostic_options))


def _check_options(key: ProgramKey) -> None:
    """Refuse options of the diagnostic that its state or its steps do not suit."""
    check_options(key.diagnostic, dict(key.diagnostic_options), state_size_of(key), key.num_steps)
    if key.diagnostic == "paths":
        check_told_apart(nnx.eval_shape(lambda: make(key, 1.0, nnx.Rngs(random_key(0)))))


def points_at_once(key: ProgramKey) -> int:
    """How many points one call of the program measures on each device.

    Args:
        key: the program.

    Returns:
        As many as fill `NETWORKS_AT_ONCE` of the device kind and fit in its memory; at least 1.
    """
    size = max(1, NETWORKS_AT_ONCE[jax.default_backend()] // key.num_seeds)
    while size > 1 and memory_needed(key, size) > memory_free():
        size //= 2
    return size


def run_group(
    key: ProgramKey,
    points: Sequence[Point],
    folder: Path | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> Generator[Sequence[Result | Failure]]:
    """Measure points that share a program; the single run, the multirun and SLURM all end here.

    A batch that fails is halved and run again, down to single points: a program that is too large
    for the memory gets smaller, and a point that breaks it fails alone.

    Args:
        key: the program.
        points: points with this `program_key`.
        folder: where what takes long is kept while it is unfinished; None keeps nothing.
        say: told what is running.

    Yields:
        The results of a batch of points, in order, as soon as the batch is done; none from time to
        time, where that takes long.
    """
    if key.diagnostic == "training":
        yield from train_group(key, points, folder, say)
        return
    say(key.label)
    whole = _whole(key, len(points))
    shape, queue = whole, deque(points)
    while queue:
        batch = [queue.popleft() for _ in range(min(math.prod(shape), len(queue)))]
        program = None
        try:
            program = compiled(key, *shape)
            results = _measured(program, batch)
        except Exception as error:
            if shape != (1, 1):
                queue.extendleft(reversed(batch))
                shape = _halved(*shape)
                continue
            # What a single point cannot be compiled for, no other point can.
            broken = batch if program else [*batch, *queue]
            queue = queue if program else deque()
            shape, results = whole, [Failure(point, _why(error)) for point in broken]
        yield results


def num_compiled() -> int:
    """The number of programs compiled so far by this process.

    Returns:
        A count; a program for two devices counts twice.
    """
    return compilation.num_compiled() + crews.num_programs()


def _whole(key: ProgramKey, num_points: int) -> tuple[int, int]:
    """Points at once on each device, and devices, for a group of some size."""
    size = points_at_once(key)
    sequences = num_points * key.num_seeds * key.batch_size
    work = sequences * key.num_steps * _weights(key) * _tangents(key)
    paying = work // WORTH_A_DEVICE[jax.default_backend()]
    return size, min(jax.local_device_count(), math.ceil(num_points / size), max(1, paying))


def _halved(size: int, num_devices: int) -> tuple[int, int]:
    """Half the points on each device; a single device when there is one point on each."""
    return (size // 2, num_devices) if size > 1 else (1, 1)


def _why(error: Exception) -> str:
    """The first line of an exception, with its kind."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _measured(program: Program, points: list[Point]) -> list[Result]:
    """Draw weights and inputs on the CPU, measure on the devices, bring the numbers back."""
    size = program.size
    began = time.perf_counter()
    parts = [points[first : first + size] for first in range(0, len(points), size)]
    # All is drawn before anything runs: a CPU that measures would draw only when it is done.
    drawn = [_drawn(program, part + [part[-1]] * (size - len(part))) for part in parts]
    running = [
        call(*jax.device_put(arguments, device))
        for arguments, call, device in zip(drawn, program.calls, program.devices, strict=False)
    ]
    measured = [jax.tree.map(np.asarray, one) for one in running]
    shared = {
        **size_columns(kind_of(program.key), program.key.hidden_features),
        "networks_at_once": size * program.key.num_seeds,
        "seconds": (time.perf_counter() - began) / len(points) / program.key.num_seeds,
    }
    pairs = zip(parts, measured, strict=True)
    rounded = functools.partial(_may_be_rounded, program.key)
    return [result for part, one in pairs for result in results_of(part, one, shared, rounded)]


def _may_be_rounded(key: ProgramKey, point: Point) -> bool:
    """Tell whether a gradient of 0 at a point may be one that is only too small."""
    return may_be_rounded(key, point.recurrent_scale == 0)


def _drawn(program: Program, points: list[Point]):
    """The arguments of the program for one device, as NumPy arrays."""
    lengths = np.array([p.sequence_length for p in points], np.int32)
    seeds = [[p.seed + i for i in range(program.key.num_seeds)] for p in points]
    scales = np.array([p.recurrent_scale for p in points])
    networks = program.networks(np.array(seeds, np.uint32), scales)
    batches = program.batches(np.array([p.data_seed for p in points], np.uint32), lengths)
    return jax.tree.map(np.asarray, (networks, batches, lengths))
