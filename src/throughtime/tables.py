"""Rows of a sweep -> one line per point with intervals over seeds -> CSV, Markdown, LaTeX.

A seed whose status is not `ok` has no number: it enters no median and no interval, counts as
`undefined` among the verdicts, and `num_ok` and `status` say so.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.names import unknown

STATUSES = ("ok", "nonfinite", "collapsed", "not_converged")
RATIO = "log10_gradient_ratio"
AXES = ["cell", "recurrent_scale", "sequence_length"]
MEASURED = ["seed", RATIO, "rate", "horizon", "horizon_is_bound", "verdict", "status"]
MEASURED += ["first_zero_lag", "first_inf_lag", "first_bad_step"]
PROVENANCE = ["key", "run_id", "created", "schema", "source", "commit", "dirty", "throughtime"]
PROVENANCE += ["jax", "jaxlib", "flax", "numpy", "python", "platform", "device"]
PROVENANCE += ["matmul_precision", "networks_at_once"]
NO_SETTING = {*AXES, *MEASURED, *PROVENANCE, "num_seeds", "loss", "seconds"}

MAJORITY = 0.8
"""The share of seeds that must agree before a point has one verdict."""

MAX_DECIMALS = 4
"""Of a printed log10 ratio: 1e-4 decades are 0.02% of the gradient."""

CAPTION = "Median {ratio} over seeds, in brackets the exact 95{percent} interval of the median."


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per point: the settings, then medians, intervals, shares and status over its seeds.

    Every column that is neither measured nor provenance is a setting: no two settings are averaged.

    Args:
        rows: one row per point and seed.

    Returns:
        The settings; num_seeds, num_ok; over the `ok` seeds median, deciles (order statistics) and
        95% interval of the median of ratio and rate, and the median horizon (a lower bound where
        `horizon_is_bound`); over all seeds the shares of verdicts, and the verdict of at least
        `MAJORITY` of them, else `mixed`; `first_*_lag_median` over the seeds in which it happened,
        and their share of the `ok` ones; the status ("nonfinite 3/16"); provenance.

    Raises:
        ValueError: for missing columns, no rows, an unknown status or verdict, a seed that occurs
            twice at one point, or an `ok` row without a number.
    """
    rows, keys = _checked(rows), point_columns(rows)
    lines = [
        dict(zip(keys, key, strict=True)) | _summary(seeds) | _provenance(seeds)
        for key, seeds in rows.groupby(keys, dropna=False, observed=True)
    ]
    return pd.DataFrame(lines)


def ratio_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The table to read: cell × recurrent scale down, sequence length across, texts inside.

    A text is "median [low, high]" to two significant digits of the interval's half-width, or
    "median (n = 3)" for too few seeds, then the status if not `ok`; "–" if nothing was measured.

    Args:
        summary: what `summarise` returns.
    """
    index = [*series_columns(summary), "recurrent_scale"]
    texts = summary.assign(text=[_text(line) for line in summary.to_dict("records")])
    return texts.pivot(index=index, columns="sequence_length", values="text").fillna("–")


def write_table(rows: pd.DataFrame, directory: str | os.PathLike[str]) -> list[Path]:
    """Write table.csv (the summary, floats exact), table.md and table.tex, each whole or not.

    Args:
        rows: one row per point and seed.
        directory: made if it does not exist.

    Returns:
        The three paths.
    """
    summary = summarise(rows)
    printed = _printed(ratio_table(summary))
    (directory := Path(directory)).mkdir(parents=True, exist_ok=True)
    texts = {
        "table.csv": summary.to_csv(index=False, lineterminator="\n"),
        "table.md": _markdown(printed),
        "table.tex": _latex(printed),
    }
    return [_replace(directory / name, text) for name, text in texts.items()]


def point_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that say which point was measured, in rows and in summaries alike."""
    names = list(frame.columns)
    names = names[: names.index("num_ok")] if "num_ok" in names else names
    return AXES + [name for name in names if name not in NO_SETTING]


def series_columns(frame: pd.DataFrame) -> list[str]:
    """The cell, and what varies within one besides recurrent scale and sequence length."""
    others = [name for name in point_columns(frame) if name not in AXES]
    texts = frame[others].astype(str).groupby(frame["cell"])
    return ["cell"] + [name for name in others if texts[name].nunique(dropna=False).max() > 1]


