"""All cells side by side: where their gradients survive, how far they reach, what gates save."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.tables.grids import REFERENCE, Grid, compared, grids
from throughtime.tables.mitigation import COLUMNS, gains, mitigation_table
from throughtime.tables.words import CAPTION, CAPTION_LATEX, printed_league
from throughtime.tables.written import csv, latex, markdown, write_texts

SCALE = 1.0
"""The default recurrent scale, at which cells are compared in one number."""

LIMITS = (1.0, 3.0)
"""Decades within which a gradient counts as surviving; the first one sorts the league."""

MEDIANS = ("critical_scale", "rate", "horizon")

COSTS = ("state_size", "parameters", "flops_per_step")


def league(
    rows: pd.DataFrame, curves: pd.DataFrame | None = None, reference: str = REFERENCE
) -> pd.DataFrame:
    """One line a cell, the widest stable band of the longest sequences first; ties by name.

    Args:
        rows: one row per point and seed.
        curves: what `frames.curves_frame` returns with the cells of `one_series_a_cell`; at least
            those at `SCALE` and the longest length. None leaves out the shape.
        reference: the ungated cell, by its name in `one_series_a_cell`.

    Returns:
        Columns cell; at `SCALE` and the longest length verdict with share_<verdict>, rate and
        horizon with exact 95% intervals of the median, the columns of `gains` over the
        reference, and shape; critical_scale at the longest length with its exact interval, −inf
        and +inf beyond what was measured; `COSTS`; and for each length T and limit L the band as
        T<T>_<L>_<column> (`bands_of` has it line by line), with the factor by which it is wider
        than the reference's. What was not measured is NaN.

    Raises:
        InputError: where the rows cannot be compared.
    """
    rows = compared(rows, reference)
    by_cell = grids(rows)
    longest = max(length for _, length in by_cell)
    bands = _bands(by_cell, reference)
    here = rows[(rows["recurrent_scale"] == SCALE) & (rows["sequence_length"] == longest)]
    plain = by_cell.get((reference, longest))
    lines = []
    for cell, own in rows.groupby("cell", observed=True):
        line: dict[str, Any] = {"cell": cell, "recurrent_scale": SCALE, "sequence_length": longest}
        at_default, grid = here[here["cell"] == cell], by_cell.get((str(cell), longest))
        line |= _of_verdicts(at_default) | _of_grid(grid)
        line |= _saved(plain, None if cell == reference else grid)
        line |= {"shape": _shape(at_default, curves)}
        line |= {name: _only(own[name]) for name in COSTS if name in own}
        lines.append(line | bands[str(cell)])
    widest = [f"T{longest}_{LIMITS[0]:g}_width", "cell"]
    return pd.DataFrame(lines).sort_values(widest, ascending=[False, True], ignore_index=True)


def bands_of(league: pd.DataFrame) -> pd.DataFrame:
    """The stable bands of a league, a line for each cell, length and limit.

    Args:
        league: what `league` returns.

    Returns:
        Columns cell, sequence_length, limit (decades), low, high and width with their 95%
        intervals (<name>_low, <name>_high), open_low, open_high, is_bound, num_bands, num_scales,
        scale_min and scale_max of the grid, and factor with its interval and bounds.
    """
    places = {  # in the order of the columns
        (int(found[1]), float(found[2])): None
        for column in league
        if (found := re.fullmatch(r"T(\d+)_([\d.e+-]+)_width", str(column)))
    }
    parts = []
    for length, limit in places:
        prefix = f"T{length}_{limit:g}_"
        own = league[[name for name in league if str(name).startswith(prefix)]]
        named = own.rename(columns=lambda name, prefix=prefix: name.removeprefix(prefix))
        own = pd.concat([league[["cell"]], named], axis=1)
        parts.append(own.assign(sequence_length=length, limit=limit))
    return pd.concat(parts, ignore_index=True)


def write_league(
    rows: pd.DataFrame,
    directory: str | os.PathLike[str],
    curves: pd.DataFrame | None = None,
    reference: str = REFERENCE,
) -> tuple[pd.DataFrame, pd.DataFrame, list[Path]]:
    """Write league.csv, league.md, league.tex and mitigation.csv.

    Args:
        rows: one row per point and seed.
        directory: made if it does not exist.
        curves: as in `league`.
        reference: the ungated cell.

    Returns:
        The league, the mitigations, and the four paths.

    Raises:
        InputError: where the rows cannot be compared.
    """
    table, saved = league(rows, curves, reference), mitigation_table(rows, reference)
    printed = league_to_read(table)
    names = {"reference": reference, "scale": SCALE, "length": table["sequence_length"].iloc[0]}
    names |= {"limit": f"{LIMITS[0]:g}"}
    in_latex = CAPTION_LATEX.format(**names | {"reference": reference.replace("_", r"\_")})
    texts = {
        "league.csv": csv(table),
        "league.md": markdown(printed, CAPTION.format(**names)),
        "league.tex": latex(printed, in_latex, fit=True),
        "mitigation.csv": csv(saved),
    }
    return table, saved, write_texts(texts, directory)


def league_to_read(league: pd.DataFrame) -> pd.DataFrame:
    """A league with every entry as text.

    Args:
        league: what `league` returns.

    Returns:
        A line a cell in the order of the league.
    """
    return printed_league(league, bands_of(league))


def _bands(by_cell: dict[tuple[str, int], Grid], reference: str) -> dict[str, dict[str, Any]]:
    """The stable bands of every cell at every length and limit, as columns."""
    columns: dict[str, dict[str, Any]] = {cell: {} for cell, _ in by_cell}
    for length in sorted({length for _, length in by_cell}):
        for limit in LIMITS:
            found = {
                cell: statistics.stable_band(grid.scales, grid.ratios, limit)
                for (cell, own), grid in by_cell.items()
                if own == length
            }
            for cell, band in found.items():
                grid = by_cell[cell, length].scales
                line = _band(band) | {"scale_min": grid[0], "scale_max": grid[-1]}
                if cell != reference and reference in found:
                    line |= _factor(statistics.band_factor(found[reference], band))
                prefix = f"T{length}_{limit:g}_"
                columns[cell] |= {prefix + name: value for name, value in line.items()}
    return columns


def _band(band: statistics.StableBand) -> dict[str, Any]:
    """A band as columns."""
    line: dict[str, Any] = {}
    for name in ("low", "high", "width"):
        line |= _with_interval(name, getattr(band, name), getattr(band, f"{name}_interval"))
    names = ("open_low", "open_high", "is_bound", "num_bands", "num_scales")
    return line | {name: getattr(band, name) for name in names}


def _factor(factor: statistics.Factor) -> dict[str, Any]:
    """A factor as columns."""
    return _with_interval("factor", factor.value, factor.interval) | {
        "factor_is_lower_bound": factor.is_lower_bound,
        "factor_is_upper_bound": factor.is_upper_bound,
    }


def _of_verdicts(rows: pd.DataFrame) -> dict[str, Any]:
    """The verdict of one cell's networks, and the shares of all verdicts with their intervals."""
    if rows.empty:
        return {"verdict": None}
    verdicts = list(rows["verdict"].where(rows["status"] == "ok", "undefined"))
    shares, word = statistics.verdict_shares(verdicts)
    line: dict[str, Any] = {"verdict": word, "num_seeds": len(verdicts)}
    for name, share in shares.items():
        found = statistics.share_interval(verdicts.count(name), len(verdicts))
        line |= _with_interval(f"share_{name}", share, found)
    return line


