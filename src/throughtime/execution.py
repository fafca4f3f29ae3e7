"""From points to records: skip what is done, run what is missing, show progress, lose nothing."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from throughtime.names import unknown
from throughtime.points import InputError, Point

if TYPE_CHECKING:
    from throughtime.records import Ledger

DEVICES = {"auto": None, "cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""The platforms that JAX is asked for; the CPU is always among them, since it draws the weights."""

SECONDS_BETWEEN_LINES = 5.0


def execute(points: Sequence[Point], folder: Path, run_id: str, device: str = "auto") -> int:
    """Measure points and keep the results; what is already recorded is not run again.

    Every point is checked before the first is compiled. A request to stop waits for the running
    program and keeps what it measured: the same call goes on where it stopped.

    Args:
        points: what to measure.
        folder: ``results/<name>/runs``.
        run_id: of this run.
        device: auto, cpu, gpu or tpu.

    Returns:
        How many points were measured now.

    Raises:
        InputError: if a point, the device or the folder cannot be used; one sentence.
        SystemExit: if it was asked to stop by SIGINT or SIGTERM, with 128 + the signal's number.
    """
    if device not in DEVICES:
        raise InputError(unknown("device", device, DEVICES))
    if not points:
        raise InputError("the sweep is empty: no point to measure.")
    jax, sweeps, records = _import_heavy(device)
    groups = sweeps.group(list(dict.fromkeys(points)))
    for key, members in groups.items():
        sweeps.check(key, members)
    ledger = records.Ledger(folder, records.provenance(jax.devices()[0].device_kind))
    records.note_points(folder / run_id, list(dict.fromkeys(point.key for point in points)))
    with contextlib.closing(ledger):
        return _run_groups(sweeps, groups, ledger, run_id)


def _run_groups(sweeps, groups, ledger: "Ledger", run_id: str) -> int:
    """Run what is missing of each group, recording every point as it comes."""
    console = Console(stderr=True)
    if ledger.set_aside:
        console.print(f"records of other code or versions were set aside: {ledger.set_aside}")
    missing = {k: [p for p in members if p.key not in ledger.keys] for k, members in groups.items()}
    total = sum(map(len, groups.values()))
    todo = sum(map(len, missing.values()))
    done = 0
    batches = (
        (key, results)
        for key, members in missing.items()
        for results in sweeps.run_group(key, members)
    )
    with _progress(console, total, total - todo) as advance, _stop_requests() as stop:
        for key, results in batches:
            for result in results:
                ledger.append(result.point.key, result.rows, result.curves, run_id)
            done += len(results)
            advance(len(results), f"{key.cell}, {key.num_steps} steps")
            if stop:
                break
    console.print(
        f"{done} points measured, {total - todo} were already recorded, "
        f"{sweeps.num_compiled()} programs compiled."
    )
    if done < todo:
        console.print(
            f"interrupted: {total - todo + done} of {total} points are kept; run it again to go on."
        )
        raise SystemExit(128 + stop[0])
    return done


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that receives the signals which ask to stop; a second one stops at once."""
    received: list[int] = []

    def ask(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        # Not through Python's stderr, which may be in the middle of a write of its own.
        os.write(2, b"stopping after the running program; once more to stop at once.\n")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _import_heavy(device: str):
    """Import JAX and what needs it, with the precision and the device set once for the process."""
    platforms = DEVICES[device]
    if platforms is not None:
        os.environ["JAX_PLATFORMS"] = platforms
    import jax

    # Every array here has a stated dtype; x64 lets float64 points share a process with float32.
    jax.config.update("jax_enable_x64", True)
    # float32 means float32: by default matrix products on GPU and TPU round to fewer digits.
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        jax.devices()
    except RuntimeError as error:
        raise InputError(f"device={device} is not available: {error}.") from error
    from throughtime import records, sweeps

    return jax, sweeps, records


@contextlib.contextmanager
def _progress(console: Console, total: int, already: int) -> Iterator:
    """A progress bar on a terminal, a plain line every few seconds elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(console, total, already)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("compiling", total=total, completed=already)
        yield lambda count, what: progress.update(task, advance=count, description=what)


def _plain_lines(console: Console, total: int, already: int):
    """Count points and say so from time to time."""
    began = last = time.monotonic()
    done = 0

    def advance(count: int, what: str) -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if now - last > SECONDS_BETWEEN_LINES or already + done == total:
            last = now
            speed = done / (now - began)
            console.print(f"{already + done}/{total} points, {speed:.1f} points/s: {what}")

    return advance
