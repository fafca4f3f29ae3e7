"""Where a value crosses zero: bisection with many points a round, for many functions at once.

A round is one program for all functions, so that few rounds matter more than few points. With k
points a round the bracket of a crossing, after r rounds, is this wide:

    (high - low) / ((k - 1) (k + 1)^(r - 1))
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DIGITS = 12
"""Decimals of a point, as of a recurrent scale: a search run again asks for the same points."""

Evaluate = Callable[[Sequence[tuple[int, float]]], Sequence[float]]
"""The values at pairs (index of the function, x); NaN where a function has none."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where one function crosses zero, or why that is not known.

    Attributes:
        critical: the crossing, by linear interpolation in the bracket; its middle where a value
            there is infinite, and None where there is no bracket.
        low: lower end of the bracket; None where there is none.
        high: upper end; equal to `low` where the value at that point is exactly 0.
        value_low: the value at `low`.
        value_high: the value at `high`.
        direction: ``up`` if the value grows through zero, ``down`` if it falls; None where there
            is no crossing, or where the value touches zero without changing its sign.
        status: ``ok``; ``not converged``: the bracket is wider than the tolerance; ``no crossing``;
            ``undefined``: no crossing was seen, but some points have no value.
        num_points: how many points were evaluated.
        num_undefined: how many of them have no value (NaN); a crossing next to one is not seen.
    """

    critical: float | None = None
    low: float | None = None
    high: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    direction: str | None = None
    status: str
    num_points: int
    num_undefined: int


@dataclass(frozen=True)
class Bisection:
    """A search for the lowest crossing of zero in an interval.

    The first round spreads its points over the interval, both ends included; every later round
    spreads as many inside of the bracket, which is the lowest pair of neighbouring points with
    values of opposite sign. So of several crossings that the first round tells apart it is the
    lowest that is found, and an even number of crossings within one cell of the first round is
    missed. Infinite values have a sign; NaN has none, and no bracket reaches across it. A value of
    exactly zero is a crossing by itself.

    Attributes:
        low: lower end of the interval.
        high: upper end.
        points_per_round: k, of each function.
        tolerance: the width of the bracket at which the search ends, in units of x.
        max_rounds: after which it ends anyway.

    Raises:
        ValueError: if the ends are not finite or not in order, or a setting is out of range.
    """

    low: float
    high: float
    points_per_round: int = 7
    tolerance: float = 1e-3
    max_rounds: int = 8

    def __post_init__(self):
        ends = (self.low, self.high)
        if not (all(map(math.isfinite, ends)) and self.low < self.high):
            raise ValueError(f"an interval needs two finite ends, the lower one first, got {ends}.")
        if self.points_per_round < 2:
            raise ValueError(f"points_per_round must be at least 2, got {self.points_per_round}.")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be above 0, got {self.tolerance}.")
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, got {self.max_rounds}.")

    def solve(self, evaluate: Evaluate, count: int) -> list[Crossing]:
        """Find the crossing of each of many functions, all of them advancing together.

        Args:
            evaluate: called once a round, with the points of all functions still searched.
            count: how many functions.

        Returns:
            One result per function.
        """
        known: list[dict[float, float]] = [{} for _ in range(count)]
        for _ in range(self.max_rounds):
            asked = [(i, x) for i, values in enumerate(known) for x in self._next(values)]
            if not asked:
                break
            for (i, x), value in zip(asked, evaluate(asked), strict=True):
                known[i][x] = float(value)
        return [self._crossing(values) for values in known]

    def _next(self, values: dict[float, float]) -> list[float]:
        """The points of the next round; none where the search is over."""
        k = self.points_per_round
        if not values:
            return _spread(self.low, self.high, [i / (k - 1) for i in range(k)])
        bracket = _bracket(values)
        if bracket is None or self._is_narrow(*bracket):
            return []
        inside = _spread(*bracket, [i / (k + 1) for i in range(1, k + 1)])
        return [x for x in inside if x not in values]

    def _is_narrow(self, low: float, high: float) -> bool:
        return round(high - low, DIGITS) <= self.tolerance

    def _crossing(self, values: dict[float, float]) -> Crossing:
        """What the values seen amount to."""
        num_undefined = sum(map(math.isnan, values.values()))
        bracket = _bracket(values)
        if bracket is None:
            status = "undefined" if num_undefined else "no crossing"
            return Crossing(status=status, num_points=len(values), num_undefined=num_undefined)
        low, high = bracket
        return Crossing(
            critical=_interpolated(low, high, values[low], values[high]),
            low=low,
            high=high,
            value_low=values[low],
            value_high=values[high],
            direction=_direction(values, low, high),
            status="ok" if self._is_narrow(low, high) else "not converged",
            num_points=len(values),
            num_undefined=num_undefined,
        )


def _spread(low: float, high: float, shares: Sequence[float]) -> list[float]:
    """The points at these shares of the way from low to high, rounded, none of them twice."""
    return list(dict.fromkeys(round(low + (high - low) * share, DIGITS) for share in shares))


def _bracket(values: dict[float, float]) -> tuple[float, float] | None:
    """The lowest point with value zero or pair of neighbours with values of opposite sign."""
    points = sorted(values)
    for low, high in itertools.pairwise([*points, points[-1]]):
        if values[low] == 0:
            return low, low
        if _sign(values[low]) * _sign(values[high]) < 0:
            return low, high
    return None


def _sign(value: float) -> int:
    """-1, 0 or 1; 0 for NaN."""
    return (value > 0) - (value < 0)


def _interpolated(low: float, high: float, value_low: float, value_high: float) -> float:
    """Where the line through two values of opposite sign crosses zero."""
    if value_low == 0:
        return low
    if math.isinf(value_low) or math.isinf(value_high):
        return (low + high) / 2
    return min(low + (high - low) * (value_low / (value_low - value_high)), high)


def _direction(values: dict[float, float], low: float, high: float) -> str | None:
    """Whether the sign grows across the bracket; across a zero, from one neighbour to the other."""
    points = sorted(values)
    before, after = points.index(low), points.index(high)
    if low == high:
        before, after = max(before - 1, 0), min(after + 1, len(points) - 1)
    change = _sign(values[points[after]]) - _sign(values[points[before]])
    return "up" if change > 0 else "down" if change < 0 else None
