"""What a task on a cluster is, and what it does; `throughtime.driver` submits and gathers.

A task measures a chunk of a group of points, all in one program, and appends them batch by batch
to a ledger of its own: a task that is killed loses the batch that it was measuring.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from throughtime.names import unknown
from throughtime.points import InputError, Point

if TYPE_CHECKING:
    from throughtime.programs import ProgramKey
    from throughtime.results import Failure

ENGINES = ("inline", "local", "slurm")


@dataclass
class ClusterOptions:
    """Where programs run, and with what.

    Attributes:
        engine: ``inline``, in this process; ``slurm``, as tasks of a SLURM array; or ``local``, as
            processes of this machine that are managed in the same way.
        points_per_task: the most points of one program that one task measures.
        retries: how often the points of a task that died are tried again, in halves.
        partition: SLURM's; None leaves the choice to SLURM.
        minutes: the time limit of a task.
        cpus: cores of a task.
        gpus: GPUs of a task.
        memory_gb: memory of a task, GiB; None leaves it to SLURM.
        tasks_at_once: the most tasks that run at the same time.
        setup: lines of shell that a task runs first, such as ``module load cuda``.
        sbatch: any other options of sbatch, by name.
    """

    engine: str = "inline"
    points_per_task: int = 512
    retries: int = 2
    partition: str | None = None
    minutes: int = 60
    cpus: int = 1
    gpus: int = 0
    memory_gb: float | None = None
    tasks_at_once: int = 256
    setup: list[str] = field(default_factory=list)
    sbatch: dict[str, str] = field(default_factory=dict)

    @property
    def is_remote(self) -> bool:
        """Whether programs run in other processes than this one."""
        return self.engine != "inline"

    def check(self) -> None:
        """Refuse options that cannot be.

        Raises:
            InputError: if the engine is unknown or a number is out of range.
        """
        if self.engine not in ENGINES:
            raise InputError(unknown("hydra.launcher.engine", self.engine, ENGINES))
        lowest = {"points_per_task": 1, "retries": 0, "minutes": 1, "cpus": 1, "gpus": 0}
        for name, low in (lowest | {"tasks_at_once": 1}).items():
            if getattr(self, name) < low:
                given = getattr(self, name)
                raise InputError(f"hydra.launcher.{name} must be at least {low}, not {given}.")


class Batch(NamedTuple):
    """Some results, as they come from wherever programs run.

    Attributes:
        results: `Result` and `Failure`; empty where there is nothing but time to report.
        origin: their provenance.
        label: what is running, for the eye.
        num_compiled: programs compiled so far.
        news: a sentence that the user should see.
    """

    results: Sequence[Any]
    origin: dict[str, Any]
    label: str
    num_compiled: int
    news: str = ""


class Chunk(NamedTuple):
    """What one task measures.

    Attributes:
        key: the program.
        points: the points.
        retry: how often tasks with these points have died.
    """

    key: "ProgramKey"
    points: list[Point]
    retry: int = 0


def measure(chunk: Chunk, folder: Path, device: str, cpus: int) -> tuple[list["Failure"], int]:
    """What a task does: measure its points and append them to a ledger of its own.

    Args:
        chunk: its points.
        folder: of its ledger.
        device: auto, cpu, gpu or tpu.
        cpus: cores that it may use.

    Returns:
        The points that failed, and the number of programs compiled.
    """
    from throughtime import devices

    os.environ["JAX_NUM_CPU_DEVICES"] = str(cpus)
    devices.start(device)

    from throughtime import ledger, provenance, sweeps
    from throughtime.results import Failure, Result

    origin = provenance.provenance(devices.kind())
    failures = sweeps.refused(chunk.key, chunk.points)  # this machine's files, and its memory
    not_run = {failure.point for failure in failures}
    points = [point for point in chunk.points if point not in not_run]
    running = sweeps.run_group(chunk.key, points, folder / "unfinished") if points else ()
    with contextlib.closing(ledger.Ledger(folder)) as book:
        for results in running:
            book.append([one for one in results if isinstance(one, Result)], origin, folder.name)
            failures += [one for one in results if isinstance(one, Failure)]
    return failures, sweeps.num_compiled()
