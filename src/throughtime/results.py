"""What was measured at a point, as the columns of a table; or why nothing was."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from throughtime import statistics
from throughtime.diagnostics import GradientDiagnostics
from throughtime.points import Point


class Result(NamedTuple):
    """What was measured at a point.

    Attributes:
        point: the point.
        shared: the columns that its networks have in common.
        each: the columns that they have each, as lists in the order of seeds.
        curves: ln ‖dL/dh_{T−k}‖ by lag k, float64 ``(num_seeds, T)``.
    """

    point: Point
    shared: dict[str, Any]
    each: dict[str, list[Any]]
    curves: np.ndarray


class Failure(NamedTuple):
    """A point that could not be measured.

    Attributes:
        point: the point.
        reason: one sentence.
    """

    point: Point
    reason: str


def results_of(
    points: Sequence[Point], measured: GradientDiagnostics, shared: dict[str, Any]
) -> list[Result]:
    """What a program returned, point by point, in float64 on the host.

    Args:
        points: that it measured.
        measured: arrays with leading axes points, which may be longer, and networks.
        shared: columns that all these points have in common.

    Returns:
        The results, in order.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(measured.norms.mantissa.astype(np.float64))
    curves = logs + measured.norms.exponent * np.log(2.0)
    plain = jax.tree.map(np.ndarray.tolist, measured._replace(norms=None))
    return [
        _result(point, curves[i, :, : point.sequence_length], _at(plain, i), shared)
        for i, point in enumerate(points)
    ]


def _at(plain, index: int):
    """What was measured at one point; lists, so that JSON takes the numbers as they are."""
    return jax.tree.map(
        lambda leaf: leaf[index], plain, is_leaf=lambda leaf: isinstance(leaf, list)
    )


def _result(point: Point, curves: np.ndarray, measured, shared: dict[str, Any]) -> Result:
    """The columns of one point."""
    horizons = [statistics.horizon(curve) for curve in curves]
    bad = [_or_none(step, 0) for step in measured.first_bad_step]
    each = {
        "seed": [point.seed + index for index in range(point.num_seeds)],
        "log10_gradient_ratio": [statistics.log10_ratio(curve) for curve in curves],
        "rate": [statistics.rate(curve) for curve in curves],
        "horizon": [horizon.lag for horizon in horizons],
        "horizon_is_bound": [horizon.is_bound for horizon in horizons],
        "verdict": [statistics.verdict(curve) for curve in curves],
        "first_zero_lag": [_or_none(lag, -1) for lag in measured.lost.first_zero],
        "first_inf_lag": [_or_none(lag, -1) for lag in measured.lost.first_inf],
        "first_bad_step": bad,
        "loss": [float(loss) for loss in measured.loss],
        "status": [_status(point, step, curve) for step, curve in zip(bad, curves, strict=True)],
    }
    own = {name: value for name, value in point.columns().items() if name not in each}
    return Result(point, own | shared, each, curves)


def _or_none(value: int, nothing: int) -> int | None:
    """The integer, or None where it means nothing."""
    return None if value == nothing else value


def _status(point: Point, bad_step: int | None, curve: np.ndarray) -> str:
    """Whether the numbers of a network are true.

    An exactly zero gradient is true for a dead rectifier and for a recurrent scale of 0; elsewhere
    it means that saturated states were rounded to where the derivative is 0 in floats.
    """
    if bad_step is not None or np.isnan(curve).any() or np.isposinf(curve).any():
        return "nonfinite"
    exact = dict(point.cell_options).get("activation") == "relu" or point.recurrent_scale == 0
    return "collapsed" if np.isneginf(curve).any() and not exact else "ok"
