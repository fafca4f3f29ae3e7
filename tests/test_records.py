"""Records as tables: what was asked for, and nothing else that lies in the folder."""

import math

import numpy as np
import pytest
from made_results import CURVES, point, result

from throughtime import frames, records
from throughtime.ledger import Ledger
from throughtime.points import InputError
from throughtime.provenance import provenance

ORIGIN = provenance("cpu")


def fill(folder, *results, origin=ORIGIN, run_id="run", other_records="refuse"):
    book = Ledger(folder)
    book.append(results, origin, run_id)
    book.close()
    keys = [each.point.key for each in results]
    records.note_run(folder / run_id, keys, origin, other_records)


def test_what_is_read_is_what_was_written(tmp_path):
    fill(tmp_path, result(1.0), result(2.0))
    found, missing = records.load_run(tmp_path, "run")
    assert missing == 0
    assert [record["key"] for record in found] == [point(1.0).key, point(2.0).key]
    assert np.array_equal(found[0]["curves"], CURVES)
    frame = frames.rows_frame(found)
    assert frame["recurrent_scale"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert frame["seed"].tolist() == [0, 1, 0, 1]
    assert frame["log10_gradient_ratio"].tolist() == [1.0, 3.0] * 2
    assert frame["first_zero_lag"].isna().all()
    assert frame["first_inf_lag"].fillna(-1).tolist() == [2, -1] * 2
    assert set(frame["source"]) == {ORIGIN["source"]}
    assert set(frame["matmul_precision"]) == {"highest"}
    curves = frames.curves_frame(found)
    one = curves[(curves["recurrent_scale"] == 2.0) & (curves["seed"] == 1)]
    assert one["lag"].tolist() == [0, 1, 2]
    assert one["log_norm"].tolist() == CURVES[1].tolist()


def test_a_run_is_made_of_the_points_it_asked_for(tmp_path):
    fill(tmp_path, result(1.0), result(2.0), result(3.0))
    keys = [point(3.0).key, point(4.0).key]
    records.note_run(tmp_path / "smaller", keys, ORIGIN, "refuse")
    found, missing = records.load_run(tmp_path, "smaller")
    assert [record["key"] for record in found] == [point(3.0).key]
    assert missing == 1
    assert records.latest_run(tmp_path) == "smaller"


def test_records_of_other_code_enter_a_run_only_if_it_keeps_them(tmp_path):
    other = ORIGIN | {"source": "other"}
    fill(tmp_path, result(1.0, ratio=-5.0), result(2.0), origin=other, run_id="before")
    fill(tmp_path, result(1.0, ratio=5.0))
    for run_id, asked, expected in [
        ("before", "refuse", {1.0: -5.0, 2.0: 1.0}),
        ("run", "renew", {1.0: 5.0}),
        ("kept", "keep", {1.0: 5.0, 2.0: 1.0}),
    ]:
        keys = [point(1.0).key, point(2.0).key]
        made_by = other if run_id == "before" else ORIGIN
        records.note_run(tmp_path / run_id, keys, made_by, asked)
        frame = frames.rows_frame(records.load_run(tmp_path, run_id)[0])
        first = frame[frame["seed"] == 0]
        found = dict(zip(first["recurrent_scale"], first["log10_gradient_ratio"], strict=True))
        assert found == expected
    assert set(frame["source"]) == {"other", ORIGIN["source"]}


def test_a_job_returns_a_median_of_true_numbers_only(tmp_path):
    fill(tmp_path, result(1.0, ratio=3.0), result(2.0, status="nonfinite"))
    values = records.values(tmp_path, "run", {point(scale).key for scale in (1.0, 2.0, 3.0)})
    assert set(values) == {point(1.0).key, point(2.0).key}
    assert values[point(1.0).key] == 4.0
    assert math.isnan(values[point(2.0).key])


def test_missing_runs_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no run is recorded"):
        records.latest_run(tmp_path)
    with pytest.raises(InputError, match="run 'never' is not recorded"):
        records.load_run(tmp_path, "never")
    records.note_run(tmp_path / "empty", ["a"], ORIGIN, "refuse")
    with pytest.raises(InputError, match="no point of run empty"):
        records.load_run(tmp_path, "empty")
    (tmp_path / "records.jsonl").write_text('{"key": "a", "rows": []}\n')
    with pytest.raises(InputError, match="line 1: not a record of this version"):
        records.load_run(tmp_path, "empty")


def test_all_runs_of_a_folder_together_hold_each_point_once(tmp_path):
    fill(tmp_path, result(1.0), result(2.0), run_id="grid")
    fill(tmp_path, result(3.0), run_id="between")
    records.note_run(tmp_path / "between", [point(2.0).key, point(4.0).key], ORIGIN, "refuse")
    found, missing = records.load_runs(tmp_path)
    assert sorted(record["shared"]["recurrent_scale"] for record in found) == [1.0, 2.0, 3.0]
    assert missing == 1


def test_runs_of_different_code_are_not_reported_together(tmp_path):
    fill(tmp_path, result(1.0), run_id="first")
    fill(tmp_path, result(2.0), run_id="second", origin=ORIGIN | {"source": "other"})
    with pytest.raises(InputError, match=r"first and second differ in source other .*name one"):
        records.load_runs(tmp_path)
    with pytest.raises(InputError, match="no run is recorded under"):
        records.load_runs(tmp_path / "nowhere")
