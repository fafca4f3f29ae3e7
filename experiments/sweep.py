"""Measure how gradients travel back through time: one point, or with -m every point of a grid.

python experiments/sweep.py cell=lstm recurrent_scale=1.5 sequence_length=200
python experiments/sweep.py -m cell=elman,gru,lstm recurrent_scale=0.5,1,2
python experiments/sweep.py -m +experiment=standard
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from throughtime.command_line import one_sentence
from throughtime.points import InputError, read_point


def run(config: DictConfig) -> float:
    """Measure one point; the job of Hydra's own launchers."""
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    is_job_of_many = not OmegaConf.is_missing(hydra_config.job, "num")
    with one_sentence():
        return run_many([config], directory.parent if is_job_of_many else directory / run_id())[0]


def run_id() -> str:
    """The time, as the name of a run."""
    return datetime.now().strftime("%Y%m%dT%H%M%S%f")


def run_many(configs: Sequence[DictConfig], directory: Path) -> list[float]:
    """Measure the points of many jobs; the launcher ``batched`` calls this once."""
    plain: list[Any] = [OmegaConf.to_container(config, resolve=True) for config in configs]
    points = [_read(index, one, len(plain)) for index, one in enumerate(plain)]

    from throughtime.execution import execute
    from throughtime.records import load_run, rows_frame
    from throughtime.tables import describe_point

    execute(points, directory.parent, directory.name, plain[0]["device"])
    rows = rows_frame(load_run(directory.parent, directory.name)[0])
    if len(points) == 1:
        print(describe_point(rows[rows["key"] == points[0].key]))
    medians = rows.groupby("key")["log10_gradient_ratio"].median()
    return [float(medians[point.key]) for point in points]


def _read(index: int, config: dict, total: int):
    """A point, or an error that says which of many jobs is meant."""
    try:
        return read_point(config)
    except InputError as error:
        raise InputError(f"job {index}: {error}" if total > 1 else str(error)) from error


# Where the launcher "batched" looks for it: on the function right under hydra.main.
run.run_many = run_many  # pyright: ignore[reportFunctionMemberAccess]
main = hydra.main(version_base="1.3", config_path="../conf", config_name="sweep")(run)

if __name__ == "__main__":
    with one_sentence():
        main()
