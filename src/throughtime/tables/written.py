"""A summary as a table to read: CSV, Markdown, LaTeX, or a few lines of words."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from throughtime.tables.measures import Measure, measure_of
from throughtime.tables.summary import (
    series_columns,
    summarise,
    summary_of,
    told_numbers,
)

MARKUP = re.compile(r"[\\|*<>`~$]|(?<!\w)_|_(?!\w)")
"""What Markdown would take for more than text."""

MAX_DECIMALS = 4
"""Of a printed number: 1e-4 decades are 0.02% of the gradient."""

SIGNS = {"−": "$-$", "∞": r"$\infty$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$"}
SIGNS |= {"×": r"$\times$", "≈": r"$\approx$"}
"""What LaTeX has for them."""

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


def write_table(
    frame: pd.DataFrame, directory: str | os.PathLike[str], stem: str = "table"
) -> list[Path]:
    """Write table.csv (the summary, floats exact), table.md and table.tex, each whole or not.

    Args:
        frame: rows, or their summary.
        directory: made if it does not exist.
        stem: what to call the three files, where there are several tables.

    Returns:
        The three paths.
    """
    summary, measure = summary_of(frame), measure_of(frame)
    printed = _printed(headline_table(summary))
    details = "" if measure.details is None else _details(summary, measure.details)
    caption = measure.caption or CAPTION.format(text=measure.text, percent="%")
    in_latex = measure.caption or CAPTION.format(text=measure.latex, percent=r"\%")
    texts = {
        f"{stem}.csv": csv(summary),
        f"{stem}.md": markdown(printed, caption) + details,
        f"{stem}.tex": latex(printed, in_latex),
    }
    return write_texts(texts, directory)


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
    text = interval_text(line, headline)
    return text + (f" ({line['status']})" if line["status"] != "ok" else "")


def interval_text(line: dict[Hashable, Any], name: str) -> str:
    """A median with its interval, to two significant digits of the interval's half-width.

    Args:
        line: of a summary; with at least one `ok` network.
        name: the column.

    Returns:
        Such as "−7.9 [−9.3, −6.6]", or "−7.90 (n = 4)" of too few networks for an interval.
    """
    median, low, high = (line[f"{name}_{part}"] for part in ("median", "ci_low", "ci_high"))
    return estimate(median, low, high, f" (n = {line['num_ok']})")


def estimate(
    value: float,
    low: float,
    high: float,
    otherwise: str = "",
    sign: str = "",
    decimals: int | None = None,
) -> str:
    """A number and its interval, to two significant digits of the interval's half-width.

    Args:
        value: in any unit; a dash is shown for NaN.
        low: the lower end; of an end that is infinite the other one sets the digits.
        high: the upper end.
        otherwise: what stands for an interval that does not exist (NaN).
        sign: what is put before the number, such as "≥ " of a bound.
        decimals: how many; None follows the interval.

    Returns:
        Such as "−3.21 [−3.91, −2.51]".
    """
    if np.isnan(value):
        return "–"
    spread = [2 * abs(value - end) for end in (low, high) if np.isfinite(value - end)]
    width = high - low if np.isfinite(high - low) else max(spread, default=0.0)
    decimals = _decimals(width) if decimals is None else decimals
    value_text, low_text, high_text = (_number(x, decimals) for x in (value, low, high))
    has_interval = not (np.isnan(low) or np.isnan(high))
    return sign + value_text + (f" [{low_text}, {high_text}]" if has_interval else otherwise)


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
    return _settings(flat.assign(recurrent_scale=told_numbers(flat["recurrent_scale"])))


def _settings(table: pd.DataFrame) -> pd.DataFrame:
    """Settings as text; a dash for one that a cell does not have."""
    return table.astype(str).where(table.notna(), "–")


def scale_range(low: float, high: float, open_low: bool, open_high: bool) -> str:
    """A band of recurrent scales: digits enough to tell its ends apart.

    Args:
        low: its low end.
        high: its high end.
        open_low: whether it may reach further, which is shown as ≤.
        open_high: likewise, ≥.

    Returns:
        Such as "0.92 to ≥ 4".
    """
    width = high - low
    digits = int(np.clip(2 + np.ceil(np.log10(high / width)), 3, 6)) if width else 6
    return f"{'≤ ' * open_low}{low:.{digits}g} to {'≥ ' * open_high}{high:.{digits}g}"


def csv(table: pd.DataFrame) -> str:
    """A table with its numbers exact."""
    return table.to_csv(index=False, lineterminator="\n")


def markdown(printed: pd.DataFrame, caption: str) -> str:
    """A table of texts in Markdown, below its caption."""
    return f"{caption}\n\n{_rows(printed)}"


def _rows(texts: pd.DataFrame) -> str:
    """The lines of a table in Markdown, in which every text is shown as it is."""
    return texts.map(_plain).to_markdown(index=False, disable_numparse=True) + "\n"


def _plain(entry: Any) -> Any:
    """A text on one line, its markup escaped; a number as it is."""
    return MARKUP.sub(r"\\\g<0>", " ".join(entry.split())) if isinstance(entry, str) else entry


def _details(summary: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> str:
    """A second table in Markdown, a line for each point; a dash for what is missing."""
    index = [*series_columns(summary), "recurrent_scale", "sequence_length"]
    shown = _settings(summary[index])
    for column, (name, form) in columns.items():
        shown[name] = ["–" if pd.isna(x) else f"{x:{form}}" for x in summary[column]]
    return "\n" + _rows(shown)


def latex(printed: pd.DataFrame, caption: str, fit: bool = False) -> str:
    """Booktabs rules; signs that LaTeX lacks in text become mathematics after the escaping.

    Args:
        printed: a table of texts.
        caption: in LaTeX.
        fit: whether to shrink the table to the width of a line (package graphicx).

    Returns:
        A table environment.
    """
    body = printed.to_latex(index=False, escape=True, caption=caption)
    if fit:
        body = body.replace(r"\begin{tabular}", "\\resizebox{\\linewidth}{!}{%\n\\begin{tabular}")
        body = body.replace(r"\end{tabular}", "\\end{tabular}}")
    for sign, name in SIGNS.items():
        body = body.replace(sign, name)
    return body


def write_texts(texts: dict[str, str], directory: str | os.PathLike[str]) -> list[Path]:
    """Write each text to the file of its name, whole or not.

    Args:
        texts: by the names of files.
        directory: made if it does not exist.

    Returns:
        Their paths.
    """
    (directory := Path(directory)).mkdir(parents=True, exist_ok=True)
    return [replace(directory / name, text) for name, text in texts.items()]


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
