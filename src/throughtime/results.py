"""What was measured at a point, as the columns of a table; or why nothing was."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from throughtime import statistics
from throughtime.diagnostics import GradientDiagnostics, PathDiagnostics
from throughtime.lyapunov import (
    STATUSES,
    LyapunovSpectrum,
    entropy_rate,
    exponent_errors,
    kaplan_yorke_dimension,
)
from throughtime.points import HEADLINES, PATHS, Point
from throughtime.scaled import Scaled


class Result(NamedTuple):
    """What was measured at a point.

    Attributes:
        point: the point.
        shared: the columns that its networks have in common.
        each: the columns that they have each, as lists in the order of seeds.
        curves: ln ‖dL/dh_{T−k}‖ by lag k, float64 ``(num_seeds, T)``; or that of each of `PATHS`,
            ``(num_seeds, T, 4)``; or the exponents λ_1 … λ_k, ``(num_seeds, k)``; or the course of
            a training, see `learned`.
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
    points: Sequence[Point],
    measured: GradientDiagnostics | LyapunovSpectrum | PathDiagnostics,
    shared: dict[str, Any],
    may_be_rounded: Callable[[Point], bool] = lambda point: True,
) -> list[Result]:
    """What a program returned, point by point, in float64 on the host.

    Args:
        points: that it measured.
        measured: arrays with leading axes points, which may be longer, and networks.
        shared: columns that all these points have in common.
        may_be_rounded: whether a gradient of 0 at a point may be one that is only too small.

    Returns:
        The results, in order.
    """
    if isinstance(measured, LyapunovSpectrum):
        return [
            _spectrum_result(point, jax.tree.map(lambda leaf, i=i: leaf[i], measured), shared)
            for i, point in enumerate(points)
        ]
    curves = natural_logs(measured.norms)
    if isinstance(measured, PathDiagnostics):
        lines = zip(points, curves, measured.defect, measured.first_bad_step, strict=False)
        return [_paths_result(*line, shared, may_be_rounded) for line in lines]
    plain = jax.tree.map(np.ndarray.tolist, measured._replace(norms=None))
    return [
        _gradient_result(
            point, curves[i, :, : point.sequence_length], _at(plain, i), shared, may_be_rounded
        )
        for i, point in enumerate(points)
    ]


def natural_logs(norms: Scaled) -> np.ndarray:
    """The logs of scaled norms on the host, where float64 is at hand whatever they are made of.

    Args:
        norms: of any shape, not negative.

    Returns:
        Nats, float64; −inf where a norm is 0.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(norms.mantissa).astype(np.float64))
    return logs + np.asarray(norms.exponent) * np.log(2.0)


def _at(plain, index: int):
    """What was measured at one point; lists, so that JSON takes the numbers as they are."""
    return jax.tree.map(
        lambda leaf: leaf[index], plain, is_leaf=lambda leaf: isinstance(leaf, list)
    )


def _gradient_result(point: Point, curves: np.ndarray, measured, shared, may_be_rounded) -> Result:
    """The columns of one point: what its gradients are."""
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
        "status": _statuses(point, bad, curves, may_be_rounded),
    }
    return with_columns(point, shared, each, curves)


def _paths_result(
    point: Point, curves: np.ndarray, defects, bad_steps, shared, may_be_rounded
) -> Result:
    """The columns of one point: the rate of each path; −∞ is one that nothing takes."""
    bad = [_or_none(int(step), 0) for step in bad_steps]
    whole = curves[..., 0]
    each = {
        "seed": [point.seed + index for index in range(point.num_seeds)],
        HEADLINES["paths"]: [statistics.log10_ratio(curve) for curve in whole],
        **{
            f"rate_{name}": [statistics.rate(curve) for curve in curves[..., place]]
            for place, name in enumerate(PATHS)
        },
        "defect": [float(defect) for defect in defects],
        "verdict": [statistics.verdict(curve) for curve in whole],
        "first_bad_step": bad,
        "status": _statuses(point, bad, whole, may_be_rounded),
    }
    return with_columns(point, shared, each, curves)


def _spectrum_result(point: Point, measured: LyapunovSpectrum, shared: dict[str, Any]) -> Result:
    """The columns of one point: what its exponents say."""
    rows = [
        _spectrum_row(LyapunovSpectrum(*(leaf[i] for leaf in measured)), shared["state_size"])
        for i in range(point.num_seeds)
    ]
    each = {"seed": [point.seed + i for i in range(point.num_seeds)]}
    each |= {name: [row[name] for row in rows] for name in rows[0]}
    return with_columns(point, shared, each, np.asarray(measured.exponents, np.float64))


def _spectrum_row(spectrum: LyapunovSpectrum, state_size: int) -> dict[str, Any]:
    """What the exponents of one network say; nothing is known of an orbit that is no orbit."""
    leading = spectrum._replace(exponents=spectrum.exponents[:1], growth=spectrum.growth[:, :1])
    errors, status = exponent_errors(leading), STATUSES[int(spectrum.status)]
    if status == "ok" and not errors.converged[0]:
        status = "not_converged"
    low, high = float(errors.low[0]), float(errors.high[0])
    # Rounding adds about eps per step, always to the same side; √eps is what it never reaches.
    resolution = float(np.finfo(spectrum.growth.dtype).eps) ** 0.5
    verdict = statistics.exponent_verdict(low, high, resolution)
    exponents = np.asarray(spectrum.exponents, np.float64)
    dimension, entropy = (f(exponents, state_size) for f in (kaplan_yorke_dimension, entropy_rate))
    is_whole = exponents.size == state_size
    return {
        "leading_exponent": float(exponents[0]),
        "leading_exponent_low": low,
        "leading_exponent_high": high,
        "exponent_sum": float(exponents.sum()) if is_whole else None,
        "kaplan_yorke_dimension": dimension.value,
        "kaplan_yorke_is_bound": dimension.is_bound,
        "entropy_rate": entropy.value,
        "entropy_is_bound": entropy.is_bound,
        "exponent_floor": float(spectrum.floor),
        "verdict": verdict if status == "ok" else "undefined",
        "first_bad_step": _or_none(int(spectrum.first_bad_step) + 1, 0),
        "status": status,
    }


def with_columns(point: Point, shared: dict[str, Any], each, curves: np.ndarray) -> Result:
    """The result, with the point's own columns beside what was measured.

    Args:
        point: the point.
        shared: the columns that its networks have in common.
        each: the columns that they have each.
        curves: of each network.
    """
    own = {name: value for name, value in point.columns().items() if name not in each}
    return Result(point, own | shared, each, curves)


def _or_none(value: int, nothing: int) -> int | None:
    """The integer, or None where it means nothing."""
    return None if value == nothing else value


def _statuses(point: Point, bad_steps: list, curves, may_be_rounded) -> list[str]:
    """The standing of each network of a point."""
    pairs = zip(curves, bad_steps, strict=True)
    return [statistics.status(*pair, lambda: may_be_rounded(point)) for pair in pairs]
