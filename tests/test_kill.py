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
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest

from throughtime.records import latest_run, load_run, read_lines, rows_frame

ROOT = Path(__file__).parent.parent
SIZES = ["hidden_features=4", "batch_size=2", "num_seeds=8", "sequence_length=60"]
GRID = ["-m", "cell=elman,gru", "recurrent_scale=range(1,121)", *SIZES]
NUM_POINTS = 240
NUM_KILLS = 50
OF_ONE_RUN = ["run_id", "created", "seconds"]


def sweep(folder, cache, seconds=None):
    """Run the sweep, or kill it after some seconds; whether it was killed."""
    folder.mkdir(exist_ok=True)
    # One device, and so a batch of two points: 120 batches are written.
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, str(ROOT / "experiments" / "sweep.py"), *GRID]
    with (folder / "said.txt").open("w") as said:
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    assert running.returncode in (0, -signal.SIGKILL), (folder / "said.txt").read_text()
    return running.returncode != 0


def whole_keys(folder):
    """The keys in the ledger, each once; every line but a torn last one is whole."""
    path = folder / "results" / "sweep" / "runs" / "records.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    keys = [record["key"] for record in map(json.loads, lines) if "key" in record]
    assert [line.decode()["key"] for line in read_lines(path)] == keys
    assert len(set(keys)) == len(keys)
    return keys


def phase(folder, before):
    """Where a run was killed, by what is in the folder and how many records were there before."""
    num = len(whole_keys(folder))
    if num == NUM_POINTS:
        return "after the last record"
    if num > before:
        return "while writing"
    return "before writing"


def measured(folder):
    """The table of the latest run, without what is of one run, and its curves."""
    runs = folder / "results" / "sweep" / "runs"
    assert list(runs.rglob("failures.csv")) == []
    records, missing = load_run(runs, latest_run(runs))
    assert (len(records), missing) == (NUM_POINTS, 0)
    frame = rows_frame(records).drop(columns=OF_ONE_RUN)
    return frame, np.array([record["curves"] for record in records])


def killed(folder, cache, moments, expected):
    """Kill at each moment what goes on after the last kill; the phases of all kills."""
    moments, phases = list(moments), []
    while True:
        before = len(whole_keys(folder)) if folder.exists() else 0
        if sweep(folder, cache, moments[0] if moments else None):
            phases.append(phase(folder, before))
            del moments[0]
            continue
        frame, curves = measured(folder)
        pd.testing.assert_frame_equal(frame, expected[0], check_exact=True)
        assert np.array_equal(curves, expected[1])
        assert len(whole_keys(folder)) == NUM_POINTS
        shutil.rmtree(folder)
        if not moments:
            return phases


def lifetime(folder, cache):
    """The seconds that a sweep takes which is not killed, and has nothing to compile."""
    began = time.monotonic()
    sweep(folder, cache)
    shutil.rmtree(folder)
    return time.monotonic() - began


@pytest.mark.slow
def test_fifty_kills_lose_and_double_nothing(tmp_path):
    cache = tmp_path / "cache"
    sweep(tmp_path / "whole", cache)
    expected = measured(tmp_path / "whole")
    with ThreadPoolExecutor(2) as pool:
        life = mean(pool.map(partial(lifetime, cache=cache), (tmp_path / "0", tmp_path / "1")))
        moments = [life * (i + random.Random(i).random()) / NUM_KILLS for i in range(NUM_KILLS)]
        random.Random(0).shuffle(moments)
        chains = [
            pool.submit(killed, tmp_path / str(i), cache, moments[i::2], expected) for i in (0, 1)
        ]
    phases = Counter(phase for chain in chains for phase in chain.result())
    assert phases.total() == NUM_KILLS
    assert phases["while writing"] >= 5
    assert phases["before writing"] >= 5
