"""What every cell saves of the gradient, compared with the ungated cell network by network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.tables.grids import REFERENCE, compared, grids


def mitigation_table(rows: pd.DataFrame, reference: str = REFERENCE) -> pd.DataFrame:
    """One line per cell, recurrent scale and length: what a gate saves, over seeds in pairs.

    Args:
        rows: one row per point and seed.
        reference: the ungated cell, by its name in `one_series_a_cell`.

    Returns:
        Columns cell, recurrent_scale, sequence_length, then those of `gains`. Scales and lengths
        at which the reference was not measured are left out.

    Raises:
        InputError: where the rows cannot be compared.
    """
    by_cell = grids(compared(rows, reference))
    lines = [
        {"cell": cell, "recurrent_scale": float(scale), "sequence_length": length}
        | gains(by_cell[reference, length].at(scale), grid.at(scale))
        for (cell, length), grid in by_cell.items()
        if cell != reference and (reference, length) in by_cell
        for scale in np.intersect1d(grid.scales, by_cell[reference, length].scales)
    ]
    return pd.DataFrame(lines, columns=["cell", "recurrent_scale", "sequence_length", *COLUMNS])


def gains(plain: statistics.Fate, gated: statistics.Fate) -> dict[str, Any]:
    """What a gate saves at one scale and length, as columns.

    Args:
        plain: the ungated networks.
        gated: the gated ones of the same seeds.

    Returns:
        num_pairs; `saved` (e-folds of gradient per step) and `gained` (lags of horizon), each with
        the ends of its exact 95% interval (infinite where unbounded), whether it is a lower or an
        upper bound, and its word.
    """
    found = statistics.mitigation(plain, gated)
    line: dict[str, Any] = {"num_pairs": found.saved.num}
    for name, gain in zip(("saved", "gained"), found, strict=True):
        line |= {
            name: gain.value,
            f"{name}_low": gain.interval.low,
            f"{name}_high": gain.interval.high,
            f"{name}_is_lower_bound": gain.is_lower_bound,
            f"{name}_is_upper_bound": gain.is_upper_bound,
            f"{name}_word": gain.word,
        }
    return line


COLUMNS = list(
    gains(*2 * [statistics.Fate(np.zeros(1), np.zeros(1), np.zeros(1, bool))])  # of any networks
)
