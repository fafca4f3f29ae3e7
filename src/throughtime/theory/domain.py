"""The range of an argument: what lies outside it, NaN included, is refused in one sentence."""

import numpy as np


def positive(name: str, value: float) -> None:
    """Refuse what is not above 0 and finite."""
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}.")


def not_negative(name: str, value) -> None:
    """Refuse a number, or an array that holds one, that is below 0 or not finite."""
    if not (np.isfinite(value) & (np.asarray(value) >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative, got {value}.")


def finite(name: str, value: float) -> None:
    """Refuse NaN and the infinities."""
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}.")


def at_least_one(name: str, value: int) -> None:
    """Refuse a count below 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")
