"""The ledger: nothing lost, nothing doubled, nothing mixed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from throughtime import records
from throughtime.points import InputError

ORIGIN = records.provenance("cpu")


def rows(scale, ratio=1.0):
    return [
        {
            "cell": "elman",
            "recurrent_scale": scale,
            "sequence_length": 3,
            "seed": seed,
            "log10_gradient_ratio": ratio,
            "first_zero_lag": None,
            "first_inf_lag": 2,
            "first_bad_step": None,
        }
        for seed in (0, 1)
    ]


CURVES = np.array([[0.0, -1e-17, -np.inf], [np.pi, 1e300, 0.1]])


def ledger(folder, origin=ORIGIN):
    return records.Ledger(folder, origin)


def fill(folder, *keys):
    book = ledger(folder)
    for key in keys:
        book.append(key, rows(float(len(key))), CURVES, "run")
    book.close()
    records.note_points(folder / "run", list(keys))


def test_what_is_read_is_what_was_written(tmp_path):
    fill(tmp_path, "a", "bb")
    found, missing = records.load_run(tmp_path, "run")
    assert missing == 0
    assert [record["key"] for record in found] == ["a", "bb"]
    assert np.array_equal(found[0]["curves"], CURVES)
    frame = records.rows_frame(found)
    assert frame["recurrent_scale"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert frame["first_zero_lag"].isna().all()
    assert frame["first_inf_lag"].tolist() == [2] * 4
    assert set(frame["source"]) == {ORIGIN["source"]}
    curves = records.curves_frame(found)
    one = curves[(curves["recurrent_scale"] == 2.0) & (curves["seed"] == 1)]
    assert one["lag"].tolist() == [0, 1, 2]
    assert one["log_norm"].tolist() == CURVES[1].tolist()


def test_a_torn_last_line_costs_only_itself(tmp_path):
    fill(tmp_path, "a", "b")
    path = tmp_path / "records.jsonl"
    whole = path.read_bytes()
    for cut in (1, 10, len(whole) // 3):
        path.write_bytes(whole[:-cut])
        book = ledger(tmp_path)
        assert book.keys == {"a"}
        book.append("b", rows(1.0), CURVES, "run")
        book.close()
        assert [record["key"] for record in records.read_records(path)] == ["a", "b"]


def test_records_of_other_code_are_set_aside_and_kept(tmp_path):
    fill(tmp_path, "a")
    book = ledger(tmp_path, ORIGIN | {"source": "other"})
    assert book.keys == set()
    assert [record["key"] for record in records.read_records(book.set_aside)] == ["a"]
    book.close()


def test_a_run_is_made_of_the_points_it_asked_for(tmp_path):
    fill(tmp_path, "a", "b", "c")
    records.note_points(tmp_path / "smaller", ["c", "d"])
    found, missing = records.load_run(tmp_path, "smaller")
    assert [record["key"] for record in found] == ["c"]
    assert missing == 1
    assert records.latest_run(tmp_path) == "smaller"


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    program = (
        "import sys, pathlib; from throughtime import records;"
        "book = records.Ledger(pathlib.Path(sys.argv[1]), records.provenance('cpu'));"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="another process is writing"):
            ledger(tmp_path)
        other.kill()
    ledger(tmp_path).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        ledger(tmp_path / "file" / "runs")


def test_a_full_disk_is_one_sentence_and_the_rest_is_safe(tmp_path, monkeypatch):
    book = ledger(tmp_path)
    book.append("a", rows(1.0), CURVES, "run")

    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; 1 points are safe"):
        book.append("b", rows(1.0), CURVES, "run")
    book.close()


def test_missing_runs_are_named(tmp_path):
    with pytest.raises(InputError, match="no run is recorded"):
        records.latest_run(tmp_path)
    with pytest.raises(InputError, match="run 'never' is not recorded"):
        records.load_run(tmp_path, "never")
    records.note_points(tmp_path / "empty", ["a"])
    with pytest.raises(InputError, match="no point of run empty"):
        records.load_run(tmp_path, "empty")


def test_provenance_never_claims_a_clean_commit_outside_of_git(monkeypatch):
    monkeypatch.setattr(records, "_git", lambda *arguments: None)
    records._commit.cache_clear()
    assert records._commit() == {"commit": "unknown", "dirty": "unknown"}
    records._commit.cache_clear()
    assert json.dumps(ORIGIN)
    assert set(records.COMPARABLE) <= set(ORIGIN)
