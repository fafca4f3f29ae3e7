"""Sentences that refuse bad input: true, of one line, and what they advise is accepted."""

import io
import os
import sys

import pytest
from commands import SWEEP, of_this_process, run

from throughtime import multirun
from throughtime.command_line import one_sentence
from throughtime.names import sentence, shown
from throughtime.points import InputError

TINY = ["hidden_features=4", "num_seeds=1", "batch_size=2", "sequence_length=3"]
TRAINED = ["diagnostic=training", "mitigation=[clip]"]
GIVEN = "sets it in every {0} chosen, and a {0} without this option refuses it."
SAID = {
    "option of swept cells": (
        ["-m", "cell=lstm,lstm_peephole", "cell.forget_bias=1"],
        f"no 'forget_bias'; ++cell.forget_bias=1 {GIVEN.format('cell')}",
        ["-m", "cell=lstm,lstm_peephole", "++cell.forget_bias=1"],
    ),
    "option of swept tasks": (
        ["-m", "task=text,brackets", "task.part=all"],
        f"no 'part'; ++task.part=all {GIVEN.format('task')}",
        ["-m", "task=text,brackets", "++task.part=all", "sequence_length=10"],
    ),
    "option that no file sets": (
        ["cell.leak=0.5"],
        f"the cell configuration at hand sets no 'leak'; ++cell.leak=0.5 {GIVEN.format('cell')}",
        ["++cell.leak=0.5"],
    ),
    "label that no file sets": (["cell.label=mine"], "++cell.label=mine", ["++cell.label=mine"]),
    "option of another cell": (
        ["cell=gru", "++cell.forget_bias=1"],
        "did you mean 'update_bias'? known: update_bias, chrono_steps, initializer,",
        ["cell=gru", "++cell.update_bias=1", "++cell.initializer=orthogonal"],
    ),
    "remedy not chosen": (
        ["mitigation.clip.max_norm=1"],
        "mitigation 'clip' is not chosen; mitigation=[clip] chooses it.",
        ["mitigation.clip.max_norm=1", *TRAINED],
    ),
    "remedy misspelt": (
        ["mitigation.clipp.max_norm=1"],
        "unknown mitigation 'clipp'; did you mean 'clip'?",
        ["mitigation.clip.max_norm=1", *TRAINED],
    ),
    "option of a remedy": (
        [*TRAINED, "mitigation.clip.norm=1"],
        "the configuration of mitigation 'clip' sets no 'norm'; ++mitigation.clip.norm=1 sets it",
        None,
    ),
    "value of a remedy": (
        [*TRAINED, "mitigation.clip.max_norm=-1"],
        "mitigation 'clip': max_norm must be a finite number > 0, not -1.",
        [*TRAINED, "mitigation.clip.max_norm=2"],
    ),
    "folder": (["task.tracks=."], "is a folder.", None),
    "pipe": (["task=text", "task.file=pipe"], "/pipe is not a regular file.", None),
    "no end": (["task.tracks=/dev/zero"], "/dev/zero is not a regular file.", None),
    "memory": (
        ["task=text", "task.file=/proc/self/mem"],
        "the text file /proc/self/mem cannot be read: Input/output error.",
        None,
    ),
    "no text": (["task=text", "task.file=none"], "/none does not exist.", None),
    "decimal comma": (
        ["task.tracks=comma.csv"],
        "comma.csv, line 3: x is '1,5', which is not a finite number; its decimals must begin with",
        ["task.tracks=point.csv"],
    ),
    "blanks": (
        ["task.tracks=blanks.csv"],
        "blanks.csv has one column, 'time x y'; cells are separated by a comma, a semicolon, a tab",
        ["task.tracks=point.csv"],
    ),
    "null dtype": (["dtype=null"], "unknown dtype null; known: float32,", ["dtype=float32"]),
    "null seed": (["seed=null"], "must be an integer from 0 to 2147483647, not null.", ["seed=0"]),
    "null name": (["cell.name=null"], "cell must have a name, not null.", ["cell.name=elman"]),
    "comma in a label": (["++cell.label='a,b'"], "no comma, not 'a,b'.", ["++cell.label=ab"]),
    "label of another cell": (
        ["++cell.label=gru"],
        "cell.label 'gru' of elman is the name of another cell.",
        ["++cell.label=my_gru"],
    ),
    "label of two cells": (
        ["-m", "cell=gru,lstm", "++cell.label=mine"],
        "cell.label 'mine' is given to two cells, gru and lstm.",
        ["-m", "cell=gru", "cell.update_bias=1,2", "++cell.label=mine"],
    ),
}
FILES = {
    "comma.csv": "time;x;y\n0;1;2\n1;1,5;2\n2;2;3\n3;4;5\n",
    "point.csv": "time;x;y\n0;1;2\n1;1.5;2\n2;2;3\n3;4;5\n",
    "blanks.csv": "time x y\n0 1 2\n1 1 2\n2 2 3\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("sentences")
    for name, content in FILES.items():
        (here / name).write_text(content)
    os.mkfifo(here / "pipe")
    with of_this_process(here):
        yield here


def accepted(*_):
    """Instead of measuring."""
    raise InputError("accepted.")


@pytest.mark.parametrize(("overrides", "said", "advised"), SAID.values(), ids=SAID)
def test_a_sentence_is_true_and_its_advice_is_accepted(
    folder, monkeypatch, overrides, said, advised
):
    monkeypatch.setattr(multirun, "execute", accepted)
    done = run([SWEEP, *overrides[:1], *TINY, *overrides[1:]], folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n")
    assert not done.stderr.endswith("..\n")
    assert "None" not in done.stderr
    if advised is not None:
        assert (
            run([SWEEP, *advised[:1], *TINY, *advised[1:]], folder).stderr == "error: accepted.\n"
        )


def test_a_sweep_without_a_compiler_is_refused_at_the_start(folder, monkeypatch):
    import jax

    monkeypatch.setattr(multirun, "execute", accepted)
    with jax.disable_jit():
        done = run([SWEEP, *TINY], folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unset JAX_DISABLE_JIT" in done.stderr
    assert run([SWEEP, *TINY], folder).stderr == "error: accepted.\n"


PRINTED = "log10 ‖dL/dh_1‖  −7.9 [−9.3, ∞] ≥ λ_1 … 2 × é 日\n"
SHOWN = {
    "utf-8": PRINTED,
    "ascii": "log10 ||dL/dh_1||  -7.9 [-9.3, inf] >= lambda_1 ... 2 x e ?\n",
    "latin-1": "log10 ||dL/dh_1||  -7.9 [-9.3, inf] >= lambda_1 ... 2 × é ?\n",
}


@pytest.mark.parametrize("encoding", SHOWN)
def test_an_answer_is_printed_with_what_the_terminal_has(monkeypatch, encoding):
    streams = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding))
    with one_sentence():
        print(PRINTED, end="")
        print(PRINTED, end="", file=sys.stderr, flush=True)
    sys.stdout.flush()
    for stream in streams.values():
        assert stream.getvalue().decode(encoding) == SHOWN[encoding]


def test_a_message_ends_in_one_full_stop_and_values_are_those_of_the_command_line():
    assert [sentence(text) for text in ("no", "no.", " no.. ")] == ["no."] * 3
    assert [shown(x) for x in (None, True, False, 1, "a")] == ["null", "true", "false", "1", "'a'"]
