"""Time orbits and leading exponents in parallel against one step after the other, on one device.

python experiments/benchmark_parallel.py            # 10^3 to 10^5 steps; a quiet machine, please
python experiments/benchmark_parallel.py --quick    # 10^3 steps, to see that all of it works
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from machine import here, publish
from throughtime.dynamics import rollout
from throughtime.lyapunov import lyapunov_spectrum
from throughtime.parallel import leading_exponent, parallel_rollout
from throughtime.provenance import provenance

RESULTS = Path("results") / "benchmark"
STATES = (8, 32)
STEPS = (1_000, 10_000, 100_000)
REPEATS = 5
"""Warm runs of each; the median counts."""

GAIN, NOISE = 0.9, 0.5

COLUMNS = (
    "what",
    "state",
    "steps",
    "sequential_seconds",
    "parallel_seconds",
    "ratio",
    "equal",
)

CAPTION = f"""\
float32, compiled before, median of {REPEATS}. exponent: one direction through a chain of Gaussian \
matrices, by `lyapunov_spectrum` and by `leading_exponent`. orbit: a tanh network of gain {GAIN}, \
input noise {NOISE}, by `rollout` and by `parallel_rollout`. ratio: sequential over parallel \
seconds, above 1 where parallel is faster. equal: the largest difference, of exponents in nats per \
step, of states relative to |h_t|; or fallback, where the orbit ran one step after the other.
"""


def rows(states=STATES, steps=STEPS) -> list[dict[str, Any]]:
    """Measure every size; a row for each, with the columns of `COLUMNS`."""
    with jax.default_matmul_precision("highest"):
        return [
            measure(what, state, length)
            for what in (exponent, orbit)
            for state in states
            for length in steps
        ]


def measure(what, state: int, length: int) -> dict[str, Any]:
    """Time both ways of one size on the same numbers."""
    sequential, parallel, arguments, compare = what(state, length)
    one, sequential_seconds = timed(jax.jit(sequential), arguments)
    other, parallel_seconds = timed(jax.jit(parallel), arguments)
    row = (
        what.__name__,
        state,
        length,
        sequential_seconds,
        parallel_seconds,
        sequential_seconds / parallel_seconds,
        compare(one, other),
    )
    print(*row, file=sys.stderr, flush=True)
    return dict(zip(COLUMNS, row, strict=True))


def timed(function, arguments):
    """What a compiled function gives, and the median of its seconds."""
    result = jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def exponent(state: int, length: int):
    """The leading exponent of a chain of matrices, which a linear step is given as its inputs."""
    chain = _normal(state, (length, state * state)) / state**0.5
    h0 = jnp.zeros(state, jnp.float32)

    def step(h, x):
        return x.reshape(state, state) @ h

    def sequential(chain):
        return lyapunov_spectrum(step, h0, chain, 1).exponents[0]

    def parallel(chain):
        return leading_exponent(step, h0, chain, states=jnp.zeros((length, state), jnp.float32))

    return sequential, parallel, (chain,), lambda one, other: float(abs(one - other))


def orbit(state: int, length: int):
    """The orbit of a driven network that forgets."""
    weights = GAIN * _normal(state, (state, state)) / state**0.5
    inputs = NOISE * _normal(state + 1, (length, state))
    h0 = jnp.zeros(state, jnp.float32)

    def sequential(weights, inputs):
        return rollout(lambda h, x: jnp.tanh(weights @ h + x), h0, inputs)

    def parallel(weights, inputs):
        return parallel_rollout(lambda h, x: jnp.tanh(weights @ h + x), h0, inputs)

    def compare(one, other):
        gaps = jnp.max(jnp.abs(one - other.states), axis=1) / jnp.max(jnp.abs(one), axis=1)
        return float(jnp.max(gaps)) if other.converged else "fallback"

    return sequential, parallel, (weights, inputs), compare


def _normal(seed: int, shape: tuple[int, ...]) -> jax.Array:
    """Gaussian draws that are the same on every device."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def main() -> None:
    """Parse the command line, measure, and write the table."""
    parser = argparse.ArgumentParser(description="Parallel in time against step by step.")
    parser.add_argument("--quick", action="store_true", help="1,000 steps only, into runs/quick")
    quick = parser.parse_args().quick
    folder = RESULTS / "runs" / "quick" if quick else RESULTS
    measured = rows(steps=STEPS[:1] if quick else STEPS)
    machine = provenance(jax.devices()[0].device_kind) | here()
    publish(measured, COLUMNS, CAPTION, machine, folder / "parallel")


if __name__ == "__main__":
    main()
