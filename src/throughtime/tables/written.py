"""A summary as a table to read: CSV, Markdown, LaTeX, or a few lines of words."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from throughtime.tables.measures import Measure, measure_of
from throughtime.tables.summary import series_columns, summarise

MAX_DECIMALS = 4
"""Of a printed number: 1e-4 decades are 0.02% of the gradient."""

CAPTION = "Median {text} over seeds, in brackets the exact 95{percent} interval of the median."


def headline_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The table to read: cell × recurrent scale down, sequence length across, texts inside.

    A text is "median [low, high]" to two significant digits of the interval's half-width, or
    "median (n = 3)" for too few seeds, then the status if not `ok`; "–" if nothing was measured.

    Args:
        summary: what `summarise` returns.
    """
    index, measure = [*series_columns(summary), "recurrent_scale"], measure_of(summary)
    texts = summary.assign(text=[_entry(line, measure) for line in summary.to_dict("records")])
    return texts.pivot(index=index, columns="sequence_length", values="text").fillna("–")


def write_table(rows: pd.DataFrame, directory: str | os.PathLike[str]) -> list[Path]:
    """Write table.csv (the summary, floats exact), table.md and table.tex, each whole or not.

    Args:
        rows: one row per point and seed.
        directory: made if it does not exist.

    Returns:
        The three paths.
    """
    summary, measure = summarise(rows), measure_of(rows)
    printed = _printed(headline_table(summary))
    details = "" if measure.details is None else _details(summary, measure.details)
    (directory := Path(directory)).mkdir(parents=True, exist_ok=True)
    texts = {
        "table.csv": summary.to_csv(index=False, lineterminator="\n"),
        "table.md": _markdown(printed, measure) + details,
        "table.tex": _latex(printed, measure),
    }
    return [replace(directory / name, text) for name, text in texts.items()]


def describe_point(rows: pd.DataFrame) -> str:
    """One point in a few lines of words.

    Args:
        rows: the rows of one point, one per seed.

    Returns:
        Such as "elman, recurrent scale 1.5, T = 50: …".
    """
    (line,), measure = summarise(rows).to_dict("records"), measure_of(rows)
    where = f"{line['cell']}, recurrent scale {line['recurrent_scale']:g}"
    headline = f"{measure.text}  {_text(line, measure.headline)}"
    if not line["num_ok"]:
        return f"{where}, T = {line['sequence_length']}\n  {headline}"
    return "\n  ".join(
        [
            f"{where}, T = {line['sequence_length']}, {line['num_seeds']} networks, medians",
            headline,
            *measure.words(line),
            f"verdict  {line['verdict']}",
        ]
    )


def _entry(line: dict[Hashable, Any], measure: Measure) -> str:
    """One cell of the table."""
    return measure.entry(line) if measure.entry else _text(line, measure.headline)


def _text(line: dict[Hashable, Any], headline: str) -> str:
    """A median and its interval, and the status if it is not ok."""
    if not line["num_ok"]:
        return line["status"]
    median, low, high = (line[f"{headline}_{part}"] for part in ("median", "ci_low", "ci_high"))
    decimals = _decimals(high - low)
    median, low, high = (_number(x, decimals) for x in (median, low, high))
    interval = f"(n = {line['num_ok']})" if "nan" in (low, high) else f"[{low}, {high}]"
    return f"{median} {interval}" + (f" ({line['status']})" if line["status"] != "ok" else "")


def _decimals(width: float) -> int:
    """Two significant digits of half the width; two decimals where there is no width."""
    if not 0 < width < np.inf:
        return 2
    return int(np.clip(1 - np.floor(np.log10(width / 2)), 0, MAX_DECIMALS))


def _number(value: float, decimals: int) -> str:
    """A true minus sign, no minus zero, ∞ for what is infinite."""
    text = f"{value:.{decimals}f}".replace("inf", "∞")
    return text.replace("-", "−" if text.strip("-0.") else "")


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its index as columns and every entry as text."""
    flat = table.rename(columns="T = {}".format).rename_axis(columns=None).reset_index()
    return flat.assign(recurrent_scale=flat["recurrent_scale"].map("{:g}".format)).astype(str)


def _markdown(printed: pd.DataFrame, measure: Measure) -> str:
    table = printed.to_markdown(index=False, disable_numparse=True)
    caption = measure.caption or CAPTION.format(text=measure.text, percent="%")
    return f"{caption}\n\n{table}\n"


def _details(summary: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> str:
    """A second table in Markdown, a line for each point; a dash for what is missing."""
    index = [*series_columns(summary), "recurrent_scale", "sequence_length"]
    shown = summary[index].astype(str)
    for column, (name, form) in columns.items():
        shown[name] = ["–" if pd.isna(x) else f"{x:{form}}" for x in summary[column]]
    return "\n" + shown.to_markdown(index=False, disable_numparse=True) + "\n"


def _latex(printed: pd.DataFrame, measure: Measure) -> str:
    """Booktabs rules; signs that LaTeX lacks in text become mathematics after the escaping."""
    caption = measure.caption or CAPTION.format(text=measure.latex, percent=r"\%")
    body = printed.to_latex(index=False, escape=True, caption=caption)
    return body.replace("−", "$-$").replace("∞", r"$\infty$").replace("–", "--")


def replace(path: Path, text: str) -> Path:
    """Write beside the place, then move there in one step.

    Args:
        path: of the file.
        text: what will be in it.

    Returns:
        The path.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    return beside.replace(path)
