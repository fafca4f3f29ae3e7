"""Measure the sweep machinery against its peers: the same points, the same machine, one run.

python experiments/benchmark.py            # 100 to 100,000 points; a quiet machine, please
python experiments/benchmark.py --all      # Hydra's own launchers at 10,000 points too
python experiments/benchmark.py --quick    # 50 points, to see that all of it works
"""

import argparse
import functools
import signal
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmark_runs import POLL, Case, loop_in_torch, read, sweep
from machine import here, publish, texts, versions
from throughtime.command_line import one_sentence

RESULTS = Path("results") / "benchmark"

BASE = 25
"""Points of the sweeps whose time counts as start-up: as few as keep two cores busy at once."""

REPEATS = 3
"""Of these small sweeps; the median counts."""

PEERS = ("torch", "hydra-core", "hydra-joblib-launcher")

COLUMNS = [
    "launcher",
    "cache",
    "points",
    "seconds",
    "points_per_second",
    "times_basic",
    "equal_rows",
    "first_row_seconds",
    "measuring_seconds",
    "startup_seconds",
    "overhead_ms_per_point",
    "resume_seconds",
    "resume_ms_per_point",
    "bytes_per_point",
    "peak_mib",
]

CAPTION = f"""\
Every row is a process of its own, timed from start to end, on points of one network (elman, \
N = 32, one seed a point, radar, batch of 8, T = 2, 4, …, 50) that differ in recurrent scale, \
length and seed.

- `cache`: cold, nothing was compiled before; warm, all was, by an earlier process; none, \
nothing is.
- `times_basic`: how often its time fits into that of Hydra's basic launcher on the same points, \
with the same cache (PyTorch's into the cold one's).
- `equal_rows`: yes, every number and curve has the bits of the first row of as many points.
- `first_row_seconds`: until the first result is on the disk, seen within {POLL} s.
- `measuring_seconds`: what the records say of themselves, added up over all points; without \
compilation.
- `startup_seconds`: the same command on {BASE} points, less its measuring seconds; median of \
{REPEATS} processes. Imports, composing and compiling.
- `overhead_ms_per_point`: (seconds − measuring − start-up) / (points − {BASE}): Hydra, statistics \
and records. Empty where these seconds are fewer than those by which the {REPEATS} start-ups \
differ, and for joblib, whose workers measure side by side.
- `resume_seconds`: the same command once more, with nothing left to measure; per point, less what \
it takes to resume {BASE} points, and empty likewise.
- `bytes_per_point`: of the records or rows on disk.
- `peak_mib`: resident memory of the process and its children, added up; what they share counts \
twice.

`basic` and `joblib` are Hydra's own launchers with Hydra's own sweeper. What would take them long \
is left out and not extrapolated; `--all` measures it. `torch` is a plain loop over the points in \
one process: the same sizes, inputs and loss, weights of its own, one backward pass and one line \
of CSV with the norm at every step. It has no scaled arithmetic (what underflows is 0), no second \
pass that finds where plain floats are lost, no statistics, no provenance and no resuming: it is \
not equal work.
"""


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description="Sweep machinery against its peers.")
    parser.add_argument("--quick", action="store_true", help="50 points, into runs/quick")
    parser.add_argument("--all", action="store_true", help="basic and joblib at every size too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with one_sentence(), tempfile.TemporaryDirectory() as folder:
        peers = versions(PEERS)
        benchmark = Benchmark(Path(folder), repeats=1 if arguments.quick else REPEATS)
        for case in plan(arguments.quick, arguments.all):
            row = benchmark.measure(case)
            print(
                ", ".join(f"{name} {text}" for name, text in texts(row, COLUMNS).items()),
                flush=True,
            )
        machine = benchmark.origin | peers | here()
        write(benchmark.rows, machine, RESULTS / "runs" / "quick" if arguments.quick else RESULTS)


def plan(quick: bool, everything: bool) -> list[Case]:
    """The cases in the order in which they run: basic ones first, warm ones after cold ones."""
    sizes = (50,) if quick else (200, 10_000)
    growth = sizes if quick else (100, 200, 1_000, 10_000, 100_000)
    peers = sizes if everything else sizes[:1]
    return [
        *(Case(launcher, "cold", points) for launcher in ("basic", "joblib") for points in peers),
        *(Case("torch", "none", points) for points in sizes),
        *(Case("batched", "cold", points) for points in growth),
        *(Case("basic", "warm", points) for points in peers if not quick),
        *(Case("batched", "warm", points) for points in sizes),
    ]


class Benchmark:
    """Cases measured one after the other, in a folder for what they leave."""

    def __init__(self, folder: Path, repeats: int = REPEATS):
        self.folder, self.repeats = folder, repeats
        self.rows: list[dict[str, Any]] = []
        self.origin: dict[str, Any] = {}
        self.numbers: dict[int, dict[str, str]] = {}
        self.small_sweeps = functools.cache(self._small_sweeps)

    def measure(self, case: Case) -> dict[str, Any]:
        """Run a case and return its row."""
        folder = self.folder / f"{case.launcher}-{case.points}"
        cost, path = (loop_in_torch if case.launcher == "torch" else sweep)(folder, case)
        row = case._asdict() | {
            "seconds": cost.seconds,
            "points_per_second": case.points / cost.seconds,
            "times_basic": self._times_basic(case, cost.seconds),
            "first_row_seconds": cost.first_row,
            "bytes_per_point": path.stat().st_size / case.points,
            "peak_mib": cost.peak / 2**20,
        }
        if case.launcher != "torch":
            row |= self._from_records(case, path)
        if case.launcher in ("basic", "batched"):
            row |= self._overhead(case, row)
        if case.launcher == "batched":
            row |= self._resumed(case, folder)
        self.rows.append(row)
        return row

    def _from_records(self, case: Case, path: Path) -> dict[str, Any]:
        """What the records of a sweep say."""
        recorded = read(path)
        self.origin = recorded.origin
        is_equal = self._check_numbers(case, recorded.numbers)
        return {"measuring_seconds": recorded.seconds, "equal_rows": "yes" if is_equal else None}

    def _overhead(self, case: Case, row: dict[str, Any]) -> dict[str, float | None]:
        """What a point takes besides its measuring."""
        startups = self.small_sweeps(case.launcher, case.cache)[0]
        seconds = row["seconds"] - row["measuring_seconds"]
        return {
            "startup_seconds": statistics.median(startups),
            "overhead_ms_per_point": _per_point(seconds, startups, case.points),
        }

    def _resumed(self, case: Case, folder: Path) -> dict[str, float | None]:
        """What it takes to find that all points are done."""
        resumes = self.small_sweeps(case.launcher, case.cache)[1]
        seconds = sweep(folder, case)[0].seconds
        per_point = _per_point(seconds, resumes, case.points)
        return {"resume_seconds": seconds, "resume_ms_per_point": per_point}

    def _small_sweeps(self, launcher: str, cache: str) -> tuple[list[float], list[float]]:
        """Seconds to start sweeps of `BASE` points, and to resume batched ones."""
        startups, resumes = [], []
        case = Case(launcher, cache, BASE)
        for i in range(self.repeats):
            folder = self.folder / f"{launcher}-{BASE}-{i}"
            cost, path = sweep(folder, case)
            startups.append(cost.seconds - read(path).seconds)
            if launcher == "batched":
                resumes.append(sweep(folder, case)[0].seconds)
        return startups, resumes

    def _check_numbers(self, case: Case, numbers: dict[str, str]) -> bool:
        """Whether there was something to compare the numbers with; raises if they differ."""
        if len(numbers) != case.points:
            raise RuntimeError(f"{case} recorded {len(numbers)} points.")
        first = self.numbers.setdefault(case.points, numbers)
        differ = [key for key in first if numbers.get(key) != first[key]]
        if differ:
            raise RuntimeError(f"{case}: {len(differ)} points differ, the first is {differ[0]}.")
        return first is not numbers

    def _times_basic(self, case: Case, seconds: float) -> float | None:
        """How often a time fits into that of the basic launcher; None where that was not run."""
        basic = ("basic", "warm" if case.cache == "warm" else "cold", case.points)
        same = [row for row in self.rows if tuple(row[name] for name in Case._fields) == basic]
        return same[0]["seconds"] / seconds if same else None


def _per_point(seconds: float, small: list[float], points: int) -> float | None:
    """Milliseconds for each point after the first `BASE`; None where the small sweeps scatter more.

    Nothing is known of 75 points by subtracting two processes that differ by a second anyway.
    """
    more = seconds - statistics.median(small)
    is_resolved = more > max(small) - min(small)
    return 1e3 * more / (points - BASE) if is_resolved else None


def write(rows: list[dict[str, Any]], machine: dict[str, Any], folder: Path) -> None:
    """Write the table and the figure."""
    import pandas as pd

    from throughtime.figures import save

    publish(rows, COLUMNS, CAPTION, machine, folder / "table")
    save(scaling(pd.DataFrame(rows, columns=COLUMNS)), folder / "scaling")


def scaling(frame):
    """Seconds per point against the number of points, a line for each launcher and cache."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    from throughtime.figures.panels import SINGLE_COLUMN, style

    with style():
        figure = Figure(figsize=(SINGLE_COLUMN, 2.6))
        axes = figure.subplots()
        for (launcher, cache), rows in frame.groupby(["launcher", "cache"], sort=False):
            rows = rows.sort_values("points")
            label = launcher if cache == "none" else f"{launcher}, {cache}"
            axes.plot(rows["points"], rows["seconds"] / rows["points"], "o-", label=label)
        axes.set(
            xscale="log", yscale="log", xlabel="points", ylabel="seconds per point, all in all"
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    return figure


if __name__ == "__main__":
    main()
