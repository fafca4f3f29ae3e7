"""`hydra/sweeper=bisect`: all combinations are searched, failures told, no point measured twice."""

import csv
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import SWEEP, of_this_process, run
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent


def sweeper(folder, value, params=None, **settings):
    """A sweeper whose jobs take their value from a function of their overrides."""
    # Hydra loads its plugins anew when it looks for them: a class imported before has old parents.
    from hydra_plugins.throughtime.bisect_sweeper import BisectSweeper

    settings = {"points_per_round": 7, "tolerance": 1e-3, "max_rounds": 8} | settings
    made = BisectSweeper(**settings, params=params)
    loader = SimpleNamespace(get_group_options=lambda key: [])
    made.hydra_context = SimpleNamespace(config_loader=loader)
    made.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder / "runs" / "id")}}})
    made.launched = []

    def launch(jobs, initial_job_idx):
        assert initial_job_idx == sum(map(len, made.launched))
        made.launched.append(jobs)
        return [value(dict(one.split("=") for one in job)) for job in jobs]

    made.launcher = SimpleNamespace(launch=launch)
    return made


def completed(value):
    return JobReturn(status=JobStatus.COMPLETED, _return_value=value)


def test_every_combination_of_the_other_overrides_is_searched(tmp_path):
    def value(job):
        return completed(float(job["x"]) - float(job["a"]) / float(job["b"]) - 0.01)

    made = sweeper(tmp_path, value, params={"a": "9", "b": "1,2", "x": "interval(0,1)"})
    found = made.sweep(["a=1,3", "x=interval(0,4)"])
    assert [one.critical for one in found] == pytest.approx([1.01, 0.51, 3.01, 1.51], abs=1e-9)
    assert made.launched[0][:2] == [["a=1", "b=1", "x=0.0"], ["a=1", "b=1", "x=0.666666666667"]]
    assert [len(jobs) for jobs in made.launched] == [28] * 5


def test_a_failed_job_counts_as_undefined_and_fails_the_sweep(tmp_path, capsys):
    def value(job):
        if job["cell"] == "bad" and 1 < float(job["x"]) < 3:
            error = ValueError("no memory\nfor this")
            overrides = [f"{key}={one}" for key, one in job.items()]
            return JobReturn(overrides, status=JobStatus.FAILED, _return_value=error)
        return completed(float(job["x"]) - 1.4)

    made = sweeper(tmp_path, value, points_per_round=5)
    with pytest.raises(SystemExit) as ended:
        made.sweep(["cell=good,bad", "+n=3", "x=interval(0,4)"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert "1 of 30 jobs failed" in err
    assert "cell=bad +n=3 x=2.0: no memory\n" in err
    with (tmp_path / "critical_x.csv").open() as file:
        good, bad = csv.DictReader(file)
    assert (good["cell"], good["n"], good["status"]) == ("good", "3", "ok")
    assert float(good["critical_x"]) == pytest.approx(1.4)
    nothing = dict.fromkeys(["critical_x", "low", "high", "value_low", "value_high"], "")
    counts = {"num_points": "5", "num_undefined": "1"}
    named = {"cell": "bad", "n": "3", "direction": "", "status": "undefined", "run_id": "id"}
    assert bad == nothing | counts | named
    head, _, last, written = out.splitlines()
    assert head.split()[:3] == ["cell", "critical_x", "low"]
    assert last.split() == ["bad", *["null"] * 6, "undefined", "5", "1"]
    assert written == f"written: {tmp_path / 'critical_x.csv'}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a=1,2"], "exactly one interval"),
        (["x=interval(0,1)", "y=interval(0,1)"], "found x and y"),
        (["x=interval(0,1)", "x=1,2"], "x is given twice"),
        (["x=1,2", "x=interval(0,1)"], "x is given twice"),
        (["x=interval(0,1)", "++x=1"], "x is given twice"),
        (["x=interval(1,0)"], "the lower one first, got (1.0, 0.0)"),
    ],
)
def test_the_interval_is_one_and_unambiguous(tmp_path, arguments, sentence):
    made = sweeper(tmp_path, lambda job: completed(1.0))
    with pytest.raises(HydraException, match=re.escape(sentence)):
        made.sweep(arguments)
    assert made.launched == []


SCALAR = ["cell=scalar", "hidden_features=1", "batch_size=2", "num_seeds=2", "sequence_length=2,9"]


def sweep(folder, *overrides):
    command = [sys.executable, str(ROOT / "experiments" / "sweep.py"), "-m"]
    command += ["hydra/sweeper=bisect", *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def critical(folder):
    with (folder / "results" / "sweep" / "critical_recurrent_scale.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_program_finds_the_critical_scale_and_remembers_what_it_measured(tmp_path):
    overrides = ["recurrent_scale=interval(0.1,4)", *SCALAR]
    done = sweep(tmp_path, *overrides)
    assert done.returncode == 0, done.stderr
    lines = critical(tmp_path)
    assert [line["sequence_length"] for line in lines] == ["2", "9"]
    for line in lines:
        low, high = float(line["low"]), float(line["high"])
        assert low < 1 < high <= low + 1e-3
        assert float(line["critical_recurrent_scale"]) == pytest.approx(1, abs=1e-6)
        assert (line["status"], line["direction"]) == ("ok", "up")
    again = sweep(tmp_path, *overrides)
    assert again.stdout == done.stdout
    assert again.stderr.count("0 points measured") == 5
    for line, before in zip(critical(tmp_path), lines, strict=True):
        assert line | {"run_id": ""} == before | {"run_id": ""}
        assert (line["dtype"], line["num_seeds"], line["device"]) == ("float32", "2", "cpu")
        assert line["source"]

    below = sweep(tmp_path, "recurrent_scale=interval(0.1,0.5)", *SCALAR)
    assert below.returncode == 0, below.stderr
    assert below.stdout.count("null") == 2 * 6
    for line in critical(tmp_path):
        assert (line["critical_recurrent_scale"], line["status"]) == ("", "no crossing")


BAD = {
    "no interval": (["recurrent_scale=1,2"], "exactly one interval"),
    "two intervals": (
        ["recurrent_scale=interval(1,2)", "seed=interval(1,2)"],
        "found recurrent_scale and seed",
    ),
    "low above high": (["recurrent_scale=interval(4,1)"], "the lower one first, got (4.0, 1.0)"),
    "infinite": (["recurrent_scale=interval(0,inf)"], "two finite ends"),
    "empty grid": (["recurrent_scale=interval(1,2)", "cell=glob(z*)"], "the sweep is empty"),
    "config group": (["cell=interval(1,2)"], "cell is chosen by name"),
    "unknown key": (["scale=interval(1,2)"], "did you mean 'recurrent_scale'?"),
    "tolerance": (
        ["recurrent_scale=interval(1,2)", "hydra.sweeper.tolerance=0"],
        "tolerance must be above 0, got 0.0",
    ),
}


@pytest.fixture(scope="module")
def _here(tmp_path_factory):
    with of_this_process(tmp_path_factory.mktemp("cache")):
        yield


@pytest.mark.parametrize(("overrides", "sentence"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("_here")
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, overrides, sentence):
    done = run([SWEEP, "-m", "hydra/sweeper=bisect", *overrides], tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    left = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert left == []
