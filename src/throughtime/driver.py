"""The driver of a sweep on a cluster: submits tasks, gathers what they write, retries the dead.

What was submitted is in ``tasks/submitted.jsonl``: a driver that is killed loses nothing, and the
next one waits for the tasks that are still running instead of submitting them again.
"""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.slurm.slurm import SlurmInfoWatcher

from throughtime.cluster import Batch, Chunk, ClusterOptions, measure
from throughtime.devices import usable_cores
from throughtime.points import InputError, Point, in_one_sentence
from throughtime.programs import ProgramKey, program_key
from throughtime.provenance import COMPARABLE, fingerprint
from throughtime.records import read_lines
from throughtime.results import Failure, Result

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_UNTIL_KNOWN = 60.0
"""SLURM's accounting knows a task by then; one that it does not know is gone."""

LONGEST_ARRAY = 1000
"""SLURM's own limit unless its administrator set another."""


class Task(NamedTuple):
    """A task that was submitted.

    Attributes:
        job: submitit's handle.
        chunk: what it measures.
        folder: of its ledger.
        adopted: whether an earlier driver submitted it.
    """

    job: submitit.Job
    chunk: Chunk
    folder: Path
    adopted: bool = False


class AttachedLocalJob(submitit.LocalJob):
    """A process that another driver started: submitit itself takes it for dead at once."""

    def done(self, force_check: bool = False) -> bool:
        """Whether the process has ended.

        Args:
            force_check: not used.

        Returns:
            True if it left a result, or is gone.
        """
        return self.paths.result_pickle.exists() or not psutil.pid_exists(int(self.job_id))


class Driver:
    """Runs groups of points as tasks of a cluster.

    Args:
        folder: ``results/<name>/runs/tasks``.
        device: what the tasks measure on.
        options: the cluster's.
        origin: the provenance of this driver; tasks of other code are not adopted.

    Raises:
        InputError: if there is no such cluster here.
    """

    def __init__(self, folder: Path, device: str, options: ClusterOptions, origin: dict[str, Any]):
        self.folder, self.device, self.options = folder, device, options
        self.origin = fingerprint({name: origin[name] for name in COMPARABLE})
        self.wanted: dict[str, Point] = {}
        self.waiting: deque[Chunk] = deque()
        self.running: list[Task] = []
        self.num_compiled = 0
        submitit.SlurmJob.watcher = SlurmInfoWatcher(delay_s=2)  # 600 s would hide a dead task
        with in_one_sentence(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self.executor = _executor(folder, options)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"hydra.launcher.engine={options.engine}: {error}.") from error

    def run(self, groups: Mapping[ProgramKey, Sequence[Point]]) -> Iterator[Batch]:
        """Measure points.

        Args:
            groups: by program.

        Yields:
            Results as they come, and every second how many tasks are left.

        Raises:
            InputError: if the cluster refuses a task.
        """
        self.wanted = {point.key: point for points in groups.values() for point in points}
        self._adopt()
        adopted = {point.key for task in self.running for point in task.chunk.points}
        for key, points in groups.items():
            self._queue(key, [point for point in points if point.key not in adopted])
        while self.running or self.waiting:
            self._submit()
            for task in list(self.running):
                is_done = task.job.done()  # asked first: what it wrote is then all there is
                yield from self._gathered(task)
                if is_done:
                    yield self._ended(task)
            yield self._batch([], {})
            if self.running:
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def _batch(self, results: Sequence[Any], origin: dict[str, Any], news: str = "") -> Batch:
        """Results, with how things stand."""
        label = f"{len(self.running)} tasks on {self.options.engine}"
        return Batch(results, origin, label, self.num_compiled, news)

    def _queue(self, key: ProgramKey, points: list[Point], retry: int = 0) -> None:
        """Let points wait for their turn, cut into chunks."""
        size = self.options.points_per_task
        for first in range(0, len(points), size):
            self.waiting.append(Chunk(key, points[first : first + size], retry))

    def _submit(self) -> None:
        """Submit what waits: all of it as an array, or as many processes as there are cores."""
        count = min(len(self.waiting), LONGEST_ARRAY)
        if self.options.engine == "local":
            cores = usable_cores() // self.options.cpus
            count = min(count, max(1, min(cores, self.options.tasks_at_once)) - len(self.running))
        if count <= 0:
            return
        chunks = [self.waiting.popleft() for _ in range(count)]
        folders = [self.folder / _name(chunk) for chunk in chunks]
        try:
            with self.executor.batch():
                jobs = [
                    self.executor.submit(measure, chunk, folder, self.device, self.options.cpus)
                    for chunk, folder in zip(chunks, folders, strict=True)
                ]
        except FailedJobError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"SLURM refuses the tasks: {reason}") from error
        new = list(map(Task, jobs, chunks, folders))
        self._note(new)
        self.running += new

    def _note(self, tasks: list[Task]) -> None:
        """Write down what was submitted, for the next driver."""
        lines = [
            {
                "job_id": task.job.job_id,
                "engine": self.options.engine,
                "origin": self.origin,
                "submitted": time.time(),
                "retry": task.chunk.retry,
                "folder": task.folder.name,
                "keys": [point.key for point in task.chunk.points],
            }
            for task in tasks
        ]
        path = self.folder / "submitted.jsonl"
        with in_one_sentence(path), path.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def _adopt(self) -> None:
        """Take over the tasks of an earlier driver that measure what is wanted."""
        path = self.folder / "submitted.jsonl"
        noted = path.read_text().splitlines() if path.exists() else []
        left = dict(self.wanted)
        for line in reversed(noted):  # a point that was tried again is in a later task
            entry = _entry(line)
            if (entry.get("origin"), entry.get("engine")) != (self.origin, self.options.engine):
                continue
            points = [left.pop(key) for key in entry["keys"] if key in left]
            job = _attached(self.folder, entry)
            if points and job is not None:
                chunk = Chunk(program_key(points[0]), points, entry["retry"])
                self.running.append(Task(job, chunk, self.folder / entry["folder"], adopted=True))

    def _gathered(self, task: Task) -> Iterator[Batch]:
        """What a task has written since the last look."""
        path = task.folder / "records.jsonl"
        lines = (line for line in (read_lines(path) if path.exists() else ()))
        new = [line for line in lines if line.key in self.wanted]
        for _, same in groupby(new, key=lambda line: line.name):
            same = list(same)
            yield self._batch([self._result(line.decode()) for line in same], same[0].origin)

    def _result(self, record: dict[str, Any]) -> Result:
        """A record as the result that it was; its point is not waited for any more."""
        point = self.wanted.pop(record["key"])
        return Result(point, record["shared"], record["each"], record["curves"])

    def _ended(self, task: Task) -> Batch:
        """What became of the points of a task that it did not measure."""
        self.running.remove(task)
        try:
            failures, num_compiled = task.job.result()
        except FailedJobError as error:
            reason = str(error).strip().split("\n")[-1]
            return self._given_up(task, f"its task failed: {reason}")
        except UncompletedJobError as error:
            return self._died(task, _last_words(task.job, error))
        self.num_compiled += num_compiled
        shutil.rmtree(task.folder, ignore_errors=True)
        failures = [failure for failure in failures if self.wanted.pop(failure.point.key, None)]
        return self._batch(failures, {})

    def _died(self, task: Task, why: str) -> Batch:
        """Try the points of a task that was killed again: in halves, to spare most of them."""
        left = [point for point in task.chunk.points if point.key in self.wanted]
        if task.chunk.retry >= self.options.retries and not task.adopted:
            return self._given_up(task, f"its task died {task.chunk.retry + 1} times: {why}")
        size = len(left) if task.adopted else (len(left) + 1) // 2
        retry = task.chunk.retry + (not task.adopted)
        for first in range(0, len(left), max(1, size)):
            self._queue(task.chunk.key, left[first : first + size], retry)
        said = f"task {task.job.job_id} died ({why}); {len(left)} of its points are tried again."
        return self._batch([], {}, said if left else "")

    def _given_up(self, task: Task, reason: str) -> Batch:
        """Fail what a task did not measure."""
        left = [point for point in task.chunk.points if self.wanted.pop(point.key, None)]
        return self._batch([Failure(point, reason) for point in left], {})


