"""Zeros of a function of one number."""

from collections.abc import Callable

from scipy.optimize import root_scalar


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero between two signs, by Brent's method, to float64 precision relative to itself."""
    return float(root_scalar(function, bracket=(low, high), xtol=1e-300, rtol=1e-15).root)
