"""Summaries against numbers worked out by hand, and files that say the same as the frames."""

import math
import subprocess
import sys

import pandas as pd
import pytest
from made_rows import INF, NAN, frame, power_sweep, rows_of

import throughtime
from throughtime import frames, statistics, tables
from throughtime.provenance import provenance


def test_summary_of_a_point_worked_out_by_hand():
    rows = rows_of([-3.0, -1.0, -8.0, -2.0, -5.0, -4.0, -7.0, -6.0])
    rows["horizon"] = [10, 49, 3, 49, 8, 9, 5, 49]
    rows["horizon_is_bound"] = rows["horizon"] == 49
    rows["verdict"] = 7 * ["vanishing"] + ["transient"]
    rows.loc[:2, "first_zero_lag"] = [30, 20, 11]
    (line,) = tables.summarise(rows).to_dict("records")
    expected = {
        "cell": "lstm",
        "recurrent_scale": 1.0,
        "sequence_length": 50,
        "dtype": "float32",
        "num_seeds": 8,
        "num_ok": 8,
        "log10_gradient_ratio_median": -4.5,
        "log10_gradient_ratio_q10": -8.0,
        "log10_gradient_ratio_q90": -1.0,
        # P(Bin(8, 1/2) ≤ 0) = 1/256 and P(≤ 1) = 9/256 > 2.5%: the extremes.
        "log10_gradient_ratio_ci_low": -8.0,
        "log10_gradient_ratio_ci_high": -1.0,
        "rate_median": -4.5 / 49,
        "horizon_median": 9.5,
        "horizon_is_bound": False,
        "share_vanishing": 0.875,
        "share_transient": 0.125,
        "share_stable": 0.0,
        "verdict": "vanishing",
        "first_zero_lag_median": 20.0,
        "first_zero_lag_share": 0.375,
        "first_inf_lag_share": 0.0,
        "status": "ok",
        "run_id": "r1",
        "commit": "c0ffee",
        "seconds": 2.0,
    }
    assert {name: line[name] for name in expected} == pytest.approx(expected)
    assert math.isnan(line["first_inf_lag_median"])


def test_summary_never_averages_a_seed_that_is_not_ok():
    rows = frame(
        rows_of([-3.0, -1.0, -2.0]),
        rows_of([NAN, NAN], seed=3, status="nonfinite"),
        rows_of([-INF], seed=5, status="collapsed"),
        rows_of([900.0], seed=6, status="not_converged"),
    )
    rows.loc[rows["status"] == "collapsed", "verdict"] = "vanishing"
    (line,) = tables.summarise(rows).to_dict("records")
    assert line["log10_gradient_ratio_median"] == -2.0
    assert (line["num_seeds"], line["num_ok"]) == (7, 3)
    assert math.isnan(line["log10_gradient_ratio_ci_low"])
    assert line["share_undefined"] == pytest.approx(4 / 7)
    assert line["share_vanishing"] == 0.0
    assert line["verdict"] == "mixed"
    assert line["status"] == "collapsed 1/7, nonfinite 2/7, not_converged 1/7"


def test_summary_of_zero_gradients_and_of_nothing():
    (dead,) = tables.summarise(rows_of([-INF, -INF, -INF, -2.0, -1.0])).to_dict("records")
    assert dead["log10_gradient_ratio_median"] == -INF
    assert (dead["log10_gradient_ratio_q10"], dead["log10_gradient_ratio_q90"]) == (-INF, -1.0)
    (broken,) = tables.summarise(rows_of([NAN, NAN], status="nonfinite")).to_dict("records")
    assert broken["num_ok"] == 0
    assert broken["verdict"] == "undefined"
    assert broken["status"] == "nonfinite 2/2"
    for name in (
        "log10_gradient_ratio_median",
        "rate_q10",
        "horizon_median",
        "first_zero_lag_share",
    ):
        assert math.isnan(broken[name])


def test_median_horizon_is_a_bound_when_half_the_seeds_did_not_see_its_end():
    rows = rows_of([0.0, 0.0, 0.0, 0.0])
    rows["horizon"], rows["horizon_is_bound"] = [3, 5, 49, 49], [False, False, True, True]
    assert tables.summarise(rows)["horizon_is_bound"].tolist() == [True]
    rows["horizon"], rows["horizon_is_bound"] = [3, 5, 7, 49], [False, False, False, True]
    assert tables.summarise(rows)["horizon_is_bound"].tolist() == [False]


