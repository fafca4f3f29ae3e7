"""Programs for the devices that measure and what draws for them, compiled side by side.

Tracing is Python's and goes one after another; compiling is not, and two thirds of the time.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from throughtime.devices import memory_free
from throughtime.diagnostics import DIAGNOSTICS
from throughtime.draws import alike
from throughtime.programs import (
    ProgramKey,
    batch_source,
    network_source,
    remedy_of,
    structure_of,
    task_of,
)
from throughtime.training import prepare

SIDE_BY_SIDE = 8
"""Compilations at a time, at most."""

DRAWN = {"xla_backend_optimization_level": 1}
"""How sources are compiled: in half of the time, to code that is as fast and has the same bits."""


class Program(NamedTuple):
    """A program, compiled for each device by itself, and the sources of its arguments.

    Partitioned over devices by the compiler, as `jax.shard_map` does it, a program differs in its
    last bits from what one device computes.

    Attributes:
        key: what it is.
        size: how many points it measures at once on each device.
        networks: draws as `network_source` does, on the CPU.
        batches: draws as `batch_source` does, on the CPU.
        calls: the program for each device.
        devices: the devices.
    """

    key: ProgramKey
    size: int
    networks: Callable
    batches: Callable
    calls: list[Callable]
    devices: list[Any]


@functools.cache
def compiled(key: ProgramKey, size: int, num_devices: int) -> Program:
    """Compile the program for some points on each of some devices; nothing is compiled twice.

    Args:
        key: the program.
        size: how many points it measures at once on each device.
        num_devices: how many devices share the work.

    Returns:
        The program.

    Raises:
        MemoryError: if it needs more than is free.
    """
    devices = jax.local_devices()[:num_devices]
    (networks, _), (batches, _) = _sources(key, size)
    calls = [_on_device(key, size, device) for device in devices]
    program = Program(
        key, size, networks.result(), batches.result(), [call.result() for call in calls], devices
    )
    needed, free = memory_used(program.calls[0]), memory_free()
    if needed > free:
        raise MemoryError(
            f"{size * key.num_seeds} networks of {key.num_steps} steps need "
            f"{needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free."
        )
    return program


def num_compiled() -> int:
    """The number of programs that measure, compiled so far by this process.

    Returns:
        A count; a program for two devices counts twice.
    """
    return _on_device.cache_info().currsize


def memory_used(call) -> int:
    """The memory that a compiled program takes on its device.

    Args:
        call: one of the `calls` of a program.

    Returns:
        Bytes; 0 where the compiler cannot tell.
    """
    used = call.memory_analysis()
    if used is None:
        return 0
    return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes


def _sources(key: ProgramKey, size: int) -> tuple[tuple[Future, Any], tuple[Future, Any]]:
    """What draws networks and batches, on the CPU even where another device measures."""
    seeds = jax.ShapeDtypeStruct((size, key.num_seeds), np.uint32)
    scales, data_seeds, lengths = (
        jax.ShapeDtypeStruct((size,), dtype) for dtype in (np.float64, np.uint32, np.int32)
    )
    return (
        _source(network_source(key), seeds, scales),
        _source(batch_source(key), data_seeds, lengths),
    )


@functools.cache
def _source(function, *shapes: jax.ShapeDtypeStruct) -> tuple[Future, Any]:
    """A source, being compiled, and the shapes of what it draws."""
    with alike():
        lowered = function.lower(*_placed(shapes, jax.local_devices(backend="cpu")[0]))
    return _compilers().submit(lowered.compile, DRAWN), lowered.out_info


@functools.cache
def _on_device(key: ProgramKey, size: int, device) -> Future:
    """A program, being compiled for a device."""
    (_, networks), (_, batches) = _sources(key, size)
    lengths = jax.ShapeDtypeStruct((size,), np.int32)
    with alike():
        lowered = _program(key).lower(*_placed((networks, batches, lengths), device))
    return _compilers().submit(lowered.compile)


@functools.cache
def _compilers() -> ThreadPoolExecutor:
    """The threads that compile."""
    return ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="compiler")


def _placed(shapes, device):
    """Shapes, as of arrays that lie on a device."""
    sharding = SingleDeviceSharding(device)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )


@functools.cache
def _program(key: ProgramKey):
    """Points × networks, each on its point's batch."""
    structure, task, remedy = structure_of(key), task_of(key), remedy_of(key)
    measure = DIAGNOSTICS[key.diagnostic].measure
    assert measure is not None, "a training is not one program"
    options = dict(key.diagnostic_options)

    def one(network, batch, length):
        weights, readout = network
        nothing = jnp.zeros((), batch.inputs.dtype)
        weights = prepare(remedy.prepare, structure, weights, batch.inputs, lambda _: nothing)
        cell = nnx.merge(structure, weights)
        return measure(cell, readout, task.loss, batch, length, **options)

    return jax.jit(jax.vmap(jax.vmap(one, (0, None, None))))
