"""Programs on a cluster: the same records, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from slurm_cluster import cluster

from throughtime.records import read_lines

SWEEP = Path(__file__).parent.parent / "experiments" / "sweep.py"
GRID = [
    *("-m", "cell=elman,gru", "hidden_features=16", "num_seeds=2", "batch_size=2"),
    *("sequence_length=5,200", "recurrent_scale=linspace(0.5,2,10)"),
]
BOOKKEEPING = {"seconds", "networks_at_once"}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as clients:
        yield clients


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def inline(tmp_path_factory, environment):
    folder = tmp_path_factory.mktemp("inline")
    assert sweep(folder, environment).returncode == 0
    return measured(folder)


def command(*overrides):
    return [sys.executable, str(SWEEP), *GRID, *overrides]


def sweep(folder, environment, *overrides):
    return subprocess.run(
        command(*overrides), cwd=folder, env=environment, capture_output=True, text=True
    )


def runs(folder):
    return folder / "results" / "sweep" / "runs"


def measured(folder):
    """What was measured, by key; each point once."""
    lines = list(read_lines(runs(folder) / "records.jsonl"))
    found = {}
    for record in (line.decode() for line in lines):
        shared = {k: v for k, v in record["shared"].items() if k not in BOOKKEEPING}
        found[record["key"]] = (shared, record["each"], record["curves"].tobytes())
    assert len(found) == len(lines)
    return found


def submitted(folder):
    path = runs(folder) / "tasks" / "submitted.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def workers(folder):
    """The processes that measure for the driver of a folder."""
    tasks = str(runs(folder) / "tasks")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "submitit.core._submit" in line and any(each.startswith(tasks) for each in line):
            found.append(process)
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_processes_of_this_machine_measure_the_same(tmp_path, environment, inline):
    options = ["hydra.launcher.engine=local", "hydra.launcher.points_per_task=10"]
    done = sweep(tmp_path, environment, *options)
    assert done.returncode == 0, done.stderr
    assert measured(tmp_path) == inline
    assert len(submitted(tmp_path)) == 4


SLURM = ["hydra.launcher.engine=slurm", "hydra.launcher.partition=test"]


@pytest.mark.slow
@pytest.mark.slurm
def test_slurm_runs_one_task_per_chunk_of_a_program(tmp_path, environment, slurm, inline):
    options = [*SLURM, "hydra.launcher.points_per_task=30", "hydra.launcher.minutes=5"]
    done = sweep(tmp_path, environment | slurm, *options, "hydra.launcher.memory_gb=0.5")
    assert done.returncode == 0, done.stderr
    assert measured(tmp_path) == inline
    tasks = submitted(tmp_path)
    # Four programs of 10 points each: a chunk never mixes programs.
    assert [len(task["keys"]) for task in tasks] == [10] * 4
    assert {task["job_id"].split("_")[0] for task in tasks} == {tasks[0]["job_id"].split("_")[0]}


@pytest.mark.slow
@pytest.mark.slurm
def test_a_driver_that_is_killed_is_followed_by_one_that_waits(
    tmp_path, environment, slurm, inline
):
    with subprocess.Popen(
        command(*SLURM), cwd=tmp_path, env=environment | slurm, stderr=subprocess.DEVNULL
    ) as driver:
        wait_for(lambda: submitted(tmp_path))
        driver.kill()
    before = submitted(tmp_path)
    done = sweep(tmp_path, environment | slurm, *SLURM)
    assert done.returncode == 0, done.stderr
    assert submitted(tmp_path) == before
    assert measured(tmp_path) == inline


@pytest.mark.slow
@pytest.mark.slurm
def test_a_task_that_is_killed_is_reported_and_its_points_are_retried(
    tmp_path, environment, slurm, inline
):
    with subprocess.Popen(
        command(*SLURM), cwd=tmp_path, env=environment | slurm, stderr=subprocess.PIPE, text=True
    ) as driver:
        wait_for(lambda: workers(tmp_path))
        # As the kernel does when the memory is full: the batch script sees its child die.
        workers(tmp_path)[0].send_signal(signal.SIGKILL)
        said = driver.stderr.read()
    assert driver.returncode == 0, said
    assert "died (FAILED" in said
    assert "10 of its points are tried again." in said
    assert [len(task["keys"]) for task in submitted(tmp_path)] == [10] * 4 + [5] * 2
    assert measured(tmp_path) == inline


@pytest.mark.slow
@pytest.mark.slurm
def test_points_whose_tasks_always_die_fail_by_name(tmp_path, environment, slurm):
    # One point, and so two tasks: submitit waits 15 s for the result of each that dies.
    options = [*SLURM, "hydra.launcher.setup=['exit 9']", "hydra.launcher.retries=1"]
    done = sweep(
        tmp_path,
        environment | slurm,
        *options,
        "recurrent_scale=1",
        "cell=elman",
        "sequence_length=5",
    )
    assert done.returncode == 1
    assert "1 of 1 points failed" in done.stderr
    assert "its task died 2 times: FAILED" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.slurm
def test_what_slurm_refuses_is_one_sentence(tmp_path, environment, slurm):
    done = sweep(tmp_path, environment | slurm, SLURM[0], "hydra.launcher.partition=nowhere")
    assert done.returncode == 2
    assert "error: SLURM refuses the tasks:" in done.stderr
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
