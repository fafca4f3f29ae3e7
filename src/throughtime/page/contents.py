"""What the page knows of a sweep: every point with its numbers as texts, and thinned curves.

Numbers are rounded to what they are known to, and curves keep few of their lags, as the page
carries thousands of them. Nothing is left out: a point without a number has its status.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from throughtime import bands, statistics
from throughtime.medians import FRAME, LOST, RANGES, MedianCurve, median_curve
from throughtime.names import unknown
from throughtime.options import InputError
from throughtime.tables import RATIO, interval_text, measure_of, series_columns, summarise

AXES = ("cell", "recurrent_scale", "sequence_length", "dtype")
"""What the page chooses by; each has a control if it varies."""

OF_CURVES = ("cell", "recurrent_scale", "sequence_length", "seed", "lag", "log_norm")
EVENLY, GEOMETRICALLY = 24, 40
"""How many lags of a curve are kept, spaced in two ways; both ends are among them."""

WORDS: dict[str, str] = {"first_zero_lag": "exactly 0", "first_inf_lag": "inf"}
"""What plain floats hold instead of the gradient."""

FIRST = ("elman", "gru", "lstm")
"""The cells that everyone knows come first; the others follow by name."""

LIMITS = (statistics.FACTOR, 3 * statistics.FACTOR)
"""Decades: gradients that changed by less are called stable, and nearly so."""


def contents(summary: pd.DataFrame, rows: pd.DataFrame, curves: pd.DataFrame) -> dict[str, Any]:
    """All that the page's script needs.

    Args:
        summary: what `checked_summary` makes of them.
        rows: one row per point and seed.
        curves: columns of `OF_CURVES`, and dtype where the rows' dtype varies.

    Returns:
        The values of each of `AXES`; lags, by index of the length; points, each with the indices of
        its values, its numbers and texts, and its curve, if it has one; stable bands.

    Raises:
        InputError: for rows and curves that do not belong to each other.
    """
    axes = {name: sorted(summary[name].unique().tolist()) for name in AXES}
    axes["cell"].sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    lags = [kept_lags(length) for length in axes["sequence_length"]]
    keys = [name for name in AXES if name in curves]
    of_point = dict(iter(curves.groupby(keys, sort=False)))
    rows_of = dict(iter(rows.groupby(list(AXES), sort=False)))
    if strangers := set(of_point) - set(summary[keys].itertuples(index=False, name=None)):
        raise InputError(f"{len(strangers)} points of the curves have no rows.")
    points = []
    for line in summary.to_dict("records"):
        at = {name: axes[name].index(line[name]) for name in AXES}
        seeds = rows_of[tuple(line[name] for name in AXES)]
        curve = _curve_of(seeds, of_point.get(tuple(line[name] for name in keys)))
        drawn = {} if curve is None else _drawn(curve, lags[at["sequence_length"]])
        points.append(at | _numbers(line) | {"text": _texts(line)} | drawn)
    return {
        **axes,
        "lags": [kept.tolist() for kept in lags],
        "points": points,
        "bands": _stable(summary, axes),
        "limits": LIMITS,
        "frame": FRAME,
        "ranges": {name: _decades(name) for name in axes["dtype"]},
    }


def checked_summary(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The rows' summary, one line per point of the page; what cannot be shown truly is refused.

    Args:
        rows: one row per point and seed, of gradients.
        curves: columns of `OF_CURVES`, and dtype where the rows' dtype varies.

    Returns:
        What `summarise` makes of the rows.

    Raises:
        InputError: for frames that lack rows or columns, that are not of gradients, or that hold
            several settings of one cell.
    """
    for name, frame, needed in (("rows", rows, AXES), ("curves", curves, OF_CURVES)):
        if missing := [column for column in needed if column not in frame]:
            raise InputError(f"the page's {name} lack the columns {', '.join(missing)}.")
    if rows.empty:
        raise InputError("the page has no rows to show.")
    try:
        if measure_of(rows).headline != RATIO:
            raise InputError(f"the page shows gradients, not {rows['diagnostic'].iloc[0]}.")
        summary = summarise(rows)
    except ValueError as error:
        raise InputError(str(error)) from error
    if others := [name for name in series_columns(summary) if name not in AXES]:
        raise InputError(f"the page shows one setting of a cell, but {', '.join(others)} varies.")
    if summary["dtype"].nunique() > 1 and "dtype" not in curves:
        raise InputError("the page's curves lack the column dtype, which varies among the rows.")
    return summary


def kept_lags(length: int) -> np.ndarray:
    """The lags that the page keeps of a curve: as many evenly as geometrically spaced, both ends.

    Args:
        length: of the sequence, in steps.

    Returns:
        Ascending lags from 0 to length - 1.
    """
    last = length - 1
    evenly, geometrically = np.linspace(0, last, EVENLY), np.geomspace(1, last, GEOMETRICALLY)
    return np.unique(np.concatenate([evenly, geometrically]).round().astype(int))