def _of_grid(grid: Grid | None) -> dict[str, Any]:
    """Critical scale of one cell, and its rate and horizon at the default scale."""
    unknown = statistics.Interval(np.nan, np.nan)
    line = {name: np.nan for key in MEDIANS for name in _with_interval(key, np.nan, unknown)}
    if grid is None:
        return line
    critical = statistics.critical_scale(grid.scales, grid.rates)
    line |= _with_interval("critical_scale", critical.value, critical.interval)
    line |= {"critical_scale_num": critical.num}
    line |= {"scale_min": grid.scales[0], "scale_max": grid.scales[-1]}
    fate = grid.at(SCALE)
    known = ~np.isnan(fate.rates)
    if not known.any():
        return line
    rates, horizons = fate.rates[known], fate.horizons[known]
    line |= _with_interval(
        "rate", float(statistics.medians(rates)), statistics.quantile_interval(rates)
    )
    # A horizon that is a lower bound may be anything above.
    above = np.where(fate.is_bound[known], np.inf, horizons)
    reach = float(statistics.medians(horizons))
    ends = statistics.quantile_interval(horizons).low, statistics.quantile_interval(above).high
    line |= _with_interval("horizon", reach, statistics.Interval(*ends))
    return line | {"horizon_is_bound": bool(statistics.medians(above) != reach)}


def _saved(plain: Grid | None, gated: Grid | None) -> dict[str, Any]:
    """What a cell saves over the reference at the default scale."""
    if plain is None or gated is None:
        return dict.fromkeys(COLUMNS, np.nan)
    return gains(plain.at(SCALE), gated.at(SCALE))


def _shape(rows: pd.DataFrame, curves: pd.DataFrame | None) -> str | None:
    """The shape of the median curve of the networks that are ok; none without curves."""
    ok = rows[rows["status"] == "ok"]
    if curves is None or ok.empty:
        return None
    of = ["cell", "recurrent_scale", "sequence_length"]
    own = curves[(curves[of] == ok[of].iloc[0]).all(axis=1) & curves["seed"].isin(ok["seed"])]
    if own.empty:
        return None
    by_seed = own.pivot(index="lag", columns="seed", values="log_norm").to_numpy(np.float64)
    return statistics.shape(statistics.medians(by_seed)).name


def _only(values: pd.Series) -> Any:
    """The one value of a column; NaN where it has several."""
    return values.iloc[0] if values.nunique(dropna=False) == 1 else np.nan


def _with_interval(name: str, value: float, interval: statistics.Interval) -> dict[str, float]:
    """A number and the ends of its interval as columns."""
    return {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
