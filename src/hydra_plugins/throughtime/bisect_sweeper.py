"""``hydra/sweeper=bisect``: where the jobs' value crosses zero along one key.

python experiments/sweep.py -m hydra/sweeper=bisect 'recurrent_scale=interval(0.1,4)' cell=gru,lstm

One override is an interval, of a key that takes real numbers; all others span a grid, as in Hydra's
own sweeper. The crossings of all combinations of the grid are searched together, one launch a
round, and end up in ``results/<name>/critical_<key>.csv``; a combination without one has none
there. `throughtime.bisection` says which of several crossings is found.

Only light imports: every Hydra application in the environment loads this module at start-up.
"""

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from throughtime.bisection import Bisection, Crossing


@dataclass
class BisectSweeperConf:
    """How finely to search, and overrides that count like those of the command line."""

    _target_: str = "hydra_plugins.throughtime.bisect_sweeper.BisectSweeper"
    points_per_round: int = 7
    tolerance: float = 1e-3
    max_rounds: int = 8
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="bisect", node=BisectSweeperConf, provider="throughtime"
)


class BisectSweeper(BasicSweeper):
    """Finds the crossing of every combination of the grid.

    Args:
        points_per_round: of each combination.
        tolerance: the width of the bracket at which a search ends, in units of the key.
        max_rounds: after which it ends anyway.
        params: overrides; those of the command line replace them.
    """

    def __init__(
        self,
        points_per_round: int,
        tolerance: float,
        max_rounds: int,
        params: dict[str, str] | None = None,
    ):
        super().__init__(max_batch_size=None, params=params)
        self.effort = (points_per_round, tolerance, max_rounds)
        self.num_jobs = 0
        self.failed: list[JobReturn] = []
        self.last: dict[tuple[str, ...], JobReturn] = {}

    def sweep(self, arguments: list[str]) -> list[Crossing]:
        """Search, write the table and print it.

        Args:
            arguments: the overrides given on the command line.

        Returns:
            One crossing per combination.

        Raises:
            HydraException: if not exactly one override is an interval, or it cannot be searched.
            SystemExit: with 1, after the table, if a job failed.
        """
        assert self.config is not None, "Hydra calls setup first"
        interval, combinations = self._axes(arguments)
        bisection = self._bisection(interval)
        element, key = interval.get_key_element(), interval.key_or_group
        crossings = bisection.solve(
            lambda asked: self._run([[*combinations[i], f"{element}={x}"] for i, x in asked]),
            len(combinations),
        )
        lines = [_line(one, key, found) for one, found in zip(combinations, crossings, strict=True)]
        directory = Path(self.config.hydra.sweep.dir)
        whole = [
            _settings(self.last[tuple(one)], key) | line | _provenance(directory)
            for one, line in zip(combinations, lines, strict=True)
        ]
        path = _write(directory.parent.parent / f"critical_{key}.csv", whole)
        print(f"{_table(lines, key)}\nwritten: {path}")
        self._report_failures()
        return crossings

    def _axes(self, arguments: list[str]) -> tuple[Override, list[list[str]]]:
        """The override that is an interval, and the grid of the others."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        _refuse_second_mention(parsed[len(self.params) :])
        overrides = {one.get_key_element(): one for one in parsed}
        interval = _only_interval(overrides.values())
        del overrides[interval.get_key_element()]
        (combinations,) = self.split_arguments(list(overrides.values()), None)
        if not combinations:
            raise HydraException("the sweep is empty: an override matches nothing.")
        return interval, combinations

    def _bisection(self, interval: Override) -> Bisection:
        """The search along an interval."""
        assert self.hydra_context is not None
        if self.hydra_context.config_loader.get_group_options(interval.key_or_group):
            raise HydraException(f"{interval.key_or_group} is chosen by name: it has no interval.")
        ends = interval.value()
        assert isinstance(ends, IntervalSweep)
        assert ends.start is not None
        assert ends.end is not None
        try:
            return Bisection(ends.start, ends.end, *self.effort)
        except ValueError as error:
            raise HydraException(f"{interval.input_line}: {error}") from None

    def _run(self, jobs: list[list[str]]) -> list[float]:
        """The values of a round's jobs; NaN for a job that failed."""
        assert self.launcher is not None
        returns = self.launcher.launch(jobs, initial_job_idx=self.num_jobs)
        self.num_jobs += len(jobs)
        self.last |= {tuple(job[:-1]): done for job, done in zip(jobs, returns, strict=True)}
        self.failed += [job for job in returns if job.status != JobStatus.COMPLETED]
        return [_value(job) for job in returns]

    def _report_failures(self) -> None:
        """Say how many jobs failed, and exit."""
        if not self.failed:
            return
        first = self.failed[0]
        reason = str(first._return_value).split("\n")[0]
        print(
            f"{len(self.failed)} of {self.num_jobs} jobs failed and count as undefined; "
            f"the first, {' '.join(first.overrides or [])}: {reason}",
            file=sys.stderr,
        )
        raise SystemExit(1)


