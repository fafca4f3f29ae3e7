"""The course of trainings, median over networks: how good they are, and how far gradients reach."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from throughtime.tables.written import replace

DIGITS = 6
"""Significant digits of a course: what a figure can show."""


def write_course(course: pd.DataFrame, directory: str | os.PathLike[str]) -> list[Path]:
    """Write course.csv: a line for each point and look, medians over the networks still trained.

    Args:
        course: what `frames.course_frame` returns.
        directory: where.

    Returns:
        The path.
    """
    keys = ["cell", "recurrent_scale", "sequence_length", "updates"]
    numbers = course.drop(columns=["seed"]).astype({"baseline": float})
    by_look = numbers.groupby(keys, dropna=False, sort=False)
    table = by_look.median().assign(networks=by_look.size()).reset_index()
    text = table.to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
    return [replace(Path(directory) / "course.csv", text)]
