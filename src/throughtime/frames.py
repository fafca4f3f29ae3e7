"""Records as tables: numbers by network, curves by network and lag."""

from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.points import COURSE, PATHS

CURVE_OF = ("cell", "recurrent_scale", "sequence_length", "seed")
"""The columns that say whose a curve is."""


def rows_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table of numbers, one row per point and network.

    Args:
        records: from `load_run`.

    Returns:
        The rows with the columns of their origin; lags and steps that never came are missing.
    """
    frame = pd.DataFrame(_all_rows(records))
    lags = [name for name in ("first_zero_lag", "first_inf_lag", "first_bad_step") if name in frame]
    return frame.assign(**{lag: frame[lag].astype("Int64") for lag in lags})


def rows_of(shared: dict[str, Any], each: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The networks of a point as rows.

    Args:
        shared: the columns that they have in common.
        each: the columns that they have each.

    Returns:
        A row for each network.
    """
    networks = zip(*each.values(), strict=True)
    return [shared | dict(zip(each, network, strict=True)) for network in networks]


def _all_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all records."""
    return [row for record in records for row in _rows(record)]


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a record, with where they come from."""
    own = {name: record[name] for name in ("key", "run_id", "created")}
    return rows_of(own | record["origin"] | record["shared"], record["each"])


def curves_frame(records: list[dict[str, Any]], cells: pd.Series | None = None) -> pd.DataFrame:
    """Records as a tidy table of curves, one row per point, network and lag.

    Args:
        records: from `load_run`.
        cells: names to use for the cell of each row of `rows_frame`; None keeps the cells' own.

    Returns:
        Columns cell, recurrent_scale, sequence_length, seed, dtype, lag and log_norm (nats).
    """
    rows = _all_rows(records)
    curves = [curve for record in records for curve in record["curves"]]
    lengths = [len(curve) for curve in curves]
    labels = pd.DataFrame(rows, columns=[*CURVE_OF, "dtype"])
    if cells is not None:
        labels = labels.assign(cell=cells.to_numpy())
    repeated = labels.loc[labels.index.repeat(lengths)].reset_index(drop=True)
    lags = np.concatenate([np.arange(length) for length in lengths])
    return repeated.assign(lag=lags, log_norm=np.concatenate(curves))


def spectra_frame(records: list[dict[str, Any]], cells: pd.Series | None = None) -> pd.DataFrame:
    """Records of spectra as a tidy table, one row per network and exponent, of `ok` networks alone.

    Args:
        records: from `load_run`.
        cells: names to use for the cell of each row of `rows_frame`; None keeps the cells' own.

    Returns:
        Columns cell, recurrent_scale, sequence_length, seed, fraction ((i − ½)/n, n the size of
        the state) and exponent, λ_i in nats per step.
    """
    curves = curves_frame(records, cells)
    rows = _all_rows(records)
    counts = [len(curve) for record in records for curve in record["curves"]]
    sizes = np.repeat([row["state_size"] for row in rows], counts)
    is_ok = np.repeat([row["status"] == "ok" for row in rows], counts)
    tidy = curves.assign(fraction=(curves["lag"] + 0.5) / sizes, exponent=curves["log_norm"])
    return tidy.drop(columns=["dtype", "lag", "log_norm"])[is_ok]


def paths_frame(records: list[dict[str, Any]], cells: pd.Series | None = None) -> pd.DataFrame:
    """Records of paths as a tidy table, one row per network, path and lag, of `ok` networks alone.

    Args:
        records: from `load_run`.
        cells: names to use for the cell of each row of `rows_frame`; None keeps the cells' own.

    Returns:
        Columns cell, recurrent_scale, sequence_length, seed, lag, path (of `PATHS`) and log_norm
        (nats).
    """
    parts = []
    for place, name in enumerate(PATHS):
        of_path = [record | {"curves": record["curves"][..., place]} for record in records]
        parts.append(curves_frame(of_path, cells).assign(path=name))
    statuses = [status for record in records for status in record["each"]["status"]]
    lengths = [length for r in records for length in [r["curves"].shape[1]] * len(r["curves"])]
    is_ok = np.repeat(np.array(statuses) == "ok", lengths)
    return pd.concat([part[is_ok] for part in parts], ignore_index=True)


def course_frame(records: list[dict[str, Any]], cells: pd.Series | None = None) -> pd.DataFrame:
    """Records of trainings as a tidy table, one row per network and look.

    Args:
        records: from `load_run`.
        cells: names to use for the cell of each row of `rows_frame`; None keeps the cells' own.

    Returns:
        Columns cell, recurrent_scale, sequence_length, seed, baseline, then those of `COURSE`,
        horizon (steps), and saturation_<gate> of the gates that the cell has.
    """
    rows = _all_rows(records)
    names = [row["cell"] for row in rows] if cells is None else list(cells)
    curves = [curve for record in records for curve in record["curves"]]
    parts = [_course(row, name, c) for row, name, c in zip(rows, names, curves, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _course(row: dict[str, Any], name: str, curve: np.ndarray) -> pd.DataFrame:
    """The course of one network; looks that were never taken are left out."""
    looks = curve[~np.isnan(curve[:, 0])]
    gates = [f"saturation_{gate}" for gate in row["gates"].split()]
    columns = [*COURSE, *gates]
    frame = pd.DataFrame(looks[:, : len(columns)], columns=pd.Index(columns))
    norms = looks[:, len(columns) :]
    labels = {of: row[of] for of in (*CURVE_OF, "baseline")} | {"cell": name}
    return frame.assign(**labels, horizon=[statistics.horizon(norm).lag for norm in norms])
