"""Gradients by lag and Lyapunov spectra, each beside its peers on the same weights and inputs.

Networks and inputs are drawn, and PyTorch's modules made, before anything is timed; except by the
sweep, which draws its own.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from flax import nnx
from jax.typing import DTypeLike

import peers_numpy
import peers_torch
from contestants import Case, Contestant, apart, as_array
from machine import BLAS_THREADS
from throughtime.adjoints import adjoint_log_norms
from throughtime.cells import as_step, hidden, make_cell
from throughtime.devices import usable_cores
from throughtime.lyapunov import lyapunov_spectrum
from throughtime.lyapunov.frames import initial_frame
from throughtime.points import Point
from throughtime.programs import batch_source, network_source, program_key, structure_of, task_of
from throughtime.results import Failure
from throughtime.sweeps import NETWORKS_AT_ONCE, run_group

IN_FEATURES = 8

ROUNDING = {"gradient": 1e-4, "spectrum": 1e-6}
"""By how much floats may move the logarithm of a gradient's norm, or an exponent.

Spectra are in float64: in float32 the last exponents of an LSTM, e^−12 a step, are rounding in
their third digit, by whatever library."""


class Sizes(NamedTuple):
    """How large everything is."""

    hidden: int = 64
    steps: int = 50
    batch: int = 16
    scales: tuple[float, ...] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
    seeds: int = 8
    orbits: tuple[tuple[int, int], ...] = ((1, 1000), (16, 100))
    layers: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = (
        (32, 64, 128, 256),
        (50, 200),
        (16, 64),
    )
    updates: int = 20
    training_batch: int = 32


QUICK = Sizes(6, 7, 3, (0.8, 1.1), 2, ((1, 20), (2, 20)), ((6,), (7,), (3,)), 11, 4)


def drawn(*shape: int) -> np.ndarray:
    """Inputs, N(0, 1)."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def drawn_cell(
    name: str, hidden_features: int, in_features: int = IN_FEATURES, dtype: DTypeLike = np.float32
) -> nnx.RNNCellBase:
    """A cell of recurrent scale 1."""
    rngs, scale = nnx.Rngs(0), 1.0
    return make_cell(
        name, in_features, hidden_features, recurrent_scale=scale, dtype=dtype, rngs=rngs
    )


def weights_of(cell: nnx.RNNCellBase) -> dict[str, np.ndarray]:
    """The arrays of a cell by name."""
    names = ("input_kernel", "recurrent_kernel", "bias", "candidate_bias")
    return {name: np.asarray(getattr(cell, name)[...]) for name in names if hasattr(cell, name)}


def finished(function: Callable, *arguments) -> Callable:
    """A call that waits for its result."""
    return lambda: jax.block_until_ready(function(*arguments))


def in_torch(run: Callable, numbers: Callable) -> Contestant:
    """A peer in PyTorch, on as many threads as suit it."""
    run, threads = peers_torch.threaded(run, usable_cores())
    return Contestant("torch", run, numbers, threads)


# Gradients by lag


def gradient_cases(sizes: Sizes) -> Iterator[Case]:
    """The points of a sweep: by the sweep itself, by the function alone, and by a plain loop."""
    for name in ("elman", "gru", "lstm"):
        points = lag_points(name, sizes)
        networks, batch = drawn_points(points)
        torch_loop = in_torch(plain_loop(name, points, networks, batch), in_logs)
        function = finished(log_norms(program_key(points[0])), networks, batch)
        for ours in (
            Contestant("run_group", lambda points=points: swept(points)),
            Contestant("adjoint_log_norms", function),
        ):
            case = f"{name}, N = {sizes.hidden}, batch {sizes.batch}, T = {sizes.steps}, "
            case += f"{len(points)} points"
            yield Case("gradient", case, ours, [torch_loop], apart, ROUNDING["gradient"], aim=20)


def lag_points(cell: str, sizes: Sizes) -> list[Point]:
    """The points of a sweep over scales and seeds."""
    return [
        Point(
            cell=cell,
            task="radar",
            recurrent_scale=scale,
            sequence_length=sizes.steps,
            hidden_features=sizes.hidden,
            num_seeds=1,
            seed=seed,
            data_seed=0,
            batch_size=sizes.batch,
            dtype="float32",
            loss_at="last",
        )
        for scale, seed in itertools.product(sizes.scales, range(sizes.seeds))
    ]


def drawn_points(points: list[Point]):
    """The networks of points, with a leading axis, and their batch, without the padding."""
    key, length = program_key(points[0]), points[0].sequence_length
    seeds = np.array([[point.seed] for point in points], np.uint32)
    scales = np.array([point.recurrent_scale for point in points])
    networks = jax.tree.map(lambda leaf: leaf[:, 0], network_source(key)(seeds, scales))
    batch = batch_source(key)(np.zeros(1, np.uint32), np.array([length], np.int32))
    return networks, jax.tree.map(lambda leaf: leaf[0, :, -length:], batch)


