"""``hydra/sweeper=grid``: Hydra's own grids, composed once and never silently empty.

Hydra's basic sweeper composes every job to see whether it can be, and the launcher composes it
again: 47 ms per job each. The batched launcher composes all jobs before it runs the first, so the
sweeper need not. A sweep of nothing, as from a glob that matches no file, is refused here.

Every sweeper, Hydra's own too, also learns ``linspace(a,b,n)`` and ``logspace(a,b,n)``: n values
from a to b, both included. Hydra's ``range`` gives 41 values for 40 steps of 0.05, and dirty ones.
"""

import math
import sys
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from throughtime.points import InputError

REFUSALS = (InputError, HydraException, OmegaConfBaseException)
"""What a job fails with for which the user is to blame."""

MOST_VALUES = 1_000_000
"""Of one key; a misplaced comma would otherwise fill the memory."""


@dataclass
class GridSweeperConf:
    """As Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.throughtime.grid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="throughtime"
)


class GridSweeper(Sweeper):
    """Hydra's grid, without its second composition.

    Args:
        max_batch_size: the most jobs that the launcher gets at once; all of them if None.
        params: overrides that come before those of the command line.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None):
        if max_batch_size is not None and max_batch_size < 1:
            raise HydraException(
                f"hydra.sweeper.max_batch_size must be at least 1, not {max_batch_size}."
            )
        self.max_batch_size = max_batch_size
        self.params = params or {}

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra before `sweep`.

        Args:
            hydra_context: with the config loader.
            task_function: the function under ``@hydra.main``.
            config: the multirun's own configuration.
        """
        self.loader = hydra_context.config_loader
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the grid.

        Args:
            arguments: the overrides given on the command line.

        Returns:
            The results of all jobs, batch by batch.

        Raises:
            HydraException: if there is no job.
            SystemExit: with 1 if a job failed.
        """
        assert self.launcher is not None, "Hydra calls setup first"
        parser = OverridesParser.create(config_loader=self.loader)
        params = [f"{key}={value}" for key, value in self.params.items()]
        overrides = parser.parse_overrides([*params, *arguments])
        _refuse_endless(overrides)
        batches = BasicSweeper.split_arguments(overrides, self.max_batch_size)
        if not any(batches):
            raise HydraException("the sweep is empty: an override matches nothing.")
        returns: list[list[JobReturn]] = []
        for batch in batches:
            first = sum(map(len, returns))
            try:
                returns.append(list(self.launcher.launch(batch, initial_job_idx=first)))
            except InputError as error:
                if not returns:
                    raise
                print(f"error: {error}", file=sys.stderr)
                raise SystemExit(1) from None
        self._report_failures([job for batch in returns for job in batch])
        return returns

    def _report_failures(self, jobs: list[JobReturn]) -> None:
        """Exit with 1 if jobs failed; raise why if nobody has said so, or if it is a bug."""
        failed = [job for job in jobs if job.status is not JobStatus.COMPLETED]
        bugs = [job for job in failed if not isinstance(job._return_value, REFUSALS)]
        has_been_said = hasattr(self.launcher, "run_many")
        if not failed:
            return
        if bugs or (len(failed) == len(jobs) and not has_been_said):
            raise (bugs or failed)[0]._return_value
        if not has_been_said:
            reasons = [f"{' '.join(job.overrides or [])}: {job._return_value}" for job in failed]
            print(f"{len(failed)} of {len(jobs)} jobs failed:", *reasons, sep="\n", file=sys.stderr)
        raise SystemExit(1)


def _refuse_endless(overrides: list[Override]) -> None:
    """A range that never ends, of which Hydra would make a list."""
    for override in overrides:
        values = override.value()
        if isinstance(values, RangeSweep):
            assert values.start is not None
            assert values.stop is not None
            num = (values.stop - values.start) / values.step if values.step else math.inf
            if not num <= MOST_VALUES:
                limit = f"a range has at most {MOST_VALUES} values"
                raise HydraException(f"{override.input_line}: {limit}.")


def linspace(start: int | float, stop: int | float, num: int) -> ChoiceSweep:
    """``linspace(a,b,n)``: evenly spaced values."""
    if not 2 <= num <= MOST_VALUES:
        raise ValueError(f"needs 2 to {MOST_VALUES} values, not {num}.")
    step = (stop - start) / (num - 1)
    # Rounded as points are, so that 0.1 + 0.2 and 0.3 are one value; the end is exact.
    values = [round(start + step * index, 12) for index in range(num - 1)]
    return ChoiceSweep(list=[*values, float(stop)], simple_form=True)


def logspace(start: int | float, stop: int | float, num: int) -> ChoiceSweep:
    """``logspace(a,b,n)``: values with a constant ratio, from a to b themselves."""
    if not 2 <= num <= MOST_VALUES or start <= 0 or stop <= 0:
        raise ValueError(
            f"needs positive ends and 2 to {MOST_VALUES} values, not {start}, {stop}, {num}."
        )
    parts = [index / (num - 1) for index in range(1, num - 1)]
    values = [float(f"{start ** (1 - part) * stop**part:.12g}") for part in parts]
    return ChoiceSweep(list=[float(start), *values, float(stop)], simple_form=True)


def _learn(create):
    """Hydra's functions of values, and ours."""

    def functions():
        known = create()
        known.register(name="linspace", func=linspace)
        known.register(name="logspace", func=logspace)
        return known

    return functions


# Hydra parses overrides before it knows the sweeper, and has no other place to add a function.
# Its search for plugins runs this module once more, where somebody has imported it before.
if overrides_parser.create_functions.__module__ != __name__:
    overrides_parser.create_functions = _learn(overrides_parser.create_functions)
