"""From points to records: skip what is done, run what is missing, show progress, lose nothing."""

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from throughtime import devices
from throughtime.cluster import Batch, ClusterOptions
from throughtime.names import unknown
from throughtime.points import InputError, Point, in_one_sentence
from throughtime.progress import Count, shown

OTHER_RECORDS = ("refuse", "renew", "keep")
"""What to do with points that are recorded, but by other code, versions or another device."""

UNFINISHED = "unfinished"
"""The folder, beside the records, of what takes long and is not recorded yet."""


@dataclass(frozen=True)
class How:
    """How points are measured and kept; nothing that changes what they are.

    Attributes:
        device: auto, cpu, gpu or tpu.
        other_records: a name of `OTHER_RECORDS`.
        shared: whether other processes write to the same folder in turn.
        hosts: the processes that share this sweep, each of which measures some of its groups.
        cluster: where programs run, and with what.
    """

    device: str = "auto"
    other_records: str = "refuse"
    shared: bool = False
    hosts: devices.Hosts | None = None
    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    @classmethod
    def of_launcher(cls, options: Mapping[str, Any]) -> "How":
        """How a launcher was asked to run.

        Args:
            options: those of `ClusterOptions` and of `devices.Hosts` by name.

        Returns:
            This, with the device and the rest at their defaults.
        """
        names = [each.name for each in fields(ClusterOptions)]
        hosts = devices.Hosts(*(options[name] for name in devices.Hosts._fields))
        return cls(
            hosts=hosts if hosts.coordinator else None,
            cluster=ClusterOptions(**{name: options[name] for name in names}),
        )


def refused(points: Sequence[Point], how: How) -> dict[str, str]:
    """The points that cannot run, found before anything is compiled.

    Args:
        points: of any programs.
        how: where they would run.

    Returns:
        Why not, by the key of the point.

    Raises:
        InputError: if the device or another part of ``how`` cannot be used, or two cells would have
            one name in the tables.
    """
    if how.other_records not in OTHER_RECORDS:
        raise InputError(unknown("other_records", how.other_records, OTHER_RECORDS))
    how.cluster.check()
    devices.start(how.device, how.hosts)

    import jax

    from throughtime import sweeps
    from throughtime.cells import CELLS

    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError("a sweep runs compiled programs: unset JAX_DISABLE_JIT (jax_disable_jit).")

    _check_labels(points, CELLS)
    groups = sweeps.group(list(dict.fromkeys(points)))
    return {
        failure.point.key: failure.reason
        for key, members in groups.items()
        for failure in sweeps.refused(key, members)
    }


def _check_labels(points: Sequence[Point], cells: Collection[str]) -> None:
    """Refuse a label that is the name of another cell, or that two cells have."""
    labelled: dict[str, str] = {}
    for point in points:
        if point.label is None or point.label == point.cell:
            continue
        label = f"cell.label {point.label!r}"
        if point.label in cells:
            raise InputError(f"{label} of {point.cell} is the name of another cell.")
        first = labelled.setdefault(point.label, point.cell)
        if first != point.cell:
            raise InputError(f"{label} is given to two cells, {first} and {point.cell}.")


def execute(points: Sequence[Point], folder: Path, run_id: str, how: How) -> dict[str, str]:
    """Measure points and keep the results; what is already recorded is not run again.

    A request to stop waits for the running program and keeps what it measured: the same call goes
    on where it stopped.

    Args:
        points: what to measure; none of them `refused`.
        folder: ``results/<name>/runs``.
        run_id: of this run.
        how: where, and what to do with other records.

    Returns:
        Why a point could not be measured, by its key; empty if all were.

    Raises:
        InputError: if the folder cannot be used, or the records are of another origin.
        SystemExit: if it was asked to stop by SIGINT or SIGTERM, with 128 + the signal's number.
    """
    devices.start(how.device, how.hosts)

    from throughtime import checkpoints, ledger, provenance, records, sweeps

    points = list(dict.fromkeys(points))
    keys = [point.key for point in points]
    origin = provenance.provenance(None if how.cluster.is_remote else devices.kind())
    book = ledger.Ledger(folder, shared=how.shared or how.hosts is not None)
    with contextlib.closing(book):
        done = book.done(keys, origin, how.other_records)
        checkpoints.forget(folder / UNFINISHED, done)  # of a run that was stopped right then
        with in_one_sentence(folder):
            records.note_run(folder / run_id, keys, origin, how.other_records)
        groups = sweeps.group(points)
        todo = {key: [p for p in group if p.key not in done] for key, group in groups.items()}
        todo = _share(todo, how)
        count = Count(total=len(done) + sum(map(len, todo.values())), recorded=len(done))
        batches = _batches(todo, origin, folder, how)
        return _recorded(batches, partial(book.append, run_id=run_id), count)


def _share(groups: dict, how: How) -> dict:
    """What this process measures, where several hosts share a sweep: every n-th of each group."""
    if how.hosts is None:
        return groups
    import jax

    first, step = jax.process_index(), jax.process_count()
    return {key: members[first::step] for key, members in groups.items()}


def _batches(groups: dict, origin: dict, folder: Path, how: How) -> Generator[Batch]:
    """Results as they come, from this process or from the cluster."""
    from throughtime import sweeps

    if how.cluster.is_remote:
        yield from _driver(folder, origin, how).run(groups)
        return
    for key, members in groups.items():
        said = deque([key.label], maxlen=1)
        unfinished = folder / UNFINISHED
        with contextlib.closing(sweeps.run_group(key, members, unfinished, said.append)) as running:
            for results in running:
                yield Batch(results, origin, said[-1], sweeps.num_compiled())


def _driver(folder: Path, origin: dict, how: How):
    """What runs tasks on the cluster."""
    try:
        from throughtime.driver import Driver
    except ImportError as error:
        raise InputError(
            f"hydra.launcher.engine={how.cluster.engine} needs submitit: pip install -e .[slurm]."
        ) from error
    return Driver(folder / "tasks", how.device, how.cluster, origin)


def _recorded(batches: Generator[Batch], append: Callable, count: Count) -> dict[str, str]:
    """Record every point as it comes; returns the failures by key."""
    from throughtime.results import Failure, Result

    failures: dict[str, str] = {}
    console = Console(stderr=True)
    with (
        contextlib.closing(batches),
        shown(console, count) as update,
        _stop_requests() as stop,
    ):
        for batch in batches:
            measured = [result for result in batch.results if isinstance(result, Result)]
            failed = [result for result in batch.results if isinstance(result, Failure)]
            append(measured, batch.origin)
            failures |= {failure.point.key: failure.reason for failure in failed}
            if batch.news:
                console.print(batch.news, soft_wrap=True, markup=False, highlight=False)
            count.add(len(measured), len(failed), batch.num_compiled)
            update(batch.label)
            if stop:
                break
    console.print(count.summary(), soft_wrap=True)
    if stop and count.seen < count.total:
        kept = count.recorded + count.measured
        console.print(
            f"interrupted: {kept} of {count.total} points are kept; run it again to go on."
        )
        raise SystemExit(128 + stop[0])
    return failures


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
