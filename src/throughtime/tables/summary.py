"""Rows of a sweep -> one line per point, with intervals over seeds.

A seed whose status is not `ok` has no number: it enters no median and no interval, counts as
`undefined` among the verdicts, and `num_ok` and `status` say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from throughtime import statistics
from throughtime.names import unknown
from throughtime.tables.measures import LATER, MEASURES, Measure, measure_of

STATUSES = ("ok", "nonfinite", "overflow", "collapsed", "not_converged")
AXES = ["cell", "recurrent_scale", "sequence_length"]
MEASURED = ["seed", "verdict", "status", "first_bad_step"]
PROVENANCE = ["key", "run_id", "created", "schema", "source", "commit", "dirty", "throughtime"]
PROVENANCE += ["jax", "jaxlib", "flax", "numpy", "optax", "scipy", "scikit-learn", "hydra-core"]
PROVENANCE += ["orbax-checkpoint", "python", "platform", "device", "matmul_precision"]
PROVENANCE += ["environment", "instruction_set", "summing_threads", "networks_at_once"]
NO_SETTING = {*AXES, *MEASURED, *PROVENANCE, "num_seeds", "seconds"}
NO_SETTING |= {name for one in MEASURES.values() for name in (*one.numbers, *one.others)}

DERIVED = ("kind", "in_features", "units", "state_size", "parameters", "flops_per_step")
DERIVED += ("baseline", "solved_below", "gates")
"""Columns that follow from the settings of cell and task, and name no series."""


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per point: the settings, then medians, intervals, shares and status over its seeds.

    Every column that is neither measured nor provenance is a setting: no two settings are averaged.

    Args:
        rows: one row per point and seed.

    Returns:
        The settings; num_seeds, num_ok; over the `ok` seeds median, deciles (order statistics) and
        95% interval of the median of the measure's numbers, and what more it says: of gradients the
        median horizon (a lower bound where `horizon_is_bound`), `first_*_lag_median` over the seeds
        in which it happened, and their share of the `ok` ones; over all seeds the shares of
        verdicts, and the verdict of a majority of them, else `mixed` (`verdict_shares`); the status
        ("nonfinite 3/16"); provenance.

    Raises:
        ValueError: for missing columns, no rows, several diagnostics, an unknown status or verdict,
            a seed that occurs twice at one point, or an `ok` row without a number.
    """
    if rows.empty:
        raise ValueError("there are no rows to summarise.")
    measure = measure_of(rows)
    rows, keys = _checked(rows, measure), point_columns(rows)
    origins = [name for name in PROVENANCE if name in rows]
    rows = rows.assign(**{name: rows[name].astype(str).fillna("unknown") for name in origins})
    shared = {name: rows[name].iloc[0] for name in origins if rows[name].nunique() == 1}
    lines = [
        dict(zip(keys, key, strict=True)) | _summary(seeds, measure) | _provenance(seeds, shared)
        for key, seeds in rows.groupby(keys, dropna=False, observed=True)
    ]
    return pd.DataFrame(lines)


def summary_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows summarised; what is a summary already as it is.

    Args:
        frame: rows, or their summary.

    Returns:
        What `summarise` returns.
    """
    return frame if "num_ok" in frame else summarise(frame)


def point_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that say which point was measured, in rows and in summaries alike."""
    names = list(frame.columns)
    names = names[: names.index("num_ok")] if "num_ok" in names else names
    return AXES + [name for name in names if name not in NO_SETTING]


def is_setting(name: str) -> bool:
    """Tell whether a column says which point was measured: it is neither measured nor provenance.

    Args:
        name: of the column.
    """
    return name in AXES or name not in NO_SETTING


def series_columns(frame: pd.DataFrame) -> list[str]:
    """The cell, and what varies within one besides recurrent scale and sequence length."""
    others = [name for name in point_columns(frame) if name not in (*AXES, *DERIVED)]
    texts = frame[others].astype(str).groupby(frame["cell"])
    varied = [name for name in others if texts[name].nunique(dropna=False).max() > 1]
    if "mitigation_options" in varied:
        by_name = frame.groupby(["cell", "mitigation"])["mitigation_options"]
        if by_name.nunique().max() == 1:  # the remedies' names say it all
            varied.remove("mitigation_options")
    return ["cell", *(name for name in varied if not _is_said_by_name(frame, name))]


def _is_said_by_name(frame: pd.DataFrame, setting: str) -> bool:
    """Recognise the size of a file, and the hash of one whose name tells as much."""
    file = setting.removesuffix("_bytes").removesuffix("_sha256")
    hashes = f"{file}_sha256"
    if setting == file or file not in frame or hashes not in frame:
        return False
    is_size = setting != hashes
    return is_size or len(frame[[file, hashes]].drop_duplicates()) == frame[file].nunique()


