"""``hydra/launcher=batched``: hand all jobs of a multirun to the task function at once.

Hydra's own launcher composes the configuration anew for every job and runs the task for each.
Here each distinct choice of config groups is composed once, plain values are applied to a copy by
Hydra's own code, and ``task_function.run_many`` gets the lot, so that it can run many points in
one program.

Only light imports: every Hydra application in the environment loads this module at start-up.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf


@dataclass
class BatchedLauncherConf:
    """Nothing to choose yet."""

    _target_: str = "hydra_plugins.throughtime.batched_launcher.BatchedLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="batched", node=BatchedLauncherConf, provider="throughtime"
)


class BatchedLauncher(Launcher):
    """Composes all jobs, then runs them together."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra before `launch`.

        Args:
            hydra_context: with the config loader.
            task_function: the function under ``@hydra.main``; must have ``run_many``.
            config: the multirun's own configuration.
        """
        if not hasattr(task_function, "run_many"):
            raise HydraException("hydra/launcher=batched needs a task function with run_many.")
        self.loader = hydra_context.config_loader
        self.run_many = task_function.run_many
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run all jobs.

        Args:
            job_overrides: the overrides of each job.
            initial_job_idx: not used; jobs have no folders of their own.

        Returns:
            One `JobReturn` per job, in order.
        """
        configs = compose_jobs(self.loader, self.config, job_overrides)
        directory = Path(self.config.hydra.sweep.dir)
        values = self.run_many(configs, directory)
        return [
            JobReturn(
                overrides=list(filter_overrides(overrides)),
                cfg=config,
                working_dir=str(directory),
                task_name=self.config.hydra.job.name,
                status=JobStatus.COMPLETED,
                _return_value=value,
            )
            for overrides, config, value in zip(job_overrides, configs, values, strict=True)
        ]


def compose_jobs(
    loader: ConfigLoaderImpl, master: DictConfig, job_overrides: Sequence[Sequence[str]]
) -> list[DictConfig]:
    """Compose the configuration of every job, without the ``hydra`` node.

    Args:
        loader: Hydra's config loader.
        master: the multirun's own configuration.
        job_overrides: the overrides of each job.

    Returns:
        What Hydra's full composition gives, job by job.
    """
    parser = OverridesParser.create(config_loader=loader)
    composed: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    for overrides in job_overrides:
        parsed = parser.parse_overrides(list(overrides))
        structural = tuple(str(o.input_line) for o in parsed if _is_structural(loader, o))
        if structural not in composed:
            full = loader.load_sweep_config(master, list(structural))
            keys = [str(key) for key in full if key != "hydra"]
            composed[structural] = OmegaConf.masked_copy(full, keys)
            OmegaConf.set_struct(composed[structural], True)
        config = copy.deepcopy(composed[structural])
        values = [o for o in parsed if not _is_structural(loader, o)]
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        configs.append(config)
    return configs


def _is_structural(loader: ConfigLoaderImpl, override: Override) -> bool:
    """Whether an override may change which files are composed, rather than a value in them."""
    return (
        override.package is not None
        or override.is_add()
        or override.is_force_add()
        or override.is_delete()
        or override.is_hydra_override()
        or loader.repository.group_exists(override.key_or_group)
    )
