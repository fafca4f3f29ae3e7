"""What theory says the leading exponent of a swept series is: curves beside the measured ones.

A prediction is made only where it holds; a series about which theory says nothing has none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from throughtime import theory

RESOLUTION = 400
"""Scales at which a curve is evaluated."""

LIMIT, REST, KNOWN = "theory, $N\\to\\infty$", "theory, at rest", "known"

LOGISTIC_PERIOD_4 = 1 + np.sqrt(6)
"""The r of the logistic map at which the cycle of two points gives way to one of four."""


def exponent_predictions(rows: pd.DataFrame) -> pd.DataFrame:
    """The leading exponents that theory predicts for the series of a sweep.

    Args:
        rows: a sweep's rows or its summary; series are named by the column ``cell``, what they are
            by ``kind``, the cell's own name.

    Returns:
        Columns cell, source, recurrent_scale, exponent (nats per step): a curve for every series
        and source, or single points where only those are known. Empty if nothing is predicted.
    """
    parts = [
        pd.DataFrame({"cell": cell, "source": source, "recurrent_scale": x, "exponent": y})
        for cell, series in rows.groupby("cell")
        for source, x, y in _of_series(series)
    ]
    columns = ["cell", "source", "recurrent_scale", "exponent"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def edge_predictions(summary: pd.DataFrame) -> pd.DataFrame:
    """The recurrent scales at which theory has the leading exponent cross zero, by input scale.

    Args:
        summary: of a sweep over input scales, a line for each point.

    Returns:
        Columns cell, input_scale, recurrent_scale: of plain networks driven by white noise. Empty
        if there are none.
    """
    parts = [
        pd.DataFrame({"cell": cell, "input_scale": drives, "recurrent_scale": gains})
        for cell, series in summary.groupby("cell")
        for drives, gains in _edges(series)
    ]
    columns = ["cell", "input_scale", "recurrent_scale"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _edges(series: pd.DataFrame) -> list[tuple[np.ndarray, list[float]]]:
    """The edge of one series, if theory knows it: input scales, and the recurrent scale at each."""
    own = series.iloc[0].to_dict()
    is_plain = own.get("kind", own["cell"]) == "elman" and own["task"] == "noise"
    if not (is_plain and own["activation"] == "tanh" and _is_gaussian(own)):
        return []
    drives = np.unique(series["input_scale"].astype(float))
    is_driven = own.get("in_features", 1) != 0
    return [(drives, [theory.critical_gain(drive if is_driven else 0.0) for drive in drives])]


def _is_gaussian(own: dict[Hashable, Any]) -> bool:
    """Tell whether a network is a single layer of Gaussian weights, as all theory here has it."""
    layers, initializer = own.get("layers"), own.get("initializer")
    return (pd.isna(layers) or layers == 1) and (pd.isna(initializer) or initializer == "gaussian")


def _of_series(series: pd.DataFrame) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The curves of one series: their source, scales and exponents."""
    own = series.iloc[0].to_dict()
    predict = PREDICTED.get(own["kind"])
    if predict is None or not _is_gaussian(own):
        return []
    low, high = series["recurrent_scale"].min(), series["recurrent_scale"].max()
    return predict(own, np.linspace(max(low, 1e-3), high, RESOLUTION))


def _drive(own: dict[Hashable, Any]) -> float | None:
    """The standard deviation of white noise into each unit; None where the input is not white."""
    if own["task"] != "noise":
        return None
    given = own.get("input_scale")
    return 0.0 if not own["in_features"] else 1.0 if pd.isna(given) else given


def _of_elman(own: dict[Hashable, Any], scales: np.ndarray):
    """The driven mean-field theory, which without a drive is that of the autonomous network."""
    drive = _drive(own)
    if drive is None or own["activation"] not in ("tanh", "relu", "identity"):
        return []
    exponents = [theory.driven_network(g, drive, own["activation"]).exponent for g in scales]
    return [(LIMIT, scales, np.array(exponents))]


def _at_rest(cell: str, biases: tuple[str, ...]) -> Callable:
    """A gated cell without input, as long as it rests: ln |μ| of the largest eigenvalue ω = g."""

    def predict(own: dict[Hashable, Any], scales: np.ndarray):
        if _drive(own) != 0.0 or pd.notna(own.get("chrono_steps")):
            return []
        if any(pd.isna(own.get(name)) for name in biases):
            return []
        given = {name: float(own[name]) for name in biases}
        multipliers = [getattr(theory.rest_multipliers(g, **given), cell) for g in scales]
        exponents = np.log(np.abs(multipliers))
        rests = exponents <= 0
        return [(REST, scales[rests], exponents[rests])] if rests.any() else []

    return predict


def _of_logistic(own: dict[Hashable, Any], scales: np.ndarray):
    """Fixed point, cycle of two, and r = 4; elsewhere there is no closed form."""
    fixed = scales[(scales > 1) & (scales < 3)]
    cycle = scales[(scales > 3) & (scales < LOGISTIC_PERIOD_4)]
    curves = [
        (KNOWN, fixed, np.log(np.abs(2 - fixed))),
        (KNOWN, cycle, np.log(np.abs(4 + 2 * cycle - cycle**2)) / 2),
    ]
    chaotic = [(KNOWN, np.array([4.0]), np.array([np.log(2)]))] if scales[-1] >= 4 else []
    return [one for one in curves if one[1].size] + chaotic


def _single(scale: float, exponent: float) -> Callable:
    """One value in the literature."""

    def predict(own: dict[Hashable, Any], scales: np.ndarray):
        inside = scales[0] <= scale <= scales[-1]
        return [(KNOWN, np.array([scale]), np.array([exponent]))] if inside else []

    return predict


PREDICTED = {
    "elman": _of_elman,
    "gru": _at_rest("gru", ("update_bias",)),
    "lstm": _at_rest("lstm", ("forget_bias",)),
    "logistic": _of_logistic,
    "henon": _single(1.4, 0.4192),
    "cat": _single(1.0, float(np.log((3 + np.sqrt(5)) / 2))),
    "lorenz": _single(28.0, 0.9056 * 0.01),
}
"""What is predicted, by the cell's own name; Hénon's and Lorenz's numbers are Sprott's (2003)."""