def one_series_a_cell(rows: pd.DataFrame, apart: str = "") -> pd.DataFrame:
    """The rows with every setting that varies within a cell written into the cell's name.

    Args:
        rows: one row per point and seed, or their summary.
        apart: a setting that is not written there, as it is an axis of the figure.

    Returns:
        The same rows, where "lstm" has become "lstm, forget_bias 1.0" and the like, and those
        settings have no columns of their own: a figure's panels.
    """
    cell, *others = (name for name in series_columns(rows) if name != apart)
    names = rows[cell].astype(str)
    for setting in others:
        is_remedy = setting in ("mitigation", "mitigation_options")  # which say what they are
        named = ", " + ("" if is_remedy else f"{setting} ") + rows[setting].astype(str)
        shown = ~rows[setting].isin(["none", ""]) if is_remedy else rows[setting].notna()
        names = names + named.where(shown, "")
    return rows.assign(cell=names)


def told_numbers(values: pd.Series) -> pd.Series:
    """Numbers as texts, with the six digits of `%g`, or as many more as tell them apart.

    Args:
        values: such as recurrent scales.

    Returns:
        A text for each.
    """
    distinct = values.dropna().unique()
    digits = next(
        (d for d in range(6, 17) if len({f"{x:.{d}g}" for x in distinct}) == len(distinct)), 17
    )
    return values.map(f"{{:.{digits}g}}".format)


def _checked(rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """The rows, list settings as text; rows that cannot be summarised truthfully are refused."""
    needed = [*AXES, *MEASURED, *measure.numbers, *measure.others]
    if missing := [name for name in needed if name not in rows and name not in LATER]:
        raise ValueError(f"rows lack the columns {', '.join(missing)}.")
    for column, known in (("status", STATUSES), ("verdict", statistics.VERDICTS)):
        for name in set(rows[column]) - set(known):
            raise ValueError(unknown(column, name, known))
    rows = rows.map(lambda value: str(value) if isinstance(value, list) else value)
    if twice := rows.duplicated([*point_columns(rows), "seed"]).sum():
        raise ValueError(f"{twice} rows repeat a seed at a point: rows of several runs are mixed.")
    numbers = rows.loc[rows["status"] == "ok", measure.headline]
    if empty := numbers.isna().sum():
        raise ValueError(f"{empty} rows have status ok but no {measure.headline}.")
    return rows


def _summary(seeds: pd.DataFrame, measure: Measure) -> dict[str, Any]:
    """What the seeds of one point say together."""
    ok = seeds[is_ok := seeds["status"] == "ok"]
    verdicts = seeds["verdict"].where(is_ok, "undefined")
    shares, word = statistics.verdict_shares(verdicts)
    line: dict[str, Any] = {"num_seeds": len(seeds), "num_ok": len(ok)}
    for name in measure.numbers:
        spread = _spread(ok[name].to_numpy(np.float64))
        line |= {f"{name}_{part}": x for part, x in spread.items()}
    line |= measure.more(ok, seeds)
    line |= {f"share_{name}": share for name, share in shares.items()}
    return line | {"verdict": word, "status": _status(seeds["status"])}


def _spread(values: np.ndarray) -> dict[str, float]:
    """Median, deciles and interval; the deciles only rank, as nothing interpolates against -inf.

    What was not asked for, as the sum of exponents of which only some are known, is missing.
    """
    if np.isnan(values).all():
        return dict.fromkeys(("median", "q10", "q90", "ci_low", "ci_high"), np.nan)
    low, high = statistics.quantile_interval(values)
    ends = {"q10": np.quantile(values, 0.1, method="lower")}
    ends |= {"q90": np.quantile(values, 0.9, method="higher")}
    return {"median": np.median(values), **ends, "ci_low": low, "ci_high": high}


def _status(statuses: pd.Series) -> str:
    if (statuses == "ok").all():
        return "ok"
    counts = statuses[statuses != "ok"].value_counts().sort_index()
    return ", ".join(f"{name} {n}/{statuses.size}" for name, n in counts.items()) or "ok"


def _provenance(seeds: pd.DataFrame, shared: dict[str, str]) -> dict[str, Any]:
    """Where the seeds' numbers come from: every distinct value, and the seconds they took.

    Of the values that all rows share they need not be looked for.
    """
    values = {
        name: shared[name] if name in shared else "; ".join(sorted(set(seeds[name])))
        for name in PROVENANCE
        if name in seeds
    }
    return values | {name: seeds[name].sum() for name in ("seconds",) if name in seeds}
