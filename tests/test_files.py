"""Files that tasks read: what they hold is part of the number, where they lie is not."""

import dataclasses
import hashlib
import inspect
import os
import pickle
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import SWEEP, of_this_process, run
from made_results import point as made_point

from throughtime import checkpoints, cluster, crews, files, programs, sweeps, tasks
from throughtime.files import DataFile
from throughtime.learned import Run
from throughtime.options import _OPTIONS, named
from throughtime.points import InputError
from throughtime.records import read_lines

TRACK = "time,x,y\n0,0,0\n1,1,0\n2,2,1\n3,4,3\n4,3,5\n5,1,{}\n"
PROSE = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 3
MOVED = "task.tracks=moved.csv"
TINY = ["hidden_features=2", "batch_size=2", "num_seeds=1", "sequence_length=4"]


def point(option, path, task="radar", **changes):
    """A point whose task reads a file."""
    options = named("task", {"name": task, option: str(path)})[1]
    return made_point(task=task, task_options=options, **changes)


@pytest.fixture
def track(tmp_path):
    path = tmp_path / "track.csv"
    path.write_text(TRACK.format(4))
    return path


def test_a_file_is_what_it_holds(track, tmp_path):
    file = DataFile.at(track)
    content = track.read_bytes()
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    (tmp_path / "folder").mkdir()
    copy = Path(shutil.copy(track, tmp_path / "folder" / "copy.csv"))
    assert DataFile.at(copy) == file
    assert hash(DataFile.at(copy)) == hash(file)
    assert pickle.loads(pickle.dumps(file)).path == os.fspath(file) == str(track)
    copy.write_text(TRACK.format(5))  # as long as before
    assert DataFile.at(copy) != file
    assert file.is_unchanged()
    track.write_text(TRACK.format(6))
    assert not file.is_unchanged()


def test_what_cannot_be_read_is_told_apart_by_its_path_and_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    paths = [tmp_path / "pipe", tmp_path / "a", tmp_path / "b", tmp_path, tmp_path / "a\0b"]
    found = [DataFile.at(path) for path in paths]
    assert {file.sha256 for file in found} == {None}
    assert len(set(found)) == len(paths)
    keys = {point("tracks", path).key for path in paths}
    assert len(keys) == len(paths)


def test_the_key_and_the_columns_of_a_point_hold_the_content(track, tmp_path):
    before = point("tracks", track)
    copy = shutil.copy(track, tmp_path / "other.csv")
    assert point("tracks", copy) == before
    assert point("tracks", copy).key == before.key
    assert programs.program_key(point("tracks", copy)) == programs.program_key(before)
    columns = before.columns()
    assert columns["task_tracks"] == "track.csv"
    assert columns["task_tracks_bytes"] == len(track.read_bytes())
    assert columns["task_tracks_sha256"] == hashlib.sha256(track.read_bytes()).hexdigest()
    track.write_text(TRACK.format(7))
    after = point("tracks", track)
    assert after.key != before.key
    assert programs.program_key(after) != programs.program_key(before)


def test_a_relative_path_is_of_where_the_user_stands(track, monkeypatch):
    monkeypatch.chdir(track.parent)
    relative = point("tracks", track.name)
    monkeypatch.chdir("/")
    assert sweeps.refused(programs.program_key(relative), [relative]) == []


@pytest.mark.parametrize("task", files.OWN_DATA)
def test_the_data_of_a_task_of_ours_are_part_of_the_number_too(task, tmp_path, monkeypatch):
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    for name in ("topics.py", "datasets/data/digits.csv.gz"):
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(files, "_folder", lambda package: tmp_path)
    data = files.own_data(task, ())
    before = made_point(task=task, task_data=data)
    assert before.columns()["task_data_sha256"] == hashlib.sha256(b"one").hexdigest()
    Path(data.path).write_text("two")
    assert made_point(task=task, task_data=files.own_data(task, ())).key != before.key
    assert made_point(task=task).key != before.key
    monkeypatch.setattr(files, "_folder", lambda package: None)
    assert files.own_data(task, ()) is None


def test_a_file_of_the_user_stands_in_for_the_own_data(track):
    assert files.own_data("text", named("task", {"name": "text", "file": str(track)})[1]) is None
    assert files.own_data("noise", ()) is None


def annotated_as_files():
    """The options of tasks that take a path, by their annotations."""
    for make in tasks.TASKS.values():
        for each in inspect.signature(make).parameters.values():
            if "PathLike" in str(each.annotation):
                yield each.name


def test_every_option_that_takes_a_path_is_known_by_its_content(track):
    found = {name for name in _OPTIONS if name not in ("columns",) and _is_file(name, track)}
    assert found == set(annotated_as_files())


def _is_file(name, path):
    """Whether an option's value becomes a file."""
    try:
        return isinstance(_OPTIONS[name](name, str(path)), DataFile)
    except InputError:
        return False


def opened_by(make):
    """The regular files that a function opens, but for Python's own code."""
    opened, watching = set(), [True]

    def note(event, arguments):
        if watching and event == "open" and isinstance(arguments[0], str):
            opened.add(arguments[0])

    sys.addaudithook(note)  # for good, and so it is switched off
    try:
        make()
    finally:
        watching.clear()
    # What scikit-learn says of its data, and programs that another test had kept, are no data.
    code = (".py", ".pyc", ".so", ".rst", "-cache", "-atime")
    return {path for path in opened if Path(path).is_file() and not path.endswith(code)}


