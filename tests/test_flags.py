"""The tests compile in haste; what users run is compiled with care, to the same numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from throughtime.records import latest_run, load_run

SWEEP = Path(__file__).parent.parent / "experiments" / "sweep.py"
SIZES = ["hidden_features=6", "batch_size=2", "num_seeds=2", "sequence_length=30", "dtype=float64"]


@pytest.mark.slow
def test_a_sweep_gives_the_same_numbers_however_it_is_compiled(tmp_path):
    found = {}
    for flags in (os.environ["XLA_FLAGS"], ""):
        folder = tmp_path / (flags or "as users have it")
        folder.mkdir()
        command = [sys.executable, str(SWEEP), "cell=lstm", "recurrent_scale=2", *SIZES]
        environment = os.environ | {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(folder)}
        subprocess.run(command, cwd=folder, check=True, env=environment)
        runs = folder / "results" / "sweep" / "runs"
        (record,), _ = load_run(runs, latest_run(runs))
        found[flags] = record["curves"]
    hasty, careful = found.values()
    assert np.abs(hasty - careful).max() < 1e-9  # nats, of 30 steps in float64
    assert np.ptp(careful) > 1
