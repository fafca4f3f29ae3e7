"""What each diagnostic measures, as a table has to know it: its columns and their words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from throughtime.points import HEADLINES


class Measure(NamedTuple):
    """The columns of a diagnostic.

    Attributes:
        headline: the column that the table shows; its sign says whether gradients grow.
        text: what that is, in Unicode.
        latex: the same in LaTeX.
        numbers: the columns of which median and interval are taken; the headline is the first.
        others: all further columns that are measured and not set.
        more: what else the rows of a point's `ok` networks say together.
        words: the lines that describe a summarised point, below the headline.
    """

    headline: str
    text: str
    latex: str
    numbers: tuple[str, ...]
    others: tuple[str, ...]
    more: Callable[[pd.DataFrame], dict[str, Any]]
    words: Callable[[dict[Any, Any]], list[str]]


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
        raise ValueError(f"a table shows one diagnostic of {', '.join(MEASURES)}, not {found}")
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


def _more_of_gradients(ok: pd.DataFrame) -> dict[str, Any]:
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


def _more_of_spectra(ok: pd.DataFrame) -> dict[str, Any]:
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
}
"""The diagnostics by name."""
