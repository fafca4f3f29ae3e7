"""Measure how gradients travel back through time: one point, or with -m every point of a grid.

python experiments/sweep.py cell=lstm recurrent_scale=1.5 sequence_length=200
python experiments/sweep.py -m cell=elman,gru,lstm recurrent_scale=0.5,1,2
python experiments/sweep.py -m +experiment=standard
"""

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from throughtime.command_line import one_sentence
from throughtime.points import InputError

CONF = str(Path(__file__).resolve().parent.parent / "conf")


def run(config: DictConfig) -> float:
    """Measure one point; the job of Hydra's own launchers."""
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    # With hydra.job.chdir=true a job stands in a folder of its own, where no path of the user's is.
    with contextlib.chdir(hydra_config.runtime.cwd):
        if not OmegaConf.is_missing(hydra_config.job, "num"):
            return one_point(config, directory.parent, is_job=True)
        with one_sentence():
            return one_point(config, directory / datetime.now().strftime("%Y%m%dT%H%M%S%f"))


def one_point(config: DictConfig, directory: Path, is_job: bool = False) -> float:
    """Measure one point and say what it is."""
    from throughtime.execution import How
    from throughtime.multirun import run_jobs

    plain: Any = OmegaConf.to_container(config, resolve=True)
    (value,) = run_jobs([([], plain)], directory, How(shared=is_job))
    if isinstance(value, InputError):
        raise value
    if not is_job:
        from throughtime.frames import rows_frame
        from throughtime.records import load_run
        from throughtime.tables import describe_point

        print(describe_point(rows_frame(load_run(directory.parent, directory.name)[0])))
    return value


def run_many(jobs: Iterable, directory: Path, options: dict) -> list[float | InputError]:
    """Measure the points of many jobs; the launcher ``batched`` calls this once."""
    from throughtime.execution import How
    from throughtime.multirun import run_jobs

    return run_jobs(jobs, directory, How.of_launcher(options))


# Where the launcher "batched" looks for it: on the function right under hydra.main.
run.run_many = run_many  # pyright: ignore[reportFunctionMemberAccess]


def command(primary: str) -> Callable[[], None]:
    """The command line of a primary configuration; all of them run the same points."""
    return hydra.main(version_base="1.3", config_path=CONF, config_name=primary)(run)


main = command("sweep")

if __name__ == "__main__":
    with one_sentence():
        main()
