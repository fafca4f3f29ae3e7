"""What curves and samples amount to: rates, horizons, verdicts, intervals, predictions. No JAX."""

from throughtime.statistics.bands import Band, survival_bands
from throughtime.statistics.critical import CriticalScale, critical_scale
from throughtime.statistics.curves import (
    EPSILON,
    FACTOR,
    STATUSES,
    VERDICTS,
    Horizon,
    area,
    exponent_verdict,
    half_life,
    horizon,
    log10_ratio,
    rate,
    status,
    verdict,
)
from throughtime.statistics.intervals import Interval, quantile_interval, share_interval
from throughtime.statistics.pairs import Fate, Gain, Mitigation, mitigation
from throughtime.statistics.prediction import Prediction, area_under_curve, rank_correlation
from throughtime.statistics.resampling import bootstrap_interval, medians
from throughtime.statistics.shapes import SHAPES, Shape, shape
from throughtime.statistics.stable import Factor, StableBand, band_factor, stable_band
from throughtime.statistics.verdicts import MAJORITY, Shares, verdict_shares

__all__ = [
    "EPSILON",
    "FACTOR",
    "MAJORITY",
    "SHAPES",
    "STATUSES",
    "VERDICTS",
    "Band",
    "CriticalScale",
    "Factor",
    "Fate",
    "Gain",
    "Horizon",
    "Interval",
    "Mitigation",
    "Prediction",
    "Shape",
    "Shares",
    "StableBand",
    "area",
    "area_under_curve",
    "band_factor",
    "bootstrap_interval",
    "critical_scale",
    "exponent_verdict",
    "half_life",
    "horizon",
    "log10_ratio",
    "medians",
    "mitigation",
    "quantile_interval",
    "rank_correlation",
    "rate",
    "shape",
    "share_interval",
    "stable_band",
    "status",
    "survival_bands",
    "verdict",
    "verdict_shares",
]
