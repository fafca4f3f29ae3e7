"""From Hydra's jobs to points, and from records back to what each job returns."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from tabulate import tabulate

from throughtime.execution import How, execute, refused
from throughtime.names import shown
from throughtime.points import OUTSIDE, InputError, Point, in_one_sentence, read_point

ROWS_SHOWN = 50


class Missed(NamedTuple):
    """A job without a result.

    Attributes:
        job: its number.
        overrides: what the user asked for.
        why: one sentence.
    """

    job: int
    overrides: str
    why: str


Job = tuple[Sequence[str], Mapping[str, Any] | InputError]
"""What the user asked for, and the configuration in plain containers, or why there is none."""


def run_jobs(jobs: Iterable[Job], directory: Path, how: How) -> list[float | InputError]:
    """Measure the points of many jobs; those that cannot be measured do not stop the others.

    Args:
        jobs: in order; taken one by one, since 100,000 configurations would fill the memory.
        directory: ``results/<name>/runs/<run id>``.
        how: where to run them; device and other_records are overruled by the jobs' own.

    Returns:
        What each job returns: its number, or why it has none.

    Raises:
        InputError: if no job can be measured, or what is not part of a point is swept.
    """
    outside: dict[str, Any] = {}
    read = [(" ".join(overrides), _point(config, outside)) for overrides, config in jobs]
    names, outcomes = [name for name, _ in read], [outcome for _, outcome in read]
    how = dataclasses.replace(how, **{key: outside[key] for key in outside if key != "name"})
    outcomes = _or_why(outcomes, refused(_points(outcomes), how))
    bad = _missed(names, outcomes)
    if len(bad) == len(outcomes):
        raise InputError(_none_can_run(bad))
    _say(bad, f"{len(bad)} of {len(outcomes)} points cannot run", directory)
    failures = execute(_points(outcomes), directory.parent, directory.name, how)
    outcomes = _or_why(outcomes, failures)
    failed = [one for one in _missed(names, outcomes) if one not in bad]
    _say(failed, f"{len(failed)} of {len(outcomes)} points failed", directory)
    return _values(outcomes, directory)


def _point(config: Mapping[str, Any] | InputError, outside: dict[str, Any]) -> Point | InputError:
    """The point of a job, or why it has none; what is outside of the point must not vary."""
    if isinstance(config, InputError):
        return config
    try:
        point = read_point(config)
    except InputError as error:
        return error
    for key in OUTSIDE:
        if not isinstance(config.get(key), (str | int) if key == "name" else str):
            return InputError(f"{key} must be a name, not {shown(config.get(key))}.")
        if outside.setdefault(key, config[key]) != config[key]:
            raise InputError(f"{key} cannot be swept; run each value by itself.")
    return point


def _points(outcomes: Sequence[Point | InputError]) -> list[Point]:
    """The points among the outcomes."""
    return [one for one in outcomes if isinstance(one, Point)]


def _or_why(outcomes: Sequence[Any], reasons: Mapping[str, str]) -> list[Any]:
    """Outcomes, with points that have a reason not to be replaced by it."""
    return [
        InputError(reasons[one.key]) if isinstance(one, Point) and one.key in reasons else one
        for one in outcomes
    ]


def _missed(names: Sequence[str], outcomes: Sequence[Point | InputError]) -> list[Missed]:
    """The jobs that are only a reason."""
    pairs = enumerate(zip(names, outcomes, strict=True))
    return [Missed(i, name, str(one)) for i, (name, one) in pairs if isinstance(one, InputError)]


def _none_can_run(bad: Sequence[Missed]) -> str:
    """Why a multirun of bad jobs alone is refused: one sentence if it is one reason."""
    reasons = list(dict.fromkeys(one.why for one in bad))
    if not reasons:
        return "the sweep is empty: no point to measure."
    if len(reasons) == 1:
        return reasons[0]
    return f"none of the {len(bad)} points can run.\n{_table(bad)}"


def _say(missed: Sequence[Missed], what: str, directory: Path) -> None:
    """List jobs without a result on stderr, and all of them in a file of the run."""
    if not missed:
        return
    console = Console(stderr=True)
    console.print(f"{what}:\n{_table(missed)}", soft_wrap=True, markup=False, highlight=False)
    path = directory / "failures.csv"
    with in_one_sentence(path):
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(missed if file.tell() else [Missed._fields, *missed])


def _table(missed: Sequence[Missed]) -> str:
    """The first of these jobs as lines of text."""
    table = tabulate(missed[:ROWS_SHOWN], headers=list(Missed._fields), tablefmt="plain")
    more = len(missed) - ROWS_SHOWN
    return f"{table}\n… and {more} more" if more > 0 else table


def _values(outcomes: Sequence[Any], directory: Path) -> list[float | InputError]:
    """What each job returns, from the records; NaN for what another host is still measuring."""
    from throughtime.records import values

    keys = {one.key for one in outcomes if isinstance(one, Point)}
    recorded = values(directory.parent, directory.name, keys)
    return [recorded.get(one.key, math.nan) if isinstance(one, Point) else one for one in outcomes]
