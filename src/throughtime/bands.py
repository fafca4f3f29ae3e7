"""Where in recurrent scale the gradient survives: the table of bands, and the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.tables import RATIO, scale_range, series_columns, summary_of


def find(
    frame: pd.DataFrame, lengths: Sequence[int] = (50, 200), limit: float = statistics.FACTOR
) -> pd.DataFrame:
    """Where in recurrent scale the gradient survives: one line per band, cell and length.

    A scale at which no majority of the seeds is `ok` is undefined, and a band beside it is open.

    Args:
        frame: rows, or their summary.
        lengths: sequence lengths; one that was not measured says so in `text`.
        limit: decades that the median log10 ratio may stray from 0.

    Returns:
        Columns: cell and every setting that varies within it, sequence_length, the band (NaN where
        there is none), scale_min, scale_max, num_scales, num_undefined, limit, text.
    """
    summary = summary_of(frame)
    series = series_columns(summary)
    lines = []
    for key, points in summary.groupby(series, dropna=False, observed=True):
        for length in lengths:
            measured = points[points["sequence_length"] == length].sort_values("recurrent_scale")
            setting = dict(zip(series, key, strict=True)) | {"sequence_length": length}
            lines += [setting | line for line in _bands(measured, limit)]
    return pd.DataFrame(lines)


def describe(bands: pd.DataFrame) -> str:
    """The bands in words, one line for each cell (and every other setting that varies).

    Args:
        bands: what `find` returns.

    Returns:
        "lstm: within a factor 10 over 50 steps for recurrent scale 1.2 to ≥ 4" (open above), say.
    """
    series = list(bands.columns[: bands.columns.get_loc("sequence_length")])
    lines = []
    for key, found in bands.groupby(series, dropna=False, sort=False):
        reach = [_reach(length, group) for length, group in found.groupby("sequence_length")]
        factor = f"within a factor {10 ** found['limit'].iloc[0]:.3g} "
        others = [f"{name} {x}" for name, x in zip(series[1:], key[1:], strict=True) if x == x]
        lines.append(f"{', '.join([str(key[0]), *others])}: {factor}" + "; ".join(reach))
    return "\n".join(lines)


def _bands(points: pd.DataFrame, limit: float) -> list[dict[str, Any]]:
    """The bands of one cell at one length, or the one line that says there is none."""
    scales = points["recurrent_scale"].to_numpy(np.float64)
    trusted = 2 * points["num_ok"] > points["num_seeds"]
    ratios = points[f"{RATIO}_median"].where(trusted).to_numpy(np.float64)
    grid: dict[str, Any] = {
        "scale_min": points["recurrent_scale"].min(),
        "scale_max": points["recurrent_scale"].max(),
        "num_scales": len(points),
        "num_undefined": int(np.isnan(ratios).sum()),
        "limit": limit,
    }
    absent = statistics.Band(np.nan, np.nan, False, False)
    found = [band._asdict() | grid for band in statistics.survival_bands(scales, ratios, limit)]
    return [band | {"text": _band_text(band)} for band in found or [absent._asdict() | grid]]


def _band_text(band: dict[str, Any]) -> str:
    """One band in words: digits enough to tell its ends apart, ≤ and ≥ on its open sides."""
    if not band["num_scales"]:
        return "not measured"
    if np.isnan(band["low"]):
        return f"nowhere in {band['scale_min']:g} to {band['scale_max']:g}"
    return scale_range(band["low"], band["high"], band["open_low"], band["open_high"])


def _reach(length: object, found: pd.DataFrame) -> str:
    """All bands of one cell at one length."""
    first = found.iloc[0]
    where = "for recurrent scale " if first["low"] == first["low"] else ""
    unsure = f" (undefined at {first['num_undefined']} of {first['num_scales']} scales)"
    text = f"over {length} steps {where}" + " and ".join(found["text"])
    return text + (unsure if first["num_undefined"] else "")
