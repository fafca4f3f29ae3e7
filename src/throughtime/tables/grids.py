"""Rows of gradients as arrays over recurrent scale and seed, so that cells can be compared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from throughtime.options import InputError
from throughtime.statistics import Fate
from throughtime.tables.measures import RATIO
from throughtime.tables.summary import AXES, one_series_a_cell, series_columns

REFERENCE = "elman"
"""The cell without a gate, which every other one is compared with."""

_NUMBERS = (RATIO, "rate", "horizon")
_NEEDED = (*AXES, "seed", "diagnostic", "status", "verdict", *_NUMBERS, "horizon_is_bound")


class Grid(NamedTuple):
    """The networks of one cell at one length, NaN where one is not `ok` or was not measured.

    Attributes:
        scales: (s,), strictly increasing.
        ratios: (s, n), log10 of ||dL/dh_1|| / ||dL/dh_T||.
        rates: (s, n), nats per step.
        horizons: (s, n), lags.
        is_bound: (s, n), whether a horizon is a lower bound.
    """

    scales: np.ndarray
    ratios: np.ndarray
    rates: np.ndarray
    horizons: np.ndarray
    is_bound: np.ndarray

    def at(self, scale: float) -> Fate:
        """The rates and horizons of all seeds at one scale; of a scale not measured all NaN.

        Args:
            scale: recurrent scale.
        """
        found = np.flatnonzero(self.scales == scale)
        if found.size == 0:
            unknown = np.full(self.rates.shape[1], np.nan)
            return Fate(unknown, unknown, np.zeros(unknown.size, bool))
        return Fate(self.rates[found[0]], self.horizons[found[0]], self.is_bound[found[0]])


def can_be_compared(rows: pd.DataFrame, reference: str = REFERENCE) -> bool:
    """Whether gradients of the reference and of another cell were measured.

    Args:
        rows: one row per point and seed.
        reference: the cell to compare with, by its name in `one_series_a_cell`.
    """
    names = set(one_series_a_cell(rows)["cell"])
    return set(rows["diagnostic"]) == {"gradient"} and reference in names and len(names) > 1


def compared(rows: pd.DataFrame, reference: str = REFERENCE) -> pd.DataFrame:
    """The rows with one cell a series, or one sentence on why they cannot be compared.

    Args:
        rows: one row per point and seed.
        reference: the cell to compare with.

    Returns:
        The rows, every setting that varies within a cell written into its name.

    Raises:
        InputError: for missing columns, no rows, another diagnostic, a seed that occurs twice at a
            point, no reference, or nothing but the reference.
    """
    if missing := [name for name in _NEEDED if name not in rows]:
        raise InputError(f"A league needs the columns {', '.join(missing)}, which the rows lack.")
    if rows.empty:
        raise InputError("A league needs rows, and there are none.")
    if strange := sorted(set(rows["diagnostic"]) - {"gradient"}):
        raise InputError(f"A league compares gradients, not {', '.join(strange)}.")
    rows = one_series_a_cell(rows)
    if others := series_columns(rows)[1:]:
        raise InputError(f"A league shows one setting a cell, but {', '.join(others)} varies.")
    cells = sorted(set(rows["cell"]))
    if reference not in cells or len(cells) < 2:
        raise InputError(
            f"A league compares cells with {reference!r}, but has only {', '.join(cells)}."
        )
    if twice := rows.duplicated([*AXES, "seed"]).sum():
        raise InputError(f"{twice} rows repeat a seed at a point: rows of several runs are mixed.")
    return rows


def grids(rows: pd.DataFrame) -> dict[tuple[str, int], Grid]:
    """The grid of every cell and length; all have the same seeds in the same order.

    Args:
        rows: what `compared` returns.

    Returns:
        Grids by cell and sequence length.
    """
    seeds = np.unique(rows["seed"].to_numpy(np.int64))
    own = rows[[*AXES, "seed", "horizon_is_bound"]].copy()
    is_ok = rows["status"] == "ok"
    for name in _NUMBERS:
        own[name] = rows[name].astype(np.float64).where(is_ok)
    return {
        (str(cell), int(length)): _grid(part, seeds)
        for cell, parts in own.groupby("cell", observed=True)
        for length, part in parts.groupby(parts["sequence_length"].astype(int))
    }


def _grid(rows: pd.DataFrame, seeds: np.ndarray) -> Grid:
    """The rows of one cell and length, each at its place."""
    scales, place = np.unique(rows["recurrent_scale"].to_numpy(np.float64), return_inverse=True)
    where = place, np.searchsorted(seeds, rows["seed"].to_numpy(np.int64))
    numbers = np.full((len(_NUMBERS), scales.size, seeds.size), np.nan)
    is_bound = np.zeros((scales.size, seeds.size), bool)
    for array, name in zip(numbers, _NUMBERS, strict=True):
        array[where] = rows[name].to_numpy()
    is_bound[where] = rows["horizon_is_bound"].to_numpy(bool)
    ratios, rates, horizons = numbers
    return Grid(scales, ratios, rates, horizons, is_bound)
