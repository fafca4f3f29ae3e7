"""A sweep that is killed again and again: its table is that of a sweep that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from throughtime.frames import rows_frame
from throughtime.records import latest_run, load_run, read_lines

SWEEP = str(Path(__file__).parent.parent / "experiments" / "sweep.py")
SIZES = ["hidden_features=4", "batch_size=2", "num_seeds=8", "sequence_length=60"]
GRID = ["-m", "cell=elman,gru", "recurrent_scale=range(1,121)", *SIZES]
NUM_POINTS = 240
NUM_WRITING = 4
OF_ONE_RUN = ["run_id", "created", "seconds"]


def runs(folder):
    return folder / "results" / "sweep" / "runs"


def num_bytes(folder):
    """The length of the ledger."""
    ledger = runs(folder) / "records.jsonl"
    return ledger.stat().st_size if ledger.exists() else 0


def sweep(folder, cache, wait=subprocess.Popen.wait):
    """Run the sweep, or kill it after a wait that ends before it; whether it was killed."""
    folder.mkdir(exist_ok=True)
    # One device, and so a batch of two points: 120 batches are written.
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "JAX_NUM_CPU_DEVICES": "1"}
    with (folder / "said.txt").open("w") as said:
        running = subprocess.Popen(
            [sys.executable, SWEEP, *GRID], cwd=folder, env=environment, stdout=said, stderr=said
        )
        wait(running)
        running.kill()
    assert running.wait() in (0, -signal.SIGKILL), (folder / "said.txt").read_text()
    return running.returncode != 0


def until(condition, running):
    """Wait for something to be on the disk."""
    while running.poll() is None and not condition():
        time.sleep(0.001)


def begins(folder):
    """Whether another run than those there are has made its folder; it has not measured yet."""
    before = len(list(runs(folder).glob("*/")))
    return lambda: len(list(runs(folder).glob("*/"))) > before


def has_written(folder, length):
    """Whether the ledger has a length."""
    return lambda: num_bytes(folder) >= length


def has_all(folder):
    """Whether every point is recorded, beside the one origin."""
    path = runs(folder) / "records.jsonl"
    return lambda: path.exists() and path.read_bytes().count(b"\n") > NUM_POINTS


def whole_keys(folder):
    """The keys in the ledger: each once, every line whole but one that is torn at the end."""
    path = runs(folder) / "records.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    keys = [record["key"] for record in map(json.loads, lines) if "key" in record]
    assert [line.decode()["key"] for line in read_lines(path)] == keys
    assert len(set(keys)) == len(keys)
    return keys


def measured(folder):
    """The table of the latest run, without what is of one run, and its curves."""
    assert len(whole_keys(folder)) == NUM_POINTS
    assert list(runs(folder).rglob("failures.csv")) == []
    records, missing = load_run(runs(folder), latest_run(runs(folder)))
    assert (len(records), missing) == (NUM_POINTS, 0)
    frame = rows_frame(records).drop(columns=OF_ONE_RUN)
    return frame, np.array([record["curves"] for record in records])


def assert_equal(found, expected):
    pd.testing.assert_frame_equal(found[0], expected[0], check_exact=True)
    assert np.array_equal(found[1], expected[1])


def phase(num_new, num_keys):
    """Where a run was killed, by the records that it wrote and those there are."""
    if num_keys == NUM_POINTS:
        return "after"
    return "writing" if num_new else "before"


def moments(folder, seed, length):
    """When to kill: before a first record, here and there in the writing, after the last one."""
    rng = random.Random(seed)
    # The sweep goes on until the signal comes: what is left of it must be longer than that.
    lengths = [0.8 * length * (i + rng.random()) / NUM_WRITING for i in range(NUM_WRITING)]
    first, *others = [lambda n=n: has_written(folder, n) for n in lengths]
    return [lambda: begins(folder), first, lambda: begins(folder), *others, lambda: has_all(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_kills_lose_and_double_nothing(tmp_path, seed, whole):
    expected, cache, length = whole
    phases = []
    for moment in moments(tmp_path, seed, length):
        before = whole_keys(tmp_path)
        killed = sweep(tmp_path, cache, partial(until, moment()))
        after = whole_keys(tmp_path)
        assert killed or len(after) == NUM_POINTS
        assert after[: len(before)] == before
        phases.append(phase(len(after) - len(before), len(after)))
    sweep(tmp_path, cache)
    assert_equal(measured(tmp_path), expected)
    assert (phases[0], phases[-1]) == ("before", "after")
    assert phases.count("writing") >= NUM_WRITING // 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a sweep measures that was not killed, its cache, and the length of its ledger."""
    folder, cache = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cache")
    assert not sweep(folder, cache)
    return measured(folder), cache, num_bytes(folder)
