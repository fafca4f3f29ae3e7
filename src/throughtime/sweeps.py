"""Many points as few programs: what changes the program is its key, everything else is traced.

A program measures a fixed number of networks at once; scale, seed and sequence length are data. A
group of points is cut into batches of that size, the last filled up by repetition, so that a
point's numbers do not depend on which points it was run with.
"""

import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from flax import nnx

from throughtime import statistics
from throughtime.cells import as_step
from throughtime.diagnostics import GradientDiagnostics, gradient_diagnostics
from throughtime.points import InputError, Point
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

NETWORKS_AT_ONCE = {"cpu": 16, "gpu": 1024, "tpu": 1024}
"""How many networks a program measures together. More falls out of a CPU's cache."""

STATE_COPIES = 20
"""Floats of working memory per state, step and sequence, at most; measured with memory_analysis."""


class Result(NamedTuple):
    """What was measured at a point.

    Attributes:
        point: the point.
        rows: one dict per network, in the order of seeds.
        curves: ln ‖dL/dh_{T−k}‖ by lag k, float64 ``(num_seeds, T)``.
    """

    point: Point
    rows: list[dict[str, Any]]
    curves: np.ndarray


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


def check(key: ProgramKey, points: Sequence[Point]) -> None:
    """Refuse a group that cannot run, before anything is compiled.

    Args:
        key: the program.
        points: the points that would run in it.

    Raises:
        InputError: if a cell or task or one of their options is unknown, if the data is shorter
            than a sequence, or if the program would not fit in memory.
    """
    try:
        task = task_of(key)
        jax.eval_shape(functools.partial(draw_network, key), jnp.uint32(0), jnp.float32(1))
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
    longest = max(point.sequence_length for point in points)
    if task.longest is not None and longest > task.longest:
        raise InputError(
            f"sequence_length must be at most {task.longest} for task {key.task!r}, not {longest}."
        )
    needed, free = memory_needed(key), memory_free()
    if needed > free:
        raise InputError(
            f"hidden_features={key.hidden_features} with batch_size={key.batch_size}, "
            f"num_seeds={key.num_seeds} and {key.num_steps} steps needs about "
            f"{needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free."
        )


def memory_needed(key: ProgramKey) -> int:
    """The working memory of a program, estimated from above.

    Args:
        key: the program.

    Returns:
        Bytes.
    """
    draw = functools.partial(draw_network, key)
    network = jax.eval_shape(draw, jnp.uint32(0), jnp.float32(1))
    weights = sum(leaf.size for leaf in jax.tree.leaves(network))
    state = jax.eval_shape(lambda: as_step(make(key, 1.0, nnx.Rngs(0))).h0).size
    task = task_of(key)
    per_step = STATE_COPIES * state + 2 * (task.in_features + task.out_features)
    networks = points_at_once(key) * key.num_seeds
    floats = networks * (4 * weights + key.batch_size * key.num_steps * per_step)
    return floats * jnp.dtype(key.dtype).itemsize


def memory_free() -> int:
    """The memory that is free on the device.

    Returns:
        Bytes: of the accelerator where it tells, else of the machine.
    """
    statistics_of_device = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics_of_device:
        return statistics_of_device["bytes_limit"] - statistics_of_device["bytes_in_use"]
    return psutil.virtual_memory().available


def points_at_once(key: ProgramKey) -> int:
    """How many points one call of the program measures.

    Args:
        key: the program.

    Returns:
        As many as fill `NETWORKS_AT_ONCE` of the device kind; at least 1.
    """
    return max(1, NETWORKS_AT_ONCE[jax.default_backend()] // key.num_seeds)


def run_group(key: ProgramKey, points: Sequence[Point]) -> Iterator[list[Result]]:
    """Measure points that share a program; the single run, the multirun and SLURM all end here.

    Args:
        key: the program.
        points: points with this `program_key`.

    Yields:
        The results of a batch of points, in order, as soon as the batch is done.
    """
    size = points_at_once(key)
    for first in range(0, len(points), size):
        batch = list(points[first : first + size])
        began = time.perf_counter()
        measured = _measure(key, batch + [batch[-1]] * (size - len(batch)))
        seconds = (time.perf_counter() - began) / len(batch)
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], measured) for i in range(len(batch))]
        in_features = task_of(key).in_features
        yield [
            _result(point, one, seconds, in_features)
            for point, one in zip(batch, each, strict=True)
        ]


