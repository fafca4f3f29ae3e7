"""Every multirun that is accepted is reported, with each of its networks once."""

import itertools
import runpy
import tempfile
from pathlib import Path

import made_sweeps
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from throughtime import figures
from throughtime.points import InputError

REPORT = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "report.py"))["report"]


def drawn_only(figure, stem):
    """Instead of a file: all that can fail is laid out."""
    figure.draw_without_rendering()
    return [Path(stem)]


@pytest.fixture(autouse=True)
def _unsaved(monkeypatch):
    monkeypatch.setattr(figures, "save", drawn_only)


def reported(folder, made, run_id="run"):
    """The tables of a multirun by the name of the file."""
    made_sweeps.record(folder / "runs", made)
    REPORT(folder, run_id)
    return {path.stem: pd.read_csv(path) for path in folder.glob("table*.csv")}


def expected(made):
    """Of each point of each diagnostic: networks, `ok` ones, and the median of their headline."""
    found = {}
    for point in made:
        for setting, seed in made_sweeps.networks(point):
            value = made_sweeps.headline(point, (setting, seed))
            found.setdefault(point.diagnostic, {}).setdefault(setting, {})[seed] = value
    lines = {}
    for diagnostic, settings_ in found.items():
        for values in settings_.values():
            ok = [value for value in values.values() if value is not None]
            median = float(np.median(ok)) if ok else np.nan
            lines.setdefault(diagnostic, []).append((len(values), len(ok), median))
    return {diagnostic: sorted(each, key=repr) for diagnostic, each in lines.items()}


def lines_of(table):
    """The same of a table."""
    (diagnostic,) = set(table["diagnostic"])
    median = table[f"{made_sweeps.HEADLINES[diagnostic]}_median"]
    lines = zip(table["num_seeds"], table["num_ok"], median, strict=True)
    return sorted(((int(n), int(k), float(x)) for n, k, x in lines), key=repr)


@st.composite
def multiruns(draw):
    """One to three keys and several values of each."""
    names = draw(
        st.lists(st.sampled_from(list(made_sweeps.KEYS)), min_size=1, max_size=3, unique=True)
    )
    swept = {}
    for name in names:
        values = made_sweeps.KEYS[name]
        places = st.lists(st.sampled_from(range(len(values))), min_size=1, max_size=3, unique=True)
        swept[name] = [values[place] for place in draw(places)]
    return swept


def check(swept):
    made = made_sweeps.points(swept)
    if not made:
        return
    with tempfile.TemporaryDirectory() as folder:
        tables = reported(Path(folder), made)
    wanted = expected(made)
    stems = ["table"] if len(wanted) == 1 else [f"table_{name}" for name in wanted]
    assert sorted(tables) == sorted(stems)
    for table in tables.values():
        own = wanted[table["diagnostic"].iloc[0]]
        for line, other in itertools.zip_longest(lines_of(table), own):
            # A CSV holds the float's shortest text, which is the float.
            np.testing.assert_array_equal(line, other)


# Names of a hundred letters above a dozen panels leave them no room; they are drawn all the same.
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(multiruns())
def test_a_multirun_is_reported_with_every_network_once(swept):
    check(swept)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@settings(max_examples=100, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(multiruns())
def test_many_multiruns_are_reported_with_every_network_once(swept):
    check(swept)


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path, monkeypatch):
    made_sweeps.record(tmp_path / "runs", made_sweeps.points({"seed": [0]}))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError) as refused:
        REPORT(tmp_path, "run")
    assert str(refused.value) == f"cannot write to {tmp_path}: No space left on device."