@pytest.mark.parametrize("name", tasks.TASKS)
def test_no_task_reads_a_file_that_no_key_knows(name, tmp_path):
    import sklearn.datasets  # noqa: F401  what an import reads is no data

    jax.devices()  # nor what JAX looks for when it starts
    tasks.digits.load_images.cache_clear()
    sys.modules.pop("pydoc_data.topics", None)
    own = files.own_data(name, ())
    read = opened_by(lambda: tasks.make_task(name, max_length=8))
    read = {str(Path(path).resolve()) for path in read}
    if "pydoc_data.topics" in sys.modules:  # it holds text and is read as code
        read.add(sys.modules["pydoc_data.topics"].__file__)
    assert read == ({own.path} if own else set())
    for option in {*tasks.task_options(name)} & {*annotated_as_files()}:
        path = tmp_path / option
        path.write_text(TRACK.format(4) if option == "tracks" else 20 * "([] {()} [a]{b}) ")
        file = DataFile.at(path)
        read = opened_by(lambda option=option, file=file: tasks.make_task(
            name, max_length=9 if name == "brackets" else 5, **{option: file}))  # fmt: skip
        assert read == {str(path)}


def test_a_file_that_changes_before_it_is_read_is_refused(track):
    track.write_text(TRACK.format(80))  # which no other test has in memory
    changed = point("tracks", track)
    track.write_text(TRACK.format(8))
    (failure,) = sweeps.refused(programs.program_key(changed), [changed])
    assert failure.reason == f"{track} has changed since the command started; run it again."


def test_a_worker_that_finds_another_content_refuses_it_in_the_same_sentence(
    track, tmp_path, monkeypatch
):
    track.write_text(TRACK.format(90))  # which no other test has in memory
    asked = point("tracks", track)
    sent = pickle.dumps(cluster.Chunk(programs.program_key(asked), [asked]))
    programs._task.cache_clear()
    track.write_text(TRACK.format(9))
    monkeypatch.chdir("/")
    with of_this_process(tmp_path):
        (failure,), _ = cluster.measure(pickle.loads(sent), tmp_path / "task", "cpu", 1)
    assert failure.reason == f"{track} has changed since the command started; run it again."


def training(path):
    options = (("check_every", 1), ("learning_rate", 0.1), ("optimizer", "sgd"), ("updates", 2))
    return Run(point("file", path, "text", diagnostic="training", diagnostic_options=options), 0)


def test_a_checkpoint_of_another_text_is_refused_by_name(tmp_path):
    path, copy = tmp_path / "prose.txt", tmp_path / "copy.txt"
    for each in (path, copy):
        each.write_text(PROSE)
    kept, tree = crews._description(training(path)), {"a": np.ones(2)}
    checkpoints.save(tmp_path / "kept", tree, kept)
    found = checkpoints.restore(tmp_path / "kept", tree, crews._description(training(copy)))
    assert found is not None
    path.write_text(PROSE.replace("fox", "cat"))
    with pytest.raises(InputError, match="is of another configuration: task_file_sha256 is '"):
        checkpoints.restore(tmp_path / "kept", tree, crews._description(training(path)))
    assert crews._place(tmp_path, training(path)) != crews._place(tmp_path, training(copy))


@pytest.mark.parametrize("field", ["optax", "scipy", "environment", "jax"])
def test_a_checkpoint_of_other_versions_is_of_another_configuration(field, track):
    assert field in crews._description(training(track))


def test_a_corrected_track_is_measured_anew_and_the_same_one_elsewhere_is_not(track, tmp_path):
    def ask(folder, *overrides):
        given = [*overrides, *TINY, *([] if MOVED in overrides else ["task.tracks=track.csv"])]
        done = run([SWEEP, *given], folder)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def numbers(folder):
        lines = read_lines(folder / "results" / "sweep" / "runs" / "records.jsonl")
        return [(record["each"], record["curves"].tolist()) for record in map(_decoded, lines)]

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "track.csv").write_text(TRACK.format(-9))
    with of_this_process(tmp_path):
        ask(tmp_path)
        assert "1 were already recorded" in ask(tmp_path, "hydra.job.chdir=true")
        track.write_text(TRACK.format(-9))
        assert "1 points measured" in ask(tmp_path)
        ask(fresh, "-m", "hydra/launcher=basic", "hydra/sweeper=basic", "hydra.job.chdir=true")
        shutil.move(track, tmp_path / "moved.csv")
        assert "1 were already recorded" in ask(tmp_path, MOVED)
    old, corrected = numbers(tmp_path)
    assert numbers(fresh) == [corrected]
    assert corrected != old


def _decoded(line):
    return line.decode()


def test_points_without_files_have_the_keys_that_they_always_had():
    """Records stay known: the key is of what it was of before files were a part of it."""
    assert made_point().key == "25c24dc064a8ab64"
    assert dataclasses.replace(made_point(), task_data=None).key == "25c24dc064a8ab64"