def num_compiled() -> int:
    """The number of programs that measure, compiled so far by this process.

    Returns:
        A count.
    """
    return _program.cache_info().currsize


def _measure(key: ProgramKey, points: list[Point]) -> GradientDiagnostics:
    """Draw weights and inputs on the CPU, measure on the device, bring the numbers back."""
    seeds = np.array([[p.seed + i for i in range(key.num_seeds)] for p in points], np.uint32)
    scales = np.array([p.recurrent_scale for p in points])
    lengths = np.array([p.sequence_length for p in points], np.int32)
    data_seeds = np.array([p.data_seed for p in points], np.uint32)
    with jax.default_device(jax.devices("cpu")[0]):
        networks = network_source(key._replace(num_steps=0))(seeds, scales)
        batches = batch_source(key)(data_seeds, lengths)
    arguments = jax.device_put((networks, batches, lengths), jax.devices()[0])
    return jax.tree.map(np.asarray, _program(key)(*arguments))


@functools.cache
def _program(key: ProgramKey):
    """The compiled program: points × networks, each on its point's batch."""
    structure, task = structure_of(key), task_of(key)

    def one(network, batch, length):
        weights, readout = network
        cell = nnx.merge(structure, weights)
        return gradient_diagnostics(cell, readout, task.loss, batch, length)

    return jax.jit(jax.vmap(jax.vmap(one, (0, None, None))))


def _result(point: Point, measured: GradientDiagnostics, seconds: float, in_features: int):
    """The rows and curves of one point, in float64 on the host."""
    mantissas = measured.norms.mantissa[:, : point.sequence_length].astype(np.float64)
    exponents = measured.norms.exponent[:, : point.sequence_length]
    with np.errstate(divide="ignore"):
        curves = np.log(mantissas) + exponents * np.log(2.0)
    rows = [
        point.columns()
        | {"seed": point.seed + index, "in_features": in_features}
        | _row(point, jax.tree.map(lambda leaf, index=index: leaf[index], measured), curve)
        | {"seconds": seconds / point.num_seeds}
        for index, curve in enumerate(curves)
    ]
    return Result(point, rows, curves)


def _row(point: Point, measured: GradientDiagnostics, curve: np.ndarray) -> dict[str, Any]:
    """The numbers of one network."""
    horizon = statistics.horizon(curve)
    return {
        "log10_gradient_ratio": statistics.log10_ratio(curve),
        "rate": statistics.rate(curve),
        "horizon": horizon.lag,
        "horizon_is_bound": horizon.is_bound,
        "verdict": statistics.verdict(curve),
        "first_zero_lag": _or_none(measured.lost.first_zero, -1),
        "first_inf_lag": _or_none(measured.lost.first_inf, -1),
        "first_bad_step": _or_none(measured.first_bad_step, 0),
        "loss": float(measured.loss),
        "status": _status(point, measured, curve),
    }


def _or_none(value, nothing: int) -> int | None:
    """The integer, or None where it means nothing."""
    return None if value == nothing else int(value)


def _status(point: Point, measured: GradientDiagnostics, curve: np.ndarray) -> str:
    """Whether the numbers of a network are true.

    An exactly zero gradient is true for a dead rectifier and for a recurrent scale of 0; elsewhere
    it means that saturated states were rounded to where the derivative is 0 in floats.
    """
    if measured.first_bad_step > 0 or np.isnan(curve).any() or np.isposinf(curve).any():
        return "nonfinite"
    exact = dict(point.cell_options).get("activation") == "relu" or point.recurrent_scale == 0
    return "collapsed" if np.isneginf(curve).any() and not exact else "ok"
