"""Multiruns: whoever launches them the records are the same, and bad points stop no others."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus

from hydra_plugins.throughtime.batched_launcher import BatchedLauncher
from throughtime.points import InputError
from throughtime.records import latest_run, load_run, read_lines

ROOT = Path(__file__).parent.parent
SWEEP = ROOT / "experiments" / "sweep.py"
TINY = ["hidden_features=4", "batch_size=2", "num_seeds=2"]
GRID = ["cell=elman,gru", "recurrent_scale=0.5,2", "sequence_length=3,8", *TINY]


def sweep(folder, *overrides, **environment):
    command = [sys.executable, str(SWEEP), *overrides]
    environment = os.environ | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def measured(folder, name="sweep"):
    """What was measured at each point."""
    lines = list(read_lines(folder / "results" / name / "runs" / "records.jsonl"))
    found = {line.key: line.decode() for line in lines}
    assert len(found) == len(lines)
    return {key: (one["each"], one["curves"].tobytes()) for key, one in found.items()}


def stock(launcher, *overrides):
    return ["-m", *GRID, f"hydra/launcher={launcher}", "hydra/sweeper=basic", *overrides]


WAYS = {
    "batched": ["-m", *GRID],
    "one at a time": ["-m", *GRID, "hydra.sweeper.max_batch_size=1"],
    "single": ["cell=gru", "recurrent_scale=2", "sequence_length=8", *TINY],
    "basic": stock("basic"),
}
"""Besides joblib: tests/test_benchmark.py compares it at 50 points."""


@pytest.mark.slow
def test_every_way_to_run_gives_the_same_bits(tmp_path):
    found = {}
    for way, overrides in WAYS.items():
        name = way.replace(" ", "_")
        done = sweep(tmp_path, *overrides, f"name={name}")
        assert done.returncode == 0, done.stderr
        found[way] = measured(tmp_path, name)
        runs = tmp_path / "results" / name / "runs"
        records, missing = load_run(runs, latest_run(runs))
        assert (len(records), missing) == (len(found[way]), 0)
    expected = found.pop("batched")
    assert len(expected) == 8
    (single,) = found.pop("single").items()
    assert single in expected.items()
    assert all(others == expected for others in found.values())


@pytest.mark.slow
def test_what_is_recorded_is_not_measured_again(tmp_path):
    assert sweep(tmp_path, "-m", *GRID).returncode == 0
    again = sweep(tmp_path, "-m", *reversed(GRID))
    assert "0 points measured" in again.stderr
    assert "8 were already recorded, 0 programs compiled." in again.stderr
    wider = sweep(tmp_path, "-m", *GRID, "sequence_length=8,3,5")
    assert "4 points measured" in wider.stderr
    assert "8 were already recorded" in wider.stderr
    assert len(measured(tmp_path)) == 12


@pytest.mark.slow
def test_records_of_another_origin_are_not_mixed_unless_asked(tmp_path):
    assert sweep(tmp_path, "-m", *GRID).returncode == 0
    path = tmp_path / "results" / "sweep" / "runs" / "records.jsonl"
    (name,) = {line.name for line in read_lines(path)}
    text = path.read_text().replace(name, "0" * 12)
    path.write_text(text.replace('"source": "', '"source": "0'))
    refused = sweep(tmp_path, "-m", *GRID)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: 8 of these points are recorded in ")
    kept = sweep(tmp_path, "-m", *GRID, "other_records=keep")
    assert "0 points measured" in kept.stderr
    renewed = sweep(tmp_path, "-m", *GRID, "other_records=renew")
    assert "8 points measured" in renewed.stderr
    assert sweep(tmp_path, "-m", *GRID).returncode == 0


def test_bad_points_are_listed_and_stop_no_others(tmp_path):
    lengths = "sequence_length=8,1"
    done = sweep(tmp_path, "-m", *GRID, lengths, "cell=elman,gruu", "hydra.launcher.job_dirs=all")
    assert done.returncode == 1
    assert "6 of 8 points cannot run:\n" in done.stderr
    table = done.stderr.split("cannot run:\n")[1].splitlines()[1:7]
    assert sum("unknown cell 'gruu'; did you mean 'gru'?" in line for line in table) == 4
    assert sum("sequence_length must be an integer from 2" in line for line in table) == 2
    assert "2 points measured" in done.stderr
    (run,) = (tmp_path / "results" / "sweep" / "runs").glob("2*")
    with (run / "failures.csv").open() as file:
        failures = list(csv.DictReader(file))
    assert [int(one["job"]) for one in failures] == [1, 3, 4, 5, 6, 7]
    assert failures[0]["overrides"].startswith("cell=elman recurrent_scale=0.5 sequence_length=1")
    results = [json.loads((run / str(job) / "result.json").read_text()) for job in range(8)]
    assert [one["status"] for one in results] == ["COMPLETED", "FAILED"] * 2 + ["FAILED"] * 4
    assert [results[0]["value"], results[2]["value"]] == medians(tmp_path)
    assert results[4]["error"].startswith("unknown cell 'gruu'")
    config = yaml.safe_load((run / "2" / ".hydra" / "config.yaml").read_text())
    assert (config["recurrent_scale"], config["cell"]["name"]) == (2, "elman")
    overrides = yaml.safe_load((run / "4" / ".hydra" / "overrides.yaml").read_text())
    assert overrides[0] == "cell=gruu"
    assert not (run / "4" / ".hydra" / "config.yaml").exists()


def medians(folder):
    found = measured(folder).values()
    return [float(np.median(each["log10_gradient_ratio"])) for each, _ in found]


def test_a_sweep_of_bad_points_alone_leaves_nothing(tmp_path):
    done = sweep(tmp_path, "-m", *GRID, "sequence_length=1,0")
    assert done.returncode == 2
    assert done.stderr.startswith("error: none of the 8 points can run.\n")
    assert done.stderr.count("sequence_length must be an integer") == 8
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_hosts_share_a_sweep(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    hosts = [f"hydra.launcher.coordinator={address}", "hydra.launcher.num_processes=2"]
    command = [sys.executable, str(SWEEP), "-m", *GRID, *hosts]
    both = [
        subprocess.Popen(
            [*command, f"hydra.launcher.process_id={index}"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    # Two programs of four points each: every host measures two of each.
    assert all("4 points measured" in one for one in said)
    assert sweep(tmp_path, "-m", *GRID, "name=alone").returncode == 0
    assert measured(tmp_path) == measured(tmp_path, "alone")


@pytest.fixture
def hydra():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance()


def test_hydra_gets_a_proper_return_of_every_job(hydra, tmp_path):
    def task(config):
        """Never called."""

    def run_many(jobs, directory, options):
        assert options["engine"] == "inline"
        given = [config["recurrent_scale"] for _, config in jobs]
        return [float(scale) if scale < 3 else InputError("too large") for scale in given]

    task.run_many = run_many
    config = compose("sweep", ["hydra.sweep.dir=" + str(tmp_path)], return_hydra_config=True)
    config.hydra.job.name = "sweep"
    launcher = BatchedLauncher(engine="inline")
    launcher.setup(hydra_context=hydra_context(hydra), task_function=task, config=config)
    jobs = [["cell=gru", f"recurrent_scale={scale}"] for scale in (1, 2, 3)]
    returns = launcher.launch(jobs, initial_job_idx=0)
    assert [job.overrides for job in returns] == jobs
    assert [job.status for job in returns] == [JobStatus.COMPLETED] * 2 + [JobStatus.FAILED]
    assert [job.return_value for job in returns[:2]] == [1.0, 2.0]
    assert returns[1].cfg.cell.name == "gru"
    assert returns[1].cfg.recurrent_scale == 2
    with pytest.raises(InputError, match="too large"):
        _ = returns[2].return_value


def hydra_context(hydra):
    return type("Context", (), {"config_loader": hydra.config_loader()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linspace(0.1,0.4,4)", ["0.1", "0.2", "0.3", "0.4"]),
        ("linspace(2,0,3)", ["2.0", "1.0", "0.0"]),
        ("logspace(0.01,100,5)", ["0.01", "0.1", "1.0", "10.0", "100.0"]),
        ("logspace(1,3,2)", ["1.0", "3.0"]),
    ],
)
@pytest.mark.usefixtures("hydra")
def test_spaces_include_both_ends_and_are_clean(text, expected):
    parser = OverridesParser.create()
    (override,) = parser.parse_overrides([f"recurrent_scale={text}"])
    assert list(override.sweep_string_iterator()) == expected
