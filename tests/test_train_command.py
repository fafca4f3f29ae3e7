"""The commands of trainings as a user types them: trained, interrupted, gone on with, reported."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trained import OF_THE_CLOCK

from throughtime.records import latest_run, load_run

ROOT = Path(__file__).parent.parent
TINY = ["task=adding", "hidden_features=4", "batch_size=3", "num_seeds=2", "sequence_length=6"]
TINY += ["diagnostic.validation_size=4", "diagnostic.learning_rate=1e-4"]
GRID = ["-m", "mitigation=[],[clip]", *TINY]
LONG = ["diagnostic.updates=24000", "diagnostic.check_every=1000"]


def command(script, *arguments):
    return [sys.executable, str(ROOT / "experiments" / script), *arguments]


def run(folder, script, *arguments):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run(
        command(script, *arguments), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def bits(folder, name):
    """What was measured, without what is of the clock or of the folder."""
    runs = folder / "results" / name / "runs"
    records, missing = load_run(runs, latest_run(runs))
    assert missing == 0
    return [
        (
            {k: repr(v) for k, v in record["each"].items() if k not in OF_THE_CLOCK},
            record["shared"]["mitigation"],
            record["curves"].tobytes(),
        )
        for record in records
    ]


def interrupted(folder):
    """Ask a sweep to stop when it has said for the first time how far it is; what it said."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    with subprocess.Popen(
        command("train.py", *GRID, *LONG),
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 128 + signal.SIGINT, first + rest
    return first + rest


@pytest.mark.slow
def test_trainings_are_run_interrupted_gone_on_with_and_reported(tmp_path):
    said = interrupted(tmp_path)
    assert re.search(r"^0/2 points, .*: elman, training, 6 steps: [01]/2 networks, seed ", said)
    assert re.search(r"interrupted: [01] of 2 points are kept; run it again to go on", said)
    assert "Traceback" not in said
    unfinished = tmp_path / "results" / "train" / "runs" / "unfinished"
    assert list(unfinished.iterdir()) != []
    run(tmp_path, "train.py", *GRID, *LONG)
    alone = run(tmp_path, "train.py", *TINY, *LONG, "name=whole")
    beside = run(tmp_path, "train.py", *GRID, *LONG, "name=whole")
    assert "1 points measured" in beside.stderr
    # On one device and interrupted, or on two and not: the same bits.
    assert bits(tmp_path, "train") == bits(tmp_path, "whole")
    assert list(unfinished.iterdir()) == []
    lines = alone.stdout.splitlines()
    assert lines[0] == "elman, recurrent scale 1, T = 6, 2 networks, medians"
    assert re.fullmatch(r"  solved  [012]/2 networks \[0\.\d\d, [01]\.\d\d\]", lines[2])
    assert re.fullmatch(r"  watching gradients took \d+\.\d% of the time", lines[-2])
    run(tmp_path, "report.py", "results/whole")
    made = {path.name for path in (tmp_path / "results" / "whole").iterdir()}
    pictures = {f"{stem}.{kind}" for stem in ("loss", "horizon") for kind in ("png", "pdf")}
    tables = {"table.csv", "table.md", "table.tex", "course.csv"}
    assert made - {"prediction.csv", "prediction.md"} == {"runs"} | tables | pictures
    table = (tmp_path / "results" / "whole" / "table.md").read_text()
    assert re.search(r"\| elman +\| none +\| 1 +\| [012]/2 \(", table)
    assert re.search(r"\| elman +\| clip +\| 1 +\| [012]/2 \(", table)