def one_series_a_cell(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with every setting that varies within a cell written into the cell's name.

    Args:
        rows: one row per point and seed.

    Returns:
        The same rows, where "lstm" has become "lstm, forget_bias 1.0" and the like, and those
        settings have no columns of their own: a figure's panels.
    """
    cell, *others = series_columns(rows)
    names = rows[cell].astype(str)
    for setting in others:
        named = ", " + setting + " " + rows[setting].astype(str)
        names = names + named.where(rows[setting].notna(), "")
    return rows.assign(cell=names)


def describe_point(rows: pd.DataFrame) -> str:
    """One point in a few lines of words.

    Args:
        rows: the rows of one point, one per seed.

    Returns:
        Such as "elman, recurrent scale 1.5, T = 50: …".
    """
    (line,) = summarise(rows).to_dict("records")
    where = f"{line['cell']}, recurrent scale {line['recurrent_scale']:g}"
    ratio = f"log10 ‖dL/dh_1‖ / ‖dL/dh_T‖  {_text(line)}"
    if not line["num_ok"]:
        return f"{where}, T = {line['sequence_length']}\n  {ratio}"
    rates = (line[f"rate_{part}"] for part in ("median", "ci_low", "ci_high"))
    bound = "at least " if line["horizon_is_bound"] else ""
    return "\n".join(
        [
            f"{where}, T = {line['sequence_length']}, {line['num_seeds']} networks, medians",
            f"  {ratio}",
            "  rate  {:.4f} [{:.4f}, {:.4f}] nats per step towards the past".format(*rates),
            f"  horizon  {bound}{line['horizon_median']:g} steps to 1% of the last gradient",
            f"  verdict  {line['verdict']}",
        ]
    )


def _checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, list settings as text; rows that cannot be summarised truthfully are refused."""
    if missing := [name for name in AXES + MEASURED if name not in rows]:
        raise ValueError(f"rows lack the columns {', '.join(missing)}")
    if rows.empty:
        raise ValueError("there are no rows to summarise")
    for column, known in (("status", STATUSES), ("verdict", statistics.VERDICTS)):
        for name in set(rows[column]) - set(known):
            raise ValueError(unknown(column, name, known))
    rows = rows.map(lambda value: str(value) if isinstance(value, list) else value)
    if twice := rows.duplicated([*point_columns(rows), "seed"]).sum():
        raise ValueError(f"{twice} rows repeat a seed at a point: rows of several runs are mixed")
    numbers = rows.loc[rows["status"] == "ok", [RATIO, "rate", "horizon"]]
    if empty := numbers.isna().any(axis=1).sum():
        raise ValueError(f"{empty} rows have status ok but no {RATIO}, rate or horizon")
    return rows


def _summary(seeds: pd.DataFrame) -> dict[str, Any]:
    """What the seeds of one point say together."""
    ok = seeds[is_ok := seeds["status"] == "ok"]
    verdicts = seeds["verdict"].where(is_ok, "undefined")
    shares = {name: float((verdicts == name).mean()) for name in statistics.VERDICTS}
    likeliest = max(statistics.VERDICTS, key=lambda name: shares[name])
    line: dict[str, Any] = {"num_seeds": len(seeds), "num_ok": len(ok)}
    for name in (RATIO, "rate"):
        line |= {f"{name}_{part}": x for part, x in _spread(ok[name].astype(float)).items()}
    line["horizon_median"] = ok["horizon"].astype(float).median()
    line["horizon_is_bound"] = bool(ok["horizon_is_bound"].mean() >= 0.5)
    line |= {f"share_{name}": share for name, share in shares.items()}
    line["verdict"] = likeliest if shares[likeliest] >= MAJORITY else "mixed"
    for name in ("first_zero_lag", "first_inf_lag"):
        line[f"{name}_median"] = ok[name].astype("Float64").dropna().astype(float).median()
        line[f"{name}_share"] = ok[name].notna().mean()
    return line | {"status": _status(seeds["status"])}


def _spread(values: pd.Series) -> dict[str, float]:
    """Median, deciles and interval; the deciles only rank, as nothing interpolates against -inf."""
    low, high = statistics.quantile_interval(values.to_numpy(np.float64))
    deciles = {"q10": values.quantile(0.1, "lower"), "q90": values.quantile(0.9, "higher")}
    return {"median": values.median(), **deciles, "ci_low": low, "ci_high": high}


def _status(statuses: pd.Series) -> str:
    counts = statuses[statuses != "ok"].value_counts().sort_index()
    return ", ".join(f"{name} {n}/{statuses.size}" for name, n in counts.items()) or "ok"


def _provenance(seeds: pd.DataFrame) -> dict[str, Any]:
    """Where the seeds' numbers come from: every distinct value, and the seconds they took."""
    names = [name for name in PROVENANCE if name in seeds]
    values = {name: "; ".join(sorted(set(seeds[name].astype(str)))) for name in names}
    return values | {name: seeds[name].sum() for name in ("seconds",) if name in seeds}


def _text(line: dict[Hashable, Any]) -> str:
    """One cell of the ratio table."""
    if not line["num_ok"]:
        return line["status"]
    median, low, high = (line[f"{RATIO}_{part}"] for part in ("median", "ci_low", "ci_high"))
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
    """The ratio table with its index as columns and every entry as text."""
    flat = table.rename(columns="T = {}".format).rename_axis(columns=None).reset_index()
    return flat.assign(recurrent_scale=flat["recurrent_scale"].map("{:g}".format)).astype(str)


def _markdown(printed: pd.DataFrame) -> str:
    table = printed.to_markdown(index=False, disable_numparse=True)
    return CAPTION.format(ratio="log10 ‖dL/dh_1‖ / ‖dL/dh_T‖", percent="%") + f"\n\n{table}\n"


def _latex(printed: pd.DataFrame) -> str:
    """Booktabs rules; signs that LaTeX lacks in text become mathematics after the escaping."""
    caption = CAPTION.format(ratio=r"$\log_{10} \|dL/dh_1\| / \|dL/dh_T\|$", percent=r"\%")
    body = printed.to_latex(index=False, escape=True, caption=caption)
    return body.replace("−", "$-$").replace("∞", r"$\infty$").replace("–", "--")


def _replace(path: Path, text: str) -> Path:
    """Write beside the place, then move there in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    return beside.replace(path)
