"""The tests compile in haste; what users run is compiled with care, to the same numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled import HASTILY, users_flags

from throughtime.records import latest_run, load_run

SWEEP = Path(__file__).parent.parent / "experiments" / "sweep.py"
SIZES = ["hidden_features=6", "batch_size=2", "num_seeds=2", "sequence_length=30"]


def measured(folder, flags, *overrides):
    """The record of a point, compiled in some way in a process of its own."""
    folder.mkdir()
    environment = os.environ | {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, str(SWEEP), *SIZES, *overrides]
    subprocess.run(command, cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)
    runs = folder / "results" / "sweep" / "runs"
    return load_run(runs, latest_run(runs))[0][0]


def test_the_flags_of_whoever_runs_the_tests_are_kept_and_come_last():
    """XLA takes the last of two; what a worker inherits is not added again."""
    command = [
        sys.executable,
        "-c",
        "import conftest, compiled, os; print(os.environ['XLA_FLAGS'])",
    ]
    for flags in ("", "--xla_cpu_max_isa=AVX2", f"{HASTILY} --xla_cpu_max_isa=AVX2"):
        environment = os.environ | {"XLA_FLAGS": flags}
        found = subprocess.check_output(
            command, cwd=Path(__file__).parent, env=environment, text=True
        )
        own = flags.removeprefix(HASTILY).strip()
        assert found.split() == [*HASTILY.split(), *own.split()]


@pytest.mark.slow
def test_a_sweep_gives_the_same_numbers_however_it_is_compiled(tmp_path):
    point = ["cell=lstm", "recurrent_scale=2", "dtype=float64"]
    hasty = measured(tmp_path / "tests", os.environ["XLA_FLAGS"], *point)["curves"]
    careful = measured(tmp_path / "users", users_flags(), *point)["curves"]
    assert np.abs(hasty - careful).max() < 1e-9  # nats, of 30 steps in float64
    assert np.ptp(careful) > 1


@pytest.mark.slow
def test_saturated_units_keep_their_digits_in_flaxs_cells_as_in_ours(tmp_path):
    """1 − tanh² is 0 where tanh is rounded to 1: plain backpropagation of Flax's cell has that."""
    point = ["task=noise", "recurrent_scale=15", "hidden_features=1"]
    flax = measured(tmp_path / "flax", users_flags(), "cell=flax_simple", *point)
    ours = measured(tmp_path / "ours", users_flags(), "cell=elman", *point)
    for found in (flax, ours):
        assert set(found["each"]["status"]) == {"ok"}
        assert np.isfinite(found["curves"]).all()
    assert None not in flax["each"]["first_zero_lag"]
    assert ours["curves"][:, 1].max() < -10
