"""What the verdicts of several networks amount to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from throughtime.names import unknown
from throughtime.statistics.curves import VERDICTS

MAJORITY = 0.8
"""The share of networks that must agree before they have one verdict."""


class Shares(NamedTuple):
    """The share of every one of `VERDICTS`, and the word for all."""

    shares: dict[str, float]
    word: str


def verdict_shares(verdicts: Iterable[str]) -> Shares:
    """How the verdicts of networks are spread, and the one that at least `MAJORITY` of them have.

    Args:
        verdicts: one for each network, of `VERDICTS`.

    Returns:
        Shares that sum to 1, with a word of `VERDICTS`, or "mixed" where no such majority exists.
        `share_interval` gives the interval of a share.

    Raises:
        ValueError: for no verdicts, or one that is unknown.
    """
    found = list(verdicts)
    if not found:
        raise ValueError("no verdicts have no shares.")
    if strange := sorted(set(found) - set(VERDICTS)):
        raise ValueError(unknown("verdict", strange[0], VERDICTS))
    shares = {name: found.count(name) / len(found) for name in VERDICTS}
    likeliest = max(VERDICTS, key=lambda name: shares[name])
    return Shares(shares, likeliest if shares[likeliest] >= MAJORITY else "mixed")
