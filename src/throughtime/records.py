"""Records on disk: one line per point, curves and provenance included.

``results/<name>/runs/records.jsonl`` holds every point ever measured for an experiment, and
``results/<name>/runs/<run id>/`` what one run asked for: a table is made of a run's points, never
of whatever happens to lie in the folder. The only writer is `throughtime.ledger`.
"""

import base64
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from throughtime.points import HEADLINES, InputError
from throughtime.provenance import differences

_HEAD = re.compile(rb'\{"key": "([^"]*)", "origin": "(\w+)"')
"""How a record begins: enough to know whose it is without decoding its curves."""

_ORIGIN = re.compile(rb'\{"origin": "(\w+)"')
"""How the line begins that says what an origin is; it comes before the first record of it."""


def encode_origin(name: str, origin: dict[str, Any]) -> str:
    """The line of an origin.

    Args:
        name: its fingerprint.
        origin: its provenance.

    Returns:
        JSON and a newline.
    """
    return json.dumps({"origin": name, "is": origin}) + "\n"


def encode(record: dict[str, Any], curves: np.ndarray) -> str:
    """The line of a record.

    Args:
        record: key, origin (these two first), and whatever else is known of the point.
        curves: log-norms by lag, float64 ``(num_seeds, T)``.

    Returns:
        JSON and a newline.
    """
    text = base64.b64encode(curves.astype("<f8").tobytes()).decode()
    return json.dumps(record | {"shape": curves.shape, "curves": text}) + "\n"


class Line(NamedTuple):
    """A line of the ledger, not yet decoded.

    Attributes:
        key: of the point.
        name: of the origin.
        origin: the provenance of the record.
        decode: gives the whole record, curves as float64 ``(num_seeds, T)``, origin in full.
    """

    key: str
    name: str
    origin: dict[str, Any]
    decode: Callable[[], dict[str, Any]]


def read_lines(path: Path) -> Iterator[Line]:
    """Read a ledger; a torn last line is left out.

    Args:
        path: the file.

    Yields:
        A line for each record, in the order of writing.

    Raises:
        InputError: if a line is not of this program.
    """
    origins: dict[str, dict[str, Any]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            head, named = _HEAD.match(line), _ORIGIN.match(line)
            if named:
                origins[named[1].decode()] = json.loads(line)["is"]
            elif head and head[2].decode() in origins:
                key, name = head[1].decode(), head[2].decode()
                origin = origins[name]
                yield Line(key, name, origin, lambda at=line, of=origin: _decode(at, of))
            else:
                raise InputError(
                    f"{path}, line {number}: not a record of this version; move it away."
                )


def _decode(line: bytes, origin: dict[str, Any]) -> dict[str, Any]:
    """A record with its curves and its origin in full."""
    record = json.loads(line)
    raw = np.frombuffer(base64.b64decode(record["curves"]), "<f8")
    return record | {"curves": raw.reshape(record["shape"]), "origin": origin}


def note_run(folder: Path, keys: list[str], origin: dict[str, Any], other_records: str) -> None:
    """Write down what a run asks for, so that a table can be made of just that.

    Args:
        folder: ``results/<name>/runs/<run id>``.
        keys: of its points.
        origin: the provenance of what it measures itself.
        other_records: ``keep`` if records of another origin may stand beside its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".run.json.{os.getpid()}"  # jobs of Hydra's own launchers read it meanwhile
    beside.write_text(json.dumps({"origin": origin, "other_records": other_records}))
    beside.replace(folder / "run.json")
    with (folder / "points.txt").open("a") as file:
        file.write("".join(f"{key}\n" for key in keys))


def latest_run(runs: Path) -> str:
    """The run that asked for points last.

    Args:
        runs: ``results/<name>/runs``.

    Returns:
        Its id.

    Raises:
        InputError: if there is none.
    """
    noted = sorted(runs.glob("*/points.txt"), key=lambda path: (path.stat().st_mtime, path))
    if not noted:
        raise InputError(f"no run is recorded under {runs}.")
    return noted[-1].parent.name


def load_run(runs: Path, run_id: str) -> tuple[list[dict[str, Any]], int]:
    """The records of the points that a run asked for.

    Args:
        runs: ``results/<name>/runs``.
        run_id: of the run.

    Returns:
        The records in the order in which the run named its points, and how many are missing. Of
        several records of a point the last one counts; what was made by other code, versions or
        devices than the run's own does not, unless the run asked to keep it.

    Raises:
        InputError: if there is no such run, or none of its points is recorded.
    """
    wanted, lines = _lines_of(runs, run_id)
    latest = {line.key: line for line in lines}
    if not latest:
        raise InputError(f"no point of run {run_id} is recorded in {runs / 'records.jsonl'}.")
    found = [latest[key].decode() for key in wanted if key in latest]
    return found, len(wanted) - len(found)


def load_runs(runs: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of all runs together, as of a grid and of what was then found between its points.

    Args:
        runs: ``results/<name>/runs``.

    Returns:
        The records, each point once, and how many are missing.

    Raises:
        InputError: as `load_run`; or if two runs are of different code, versions or devices.
    """
    latest_run(runs)  # there is one
    first, *others = ids = sorted(path.parent.name for path in runs.glob("*/points.txt"))
    origins = {run: json.loads((runs / run / "run.json").read_text())["origin"] for run in ids}
    for run in others:
        if differ := differences(origins[run], origins[first]):
            raise InputError(f"runs {first} and {run} differ in {', '.join(differ)}: name one.")
    loaded = [load_run(runs, run) for run in ids]
    found = {record["key"]: record for records, _ in loaded for record in records}
    return list(found.values()), sum(missing for _, missing in loaded)


def values(runs: Path, run_id: str, keys: Collection[str]) -> dict[str, float]:
    """What jobs return to Hydra: the median over networks of their diagnostic's headline.

    Args:
        runs: ``results/<name>/runs``.
        run_id: of the run.
        keys: of the points.

    Returns:
        By the key of the point, if it is recorded; NaN where a network's number is not ``ok``.

    Raises:
        InputError: if there is no such run.
    """
    medians = {}
    for line in _lines_of(runs, run_id)[1]:
        if line.key not in keys:
            continue
        record = line.decode()
        each, headline = record["each"], HEADLINES[record["shared"]["diagnostic"]]
        is_true = set(each["status"]) == {"ok"}
        medians[line.key] = median(each[headline]) if is_true else math.nan
    return medians


def _lines_of(runs: Path, run_id: str) -> tuple[list[str], Iterator[Line]]:
    """The keys that a run asked for, and the lines of the ledger that it may use."""
    folder, path = runs / run_id, runs / "records.jsonl"
    if not (folder / "points.txt").exists():
        raise InputError(f"run {run_id!r} is not recorded under {runs}.")
    wanted = dict.fromkeys((folder / "points.txt").read_text().split())
    run = json.loads((folder / "run.json").read_text())
    keep = run["other_records"] == "keep"
    lines = (
        line
        for line in (read_lines(path) if path.exists() else ())
        if line.key in wanted and (keep or not differences(line.origin, run["origin"]))
    )
    return list(wanted), lines