def _refuse_second_mention(given: Sequence[Override]) -> None:
    """Of an interval and another value of the same key, neither is what was meant."""
    keys = [one.key_or_group for one in given]
    for one in given:
        if one.is_interval_sweep() and keys.count(one.key_or_group) > 1:
            raise HydraException(f"{one.key_or_group} is given twice, once as an interval.")


def _only_interval(overrides: Iterable[Override]) -> Override:
    """The one override that is an interval."""
    intervals = [one for one in overrides if one.is_interval_sweep()]
    if len(intervals) != 1:
        found = " and ".join(one.key_or_group for one in intervals) or "none"
        raise HydraException(
            "hydra/sweeper=bisect searches along exactly one interval, "
            f"written like 'recurrent_scale=interval(0.1,4)'; found {found}."
        )
    return intervals[0]


def _value(job: JobReturn) -> float:
    """What a job returned; NaN if it failed, and then `return_value` would print and raise."""
    return float(job._return_value) if job.status == JobStatus.COMPLETED else float("nan")


def _line(combination: Sequence[str], key: str, crossing: Crossing) -> dict[str, Any]:
    """A combination and its crossing as one line of the table."""
    settings = dict(one.lstrip("+").split("=", 1) for one in combination)
    found = dataclasses.asdict(crossing)
    return settings | {
        f"critical_{key}" if name == "critical" else name: value for name, value in found.items()
    }


def _settings(job: JobReturn, key: str) -> dict[str, Any]:
    """The configuration of a job in a flat form, without the key that was searched along."""
    try:
        config: Any = OmegaConf.to_container(job.cfg) if job.cfg is not None else {}
    except (HydraException, OmegaConfBaseException):  # it failed because it cannot be composed
        return {}
    flat = {}
    for name, value in config.items():
        parts = value if isinstance(value, dict) else {"name": value}
        flat |= {name if part == "name" else f"{name}.{part}": parts[part] for part in parts}
    return {name: value for name, value in flat.items() if name not in (key, "hydra")}


def _provenance(directory: Path) -> dict[str, Any]:
    """Where the numbers come from, as the run has noted it."""
    path = directory / "run.json"
    origin = json.loads(path.read_text())["origin"] if path.exists() else {}
    return {"run_id": directory.name} | origin


def _write(path: Path, lines: list[dict[str, Any]]) -> Path:
    """The lines as CSV, written beside the place and moved there in one step; None is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", newline="", encoding="utf-8") as file:
        names = list(dict.fromkeys(name for line in lines for name in line))
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return beside.replace(path)


def _table(lines: list[dict[str, Any]], key: str) -> str:
    """The lines as aligned text, without the settings that all of them share."""
    num_settings = list(lines[0]).index(f"critical_{key}")
    shared = [n for n in list(lines[0])[:num_settings] if len({line[n] for line in lines}) == 1]
    names = [name for name in lines[0] if name not in shared]
    rows = [names, *([_text(line[name]) for name in names] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _text(value: Any) -> str:
    """Six digits of a number; None is spelled null."""
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
