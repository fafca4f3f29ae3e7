"""Lyapunov exponents of a step: how fast tangent vectors grow along an orbit, in nats per step."""

from throughtime.lyapunov.errors import ExponentErrors, exponent_errors, status_of
from throughtime.lyapunov.measures import Bounded, entropy_rate, kaplan_yorke_dimension
from throughtime.lyapunov.orbit import STATUSES
from throughtime.lyapunov.spectrum import LyapunovSpectrum, lyapunov_spectrum, perturbed_exponent

__all__ = [
    "STATUSES",
    "Bounded",
    "ExponentErrors",
    "LyapunovSpectrum",
    "entropy_rate",
    "exponent_errors",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
    "perturbed_exponent",
    "status_of",
]
