"""``hydra/sweeper=grid``: Hydra's own grids, composed once and never silently empty.

Hydra's basic sweeper composes every job to see whether it can be, and the launcher composes it
again: 47 ms per job each. The batched launcher composes all jobs before it runs the first, so the
sweeper need not. A sweep of nothing, as from a glob that matches no file, is refused here.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException


@dataclass
class GridSweeperConf:
    """As Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.throughtime.grid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default=None)


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="throughtime"
)


class GridSweeper(BasicSweeper):
    """Hydra's grid, without its second composition."""

    def sweep(self, arguments) -> list:
        """Run the grid; where it is refused, leave nothing behind.

        Args:
            arguments: the overrides given on the command line.

        Returns:
            The results of all jobs.
        """
        assert self.config is not None, "Hydra calls setup first"
        directory = Path(self.config.hydra.sweep.dir)
        try:
            return super().sweep(arguments)
        except BaseException:
            if {path.name for path in directory.glob("*")} == {"multirun.yaml"}:
                shutil.rmtree(directory)
            raise

    def validate_batch_is_legal(self, batch) -> None:
        """Refuse an empty sweep.

        Args:
            batch: the overrides of each job.

        Raises:
            HydraException: if there is no job.
        """
        if not batch:
            raise HydraException("the sweep is empty: an override matches nothing.")
