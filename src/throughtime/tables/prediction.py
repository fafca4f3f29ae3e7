"""Does the gradient at initialisation foretell whether a network will solve its task?"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from throughtime.statistics import area_under_curve, rank_correlation
from throughtime.tables.summary import point_columns
from throughtime.tables.written import csv, markdown, write_texts

PREDICTORS = {
    "horizon_at_start": "horizon",
    "log10_ratio_at_start": "log10 gradient ratio",
    "stability_at_start": "closeness of the ratio to 1",
    "rate_at_start": "rate",
    "older_share_at_start": "older share of the parameters' gradient",
}
"""What is known of a network before its first update, and what it is called in the table; its
closeness to 1, −|log10 ratio|, counts a gradient that explodes as one that vanishes."""

TITLE = (
    "Does the gradient at step 0 foretell success? AUC: the chance that a network that will solve "
    "its task has more of it than one that will not; ρ: Spearman's correlation with how early it "
    "is solved, never counting as latest. In brackets 95% intervals, over resampled points."
)


def can_be_foretold(rows: pd.DataFrame) -> bool:
    """Whether some networks of several points solved their task, and some did not.

    Args:
        rows: one row per point and network, of trainings.
    """
    rows = rows[rows["log10_ratio_at_start"].notna()]
    return rows["solved"].nunique() > 1 and _points(rows).nunique() > 1


def foretold(rows: pd.DataFrame) -> pd.DataFrame:
    """How well each number of `PREDICTORS` foretells success: over all, by cell, and by length.

    Networks whose gradient did not exist at step 0 are left out, as is a group of nothing else.

    Args:
        rows: one row per point and network, of trainings.

    Returns:
        Columns networks (which), predictor, num, num_solved, num_points, and auc and rho with
        their intervals.
    """
    rows = rows[rows["log10_ratio_at_start"].notna()]
    rows = rows.assign(stability_at_start=-rows["log10_ratio_at_start"].abs(), point=_points(rows))
    groups = {"all": rows}
    for column in ("cell", "task", "sequence_length"):
        if rows[column].nunique() > 1:
            groups |= {f"{column} {name}": own for name, own in rows.groupby(column)}
    lines = [_line(name, own, column) for name, own in groups.items() for column in PREDICTORS]
    return pd.DataFrame(lines)


def _points(rows: pd.DataFrame) -> pd.Series:
    """The point of each row, named by its first key: other seeds of it have keys of their own."""
    settings = [rows[name].astype(str) for name in point_columns(rows)]
    return rows.groupby(settings, sort=False)["key"].transform("first")


def _line(name: str, rows: pd.DataFrame, column: str) -> dict:
    """One predictor over some networks."""
    scores = rows[column].to_numpy(np.float64)
    solved = rows["solved"].to_numpy(bool)
    waited = rows["updates_to_solve"].to_numpy(np.float64, na_value=np.inf)
    clusters = rows["point"].to_numpy(str)  # the networks of a point are alike
    found = {
        "auc": area_under_curve(scores, solved, clusters),
        "rho": rank_correlation(scores, -np.where(solved, waited, np.inf), clusters),
    }
    line = {"networks": name, "predictor": PREDICTORS[column], "num": len(rows)}
    line |= {"num_solved": int(solved.sum()), "num_points": found["auc"].num_clusters}
    for what, one in found.items():
        line |= {
            what: one.value,
            f"{what}_low": one.interval.low,
            f"{what}_high": one.interval.high,
        }
    return line


def write_foretold(rows: pd.DataFrame, directory: str | os.PathLike[str]) -> list[Path]:
    """Write prediction.csv and prediction.md.

    Args:
        rows: one row per point and network, of trainings.
        directory: where.

    Returns:
        The two paths.
    """
    table = foretold(rows)
    printed = table[["networks", "predictor", "num", "num_solved"]].assign(
        AUC=[_shown(line, "auc") for line in table.to_dict("records")],
        ρ=[_shown(line, "rho") for line in table.to_dict("records")],
    )
    texts = {"prediction.csv": csv(table), "prediction.md": markdown(printed, TITLE)}
    return write_texts(texts, directory)


def _shown(line: dict, what: str) -> str:
    """A value with its interval; a dash where it does not exist."""
    value, low, high = (line[name] for name in (what, f"{what}_low", f"{what}_high"))
    if np.isnan(value):
        return "–"
    text = f"{value:.2f}" + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]")
    return text.replace("-", "−")