def _name(chunk: Chunk) -> str:
    """The folder of a chunk's ledger; the same points have the same one."""
    return "chunk-" + fingerprint({"keys": [point.key for point in chunk.points]})


def _entry(line: str) -> dict[str, Any]:
    """A line of what was submitted; nothing if its writer was killed in the middle of it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}


def _executor(folder: Path, options: ClusterOptions) -> submitit.Executor:
    """What submits tasks."""
    gpus = {"gpus_per_node": options.gpus} if options.gpus else {}
    if options.engine == "local":
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=options.minutes, **gpus)
        return executor
    executor = submitit.SlurmExecutor(folder)
    if options.partition is not None:
        gpus |= {"partition": options.partition}
    if options.memory_gb is not None:
        gpus |= {"mem": f"{round(options.memory_gb * 1024)}MB"}
    executor.update_parameters(
        job_name="throughtime",
        time=options.minutes,
        cpus_per_task=options.cpus,
        array_parallelism=options.tasks_at_once,
        setup=list(options.setup),
        use_srun=False,
        # SLURM would run a task again by itself after a node failed, beside our own retry.
        additional_parameters={"no-requeue": True, **options.sbatch},
        **gpus,
    )
    return executor


def _attached(folder: Path, entry: dict[str, Any]) -> submitit.Job | None:
    """A task of an earlier driver; None if nobody knows of it any more."""
    job_id = entry["job_id"]
    if entry["engine"] == "local":
        return AttachedLocalJob(folder=folder, job_id=job_id, tasks=[0])
    job = submitit.SlurmJob(folder=folder, job_id=job_id, tasks=[0])
    is_old = time.time() - entry["submitted"] > SECONDS_UNTIL_KNOWN
    if is_old and not job.done() and job.watcher.get_state(job_id, mode="force") == "UNKNOWN":
        return None
    return job


def _last_words(job: submitit.Job, error: UncompletedJobError) -> str:
    """Why a task died, as far as it is known: its state, and the end of what it said."""
    state = str(error).split("state: ")[-1].split(")")[0]
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    said = lines[-1].strip() if len(lines) > 2 else ""
    return f"{state}: {said}" if said else state
