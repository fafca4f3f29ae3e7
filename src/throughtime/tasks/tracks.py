"""The user's own tracks: one CSV file of points in time, and windows cut from it."""

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from throughtime.names import unknown
from throughtime.tasks.files import of_regular_file
from throughtime.tasks.task import (
    Sample,
    Task,
    last_step,
    local_steps,
    mean_squared,
    random_window,
    squared_distance,
    zero_padding,
)

COLUMNS = ("time", "x", "y")

DELIMITERS = ",;\t|"
"""Between the cells of a line: the first of them by which the header has all three columns."""

_SEP = re.compile(r'"?sep=([^\r\n"])"?\r?\n', re.IGNORECASE)
"""A first line that names the delimiter, as spreadsheets write it."""

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")

Row = tuple[int, list[str]]  # the line's number as an editor shows it, and its cells


def squared_error(outputs: Float[Array, "T k"], targets: Float[Array, "T k"]) -> Float[Array, " T"]:
    """½ ‖output - target‖² of each step."""
    return squared_distance(outputs, targets) / 2


def read_tracks(
    path: str | os.PathLike, columns: Sequence[str] = COLUMNS
) -> Float[np.ndarray, "P 2"]:
    """Read one track: a UTF-8 CSV file with a header line and one point per line.

    The times order the points and are checked; nothing is resampled, so the points of an unevenly
    timed track are taken as consecutive steps. Blank lines are skipped. Cells are separated by one
    of `DELIMITERS`, or by what a first line ``sep=…`` says; decimals begin with a point.

    Args:
        path: the file.
        columns: the names of the time column and of the two coordinates.

    Returns:
        The P points, in the file's own unit.

    Raises:
        ValueError: in one sentence with the line's number: the file is no CSV that can be read, a
            column is missing or named twice, a cell is not a finite number, a time does not come
            after the time before it, there are fewer than three points, or all points are the same.
    """
    names = _three_names(columns)
    (_, header), *rows = _read_rows(Path(path), names)
    time, x, y = (_read_column(path, header, rows, name) for name in names)
    if len(rows) < 3:
        raise ValueError(f"{path} holds {len(rows)} points; at least 3 are needed.")
    for i in np.flatnonzero(np.diff(time) <= 0)[:1]:
        raise ValueError(
            f"{path}, line {rows[i + 1][0]}: the time {time[i + 1]:.17g} does not come after"
            f" {time[i]:.17g}, the time of the point before it."
        )
    points = np.stack([x, y], axis=1)
    if np.all(points == points[0]):
        raise ValueError(
            f"{path} holds {len(points)} points that are all the same; it is no track."
        )
    return points


def tracks_task(
    path: str | os.PathLike, columns: Sequence[str], max_length: int, dtype: DTypeLike
) -> Task:
    """Predict the next point of a recorded track: the `radar` task on the user's own file.

    A sequence is a window of `length` + 1 consecutive points from a random start. The points are
    centred at the mean of the file and divided by its largest absolute coordinate after that.
    """
    points = read_tracks(path, columns)
    points = points - points.mean(axis=0)
    points = jnp.asarray(points / np.abs(points).max(), dtype)

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        window = points[random_window(key, len(points), max_length, length)]
        steps = local_steps(max_length, length)
        inputs, targets = (zero_padding(part, steps) for part in (window[:-1], window[1:]))
        return Sample(inputs, targets, last_step(max_length, dtype))

    return Task(sample, squared_error, 2, 2, longest=len(points) - 1, error=mean_squared)


def _three_names(columns: Sequence[str]) -> tuple[str, ...]:
    """The column names, if they are three different ones."""
    if isinstance(columns, str) or len(set(columns)) != 3 or len(columns) != 3:
        raise ValueError(
            f"columns is {columns!r}; three different names are needed, of the time, x and y."
        )
    return tuple(columns)


def _read_rows(path: Path, names: Sequence[str]) -> list[Row]:
    """The lines that are not blank, the header first."""
    try:
        with of_regular_file("tracks file", path):
            text = path.read_bytes().decode("utf-8-sig")
        said = _SEP.match(text)
        text = "\n" + text[said.end() :] if said else text  # lines keep their numbers
        delimiter = said[1] if said else _delimiter(text, names)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        cells = ([cell.strip() for cell in row] for row in reader)
        rows = [(reader.line_num, row) for row in cells if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"the tracks file {path} is not a UTF-8 CSV file: {error}.") from error
    if not rows:
        raise ValueError(f"the tracks file {path} is empty; a header line is needed.")
    return rows


def _delimiter(text: str, names: Sequence[str]) -> str:
    """The delimiter by which the header has all columns; else the one that makes most cells."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    cells = {
        each: [c.strip() for c in next(csv.reader([header], delimiter=each), [])]
        for each in DELIMITERS
    }
    fits = [each for each in DELIMITERS if set(names) <= set(cells[each])]
    return fits[0] if fits else max(DELIMITERS, key=lambda each: len(cells[each]))


def _read_column(
    path: str | os.PathLike, header: list[str], rows: list[Row], name: str
) -> Float[np.ndarray, " P"]:
    """One column as finite numbers."""
    if len(header) == 1:
        raise ValueError(
            f"{path} has one column, {header[0]!r}; cells are separated by a comma, a semicolon, a "
            "tab or a |."
        )
    if name not in header:
        raise ValueError(f"{path}: {unknown('column', name, header)}")
    if header.count(name) > 1:
        raise ValueError(f"{path} has {header.count(name)} columns named {name!r}; one is needed.")
    place = header.index(name)
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {line}: {len(row)} cells where the header names {len(header)}."
            )
    return np.array([_read_number(path, line, name, row[place]) for line, row in rows], np.float64)


def _read_number(path: str | os.PathLike, line: int, name: str, cell: str) -> float:
    """One cell as a finite number."""
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        hint = "; its decimals must begin with a point" if _DECIMAL_COMMA.fullmatch(cell) else ""
        raise ValueError(
            f"{path}, line {line}: {name} is {cell!r}, which is not a finite number{hint}."
        )
    return number