def test_summary_keeps_settings_apart_whatever_they_are_called():
    rows = frame(
        rows_of([-1.0], forget_bias=0.0, task_columns=[["x", "y"]]),
        rows_of([-3.0], forget_bias=1.0, task_columns=[["x", "y"]]),
        rows_of([-5.0], cell="elman", task_columns=[["x", "y"]]),
    )
    rows["num_seeds"] = 1
    summary = tables.summarise(rows)
    medians = summary.set_index(["cell", "forget_bias"])["log10_gradient_ratio_median"]
    assert medians["lstm"].to_dict() == {0.0: -1.0, 1.0: -3.0}
    assert medians["elman"].tolist() == [-5.0]
    assert tables.series_columns(summary) == ["cell", "forget_bias"]
    assert tables.series_columns(rows) == ["cell", "forget_bias"]
    assert tables.point_columns(summary)[:3] == ["cell", "recurrent_scale", "sequence_length"]
    assert set(tables.point_columns(summary)) == set(tables.point_columns(rows))


def test_no_column_of_a_records_origin_is_taken_for_a_setting():
    record = {"key": "k", "run_id": "r", "created": "now", "origin": provenance("cpu")}
    (row,) = rows_of([-1.0]).to_dict("records")
    each = {name: [row.pop(name)] for name in ("seed", "first_zero_lag", "first_inf_lag")}
    shared = {**row, "networks_at_once": 16}
    frame = frames.rows_frame([record | {"shared": shared, "each": each}])
    assert tables.point_columns(frame) == tables.point_columns(rows_of([-1.0]))


def test_files_of_two_names_are_told_apart_by_these_and_else_by_their_content():
    def rows(name, size, content):
        file = {"task_file": name, "task_file_bytes": size, "task_file_sha256": content}
        return rows_of([0.0], **file)

    two_names = frame(rows("a", 1, "1f"), rows("b", 2, "2e"))
    one_name = frame(rows("a", 1, "1f"), rows("a", 2, "2e"))
    assert tables.series_columns(two_names) == ["cell", "task_file"]
    assert tables.series_columns(one_name) == ["cell", "task_file_sha256"]
    assert len(tables.summarise(one_name)) == 2


def test_what_an_old_record_does_not_say_of_its_origin_is_unknown():
    new = rows_of([1.0]).assign(optax="0.2.8")
    line = tables.summarise(frame(new, rows_of([3.0], seed=1))).iloc[0]
    assert line["optax"] == "0.2.8; unknown"
    assert line["log10_gradient_ratio_median"] == 2.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of([0.0]).drop(columns=["rate", "status"]), "rows lack the columns status, rate"),
        (rows_of([]), "no rows"),
        (rows_of([0.0], status="okay"), "unknown status 'okay'; did you mean 'ok'"),
        (rows_of([0.0]).assign(verdict="vanished"), "did you mean 'vanishing'"),
        (frame(rows_of([0.0]), rows_of([1.0])), "1 rows repeat a seed"),
        (rows_of([0.0, NAN]), "1 rows have status ok but no log10_gradient_ratio"),
    ],
)
def test_summary_refuses_rows_that_do_not_say_what_they_are(rows, message):
    with pytest.raises(ValueError, match=message):
        tables.summarise(rows)


def test_ratio_table_prints_two_digits_of_the_half_width():
    ratios = {0.5: -3.21, 1.0: -321.0, 2.0: 0.0}
    spread = {0.5: 0.7, 1.0: 40.0, 2.0: 1e-9}
    rows = frame(
        *(
            rows_of([r - s, r - s, r, r, r, r + s, r + s], recurrent_scale=g)
            for (g, r), s in zip(ratios.items(), spread.values(), strict=True)
        ),
        rows_of([-1.0, -2.0, -3.0], recurrent_scale=2.0, sequence_length=100),
        rows_of([-INF] * 6, recurrent_scale=1.0, sequence_length=100),
        rows_of([NAN], seed=6, recurrent_scale=1.0, sequence_length=100, status="nonfinite"),
        rows_of([NAN], recurrent_scale=0.5, sequence_length=100, status="nonfinite"),
        rows_of([1.0], recurrent_scale=4.0, sequence_length=100),
    )
    table = tables.headline_table(tables.summarise(rows))
    assert table.loc["lstm", 50].tolist() == [
        "−3.21 [−3.91, −2.51]",
        "−321 [−361, −281]",
        "0.0000 [0.0000, 0.0000]",
        "–",
    ]
    assert table.loc["lstm", 100].tolist() == [
        "nonfinite 1/1",
        "−∞ [−∞, −∞] (nonfinite 1/7)",
        "−2.00 (n = 3)",
        "1.00 (n = 1)",
    ]