def _curve_of(rows: pd.DataFrame, curves: pd.DataFrame | None) -> MedianCurve | None:
    """The median curve of a point; None where no network is ok."""
    ok = rows[rows["status"] == "ok"]
    seeds = set() if curves is None else set(curves["seed"])
    if strangers := seeds - set(rows["seed"]):
        raise InputError(f"curves of {len(strangers)} networks of the page belong to no row.")
    if missing := set(ok["seed"]) - seeds:
        raise InputError(f"{len(missing)} networks of the page have status ok but no curve.")
    if curves is None or ok.empty:
        return None
    try:
        are_ok = curves if len(ok) == len(seeds) else curves[curves["seed"].isin(ok["seed"])]
        return median_curve(are_ok, ok)
    except ValueError as error:
        raise InputError(str(error)) from error


def _drawn(curve: MedianCurve, lags: np.ndarray) -> dict[str, Any]:
    """The kept lags of a curve, null where it is exactly zero, and the marks upon it."""
    median, low, high = (part[lags] for part in curve[:3])
    digits = [_decimals(*ends) for ends in zip(low, high, strict=True)]
    parts = {"median": median, "low": low, "high": high}
    drawn = {
        name: [_rounded(x, d) for x, d in zip(part, digits, strict=True)]
        for name, part in parts.items()
    }
    marks = {}
    for name in LOST:
        lag = curve.lost[name]
        if lag < curve.median.size and np.isfinite(curve.median[int(lag)]):
            marks[name] = [int(lag), _rounded(curve.median[int(lag)], 2)]
    if zero := np.flatnonzero(np.isneginf(curve.median)).tolist():
        marks["zero"] = [zero[0] - 1, _rounded(curve.median[zero[0] - 1], 2)]
    return {"curve": drawn, "marks": marks}


def _numbers(line: dict[Any, Any]) -> dict[str, Any]:
    """What of a point is drawn over recurrent scale: null where it is exactly zero or unknown."""
    median, low, high = (float(line[f"{RATIO}_{part}"]) for part in ("median", "q10", "q90"))
    digits = _decimals(low, high)
    return {
        "ratio": [_rounded(x, digits) for x in (median, low, high)],
        "networks": [int(line["num_ok"]), int(line["num_seeds"])],
        "status": line["status"],
    }


def _texts(line: dict[Any, Any]) -> dict[str, str]:
    """The numbers of a point in words."""
    if not line["num_ok"]:
        return {"verdict": line["verdict"]}
    bound = "≥ " if line["horizon_is_bound"] else ""
    return {
        "ratio": interval_text(line, RATIO),
        "rate": interval_text(line, "rate"),
        "horizon": f"{bound}{line['horizon_median']:g}",
        "verdict": line["verdict"],
        "plain": ", ".join(filter(None, (_lost(line, name) for name in LOST))) or "keeps it",
    }


def _lost(line: dict[Any, Any], name: str) -> str:
    """What plain floats make of the gradient: from which lag on, in how many networks, if any."""
    count = round(line[f"{name}_share"] * line["num_ok"])
    what, lag = WORDS[name], line[f"{name}_median"]
    return f"{what} from lag {lag:g} in {count} of {line['num_ok']}" if count else ""


def _stable(summary: pd.DataFrame, axes: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The recurrent scales over which the gradient stays within each of `LIMITS`, as texts."""
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    for dtype, of_dtype in summary.groupby("dtype"):
        for limit in LIMITS:
            lines = bands.find(of_dtype, axes["sequence_length"], limit).assign(dtype=dtype)
            for key, each in lines.groupby(["cell", "sequence_length", "dtype"], sort=False):
                at = dict(zip(("cell", "sequence_length", "dtype"), key, strict=True))
                index = {name: axes[name].index(value) for name, value in at.items()}
                entry = found.setdefault(tuple(index.values()), index | {"texts": []})
                entry["texts"].append(_bands_text(each))
    return list(found.values())


def _bands_text(found: pd.DataFrame) -> str:
    """The bands of one cell and length, and at how many scales nothing is known."""
    undefined, scales = found[["num_undefined", "num_scales"]].iloc[0]
    unsure = f" (undefined at {undefined} of {scales} scales)" if undefined else ""
    return " and ".join(found["text"]) + unsure


def _decades(dtype: str) -> list[float]:
    """The ends of a dtype's range, in decades."""
    if dtype not in RANGES:
        raise InputError(unknown("dtype", dtype, RANGES))
    return [round(exponent * float(np.log10(2)), 2) for exponent in RANGES[dtype]]


def _decimals(low: float, high: float) -> int:
    """Three significant digits of a band's width, at most four decimals."""
    width = high - low if np.isfinite(low) else 0.0
    return int(np.clip(2 - np.floor(np.log10(width)), 1, 4)) if width > 0 else 4


def _rounded(value: float, digits: int) -> float | None:
    """A number as JSON has it; what is exactly zero in decades, or unknown, is null."""
    return round(float(value), digits) + 0.0 if np.isfinite(value) else None
