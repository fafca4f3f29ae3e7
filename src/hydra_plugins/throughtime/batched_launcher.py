"""``hydra/launcher=batched``: hand all jobs of a multirun to the task function at once.

Hydra's own launcher composes the configuration anew for every job and runs the task for each.
Here each distinct choice of config groups is composed once, plain values are applied to a copy by
Hydra's own code, and ``task_function.run_many`` gets the lot, so that it can run many points in
one program.

Only light imports: every Hydra application in the environment loads this module at start-up.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.throughtime._composer import Composer
from throughtime.cluster import ClusterOptions
from throughtime.command_line import hydra_sentence
from throughtime.names import unknown
from throughtime.points import InputError

JOB_DIRS = ("none", "failed", "all")


@dataclass
class BatchedLauncherConf(ClusterOptions):
    """Where programs run, the hosts that share a sweep, and which jobs get a folder."""

    _target_: str = "hydra_plugins.throughtime.batched_launcher.BatchedLauncher"
    _convert_: str = "all"
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    job_dirs: str = "none"


ConfigStore.instance().store(
    group="hydra/launcher", name="batched", node=BatchedLauncherConf, provider="throughtime"
)


class LazyJobReturn(JobReturn):
    """A job's return whose configuration is composed when somebody asks for it: it takes 20 kB."""

    composer: Composer

    @property
    def cfg(self) -> DictConfig:
        """The job's configuration."""
        return self.composer.compose(self.overrides or ())

    @cfg.setter
    def cfg(self, value: DictConfig | None) -> None:  # pyright: ignore
        """Nothing is kept."""


class BatchedLauncher(Launcher):
    """Composes all jobs, then runs them together.

    Args:
        job_dirs: whether ``all``, ``failed`` or ``none`` of the jobs get a folder of their own.
        **options: handed to the task function's ``run_many``.
    """

    def __init__(self, job_dirs: str = "none", **options: Any):
        if job_dirs not in JOB_DIRS:
            raise HydraException(unknown("hydra.launcher.job_dirs", job_dirs, JOB_DIRS))
        self.job_dirs = job_dirs
        self.options = options

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra before `launch`.

        Args:
            hydra_context: with the config loader.
            task_function: the function under ``@hydra.main``; must have ``run_many``.
            config: the multirun's own configuration.
        """
        if not hasattr(task_function, "run_many"):
            raise HydraException("hydra/launcher=batched needs a task function with run_many.")
        self.run_many = task_function.run_many
        self.composer = Composer(hydra_context.config_loader, config)
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run all jobs.

        Args:
            job_overrides: the overrides of each job.
            initial_job_idx: the number of the first.

        Returns:
            One `JobReturn` per job, in order.
        """
        directory = Path(self.config.hydra.sweep.dir)
        outcomes = self.run_many(self._jobs(job_overrides), directory, self.options)
        # Resolved once, at half a millisecond: both may be interpolations.
        name = str(self.config.hydra.job.name)
        returns = [
            self._return(overrides, outcome, str(directory), name)
            for overrides, outcome in zip(job_overrides, outcomes, strict=True)
        ]
        for number, each in enumerate(returns, start=initial_job_idx):
            failed = each.status is JobStatus.FAILED
            if self.job_dirs == "all" or (self.job_dirs == "failed" and failed):
                _write(each, directory / str(number))
        return returns

    def _jobs(self, job_overrides: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], Any]]:
        """The configuration of each job, or why it has none."""
        for overrides in job_overrides:
            try:
                config: Any = OmegaConf.to_container(self.composer.compose(overrides), resolve=True)
            except (HydraException, OmegaConfBaseException) as error:
                config = InputError(hydra_sentence(error))
            yield overrides, config

    def _return(
        self, overrides: Sequence[str], outcome: Any, directory: str, name: str
    ) -> JobReturn:
        """What Hydra is told of a job."""
        failed = isinstance(outcome, Exception)
        each = LazyJobReturn(
            overrides=list(filter_overrides(overrides)),
            working_dir=directory,
            task_name=name,
            status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
            _return_value=outcome,
        )
        each.composer = self.composer
        return each


def _write(job: JobReturn, folder: Path) -> None:
    """A job's folder: Hydra's two files, and what the job returned."""
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_text(OmegaConf.to_yaml(job.overrides), "utf-8")
    failed = job.status is JobStatus.FAILED
    result = {"status": job.status.name, "error" if failed else "value": job._return_value}
    (folder / "result.json").write_text(json.dumps(result, default=str) + "\n")
    try:
        config = OmegaConf.to_yaml(job.cfg)
    except (HydraException, OmegaConfBaseException):  # the reason is in result.json
        return
    (folder / ".hydra" / "config.yaml").write_text(config, "utf-8")