def test_written_table_is_the_summary_to_the_last_bit(tmp_path):
    rows = frame(
        power_sweep(scales=[0.1, 0.3, 1.7]),
        rows_of([-INF] * 6 + [1 / 3], cell="my_cell", sequence_length=200),
        rows_of([NAN], seed=7, cell="my_cell", sequence_length=200, status="nonfinite"),
    )
    csv, markdown, latex = tables.write_table(rows, tmp_path / "new")
    read = pd.read_csv(csv)
    pd.testing.assert_frame_equal(read, tables.summarise(rows), check_exact=True)
    assert {"run_id", "commit", "device", "seconds"} <= set(read)
    assert [path.name for path in (csv, markdown, latex)] == ["table.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in csv.parent.iterdir()) == [
        "table.csv",
        "table.md",
        "table.tex",
    ]

    lines = markdown.read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "cell", "recurrent_scale", "T = 50", "T = 200",
    ]  # fmt: skip
    (mine,) = [line for line in lines if "my_cell" in line]
    assert [cell.strip() for cell in mine.strip("|").split("|")] == [
        "my_cell", "1", "–", "−∞ [−∞, 0.33] (nonfinite 1/8)",
    ]  # fmt: skip


def test_latex_has_booktabs_rules_and_nothing_that_latex_cannot_set(tmp_path):
    rows = rows_of([-INF] * 6 + [-0.5], cell="my_cell")
    text = tables.write_table(rows, tmp_path)[2].read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == ["\\toprule", "\\midrule", "\\bottomrule"]
    assert r"cell & recurrent\_scale & T = 50 \\" in text
    assert r"my\_cell & 1 & $-$$\infty$ [$-$$\infty$, $-$0.50] \\" in text
    assert text.isascii()


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    rows = power_sweep(scales=[1.0])
    csv, *_ = tables.write_table(rows, tmp_path)
    before = csv.read_bytes()

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tables.write_table(rows.assign(log10_gradient_ratio=9.0), tmp_path)
    assert csv.read_bytes() == before


def test_tables_and_figures_need_neither_jax_nor_hydra_nor_pyplot():
    code = f"""
import sys, types
for name in ("jax", "flax", "hydra", "matplotlib.pyplot"):
    sys.modules[name] = None
package = sys.modules["throughtime"] = types.ModuleType("throughtime")
package.__path__ = {list(throughtime.__path__)!r}
import throughtime.statistics, throughtime.tables, throughtime.figures
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_verdict_has_a_share():
    summary = tables.summarise(rows_of([0.0]))
    shares = summary[[f"share_{verdict}" for verdict in statistics.VERDICTS]]
    assert shares.sum(axis=1).tolist() == [1.0]


def test_settings_that_vary_become_part_of_the_cells_name():
    rows = frame(
        rows_of([1.0], forget_bias=0.0),
        rows_of([1.0], forget_bias=3.0),
        rows_of([1.0], cell="gru"),
    )
    named = tables.one_series_a_cell(rows)
    assert named["cell"].tolist() == [
        "lstm, forget_bias 0.0",
        "lstm, forget_bias 3.0",
        "gru",
    ]
    assert tables.series_columns(named) == ["cell"]
    assert tables.one_series_a_cell(rows_of([1.0]))["cell"].tolist() == ["lstm"]


def test_a_point_in_words():
    rows = rows_of([-3.0, -1.0, -8.0, -2.0, -5.0, -4.0, -7.0, -6.0])
    assert tables.describe_point(rows).splitlines() == [
        "lstm, recurrent scale 1, T = 50, 8 networks, medians",
        "  log10 ‖dL/dh_1‖ / ‖dL/dh_T‖  −4.5 [−8.0, −1.0]",
        f"  rate  {-4.5 / 49:.4f} [{-8 / 49:.4f}, {-1 / 49:.4f}] nats per step towards the past",
        "  horizon  at least 49 steps to 1% of the last gradient",
        "  verdict  stable",
    ]
    broken = tables.describe_point(rows_of([NAN], status="nonfinite"))
    assert broken.splitlines()[1].endswith("nonfinite 1/1")
