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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from throughtime.cells import as_step
from throughtime.devices import memory_free
from throughtime.diagnostics import GradientDiagnostics, gradient_diagnostics
from throughtime.points import Point
from throughtime.programs import (
    ProgramKey,
    batch_source,
    draw_network,
    make,
    network_source,
    program_key,
    structure_of,
    task_of,
)
from throughtime.results import Failure, Result, results_of

NETWORKS_AT_ONCE = {"cpu": 16, "gpu": 1024, "tpu": 1024}
"""How many networks a program measures together on a device. More falls out of a CPU's cache."""

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
        A failure for each point whose cell or task or one of their options is unknown, whose
        sequence is longer than the data, or whose program would not fit in memory.
    """
    try:
        longest = task_of(key).longest
        needed = memory_needed(key, 1)
    except (ValueError, ImportError) as error:
        return [Failure(point, str(error)) for point in points]
    except OSError as error:
        reason = f"cannot read {error.filename}: {error.strerror}."
        return [Failure(point, reason) for point in points]
    free = memory_free()
    if needed > OVERESTIMATED * free:
        sizes = f"hidden_features={key.hidden_features} with batch_size={key.batch_size}"
        reason = (
            f"{sizes}, num_seeds={key.num_seeds} and {key.num_steps} steps needs up to "
            f"{needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free."
        )
        return [Failure(point, reason) for point in points]
    too_long = [p for p in points if longest is not None and p.sequence_length > longest]
    reason = "sequence_length must be at most {} for task {!r}, not {}."
    return [Failure(p, reason.format(longest, key.task, p.sequence_length)) for p in too_long]


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
    draw = functools.partial(draw_network, key)
    network = jax.eval_shape(draw, jnp.uint32(0), jnp.float32(1))
    weights = sum(leaf.size for leaf in jax.tree.leaves(network))
    state = jax.eval_shape(lambda: as_step(make(key, 1.0, nnx.Rngs(0))).h0).size
    task = task_of(key)
    per_step = STATE_COPIES * state + 2 * (task.in_features + task.out_features)
    networks = num_points * key.num_seeds
    floats = networks * (4 * weights + key.batch_size * key.num_steps * per_step)
    return floats * jnp.dtype(key.dtype).itemsize


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


def run_group(key: ProgramKey, points: Sequence[Point]) -> Iterator[Sequence[Result | Failure]]:
    """Measure points that share a program; the single run, the multirun and SLURM all end here.

    A batch that fails is halved and run again, down to single points: a program that is too large
    for the memory gets smaller, and a point that breaks it fails alone.

    Args:
        key: the program.
        points: points with this `program_key`.

    Yields:
        The results of a batch of points, in order, as soon as the batch is done.
    """
    whole = _whole(key, len(points))
    shape, queue = whole, deque(points)
    while queue:
        batch = [queue.popleft() for _ in range(min(math.prod(shape), len(queue)))]
        program = None
        try:
            program = _compiled(key, *shape)
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


def _whole(key: ProgramKey, num_points: int) -> tuple[int, int]:
    """Points at once on each device, and devices, for a group of some size."""
    size = points_at_once(key)
    return size, min(jax.local_device_count(), math.ceil(num_points / size))


def _halved(size: int, num_devices: int) -> tuple[int, int]:
    """Half the points on each device; a single device when there is one point on each."""
    return (size // 2, num_devices) if size > 1 else (1, 1)


def num_compiled() -> int:
    """The number of programs that measure, compiled so far by this process.

    Returns:
        A count.
    """
    return _compiled.cache_info().currsize


def _why(error: Exception) -> str:
    """The first line of an exception, with its kind."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Program(NamedTuple):
    """A program, compiled for each device by itself.

    Partitioned over devices by the compiler, as `jax.shard_map` does it, a program differs in its
    last bits from what one device computes.

    Attributes:
        key: what it is.
        size: how many points it measures at once on each device.
        calls: the program for each device.
        devices: the devices.
    """

    key: ProgramKey
    size: int
    calls: list[Callable]
    devices: list[Any]


def _measured(program: Program, points: list[Point]) -> list[Result]:
    """Draw weights and inputs on the CPU, measure on the devices, bring the numbers back."""
    key, size, calls, devices = program
    began = time.perf_counter()
    parts = [points[first : first + size] for first in range(0, len(points), size)]
    # All is drawn before anything runs: a CPU that measures would draw only when it is done.
    drawn = [_drawn(key, part + [part[-1]] * (size - len(part))) for part in parts]
    running = [
        call(*jax.device_put(arguments, device))
        for arguments, call, device in zip(drawn, calls, devices, strict=False)
    ]
    measured = [jax.tree.map(np.asarray, one) for one in running]
    shared = {
        "in_features": task_of(key).in_features,
        "networks_at_once": size * key.num_seeds,
        "seconds": (time.perf_counter() - began) / len(points) / key.num_seeds,
    }
    pairs = zip(parts, measured, strict=True)
    return [result for part, one in pairs for result in results_of(part, one, shared)]


def _drawn(key: ProgramKey, points: list[Point]):
    """The arguments of the program for one device, as NumPy arrays."""
    return _draw(
        key,
        np.array([[p.seed + i for i in range(key.num_seeds)] for p in points], np.uint32),
        np.array([p.recurrent_scale for p in points]),
        np.array([p.data_seed for p in points], np.uint32),
        np.array([p.sequence_length for p in points], np.int32),
    )


def _draw(key: ProgramKey, seeds, scales, data_seeds, lengths):
    """Networks and batches, drawn on the CPU."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        networks = network_source(key)(seeds, scales)
        batches = batch_source(key)(data_seeds, lengths)
    return jax.tree.map(np.asarray, (networks, batches, lengths))


@functools.cache
def _compiled(key: ProgramKey, size: int, num_devices: int) -> Program:
    """Compile the program for some points on each of some devices.

    Raises:
        MemoryError: if it needs more than is free.
    """
    devices = jax.local_devices()[:num_devices]
    # Drawn for real, so that what draws is compiled now and no batch is timed with it.
    seeds, lengths = np.zeros((size, key.num_seeds), np.uint32), np.full(size, 2, np.int32)
    example = _draw(key, seeds, np.ones(size), seeds[:, 0], lengths)
    lowered = [_program(key).lower(*_placed(example, device)) for device in devices]
    with ThreadPoolExecutor() as compilers:
        calls = list(compilers.map(lambda one: one.compile(), lowered))
    needed, free = _memory_used(calls[0]), memory_free()
    if needed > free:
        raise MemoryError(
            f"{size * key.num_seeds} networks of {key.num_steps} steps need "
            f"{needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free."
        )
    return Program(key, size, calls, devices)


def _memory_used(call) -> int:
    """The bytes that a compiled program takes on each device; 0 where the compiler cannot tell."""
    used = call.memory_analysis()
    if used is None:
        return 0
    return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes


def _placed(arrays, device):
    """The shapes of arrays, as if they lay on a device."""
    sharding = SingleDeviceSharding(device)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), arrays
    )


@functools.cache
def _program(key: ProgramKey):
    """Points × networks, each on its point's batch."""
    structure, task = structure_of(key), task_of(key)

    def one(network, batch, length) -> GradientDiagnostics:
        weights, readout = network
        cell = nnx.merge(structure, weights)
        return gradient_diagnostics(cell, readout, task.loss, batch, length)

    return jax.jit(jax.vmap(jax.vmap(one, (0, None, None))))
