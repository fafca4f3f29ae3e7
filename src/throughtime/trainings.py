"""Training runs of many points: one program for all that differ in values alone.

A run (one network of one point) is a lane of a program. On a CPU a program has a single lane, which
is faster there than several side by side, and every device trains its own; what a run becomes
depends on no other. Between chunks of updates a run is looked at: how good it is, and, by
`watching`, where its gradient comes from. It ends when it has solved the task, has diverged, or has
used its updates.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import jax

from throughtime import checkpoints
from throughtime.crews import Crew
from throughtime.learned import Run, training_result
from throughtime.points import InputError, Point
from throughtime.programs import ProgramKey, kind_of, may_be_rounded, task_of
from throughtime.results import Failure, Result
from throughtime.sizes import size_columns

LANES = {"cpu": 1, "gpu": 128, "tpu": 128}
"""Runs that one program trains side by side, at most, by the kind of device."""


def train_group(
    key: ProgramKey,
    points: Sequence[Point],
    folder: Path | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> Generator[list[Result | Failure]]:
    """Train the networks of points that share a program.

    Args:
        key: the program.
        points: with this `program_key`.
        folder: where unfinished runs are kept, at times and when this generator is closed; None
            keeps none.
        say: told how far it is.

    Yields:
        After every chunk of updates, the points whose networks are all trained, and those whose
        training failed.
    """
    trained: dict[Point, list[Run]] = {point: [] for point in points}
    runs = [Run(point, index) for point in points for index in range(point.num_seeds)]
    num_done = 0
    with contextlib.closing(_chunks(key, runs, folder)) as chunks:
        for crew, is_done, said, error in chunks:
            failures = [] if error is None else _given_up(crew, error, trained)
            if error or is_done:
                num_done += len(crew.runs)
            if error is None and is_done:
                for run in crew.runs:
                    trained.get(run.point, []).append(run)
            results = _complete(key, trained, len(crew.runs))
            say(f"{key.label}: {num_done}/{len(runs)} networks, {said}")
            yield [*failures, *results]
            if folder is not None:
                checkpoints.forget(folder, [result.point.key for result in results])


class Chunk(NamedTuple):
    """A crew that has worked; what is said of it is of then, as it may be at work again.

    Attributes:
        crew: the crew.
        is_done: whether nothing is left for it to do.
        said: how far it was.
        error: how it failed, if it did.
    """

    crew: Crew
    is_done: bool
    said: str
    error: BaseException | None


def _chunks(key: ProgramKey, runs: Sequence[Run], folder: Path | None) -> Generator[Chunk]:
    """Work on all devices at once; yields a crew whenever it has worked.

    Closed early, it waits for the chunks that are being worked on, and keeps them.
    """
    queue, idle = deque(runs), list(jax.local_devices())
    lanes = LANES[jax.default_backend()]
    working: dict[Future, Crew] = {}
    with ThreadPoolExecutor(len(idle)) as threads:
        try:
            while queue or working:
                while queue and idle:
                    taken = [queue.popleft() for _ in range(min(lanes, len(queue)))]
                    crew = Crew(key, taken, idle.pop(), folder)
                    working[threads.submit(crew.work)] = crew
                future = next(iter(wait(working, return_when=FIRST_COMPLETED).done))
                crew, error = working.pop(future), future.exception()
                if error:
                    lost = {run.point for run in crew.runs}
                    queue = deque(run for run in queue if run.point not in lost)
                chunk = Chunk(crew, crew.is_done, crew.said, error)
                if error or chunk.is_done:
                    idle.append(crew.device)
                else:
                    working[threads.submit(crew.work)] = crew
                yield chunk
        finally:
            for future, crew in working.items():
                if future.exception() is None:
                    crew.keep()


def _given_up(crew: Crew, error: BaseException, trained: dict[Point, list[Run]]) -> list[Failure]:
    """The points of a crew that failed; what else was or will be trained of them counts no more."""
    if not isinstance(error, Exception):
        raise error
    first_line = str(error).strip().split("\n")[0]
    known = isinstance(error, InputError)
    reason = first_line if known else f"{type(error).__name__}: {first_line}"
    points = dict.fromkeys(run.point for run in crew.runs)
    return [Failure(point, reason) for point in points if trained.pop(point, None) is not None]


def _complete(key: ProgramKey, trained: dict[Point, list[Run]], num_lanes: int) -> list[Result]:
    """The results of points all of whose networks are trained, which are taken out."""
    ready = [point for point, runs in trained.items() if len(runs) == point.num_seeds]
    task, results = task_of(key), []
    for point in ready:
        runs = sorted(trained.pop(point), key=lambda run: run.index)
        shared = {
            **size_columns(kind_of(key), key.hidden_features),
            "networks_at_once": num_lanes,
            "baseline": task.baseline(point.sequence_length) if task.baseline else None,
            "solved_below": task.solved_below,
        }
        rounded = functools.partial(may_be_rounded, key, point.recurrent_scale == 0)
        results.append(training_result(point, runs, shared, rounded))
    return results
