"""Contestants: the same numbers computed by us and by others, timed in turns in one process."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


def as_array(result: Any) -> list[np.ndarray]:
    """The numbers of a result that is one array."""
    return [np.asarray(result)]


class Contestant(NamedTuple):
    """Who measures: `run` returns when all is done, `numbers` is what its result says.

    `threads` is how many it was told to use, where it can be told.
    """

    name: str
    run: Callable[[], Any]
    numbers: Callable[[Any], list[np.ndarray]] = as_array
    threads: int | None = None


class Case(NamedTuple):
    """What is measured, by us and by others, and how far apart the numbers may be.

    With `is_cost` the peer is our own work without the measurement, and the ratio is ours to its.
    """

    benchmark: str
    case: str
    ours: Contestant
    peers: list[Contestant]
    difference: Callable[[list[np.ndarray], list[np.ndarray]], float]
    tolerance: float
    aim: float | None = None
    is_cost: bool = False


def apart(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest difference; of logarithms that is a relative one of what they are of."""
    return _largest(ours, theirs, lambda a, b: np.abs(a - b))


def relative(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest difference in an array by the largest number in it, and of these the largest."""
    return _largest(ours, theirs, lambda a, b: np.abs(a - b) / np.max(np.abs(b)))


def _largest(ours, theirs, difference) -> float:
    """The largest difference, NaN if any is; arrays of other shapes are other numbers."""
    if [each.shape for each in ours] != [each.shape for each in theirs]:
        return math.nan
    return float(np.max([np.max(difference(a, b)) for a, b in zip(ours, theirs, strict=True)]))


def measure(case: Case, repeats: int, shortest: float = 0.05) -> list[dict[str, Any]]:
    """Time a case and return a row for each peer; raises where the numbers disagree.

    A timing lasts `shortest` seconds, at least: what is quicker runs several times in it.
    """
    contestants = [*case.peers, case.ours]
    runs = {each: _timed(each.run) for each in contestants}
    first = runs[case.ours][0]
    numbers = [each.numbers(result) for each, (_, result) in runs.items()]
    agreements = [_agreement(case, numbers[-1], theirs) for theirs in numbers[:-1]]
    calls = {each: max(1, math.ceil(shortest / _timed(each.run)[0])) for each in contestants}
    rounds = [
        {each: _timed(each.run, calls[each])[0] for each in contestants} for _ in range(repeats)
    ]
    shared = {"benchmark": case.benchmark, "case": case.case, "ours": case.ours.name}
    return [
        shared | _row(case, peer, rounds, first) | {"agreement": agreement}
        for peer, agreement in zip(case.peers, agreements, strict=True)
    ]


def _row(case: Case, peer: Contestant, rounds: list[dict], first: float) -> dict[str, Any]:
    """How one peer compares; `first` are the seconds of our first run, which compiles."""
    ours, theirs = (statistics.median(each[who] for each in rounds) for who in (case.ours, peer))
    ratios = [_ratio(case, seconds[case.ours], seconds[peer]) for seconds in rounds]
    ratio = statistics.median(ratios)
    return {
        "ours_seconds": ours,
        "peer": peer.name,
        "peer_threads": peer.threads,
        "peer_seconds": theirs,
        "ratio": ratio,
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        **aimed(ratio, case.aim, case.is_cost),
        "compile_seconds": max(0.0, first - ours),
        "ratio_with_compile": None if case.is_cost else _ratio(case, first, theirs),
        "tolerance": case.tolerance,
    }


def _timed(run: Callable[[], Any], calls: int = 1) -> tuple[float, Any]:
    """Seconds for each of some calls, and the last result."""
    result, began = None, time.perf_counter()
    for _ in range(calls):
        result = run()
    return (time.perf_counter() - began) / calls, result


def _agreement(case: Case, ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """How far apart the numbers are; a ratio of times is worth nothing if they are not the same."""
    difference = case.difference(ours, theirs)
    if not difference <= case.tolerance:
        raise RuntimeError(
            f"{case.benchmark}, {case.case}: the numbers are {difference:.3g} apart, at most "
            f"{case.tolerance} is rounding."
        )
    return difference


def _ratio(case: Case, ours: float, theirs: float) -> float:
    """How many times quicker we are; or what the measurement multiplies the time by."""
    return ours / theirs if case.is_cost else theirs / ours


def aimed(ratio: float, aim: float | None, is_cost: bool = False) -> dict[str, str]:
    """The aim in words, and whether it is reached; nothing where there is none."""
    if aim is None:
        return {}
    reached = ratio <= aim if is_cost else ratio >= aim
    return {"aim": f"{'<=' if is_cost else '>='} {aim:g}", "reached": "yes" if reached else "no"}
