"""What curves and samples amount to: rates, horizons, verdicts, intervals, predictions. No JAX."""

from throughtime.statistics.bands import Band, survival_bands
from throughtime.statistics.curves import (
    EPSILON,
    FACTOR,
    VERDICTS,
    Horizon,
    exponent_verdict,
    horizon,
    log10_ratio,
    rate,
    verdict,
)
from throughtime.statistics.intervals import Interval, quantile_interval, share_interval
from throughtime.statistics.prediction import Prediction, area_under_curve, rank_correlation

__all__ = [
    "EPSILON",
    "FACTOR",
    "VERDICTS",
    "Band",
    "Horizon",
    "Interval",
    "Prediction",
    "area_under_curve",
    "exponent_verdict",
    "horizon",
    "log10_ratio",
    "quantile_interval",
    "rank_correlation",
    "rate",
    "share_interval",
    "survival_bands",
    "verdict",
]
