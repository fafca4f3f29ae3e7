"""What each diagnostic measures, as a table has to know it: its columns and their words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from throughtime.points import HEADLINES, PATHS
from throughtime.statistics import share_interval

LATER = ("overflowed_at", "status_at_start", "status_at_end")
"""Columns that records made before they were measured lack."""


class Measure(NamedTuple):
    """The columns of a diagnostic.

    Attributes:
        headline: the column that the table shows; its sign says whether gradients grow.
        text: what that is, in Unicode.
        latex: the same in LaTeX.
        numbers: the columns of which median and interval are taken; the headline is the first.
        others: all further columns that are measured and not set.
        more: what else the rows of a point say together, of its `ok` networks and of all.
        words: the lines that describe a summarised point, below the headline.
        entry: what the table shows of a summarised point; None is the headline with its interval.
        caption: of the table; None is that of medians with intervals.
        details: columns of a second table, a line for each point: what to call them, and the
            format of their numbers.
    """

    headline: str
    text: str
    latex: str
    numbers: tuple[str, ...]
    others: tuple[str, ...]
    more: Callable[[pd.DataFrame, pd.DataFrame], dict[str, Any]]
    words: Callable[[dict[Any, Any]], list[str]]
    entry: Callable[[dict[Any, Any]], str] | None = None
    caption: str | None = None
    details: dict[str, tuple[str, str]] | None = None


def measure_of(frame: pd.DataFrame) -> Measure:
    """The one diagnostic of a table.

    Args:
        frame: rows or a summary.

    Returns:
        Its measure.

    Raises:
        ValueError: if the frame does not say, or holds several.
    """
    found = sorted(set(frame["diagnostic"])) if "diagnostic" in frame else []
    if len(found) != 1 or found[0] not in MEASURES:
        raise ValueError(f"a table shows one diagnostic of {', '.join(MEASURES)}, not {found}.")
    return MEASURES[found[0]]


def interval(line: dict[Any, Any], name: str) -> str:
    """A median with its interval, to four decimals.

    Args:
        line: of a summary.
        name: the column.

    Returns:
        Such as "0.1235 [0.1100, 0.1301]", or "0.1235 (n = 4)" of too few networks for one.
    """
    median, low, high = (line[f"{name}_{part}"] for part in ("median", "ci_low", "ci_high"))
    is_known = not (math.isnan(low) or math.isnan(high))
    return f"{median:.4f} " + (
        f"[{low:.4f}, {high:.4f}]" if is_known else f"(n = {line['num_ok']})"
    )


def _majority(flags: pd.Series) -> bool:
    """Whether at least half are set."""
    return bool(flags.mean() >= 0.5)


def _more_of_gradients(ok: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Any]:
    """Horizons and lost lags."""
    line: dict[str, Any] = {"horizon_median": ok["horizon"].astype(float).median()}
    line["horizon_is_bound"] = _majority(ok["horizon_is_bound"])
    for name in ("first_zero_lag", "first_inf_lag"):
        line[f"{name}_median"] = ok[name].astype("Float64").dropna().astype(float).median()
        line[f"{name}_share"] = ok[name].notna().mean()
    return line


def _words_on_gradients(line: dict[Any, Any]) -> list[str]:
    """Rate and horizon."""
    bound = "at least " if line["horizon_is_bound"] else ""
    return [
        f"rate  {interval(line, 'rate')} nats per step towards the past",
        f"horizon  {bound}{line['horizon_median']:g} steps to 1% of the last gradient",
    ]


def _more_of_spectra(ok: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Any]:
    """The widest interval of a single orbit, and whether dimension and entropy are bounds."""
    width = (ok["leading_exponent_high"] - ok["leading_exponent_low"]).astype(float)
    return {
        "widest_orbit_interval": width.max(),
        "exponent_floor": ok["exponent_floor"].astype(float).max(),
        "kaplan_yorke_is_bound": _majority(ok["kaplan_yorke_is_bound"]),
        "entropy_is_bound": _majority(ok["entropy_is_bound"]),
    }


def _words_on_spectra(line: dict[Any, Any]) -> list[str]:
    """Sum, dimension and entropy."""
    dimension = "at least " if line["kaplan_yorke_is_bound"] else ""
    entropy = "at least " if line["entropy_is_bound"] else ""
    whole = [f"sum of all exponents  {interval(line, 'exponent_sum')}"]
    return (whole if pd.notna(line["exponent_sum_median"]) else []) + [
        f"Kaplan–Yorke dimension  {dimension}{interval(line, 'kaplan_yorke_dimension')}",
        f"entropy rate  {entropy}{interval(line, 'entropy_rate')} nats per step",
    ]


def _more_of_trainings(ok: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Any]:
    """How many solved the task, after how many updates, at which price."""
    solved = seeds["solved"].astype(bool)
    low, high = share_interval(int(solved.sum()), len(seeds))
    updates = seeds["updates_made"].astype(float)
    # A chunk that was compiled on the way is no price of a remedy: the median over networks.
    per_update = ((seeds["seconds"] - seeds["seconds_watching"]) / updates).median()
    first, last = seeds["horizon_at_start"], seeds["horizon_at_end"]
    return {
        "num_solved": int(solved.sum()),
        "num_diverged": int(seeds["diverged_at"].notna().sum()),
        "share_solved": solved.mean(),
        "share_solved_low": low,
        "share_solved_high": high,
        "updates_to_solve_median": seeds.loc[solved, "updates_to_solve"].astype(float).median(),
        "changed_share_median": seeds["changed_share"].astype(float).median(),
        "horizon_at_start_median": first.astype(float).median(),
        "horizon_at_end_median": last.astype(float).median(),
        "milliseconds_per_update": 1e3 * per_update,
        "watching_share": seeds["seconds_watching"].sum() / seeds["seconds"].sum(),
    }


def _words_on_trainings(line: dict[Any, Any]) -> list[str]:
    """Solved or not, how far gradients reached, and what watching them cost."""
    low, high = line["share_solved_low"], line["share_solved_high"]
    lines = [
        f"solved  {line['num_solved']}/{line['num_seeds']} networks [{low:.2f}, {high:.2f}]",
        f"validation loss  {interval(line, 'validation_loss')}",
        f"horizon  {line['horizon_at_start_median']:g} steps at the start, "
        f"{line['horizon_at_end_median']:g} at the end",
        f"watching gradients took {line['watching_share']:.1%} of the time",
    ]
    if line["num_solved"]:
        lines.insert(1, f"after  {line['updates_to_solve_median']:,g} updates, median")
    return lines


def _solved(line: dict[Any, Any]) -> str:
    """Such as "5/5 (1,800)", "0/5 (error 0.51)", or of a task that is never solved "error 0.51"."""
    share = f"{line['num_solved']}/{line['num_seeds']}"
    diverged = f", {line['num_diverged']} diverged" if line["num_diverged"] else ""
    if line["num_solved"]:
        return f"{share} ({line['updates_to_solve_median']:,.0f}{diverged})"
    if math.isnan(line["error_median"]):
        return f"{share} (all diverged)"
    if pd.isna(line["solved_below"]):
        return f"error {line['error_median']:.3g}{diverged}"
    return f"{share} (error {line['error_median']:.3g}{diverged})"


_GRADIENT = ("horizon", "rate", "log10_ratio", "older_share")

RATES = tuple(f"rate_{path}" for path in PATHS)
"""The rates of the ways that a gradient takes, see `paths`."""

RATIO, EXPONENT = HEADLINES["gradient"], HEADLINES["spectrum"]

MEASURES = {
    "gradient": Measure(
        headline=RATIO,
        text="log10 ‖dL/dh_1‖ / ‖dL/dh_T‖",
        latex=r"$\log_{10} \|dL/dh_1\| / \|dL/dh_T\|$",
        numbers=(RATIO, "rate"),
        others=("horizon", "horizon_is_bound", "first_zero_lag", "first_inf_lag", "loss"),
        more=_more_of_gradients,
        words=_words_on_gradients,
    ),
    "spectrum": Measure(
        headline=EXPONENT,
        text="leading Lyapunov exponent λ_1 in nats per step",
        latex=r"leading Lyapunov exponent $\lambda_1$ in nats per step",
        numbers=(EXPONENT, "exponent_sum", "kaplan_yorke_dimension", "entropy_rate"),
        others=(
            "leading_exponent_low",
            "leading_exponent_high",
            "kaplan_yorke_is_bound",
            "entropy_is_bound",
            "exponent_floor",
        ),
        more=_more_of_spectra,
        words=_words_on_spectra,
    ),
    "paths": Measure(
        headline=RATIO,
        text="log10 ‖∂m_T/∂m_1‖ / ‖∂m_T/∂m_T‖ of the memory m",
        latex=r"$\log_{10} \|\partial m_T/\partial m_1\| / \|\partial m_T/\partial m_T\|$",
        numbers=(RATIO, *RATES),
        others=("defect",),
        more=lambda ok, seeds: {"largest_defect": ok["defect"].astype(float).max()},
        words=lambda line: [f"{name}  {interval(line, name)} nats per step" for name in RATES],
        details={f"{name}_median": (name.replace("_", ", "), ".4f") for name in RATES}
        | {"largest_defect": ("largest defect", ".1e")},
    ),
    "training": Measure(
        headline=HEADLINES["training"],
        text="error on the validation set",
        latex="error on the validation set",
        numbers=(HEADLINES["training"], "validation_loss", "train_loss", "best_validation_loss"),
        others=(
            "solved",
            "updates_to_solve",
            "updates_made",
            "diverged_at",
            "overflowed_at",
            "last_gradient_norm",
            "changed_share",
            *(f"{name}_at_{when}" for name in (*_GRADIENT, "status") for when in ("start", "end")),
            "seconds_watching",
        ),
        more=_more_of_trainings,
        words=_words_on_trainings,
        entry=_solved,
        caption="Networks that solved the task, in brackets the median number of updates to do "
        "so; where none did, or there is no such bound, the median error on the validation set.",
        details={
            "share_solved": ("solved", ".0%"),
            "updates_to_solve_median": ("updates to solve", ",.0f"),
            "error_median": ("error", ".3g"),
            "validation_loss_median": ("validation loss", ".3g"),
            "best_validation_loss_median": ("its lowest", ".3g"),
            "baseline": ("baseline", ".3g"),
            "num_diverged": ("diverged", "d"),
            "changed_share_median": ("gradients changed", ".0%"),
            "horizon_at_start_median": ("horizon at the start", ".4g"),
            "horizon_at_end_median": ("at the end", ".4g"),
            "milliseconds_per_update": ("ms per update", ".3g"),
            "watching_share": ("watching", ".1%"),
        },
    ),
}
"""The diagnostics by name."""
