"""The commands as a user types them: every configuration runs, bad input is one sentence."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import SWEEP, of_this_process, run
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_results import rows
from omegaconf import OmegaConf

from hydra_plugins.throughtime._composer import Composer
from throughtime import sweeps
from throughtime.cells import SYSTEMS
from throughtime.points import read_point
from throughtime.programs import program_key

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
TINY = ["hidden_features=4", "batch_size=2", "num_seeds=2", "sequence_length=8"]


def names(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def options(command):
    return [sys.executable, str(ROOT / "experiments" / "sweep.py"), *command]


def sweep(folder, *overrides):
    return subprocess.run(options(overrides), cwd=folder, capture_output=True, text=True)


@pytest.fixture
def hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def measure(*overrides, primary="sweep"):
    config = OmegaConf.to_container(compose(primary, [*TINY, *overrides]), resolve=True)
    point = read_point(config)
    key = program_key(point)
    assert sweeps.refused(key, [point]) == []
    (result,) = [one for batch in sweeps.run_group(key, [point]) for one in batch]
    return result


# These show that a configuration runs; all others are compiled where time matters less.
QUICK = ("elman", "gru", "lstm", "lstm_open", "scalar", "flax_simple", "lru", "henon")
CELLS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names("cell")
]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.usefixtures("hydra")
def test_every_cell_configuration_runs(cell):
    size = 1 if cell == "scalar" else len(SYSTEMS[cell].start) if cell in SYSTEMS else 4
    result = measure(f"cell={cell}", f"hidden_features={size}")
    assert [row["status"] for row in rows(result)] == ["ok", "ok"]
    assert result.curves.shape == (2, 8)
    # A curve differs from network to network unless nothing random acts on the gradient.
    assert np.array_equal(*(result.curves - result.curves[:, :1])) == (cell == "scalar")


@pytest.mark.parametrize("task", names("task"))
@pytest.mark.usefixtures("hydra")
def test_every_task_configuration_runs(task):
    result = measure(f"task={task}", "sequence_length=30")
    assert {row["status"] for row in rows(result)} == {"ok"}
    assert all(row["loss"] != 0 for row in rows(result))


@pytest.mark.parametrize("experiment", names("experiment"))
@pytest.mark.usefixtures("hydra")
def test_every_experiment_composes_into_points(experiment):
    config = compose("sweep", [f"+experiment={experiment}"], return_hydra_config=True)
    assert config.name == experiment
    for key, values in (config.hydra.sweeper.params or {}).items():
        (override,) = OverridesParser.create().parse_overrides([f"{key}={values}"])
        for value in list(override.sweep_string_iterator())[:20]:
            one = compose("sweep", [f"+experiment={experiment}", f"{key}={value}"])
            assert read_point(OmegaConf.to_container(one, resolve=True))


@pytest.mark.usefixtures("hydra")
def test_spectra_are_swept_with_or_without_their_own_command():
    for experiment in ("exponents", "spectra", "henon"):
        one, other = (
            OmegaConf.to_container(compose(primary, [f"+experiment={experiment}"]), resolve=True)
            for primary in ("sweep", "spectrum")
        )
        assert read_point(one) == read_point(other)


def test_the_standard_experiment_is_what_it_says(hydra):
    config = compose("sweep", ["+experiment=standard"], return_hydra_config=True)
    sizes = {k: len(set(v.split(","))) for k, v in config.hydra.sweeper.params.items()}
    assert sizes == {"cell": 3, "recurrent_scale": 21, "sequence_length": 7}
    assert (config.num_seeds, config.task.name) == (16, "radar")


@pytest.mark.slow
def test_fast_composition_equals_hydras_own(hydra):
    jobs = [
        [f"{group}={name}", "recurrent_scale=0.7", f"{group}.name={name}", "sequence_length=9"]
        for group in ("cell", "task", "diagnostic")
        for name in names(group)
    ]
    jobs += [["mitigation=[]"], ["mitigation=[clip,omega]", "mitigation.clip.max_norm=2"]]
    jobs += [["mitigation=[clip]", "+mitigation.omega={weight:2}"], ["mitigation=clip"]]
    jobs += [["+experiment=standard", "cell=lstm", "cell.forget_bias=1.5"], ["++seed=4"], []]
    master = compose("sweep", return_hydra_config=True)
    composer = Composer(hydra, master)
    for overrides in jobs:
        expected = OmegaConf.to_container(hydra.load_sweep_config(master, overrides))
        del expected["hydra"]
        assert OmegaConf.to_container(composer.compose(overrides)) == expected


def test_a_sweep_is_reported_from_its_records(tmp_path):
    grid = ["cell=elman,gru", "recurrent_scale=0.5,2", "sequence_length=3,8", *TINY[:3]]
    assert sweep(tmp_path, "-m", *grid).returncode == 0
    between = ["cell=elman", "recurrent_scale=1", "sequence_length=3", *TINY[:3]]
    assert sweep(tmp_path, "-m", *between).returncode == 0
    script = str(ROOT / "experiments" / "report.py")
    report = [sys.executable, script, "results/sweep", "--run", "all"]
    done = subprocess.run(report, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^elman: .*50 steps", done.stdout, re.MULTILINE)
    made = {path.name for path in (tmp_path / "results" / "sweep").iterdir()}
    tables = {f"{stem}.{kind}" for stem in ("table", "league") for kind in ("csv", "md", "tex")}
    tables |= {"mitigation.csv"}
    stems = ("gradient_by_lag", "ratio_heatmap", "stable_bands", "mitigation_by_scale")
    figures = {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    assert made == {"runs", "report.html"} | tables | figures
    with (tmp_path / "results" / "sweep" / "table.csv").open() as file:
        assert len(file.readlines()) == 1 + 8 + 1  # all points; the page has what all cells share
    page = (tmp_path / "results" / "sweep" / "report.html").read_text()
    assert '"recurrent_scale":[0.5,2.0]' in page


def test_spectra_are_swept_and_reported(tmp_path):
    def run(script, *arguments):
        command = [sys.executable, str(ROOT / "experiments" / script), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    tiny = ["hidden_features=3", "num_seeds=2", "sequence_length=60", "diagnostic.transient=20"]
    run("spectrum.py", "-m", "cell=elman,lstm", "recurrent_scale=0.5,2", *tiny)
    run("report.py", "results/spectrum")
    made = {path.name for path in (tmp_path / "results" / "spectrum").iterdir()}
    figures = {
        f"{stem}.{kind}" for stem in ("exponent_by_scale", "spectra") for kind in ("png", "pdf")
    }
    assert made == {"runs", "table.csv", "table.md", "table.tex"} | figures


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, number):
    overrides = ["-m", "recurrent_scale=" + ",".join(map(str, range(1, 301))), *TINY[:2]]
    ledger = tmp_path / "results" / "sweep" / "runs" / "records.jsonl"
    with subprocess.Popen(
        options(overrides), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as running:
        while not (ledger.exists() and ledger.stat().st_size):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
        said = running.stderr.read()
    assert running.returncode == 128 + number
    kept = int(re.search(r"interrupted: (\d+) of 300 points are kept", said)[1])
    assert "Traceback" not in said
    again = sweep(tmp_path, *overrides)
    assert f"{300 - kept} points measured" in again.stderr
    assert f"{kept} were already recorded" in again.stderr


BAD = {
    "unknown cell": (["cell=gruu"], "unknown cell 'gruu'; did you mean 'gru'?"),
    "unknown task": (["task=radr"], "unknown task 'radr'; did you mean 'radar'?"),
    "unknown remedy": (["mitigation=[clipp]"], "unknown mitigation 'clipp'; did you mean 'clip'?"),
    "remedy of another": (["mitigation=[clip]"], "use diagnostic=training, or remedies"),
    "unknown key": (["scale=2"], "unknown key 'scale'; did you mean 'recurrent_scale'?"),
    "added key": (["+scale=2"], "unknown key 'scale'; did you mean 'recurrent_scale'?"),
    "unknown option": (["cell=lstm", "cell.forgetbias=1"], "did you mean 'forget_bias'?"),
    "negative scale": (["recurrent_scale=-1"], "must be a finite number >= 0, not -1."),
    "NaN scale": (["recurrent_scale=nan"], "must be a finite number >= 0, not nan."),
    "length 1": (["sequence_length=1"], "sequence_length must be an integer from 2"),
    "no seeds": (["num_seeds=0"], "num_seeds must be an integer from 1"),
    "no -m": (["recurrent_scale=1,2"], "add -m"),
    "too large": (["hidden_features=1000000"], "GiB of memory"),
    "too long": (["task=digits", "sequence_length=65"], "at most 64"),
    "no file": (["task.tracks=none.csv"], "none.csv does not exist"),
    "no column": (
        ["task.tracks=columns.csv"],
        "unknown column 'y'; known: time, x, z.",
    ),
    "no number": (["task.tracks=number.csv"], "number.csv, line 3: x is 'far'"),
    "unsorted": (["task.tracks=unsorted.csv"], "unsorted.csv, line 4: the time 1 does not come"),
    "too short": (["task.tracks=short.csv", "sequence_length=9"], "at most 3"),
    "bad group": (["-m", "cell=3"], "Config group override must be a string"),
    "linspace": (["-m", "recurrent_scale=linspace(0,1,1)"], "needs 2 to 1000000 values, not 1"),
    "logspace": (["-m", "recurrent_scale=logspace(0,1,5)"], "positive ends"),
    "swept device": (["-m", "device=auto,cpu"], "device cannot be swept"),
    "bad job_dirs": (["-m", "hydra.launcher.job_dirs=al"], "did you mean 'all'?"),
    "bad engine": (["-m", "hydra.launcher.engine=slurn"], "did you mean 'slurm'?"),
    "bad retries": (["-m", "hydra.launcher.retries=-1"], "retries must be at least 0, not -1."),
    "bad records": (["other_records=renev"], "did you mean 'renew'?"),
    "bad device": (["device=abacus"], "unknown device 'abacus'"),
    "empty sweep": (["-m", "cell=glob(z*)"], "the sweep is empty"),
}
FILES = {
    "columns.csv": "time,x,z\n0,1,2\n1,2,3\n2,3,4\n",
    "number.csv": "time,x,y\n0,1,2\n1,far,3\n2,3,4\n",
    "unsorted.csv": "time,x,y\n0,1,2\n2,2,3\n1,3,4\n",
    "short.csv": "time,x,y\n0,1,2\n1,2,3\n2,3,4\n3,4,5\n",
}


@pytest.fixture(scope="module")
def _here(tmp_path_factory):
    with of_this_process(tmp_path_factory.mktemp("cache")):
        yield


@pytest.mark.parametrize(("overrides", "sentence"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("_here")
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, overrides, sentence):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    done = run([SWEEP, *overrides], tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n")
    assert "None" not in done.stderr
    assert done.stdout == ""
    left = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.usefixtures("_here")
def test_bad_input_ends_a_process_of_its_own_as_it_does_here(tmp_path):
    overrides = ["-m", "cell=gruu"]
    done, here = sweep(tmp_path, *overrides), run([SWEEP, *overrides], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == here


def test_a_reader_who_has_read_enough_is_no_error(tmp_path):
    with subprocess.Popen(
        options(["--help"]), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert said == ""
    assert process.returncode == 128 + signal.SIGPIPE