def swept(points: list[Point]) -> np.ndarray:
    """ln ‖dL/dh_t‖ by point and step, as the sweep has it: drawing and statistics included."""
    curves = []
    for result in itertools.chain.from_iterable(run_group(program_key(points[0]), points)):
        if isinstance(result, Failure):
            raise RuntimeError(f"{result.point} was not measured: {result.reason}")
        curves.append(result.curves[0, ::-1])
    return np.stack(curves)


def log_norms(key) -> Callable:
    """ln ‖dL/dh_t‖ over the batch, of as many networks at once as the sweep takes."""
    structure, task = structure_of(key), task_of(key)

    def of_sequence(network, sample):
        weights, readout = network
        step, h0, unravel = as_step(nnx.merge(structure, weights))

        def loss(states):
            output = hidden(unravel(states[-1])) @ readout
            return task.loss(output[None], sample.targets[-1:])[0] / key.batch_size

        return adjoint_log_norms(loss, step, h0, sample.inputs)

    def of_network(network, batch):
        logs = jax.vmap(of_sequence, (None, 0))(network, batch)
        return 0.5 * jax.nn.logsumexp(2 * logs, axis=0)

    def of_all(networks, batch):
        at_once = NETWORKS_AT_ONCE["cpu"]
        return jax.lax.map(lambda each: of_network(each, batch), networks, batch_size=at_once)

    return jax.jit(of_all)


def plain_loop(name: str, points: list[Point], networks, batch) -> Callable[[], list[list[float]]]:
    """One point after the other in PyTorch; its modules are made beforehand."""
    structure = structure_of(program_key(points[0]))
    weights = [jax.tree.map(lambda leaf, i=i: leaf[i], networks) for i in range(len(points))]
    cells = [
        peers_torch.module(name, weights_of(nnx.merge(structure, own))).requires_grad_(False)
        for own, _ in weights
    ]
    readouts = [torch.from_numpy(np.array(readout)) for _, readout in weights]
    inputs = torch.from_numpy(np.array(batch.inputs)).transpose(0, 1).contiguous()
    targets = torch.from_numpy(np.array(batch.targets[:, -1]))
    return lambda: [
        peers_torch.gradient_norms(cell, readout, inputs, targets)
        for cell, readout in zip(cells, readouts, strict=True)
    ]


def in_logs(norms: list[list[float]]) -> list[np.ndarray]:
    """Norms, as their logarithms."""
    return [np.log(norms)]


# Lyapunov spectra


def spectrum_cases(sizes: Sizes) -> Iterator[Case]:
    """Full spectra on the full state, of one orbit and of several at once."""
    for name, (orbits, steps) in itertools.product(("elman", "lstm"), sizes.orbits):
        cell = drawn_cell(name, sizes.hidden, dtype=np.float64)
        inputs = drawn(orbits, steps, IN_FEATURES).astype(np.float64)
        size = as_step(cell).h0.size
        frame = np.asarray(initial_frame(size, size, np.float64))
        case = f"{name}, N = {sizes.hidden}, {size} exponents, T = {steps}, "
        case += f"{orbits} orbit{'s' if orbits > 1 else ''}"
        ours = Contestant("lyapunov_spectrum", finished(exponents(cell, orbits), inputs))
        peers = [
            Contestant("numpy", numpy_spectrum(name, cell, frame, inputs), as_array, BLAS_THREADS),
            in_torch(torch_spectrum(name, cell, frame, inputs), as_array),
        ]
        yield Case("spectrum", case, ours, peers, apart, ROUNDING["spectrum"], aim=10)


def exponents(cell: nnx.RNNCellBase, orbits: int) -> Callable:
    """The exponents of each orbit; a single one needs no vmap."""
    step, h0, _ = as_step(cell)

    def one(inputs):
        return lyapunov_spectrum(step, h0, inputs).exponents

    return jax.jit(jax.vmap(one) if orbits > 1 else lambda inputs: one(inputs[0])[None])


def numpy_spectrum(name: str, cell, frame: np.ndarray, inputs: np.ndarray) -> Callable:
    """The peer in NumPy, ready to run."""
    weights = weights_of(cell)
    return lambda: peers_numpy.spectrum(name, weights, frame, inputs)


def torch_spectrum(name: str, cell, frame: np.ndarray, inputs: np.ndarray) -> Callable:
    """The peer in PyTorch, ready to run."""
    made = peers_torch.module(name, weights_of(cell))
    return lambda: peers_torch.spectrum(made, frame, torch.from_numpy(inputs))
