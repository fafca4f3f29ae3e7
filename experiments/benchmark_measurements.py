"""Time the measurements beside plain NumPy and PyTorch: equal numbers, one process, in turns.

python experiments/benchmark_measurements.py                 # minutes; a quiet machine, please
python experiments/benchmark_measurements.py --only training
python experiments/benchmark_measurements.py --quick         # tiny sizes, to see that all works
"""

import argparse
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import BLAS_THREADS, here, limit_blas, publish, texts, versions
from throughtime import devices
from throughtime.command_line import one_sentence
from throughtime.names import unknown
from throughtime.points import InputError

RESULTS = Path("results") / "benchmark"
BENCHMARKS = ("gradient", "spectrum", "bptt", "training")
PEERS = ("torch", "optax")

REPEATS = 5
"""Timings of each contestant, taken in turns."""

SHORTEST = 0.05
"""Seconds that a timing lasts, at least."""

COLUMNS = [
    "benchmark",
    "case",
    "ours",
    "ours_seconds",
    "peer",
    "peer_threads",
    "peer_seconds",
    "ratio",
    "ratio_lowest",
    "ratio_highest",
    "aim",
    "reached",
    "compile_seconds",
    "ratio_with_compile",
    "agreement",
    "tolerance",
]

CAPTION = f"""\
Everything runs in one process, warm, in turns (peer, ours, peer, ours), on the same weights and \
inputs, in float32 (spectra in float64). The run stops where our numbers and a peer's disagree.

- `case`: the cell, N hidden units, batch, T steps; cells have 8 inputs, in `bptt` N, \
in `gradient` the 2 of radar.
- `ours`: what is called. `run_group` is the sweep's own path: it draws weights and inputs, pads \
sequences to 64 steps, takes a second, plain pass to find where floats lose the gradient, and \
makes statistics; PyTorch does none of that. `adjoint_log_norms` is the function alone.
- `ours_seconds`, `peer_seconds`: for the whole case; medians of {REPEATS} timings, each of at \
least {SHORTEST} s.
- `peer_threads`: PyTorch takes one thread or all cores, whichever it is quicker with in a trial; \
JAX has all cores; the OpenBLAS of NumPy, and that of JAX, have {BLAS_THREADS} thread each.
- `ratio`, `ratio_lowest`, `ratio_highest`: of peer_seconds to ours_seconds within each turn: the \
median and the extremes. In `training` it is ours_seconds to peer_seconds, what measuring \
multiplies the time by. The geometric mean is of the medians, its extremes are the extreme medians.
- `aim`, `reached`: what the ratio was to be, decided before it was measured.
- `compile_seconds`: our first run, less a warm one; nothing was compiled before, except what \
rows above of the same benchmark need too, and training alone.
- `ratio_with_compile`: the peer's warm time to that of our first run.
- `agreement`, at most `tolerance`: the largest difference between ours and the peer's: in \
`gradient` of ln ‖dL/dh_t‖ over all points and steps, in `spectrum` of the exponents in nats per \
step, in `bptt` of the loss and each gradient, and in `training` of the losses and the weights \
learned, relative to the largest number of an array.

What is not equal. `gradient`: ours computes with mantissas and exponents, which cannot underflow; \
the loop in PyTorch (one point after the other, `retain_grad` on every state, weights without \
gradients) has plain floats. `spectrum`: NumPy has Jacobians written by hand, PyTorch those of \
`torch.func.jacrev`; ours also watches the orbit and the rounding of each direction. All three \
call LAPACK's QR at every step, PyTorch that of its own library; under vmap ours does so one orbit \
after the other. `bptt`: our cells in `jax.lax.scan` under `jax.value_and_grad`, beside \
`torch.nn.LSTM` and `GRU`; PyTorch has one more bias. `training`: Adam of optax; plain adjoints \
come out of the backward pass that training takes anyway, scaled ones take one of their own.
"""


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description="Measurements beside NumPy and PyTorch.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into runs/quick")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="some of %(default)s")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_sentence():
        peers = versions(PEERS)
        names = arguments.only.split(",")
        for name in names:
            if name not in BENCHMARKS:
                raise InputError(unknown("benchmark", name, BENCHMARKS))
        start()
        rows = measured(names, arguments.quick)
        folder = RESULTS / "runs" / "quick" if arguments.quick else RESULTS
        publish(rows, COLUMNS, CAPTION, origin() | peers, folder / "measurements")


def start() -> None:
    """One thread for LAPACK on small matrices, the CPU for all, and nothing compiled before."""
    limit_blas()
    devices.start("cpu")
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


def measured(names: list[str], quick: bool) -> list[dict[str, Any]]:
    """The rows of some benchmarks."""
    from benchmark_cases import QUICK, Sizes, gradient_cases, spectrum_cases
    from benchmark_training import bptt_cases, training_cases
    from contestants import measure

    cases: dict[str, Callable] = {"gradient": gradient_cases, "spectrum": spectrum_cases}
    cases |= {"bptt": bptt_cases, "training": training_cases}
    rows = []
    for name in names:
        for case in cases[name](QUICK if quick else Sizes()):
            rows += shown(measure(case, 2 if quick else REPEATS, SHORTEST))
        if name == "bptt":
            rows += shown(geometric_means([row for row in rows if row["benchmark"] == name]))
    return rows


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, after they were printed."""
    for row in rows:
        cells = texts(row, COLUMNS).items()
        print(", ".join(f"{name} {text}" for name, text in cells), flush=True)
    return rows


def geometric_means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for all cases, which is what the aim is for, and one for each cell."""
    from contestants import aimed

    cells = dict.fromkeys(row["case"].split(",")[0] for row in rows)
    means = [_geometric_mean(rows, "all")]
    means[0] |= aimed(means[0]["ratio"], 1.0)
    of_cells = ([row for row in rows if row["case"].startswith(f"{cell},")] for cell in cells)
    return means + list(map(_geometric_mean, of_cells, cells))


def _geometric_mean(rows: list[dict[str, Any]], which: str) -> dict[str, Any]:
    """One row for many cases."""
    ratios = [row["ratio"] for row in rows]
    return {
        "benchmark": rows[0]["benchmark"],
        "case": f"geometric mean of {len(rows)} cases, {which}",
        "ours": rows[0]["ours"],
        "peer": rows[0]["peer"],
        "ratio": statistics.geometric_mean(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "agreement": max(row["agreement"] for row in rows),
        "tolerance": max(row["tolerance"] for row in rows),
    }


def origin() -> dict[str, Any]:
    """Where the numbers come from."""
    from throughtime.provenance import provenance

    return provenance(devices.kind()) | {"blas_threads": BLAS_THREADS} | here()


if __name__ == "__main__":
    main()
