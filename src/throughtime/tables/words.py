"""A league as texts to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from throughtime.tables.written import estimate, scale_range

_CAPTION = (
    "Cells by the width of the band of recurrent scales over which the median gradient changes by "
    "at most {factor} in T steps, at T = {length} (≥ and ≤: an open side, or a bound; "
    "≈: between two neighbouring scales, as no measured one is in it). "
    "× {reference}: times as wide as the band of {reference}. At recurrent scale {scale:g} and "
    "T = {length}: the rate in nats per step towards the past, the horizon in steps, the e-folds "
    "of gradient saved per step and the steps of horizon gained over {reference}, in pairs of the "
    "same seed. In brackets 95{percent} intervals over seeds, each by itself; ∞ is beyond what was "
    "measured."
)

CAPTION = _CAPTION.replace("{factor}", "10^{limit}").replace("{percent}", "%")

CAPTION_LATEX = (
    _CAPTION.replace("{factor}", "$10^{{{limit}}}$")
    .replace("{percent}", r"\%")
    .replace("≥", r"$\geq$")
    .replace("≤", r"$\leq$")
    .replace("×", r"$\times$")
    .replace("∞", r"$\infty$")
    .replace("≈", r"$\approx$")
)


STEPS = ("horizon", "gained")
"""What is counted in steps."""


def printed_league(league: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    """A league with every entry as text, for Markdown and LaTeX.

    Args:
        league: what `tables.league` returns.
        bands: its bands, line by line; those of the smallest limit are shown.

    Returns:
        A line a cell in the order of the league.
    """
    lines = league.to_dict("records")
    printed = pd.DataFrame({"cell": league["cell"].astype(str)})
    printed["critical scale"] = [_critical(line) for line in lines]
    shown = bands[bands["limit"] == bands["limit"].min()]
    longest = shown["sequence_length"].max()
    for length, own in shown.groupby("sequence_length"):
        by_cell = {line["cell"]: line for line in own.to_dict("records")}
        found = [by_cell[cell] for cell in league["cell"]]
        printed[f"band, T = {length}"] = [_band(line) for line in found]
        if length == longest:
            printed["width"] = [_bounded(line, "width", above="is_bound") for line in found]
            printed["×"] = [_bounded(line, "factor") for line in found]
    printed["rate"] = [_bounded(line, "rate") for line in lines]
    printed["horizon"] = [_bounded(line, "horizon", above="horizon_is_bound") for line in lines]
    printed["saved"] = [_bounded(line, "saved") for line in lines]
    printed["gained"] = [_bounded(line, "gained") for line in lines]
    for name in ("shape", "verdict"):
        printed[name] = league[name].fillna("–").astype(str)
    for name in ("state_size", "parameters", "flops_per_step"):
        if name in league:
            printed[name.replace("_", " ")] = [_count(line[name]) for line in lines]
    return printed


def _critical(line: dict[Any, Any]) -> str:
    """A critical scale; beyond an end of the grid that end."""
    value, ends = line.get("critical_scale"), (line.get("scale_min"), line.get("scale_max"))
    if value in (-np.inf, np.inf):
        return f"≤ {ends[0]:g}" if value == -np.inf else f"≥ {ends[1]:g}"
    return _bounded(line, "critical_scale")


def _band(line: dict[Any, Any]) -> str:
    """Such as "0.92 to ≥ 4", or why there is none."""
    if pd.isna(line["width"]):
        return "–"
    if np.isnan(line["low"]):
        return "nowhere seen" if line["is_bound"] else "nowhere"
    found = scale_range(line["low"], line["high"], line["open_low"], line["open_high"])
    return found if line["num_scales"] else f"≈ {found}"


def _bounded(line: dict[Any, Any], name: str, above: str = "") -> str:
    """A number with its interval, and ≥ or ≤ where it is a bound; a dash where there is none."""
    keys = (name, f"{name}_low", f"{name}_high")
    value, low, high = (float(line.get(key, np.nan)) for key in keys)
    if np.isnan(value):
        return "–"
    is_lower = line.get(above or f"{name}_is_lower_bound")
    sign = "≥ " if is_lower else "≤ " if line.get(f"{name}_is_upper_bound") else ""
    decimals = None
    if name in STEPS:  # whole, or a half as the median of an even number
        decimals = int(any(x % 1 > 0 for x in (value, low, high) if np.isfinite(x)))
    return estimate(value, low, high, sign=sign, decimals=decimals)


def _count(value: Any) -> str:
    """A whole number with its thousands; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:,.0f}"
