"""A sweep that is killed again and again: its table is that of a sweep that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
NUM_KILLS = 50
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


def until_time(seconds, running):
    """Wait some seconds."""
    with suppress(subprocess.TimeoutExpired):
        running.wait(seconds)


def until_written(folder, length, running):
    """Wait until the ledger has a length."""
    while running.poll() is None and num_bytes(folder) < length:
        time.sleep(0.001)


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


def killed(folder, cache, seed, life, whole):
    """Kill and go on, in time and in the middle of the writing by turns; the phase of each kill."""
    rng, expected, length = random.Random(seed), measured(whole), num_bytes(whole)
    phases = []
    while len(phases) < NUM_KILLS // 2:
        before, first = whole_keys(folder), num_bytes(folder)
        wait = partial(until_time, rng.uniform(0, life))
        if len(phases) % 2:
            wait = partial(until_written, folder, rng.uniform(first, length))
        if sweep(folder, cache, wait):
            after = whole_keys(folder)
            assert after[: len(before)] == before
            phases.append(phase(len(after) - len(before), len(after)))
        else:
            assert_equal(measured(folder), expected)
            shutil.rmtree(folder)
    sweep(folder, cache)
    assert_equal(measured(folder), expected)
    return phases


def lifetime(folder, cache):
    """The seconds that a sweep takes which has nothing to compile."""
    began = time.monotonic()
    sweep(folder, cache)
    return time.monotonic() - began


@pytest.mark.slow
def test_fifty_kills_lose_and_double_nothing(tmp_path):
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    sweep(whole, cache)
    with ThreadPoolExecutor(2) as pool:
        life = max(pool.map(lifetime, (tmp_path / "a", tmp_path / "b"), (cache, cache)))
        chains = pool.map(
            lambda seed: killed(tmp_path / str(seed), cache, seed, life, whole), (0, 1)
        )
        phases = Counter(phase for chain in chains for phase in chain)
    assert phases.total() == NUM_KILLS
    assert phases["writing"] >= NUM_KILLS // 3
    assert phases["before"] >= NUM_KILLS // 10
