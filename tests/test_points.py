"""Points: what a configuration must hold, and when two of them are the same."""

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from throughtime.names import nearest, unknown
from throughtime.options import LABELS
from throughtime.points import InputError, read_point

ROOT = Path(__file__).parent.parent


def config(**changes):
    return {
        "name": "test",
        "device": "auto",
        "cell": {"name": "lstm", "forget_bias": 1.0, "chrono_steps": None},
        "task": {"name": "radar", "range_noise": 10.0},
        "diagnostic": {"name": "gradient"},
        "recurrent_scale": 1.5,
        "sequence_length": 50,
        "hidden_features": 8,
        "num_seeds": 2,
        "seed": 0,
        "data_seed": 0,
        "batch_size": 4,
        "dtype": "float32",
        "loss_at": "last",
        "match": "units",
    } | changes


def test_a_point_holds_what_was_given():
    point = read_point(config())
    assert point.cell_options == (("forget_bias", 1.0),)
    columns = point.columns()
    assert columns["forget_bias"] == 1.0
    assert columns["task_range_noise"] == 10.0
    assert columns["initializer"] is None
    assert "cell_options" not in columns


def test_the_key_is_of_the_point_and_not_of_its_spelling():
    point = read_point(config())
    reordered = dict(reversed(config().items())) | {"name": "other", "device": "cpu"}
    reordered["cell"] = dict(reversed(config()["cell"].items()))
    assert read_point(reordered).key == point.key
    assert read_point(config(recurrent_scale=1.5 + 1e-15)).key == point.key
    assert read_point(config(cell={"name": "lstm", "forget_bias": 1})).key == point.key
    for change in ({"seed": 1}, {"recurrent_scale": 1.6}, {"cell": {"name": "lstm"}}):
        assert read_point(config(**change)).key != point.key


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recurrent_scale": -0.5}, "recurrent_scale must be a finite number >= 0, not -0.5."),
        ({"recurrent_scale": math.nan}, "recurrent_scale must be a finite number >= 0, not nan."),
        ({"recurrent_scale": math.inf}, "not inf."),
        ({"recurrent_scale": "big"}, "not 'big'."),
        ({"recurrent_scale": True}, "not true."),
        ({"sequence_length": 1}, "sequence_length must be an integer from 2 to 2147483647, not 1."),
        ({"sequence_length": 2.5}, "not 2.5."),
        ({"num_seeds": 0}, "num_seeds must be an integer from 1 to"),
        ({"dtype": "float23"}, "unknown dtype 'float23'; did you mean 'float32'?"),
        ({"loss_at": "first"}, "unknown loss_at 'first'"),
        ({"match": "stat"}, "unknown match 'stat'; did you mean 'state'?"),
        ({"scal": 2}, "unknown key 'scal'; did you mean 'recurrent_scale'?"),
        ({"cell": {"name": "elman", "activation": "tan"}}, "did you mean 'tanh'?"),
        ({"cell": {"name": "lstm", "chrono_steps": 1}}, "cell.chrono_steps must be a finite"),
        ({"cell": "lstm"}, "cell must have a name, not 'lstm'."),
        ({"task": {"name": "radar", "range_noise": -1}}, "task.range_noise must be a finite"),
    ],
)
def test_bad_configurations_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(InputError) as refused:
        read_point(config(**changes))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_label_is_shown_as_long_as_it_is_true():
    def columns(**cell):
        point = read_point(config(cell={"name": "elman", **cell}))
        return tuple(point.columns()[name] for name in ("cell", "kind"))

    irnn = {"label": "irnn", "activation": "relu", "initializer": "identity"}
    assert columns(**irnn) == ("irnn", "elman")
    assert columns(**irnn | {"initializer": "orthogonal"}) == ("elman", "elman")
    assert columns(label="mine") == ("mine", "elman")
    assert columns() == ("elman", "elman")
    with pytest.raises(InputError, match=r"cell.label must be a text, not 3\."):
        columns(label=3)


def test_labels_are_those_of_the_configurations():
    for path in sorted((ROOT / "conf" / "cell").glob("*.yaml")):
        if "label" in (own := OmegaConf.load(path)):
            assert own.label == path.stem
            assert LABELS[path.stem].items() <= dict(own).items()


def test_a_missing_key_is_named():
    incomplete = config()
    del incomplete["batch_size"]
    with pytest.raises(InputError, match="batch_size is missing"):
        read_point(incomplete)


@given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.floats() | st.text()))
def test_no_configuration_escapes_with_another_error(changes):
    with contextlib.suppress(InputError):
        assert read_point(config(**changes)).key


def test_the_nearest_name():
    known = ["recurrent_scale", "sequence_length", "cell"]
    assert nearest("scale", known) == "recurrent_scale"
    assert nearest("sequense_length", known) == "sequence_length"
    assert nearest("zzz", known) is None
    assert unknown("key", "zzz", known).startswith("unknown key 'zzz'; known: recurrent_scale,")
