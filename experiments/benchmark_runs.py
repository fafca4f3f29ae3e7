"""Processes that measure points, watched from outside: a sweep by some launcher, or PyTorch."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
NETWORK = {"cell": "elman", "task": "radar", "hidden_features": 32, "num_seeds": 1, "device": "cpu"}
BATCH_SIZE = 8
LENGTHS = list(range(2, 51, 2))
SCALES_AND_SEEDS = {
    25: (1, 1),
    50: (2, 1),
    100: (4, 1),
    200: (4, 2),
    1_000: (8, 5),
    10_000: (20, 20),
    100_000: (40, 100),
}
"""How many of each a number of points takes, besides 25 lengths."""

POLL = 0.05
"""Seconds between two looks at a process: the resolution of its first row and peak memory."""

BOOKKEEPING = ("seconds", "networks_at_once")
"""What may differ between two measurements of one point."""


class Case(NamedTuple):
    """A process to measure: who runs how many points, and what was compiled before."""

    launcher: str
    cache: str
    points: int


class Cost(NamedTuple):
    """What a process took: seconds in all and until its first row, and bytes of memory."""

    seconds: float
    first_row: float
    peak: int


def grid(points: int) -> dict[str, list]:
    """The axes of so many points."""
    num_scales, num_seeds = SCALES_AND_SEEDS[points]
    scales = [round(0.5 + 1.5 * i / num_scales, 6) for i in range(num_scales)]
    return {"recurrent_scale": scales, "sequence_length": LENGTHS, "seed": list(range(num_seeds))}


def observe(command: list[str], folder: Path, rows: Path) -> Cost:
    """Run a command in a folder, with a compile cache there, and watch it write its rows."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    log, began = folder / "log.txt", time.perf_counter()
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file) as process,
        _ended(process),
    ):
        first, peak = _watched(process, rows, began)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:300]} failed:\n{log.read_text()[-3000:]}")
    seconds = time.perf_counter() - began
    return Cost(seconds, seconds if first is None else first, peak)


def _watched(process: subprocess.Popen, rows: Path, began: float) -> tuple[float | None, int]:
    """When a process had written its first row, and the most memory that it held."""
    first, peak = None, 0
    while True:
        peak = max(peak, sum(_resident(process.pid)))
        if first is None and _has_a_row(rows):
            first = time.perf_counter() - began
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
            return first, peak


def _has_a_row(rows: Path) -> bool:
    """Whether a line is complete after the first, which is a header or an origin."""
    if not rows.exists():
        return False
    with rows.open("rb") as file:
        return file.read(2**16).count(b"\n") >= 2


def _resident(pid: int) -> Iterator[int]:
    """The bytes that a process and each of its descendants hold."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield each.memory_info().rss


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """End a process and its children when this one is interrupted."""
    import psutil

    try:
        yield
    except BaseException:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                each.kill()
        raise


def sweep(folder: Path, case: Case) -> tuple[Cost, Path]:
    """Run a sweep in a folder; returns its records too."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = {key: ",".join(map(str, values)) for key, values in grid(case.points).items()}
    choices = {"hydra/launcher": case.launcher, "name": case.cache, "batch_size": BATCH_SIZE}
    choices["hydra/sweeper"] = "grid" if case.launcher == "batched" else "basic"
    overrides = [f"{key}={value}" for key, value in (NETWORK | choices | axes).items()]
    records = folder / "results" / case.cache / "runs" / "records.jsonl"
    command = [sys.executable, str(HERE / "sweep.py"), "-m", *overrides]
    return observe(command, folder, records), records


def loop_in_torch(folder: Path, case: Case) -> tuple[Cost, Path]:
    """Run the plain loop in a folder; returns its rows too."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.json").write_text(json.dumps(grid(case.points)))
    np.savez(folder / "batch.npz", **radar_batch())
    rows = folder / "rows.csv"
    script = str(HERE / "benchmark_torch.py")
    return observe(
        [sys.executable, script, "grid.json", "batch.npz", rows.name], folder, rows
    ), rows


def radar_batch(data_seed: int = 0) -> dict[str, Any]:
    """The sequences of the sweep: a shorter one is the beginning of a longer one."""
    import jax
    import numpy as np

    from throughtime.tasks import make_task

    task = make_task(NETWORK["task"], max_length=LENGTHS[-1], dtype="float32")
    keys = jax.random.split(jax.random.key(data_seed), BATCH_SIZE)
    batch = jax.vmap(task.sample, (0, None))(keys, LENGTHS[-1])
    return {"inputs": np.array(batch.inputs), "targets": np.array(batch.targets)}


class Recorded(NamedTuple):
    """What the records of a sweep say: numbers as a digest by point, seconds, and their origin."""

    numbers: dict[str, str]
    seconds: float
    origin: dict[str, Any]


def read(path: Path) -> Recorded:
    """Read the records of a sweep one by one."""
    from throughtime.records import read_lines

    numbers, seconds, origin = {}, 0.0, {}
    for line in read_lines(path):
        record, origin = line.decode(), line.origin
        shared = {k: value for k, value in record["shared"].items() if k not in BOOKKEEPING}
        seconds += record["shared"]["seconds"] * shared["num_seeds"]
        text = json.dumps([shared, record["each"]], sort_keys=True)
        digest = hashlib.sha256(text.encode() + record["curves"].tobytes())
        numbers[line.key] = digest.hexdigest()
    return Recorded(numbers, seconds, origin)
