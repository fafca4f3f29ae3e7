"""Each network once: records of overlapping seeds merged, and cells of one label told apart."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from throughtime.points import HEADLINES
from throughtime.tables import is_setting

Record = dict[str, Any]
"""A point as `records.load_run` returns it."""

COSTS = ("seconds", "seconds_watching")
"""Columns that differ whenever a network is measured again."""


class Distinct(NamedTuple):
    """Records in which every network occurs once.

    Attributes:
        records: the records without the networks that an earlier one holds.
        num_repeated: how many networks were left out.
        num_differing: of how many of these a number is not that of the network kept.
        largest: how far their headline is off, at most; inf where one of two has no number.
    """

    records: list[Record]
    num_repeated: int = 0
    num_differing: int = 0
    largest: float = 0.0

    @property
    def text(self) -> str:
        """One sentence on the networks left out; empty if there are none."""
        if not self.num_repeated:
            return ""
        said = f"{self.num_repeated} networks were measured more than once and count once"
        if self.num_differing:
            headline = HEADLINES[self.records[0]["shared"]["diagnostic"]].replace("_", " ")
            by = f" (their {headline} by {self.largest:.1g} at most)"
            said += f"; the first measurement counts, from which {self.num_differing} later ones"
            said += f" differ{by if self.largest < math.inf else ''}"
        return f"{said}."


def distinct(records: Sequence[Record]) -> Distinct:
    """Keep each network once: the one of seed s at equal settings is the same in every record.

    Points that differ in `num_seeds` or `seed` alone share networks. Programs for other numbers of
    networks round otherwise, so that two measurements of a network agree up to rounding only.

    Args:
        records: of one diagnostic, from `load_run`.

    Returns:
        The records in their order; of a network measured twice the first measurement is kept.
    """
    first: dict[tuple[str, int], Record] = {}
    kept, offs = [], []
    for record in records:
        setting, new = _setting(record), []
        for place, seed in enumerate(record["each"]["seed"]):
            row = {name: values[place] for name, values in record["each"].items()}
            known = first.setdefault((setting, seed), row)
            if known is row:
                new.append(place)
            else:
                offs.append(_off(row, known, HEADLINES[record["shared"]["diagnostic"]]))
        kept += [_only(record, new)] if new else []
    differing = [off for off in offs if off is not None]
    return Distinct(kept, len(offs), len(differing), max(differing, default=0.0))


def told_apart(records: Sequence[Record]) -> list[Record]:
    """Add the cell's own name to a label that several cells have, as those of several runs may.

    Args:
        records: from `load_run`.

    Returns:
        The records, where "mine" of a GRU and of an LSTM has become "mine (gru)" and "mine (lstm)".
    """
    kinds: dict[str, set[str]] = {}
    for record in records:
        kinds.setdefault(record["shared"]["cell"], set()).add(_kind(record))
    return [_renamed(r) if len(kinds[r["shared"]["cell"]]) > 1 else r for r in records]


def by_diagnostic(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each diagnostic, in the order of `HEADLINES`.

    Args:
        records: from `load_run`.

    Returns:
        Records by the name of the diagnostic; none is empty.
    """
    parts = {name: [r for r in records if r["shared"]["diagnostic"] == name] for name in HEADLINES}
    return {name: part for name, part in parts.items() if part}


def _setting(record: Record) -> str:
    """All that a network depends on but its seed, as text."""
    shared = {name: value for name, value in record["shared"].items() if is_setting(name)}
    return json.dumps(shared | {"kind": _kind(record)}, sort_keys=True)


def _kind(record: Record) -> str:
    """The cell's own name."""
    return record["shared"].get("kind", record["shared"]["cell"])


def _renamed(record: Record) -> Record:
    """The record with the cell's own name behind its label."""
    cell = f"{record['shared']['cell']} ({_kind(record)})"
    return record | {"shared": record["shared"] | {"cell": cell}}


def _off(row: Record, known: Record, headline: str) -> float | None:
    """Distance of a headline from the one known; None where all numbers are the same."""
    # As text, in which NaN is itself.
    if all(repr(row[name]) == repr(known[name]) for name in row if name not in COSTS):
        return None
    one, other = row[headline], known[headline]
    if repr(one) == repr(other):
        return 0.0
    off = math.nan if None in (one, other) else abs(one - other)
    return math.inf if math.isnan(off) else off


def _only(record: Record, places: list[int]) -> Record:
    """A record with some of its networks."""
    if len(places) == len(record["curves"]):
        return record
    each = {name: [values[i] for i in places] for name, values in record["each"].items()}
    return record | {"each": each, "curves": record["curves"][places]}
