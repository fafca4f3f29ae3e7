"""The sweep's faults and devices: refused, halved, failed by name, and the same on any number."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from made_results import rows
from test_sweeps import point, run

from throughtime import compilation, programs, sweeps

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cell": "elmann"}, "unknown cell 'elmann'"),
        ({"task": "radr", "task_options": ()}, "radr"),
        ({"task_options": (("by", "row"),)}, "by"),
        ({"task": "digits", "task_options": (), "sequence_length": 65}, "at most 64"),
        (
            {"task": "temporal_order", "task_options": (), "sequence_length": 5},
            "sequence_length must be at least 10 for task 'temporal_order', not 5.",
        ),
        ({"hidden_features": 2**20}, "GiB of memory"),
        ({"cell": "scalar", "cell_options": ()}, "1 hidden feature, not 6"),
    ],
)
def test_groups_that_cannot_run_are_refused_before_compiling(changes, sentence):
    (failure,) = run(point(**changes))
    assert sentence in failure.reason


@pytest.mark.slow
def test_memory_is_estimated_from_above_and_never_far():
    for cell in ("elman", "gru", "lstm"):
        key = programs.program_key(point(cell=cell, cell_options=(), hidden_features=64))
        assert sweeps.points_at_once(key) == 8
        used = compilation.memory_used(compilation.compiled(key, 8, 1).calls[0])
        needed = sweeps.memory_needed(key, 8)
        assert needed / sweeps.OVERESTIMATED < used < needed


def out_of_memory_above(size, monkeypatch):
    """Let every batch of more points fail as a full device does; returns the sizes tried."""
    tried, measured = [], sweeps._measured

    def limited(program, points):
        tried.append(program.size)
        if program.size > size:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating")
        return measured(program, points)

    monkeypatch.setattr(sweeps, "_measured", limited)
    return tried


@pytest.mark.slow
def test_a_batch_that_is_too_large_for_the_memory_is_halved(monkeypatch):
    grid = [point(num_seeds=1, seed=seed) for seed in range(20)]
    expected = run(*grid)
    tried = out_of_memory_above(4, monkeypatch)
    for ours, theirs in zip(run(*grid), expected, strict=True):
        assert np.allclose(ours.curves, theirs.curves, rtol=1e-5, atol=1e-5)
        assert (ours.shared["networks_at_once"], theirs.shared["networks_at_once"]) == (4, 16)
    assert tried == [16, 8, 4, 4, 4, 4, 4]
    tried.clear()
    out_of_memory_above(0, monkeypatch)
    failures = run(*grid[:2])
    assert {failure.reason for failure in failures} == {
        "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory"
    }


def test_a_point_that_breaks_its_batch_fails_alone(monkeypatch):
    grid = [point(num_seeds=1, seed=seed) for seed in range(20)]
    expected, measured = run(*grid), sweeps._measured

    def broken(program, points):
        if grid[5] in points:
            raise FloatingPointError("no such network")
        return measured(program, points)

    monkeypatch.setattr(sweeps, "_measured", broken)
    found = run(*grid)
    assert found[5] == (grid[5], "FloatingPointError: no such network")
    others = [i for i in range(20) if i != 5]
    for i in others:
        assert np.allclose(found[i].curves, expected[i].curves, rtol=1e-5, atol=1e-5)
    # After the broken point the others of the group go on in full batches.
    assert [found[i].shared["networks_at_once"] for i in (0, 4, 6, 19)] == [4, 1, 16, 16]


def test_a_program_that_does_not_compile_fails_its_points_by_name_and_no_others(monkeypatch):
    bad, good = point(hidden_features=7), point(hidden_features=5)
    program = compilation._program

    def refuse(key):
        if key.hidden_features == 7:
            raise TypeError("cannot trace this\nand here is why")
        return program(key)

    monkeypatch.setattr(compilation, "_program", refuse)
    failures = run(*(dataclasses.replace(bad, seed=seed) for seed in range(9)), good)
    assert {failure.reason for failure in failures[:9]} == {"TypeError: cannot trace this"}
    assert rows(failures[9])[0]["status"] == "ok"


SHARDED = """
import hashlib, sys
from throughtime import devices
devices.start("cpu")
import jax
from test_sweeps import point, run
from throughtime import compilation, sweeps
devices = jax.local_device_count()
assert devices == int(sys.argv[1])
sweeps.WORTH_A_DEVICE["cpu"] = 1
grid = [point(cell=cell, cell_options=(), num_seeds=networks, seed=seed, recurrent_scale=scale)
        for cell, networks in (("elman", 1), ("lstm", 5))
        for seed in range(20) for scale in (1.0, 3.0)]
for result in run(*grid):
    print(hashlib.sha256(repr(result.each).encode() + result.curves.tobytes()).hexdigest())
# 40 points of 1 network are 3 batches, of 5 networks 14.
assert compilation.num_compiled() == min(devices, 3) + min(devices, 14)
"""


def test_another_device_is_used_where_the_work_is_worth_compiling_for_it(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    monkeypatch.setattr(sweeps, "memory_free", lambda: 2**40)
    small = dataclasses.replace(point(), hidden_features=32, num_seeds=1, batch_size=8)
    large = dataclasses.replace(small, hidden_features=512, sequence_length=1000)
    devices = {
        count: [sweeps._whole(programs.program_key(one), count)[1] for one in (small, large)]
        for count in (1, 16, 17, 200, 50_000, 1_000_000)
    }
    assert devices[1] == devices[16] == [1, 1]
    assert devices[17] == [1, 2]
    assert devices[200] == [1, 8]
    assert 1 < devices[50_000][0] <= 8
    assert devices[1_000_000] == [8, 8]


@pytest.mark.slow
def test_the_same_rows_on_1_2_and_8_devices():
    said = {}
    for count in ("1", "2", "8"):
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": count, "PYTHONPATH": str(TESTS)}
        command = [sys.executable, "-c", SHARDED, count]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said[count] = done.stdout.split()
    assert len(said["1"]) == len(set(said["1"])) == 80
    assert said["1"] == said["2"] == said["8"]
