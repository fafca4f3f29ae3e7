"""Rows and curves on disk: one line per point, appended, synced, with where it came from.

``results/<name>/runs/records.jsonl`` holds every point ever measured for an experiment, and
``results/<name>/runs/<run id>/points.txt`` the keys of the points that one run asked for: a table
is made of a run's points, never of whatever happens to lie in the folder.
"""

import base64
import fcntl
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from throughtime.points import InputError

CURVE_OF = ("cell", "recurrent_scale", "sequence_length", "seed")
"""The columns that say whose a curve is."""

SCHEMA = 1
"""Changes when the meaning of a record does."""

PACKAGES = ("throughtime", "jax", "jaxlib", "flax", "numpy")


def provenance(device: str) -> dict[str, Any]:
    """Where a number comes from, for every row that leaves the program.

    Args:
        device: the kind of device that computed it.

    Returns:
        schema, source (a hash of the package's code), commit and whether the tree was dirty
        (``unknown`` outside of git), versions, Python, platform and device.
    """
    versions = {package: version(package) for package in PACKAGES}
    return {
        "schema": SCHEMA,
        "source": _source_hash(),
        **_commit(),
        **versions,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": device,
    }


COMPARABLE = ("schema", "source", *PACKAGES, "python", "platform", "device")
"""What two records must share for one to stand in for the other."""


@functools.cache
def _source_hash() -> str:
    """A hash of all Python files of the package, which says what code ran even outside of git."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _commit() -> dict[str, str]:
    """The commit that the package lies in, and whether any tracked file differs from it."""
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": {"": "no", None: "unknown"}.get(
            _git("status", "--porcelain", "--untracked-files=no", "--", "."), "yes"
        ),
    }


def _git(*arguments: str) -> str | None:
    """What git answers about the package's folder; None if it does not."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class Ledger:
    """The append-only file of an experiment's records; one writer at a time.

    Args:
        folder: ``results/<name>/runs``; made if missing.
        origin: the `provenance` of the records to come. Records of another origin are set aside
            in a file of their own, never mixed and never lost.

    Raises:
        InputError: if the folder cannot be written, or another process is writing.
    """

    def __init__(self, folder: Path, origin: dict[str, Any]):
        self.path = folder / "records.jsonl"
        self.origin = origin
        self.set_aside: Path | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            self.keys = self._usable_keys()
            self._file = self.path.open("a")
        except BlockingIOError as error:
            raise InputError(f"another process is writing to {folder}; wait for it.") from error
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}.") from error

    def append(self, key: str, rows: list[dict[str, Any]], curves: np.ndarray, run_id: str) -> None:
        """Add the record of one point; it is on the disk when this returns.

        Args:
            key: the point's key.
            rows: one dict per network.
            curves: log-norms by lag, float64 ``(num_seeds, T)``.
            run_id: of the run that measured it.

        Raises:
            InputError: if the disk refuses; what was written before is safe.
        """
        record = {
            "key": key,
            "run_id": run_id,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "origin": self.origin,
            "rows": rows,
            "shape": curves.shape,
            "curves": base64.b64encode(curves.astype("<f8").tobytes()).decode(),
        }
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            kept = len(self.keys)
            reason = f"cannot write to {self.path}: {error.strerror}; {kept} points are safe in it."
            raise InputError(reason) from error
        self.keys.add(key)

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._file.close()
        self._lock.close()

    def _usable_keys(self) -> set[str]:
        """The points already measured; first a torn last line and records of other origin go."""
        if not self.path.exists():
            return set()
        _cut_torn_line(self.path)
        records = list(read_records(self.path))
        if all(_comparable(record["origin"], self.origin) for record in records):
            return {record["key"] for record in records}
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.set_aside = self.path.rename(self.path.with_name(f"records-until-{stamp}.jsonl"))
        return set()


def _locked(path: Path):
    """An open file that only this process holds; the system lets go of it if the process dies."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _comparable(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records were made by the same code, versions and kind of device."""
    return all(one.get(field) == other[field] for field in COMPARABLE)


def _cut_torn_line(path: Path) -> None:
    """Remove what follows the last newline: a record whose writer was killed in the middle."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Read a ledger; a torn last line is left out.

    Args:
        path: the file.

    Yields:
        Records, curves decoded to float64 ``(num_seeds, T)``.
    """
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                record = json.loads(line)
                raw = np.frombuffer(base64.b64decode(record["curves"]), "<f8")
                yield record | {"curves": raw.reshape(record["shape"])}


def note_points(folder: Path, keys: list[str]) -> None:
    """Write down which points a run asks for, so that a table can be made of just these.

    Args:
        folder: ``results/<name>/runs/<run id>``.
        keys: keys of points.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "points.txt").open("a") as file:
        file.writelines(f"{key}\n" for key in keys)


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
        The records in the order in which the run named its points, and how many are missing.

    Raises:
        InputError: if there is no such run, or none of its points is recorded.
    """
    points = runs / run_id / "points.txt"
    if not points.exists():
        raise InputError(f"run {run_id!r} is not recorded under {runs}.")
    wanted = dict.fromkeys(points.read_text().split())
    path = runs / "records.jsonl"
    recorded = read_records(path) if path.exists() else ()
    found = {record["key"]: record for record in recorded if record["key"] in wanted}
    if not found:
        raise InputError(f"no point of run {run_id} is recorded in {path}.")
    return [found[key] for key in wanted if key in found], len(wanted) - len(found)


def rows_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table of numbers, one row per point and network.

    Args:
        records: from `load_run`.

    Returns:
        The rows with the columns of their origin; lags and steps that never came are missing.
    """
    rows = [_origin_columns(record) | row for record in records for row in record["rows"]]
    frame = pd.DataFrame(rows)
    lags = ["first_zero_lag", "first_inf_lag", "first_bad_step"]
    return frame.assign(**{lag: frame[lag].astype("Int64") for lag in lags})


def curves_frame(records: list[dict[str, Any]], cells: pd.Series | None = None) -> pd.DataFrame:
    """Records as a tidy table of curves, one row per point, network and lag.

    Args:
        records: from `load_run`.
        cells: names to use for the cell of each row of `rows_frame`; None keeps the cells' own.

    Returns:
        Columns cell, recurrent_scale, sequence_length, seed, lag and log_norm (nats).
    """
    rows = [row for record in records for row in record["rows"]]
    curves = [curve for record in records for curve in record["curves"]]
    lengths = [len(curve) for curve in curves]
    labels = pd.DataFrame(rows, columns=list(CURVE_OF))
    if cells is not None:
        labels = labels.assign(cell=cells.to_numpy())
    repeated = labels.loc[labels.index.repeat(lengths)].reset_index(drop=True)
    lags = np.concatenate([np.arange(length) for length in lengths])
    return repeated.assign(lag=lags, log_norm=np.concatenate(curves))


def _origin_columns(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says of where it comes from, as columns of its rows."""
    own = {name: record[name] for name in ("key", "run_id", "created")}
    return own | record["origin"]
