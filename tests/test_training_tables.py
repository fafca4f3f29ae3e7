"""Tables and figures of trainings: entries worked out by hand, artists read back."""

import numpy as np
import pandas as pd
import pytest
from made_trainings import course, record, rows_of

from throughtime import figures, frames, tables
from throughtime.points import COURSE
from throughtime.statistics import share_interval


def entry(*args, **kwargs):
    """What the table shows of a point."""
    table = tables.headline_table(tables.summarise(rows_of(*args, **kwargs)))
    assert table.shape == (1, 1)
    return table.iloc[0, 0]


def test_entries_say_how_many_solved_it_and_when():
    assert entry([1600, 1800, 2000, 1800, 2400]) == "5/5 (1,800)"
    assert entry([None, 900, None, None, None]) == "1/5 (900)"
    assert entry([None] * 5, errors=[0.3, 0.4, 0.51, 0.6, 0.7]) == "0/5 (error 0.51)"
    assert entry([200, None, None], diverged_at=[None, 7, None]) == "1/3 (200, 1 diverged)"
    some = entry([None] * 3, diverged_at=[3, None, None], errors=[9.0, 0.2, 0.4])
    assert some == "0/3 (error 0.3, 1 diverged)"
    assert entry([None] * 2, diverged_at=[1, 2]) == "0/2 (all diverged)"


def test_a_summary_of_trainings_worked_out_by_hand():
    rows = rows_of([1000, 3000, None, None, None], diverged_at=[None, None, None, None, 1234])
    rows["updates_made"] = [1000, 3000, 4000, 4000, 2000]
    rows["seconds"], rows["seconds_watching"] = [3.0, 7.0, 9.0, 41.0, 6.0], [1.0] * 5
    (line,) = tables.summarise(rows).to_dict("records")
    low, high = share_interval(2, 5)
    expected = {
        "num_seeds": 5,
        "num_ok": 4,
        "num_solved": 2,
        "num_diverged": 1,
        "share_solved": 0.4,
        "share_solved_low": low,
        "share_solved_high": high,
        "updates_to_solve_median": 2000.0,
        "error_median": 0.5,
        "horizon_at_start_median": 4.0,
        "horizon_at_end_median": 19.0,
        # 2, 2, 2, 10 and 2.5 milliseconds; a chunk of the fourth waited for something.
        "milliseconds_per_update": 2.0,
        "watching_share": 5 / 66,
        "status": "nonfinite 1/5",
    }
    assert {name: line[name] for name in expected} == pytest.approx(expected)
    words = tables.describe_point(rows)
    assert "solved  2/5 networks [0.12, 0.77]\n  after  2,000 updates, median" in words
    assert "horizon  4 steps at the start, 19 at the end" in words


def names(*parts):
    """The series of a figure."""
    rows = pd.concat(parts, ignore_index=True)
    return list(dict.fromkeys(tables.one_series_a_cell(rows)["cell"]))


def test_series_are_named_after_their_remedies_and_after_options_only_where_these_vary():
    plain = rows_of([None])
    both = rows_of([5], mitigation="clip + omega", mitigation_options="clip.max_norm=1.0")
    assert names(plain, both) == ["elman", "elman, clip + omega"]
    assert names(both, rows_of([1], cell="lstm")) == ["elman", "lstm"]
    tight = rows_of([5], mitigation="clip", mitigation_options="clip.max_norm=0.1")
    loose = rows_of([5], mitigation="clip", mitigation_options="clip.max_norm=10.0")
    assert names(plain, tight, loose) == [
        "elman",
        "elman, clip, clip.max_norm=0.1",
        "elman, clip, clip.max_norm=10.0",
    ]
    summary = tables.summarise(pd.concat([plain, both], ignore_index=True))
    assert tables.series_columns(summary) == ["cell", "mitigation"]
    # What follows from the cell and the task names no series.
    other = rows_of([5], sequence_length=40, baseline=2.0)
    assert names(plain, other) == ["elman"]


NORMS = np.log([1.0, 0.5, 0.1, 0.011, 0.009])


def test_a_course_is_that_of_the_record():
    one, other = course(3, NORMS), course(3, NORMS, ended=2)
    tidy = frames.course_frame([record(np.stack([one, other]))])
    assert tidy["seed"].tolist() == [0, 0, 0, 1, 1]
    columns = [*COURSE, "saturation_hidden"]
    expected = np.concatenate([one, other[:2]])[:, : len(columns)]
    np.testing.assert_array_equal(tidy[columns].to_numpy(float), expected)
    # 1% of the last gradient is reached at lag 3; with half the rate at the end of the sequence.
    assert tidy["horizon"].tolist() == [3, 4, 4, 3, 4]
    assert set(tidy["baseline"]) == {1.5}
    assert tidy["sequence_length"].tolist() == [5] * 5
    named = frames.course_frame([record(one[None])], pd.Series(["elman, clip"]))
    assert set(named["cell"]) == {"elman, clip"}


def test_a_course_is_written_as_medians_over_the_networks_still_trained(tmp_path):
    runs = np.stack([course(3, NORMS), course(3, NORMS, ended=2), course(3, NORMS)])
    runs[1, 1, 2] = 0.1
    (path,) = tables.write_course(frames.course_frame([record(runs)]), tmp_path)
    table = pd.read_csv(path)
    assert table["updates"].tolist() == [0, 100, 200]
    assert table["networks"].tolist() == [3, 3, 2]
    assert table["validation_loss"].tolist() == pytest.approx([0.8, 0.7, 0.6])
    assert table["changed"].tolist() == [0, 7, 14]
    assert "seed" not in table


def test_a_course_of_a_task_without_a_baseline_and_of_cells_with_other_gates(tmp_path):
    none = record(course(2, NORMS)[None], baseline=None)
    found = frames.course_frame([none, record(course(2, NORMS)[None], ("f",), cell="lstm")])
    table = pd.read_csv(tables.write_course(found, tmp_path)[0])
    assert table["cell"].tolist() == ["elman", "elman", "lstm", "lstm"]
    assert table["baseline"].isna().tolist() == [True, True, False, False]
    assert table["saturation_f"].isna().tolist() == [True, True, False, False]
    alone = tables.write_course(frames.course_frame([none]), tmp_path)
    assert pd.read_csv(alone[0])["baseline"].isna().all()
    assert len(figures.loss_by_update(frames.course_frame([none])).axes[0].lines) == 2


def drawn(line):
    return np.column_stack([line.get_xdata(), line.get_ydata()])


def test_success_is_drawn_with_wilsons_bars():
    points = {("elman", 10): [100, 200], ("elman", 20): [None, 300], ("lstm", 10): [None, None]}
    rows = [rows_of(n, cell=cell, sequence_length=T) for (cell, T), n in points.items()]
    figure = figures.success_by_length(tables.summarise(pd.concat(rows, ignore_index=True)))
    (axes,) = figure.axes
    elman, lstm = axes.containers
    # A tenth of the spacing 10 apart: markers of different series do not hide each other.
    apart = lstm.lines[0].get_xdata()[0] - elman.lines[0].get_xdata()[0]
    assert apart == pytest.approx(figures.training.OFFSET * 10)
    assert drawn(elman.lines[0])[:, 1].tolist() == [1.0, 0.5]
    assert drawn(elman.lines[0])[:, 0] + apart / 2 == pytest.approx([10, 20])
    (bars,) = elman.lines[2]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    assert ends == [pytest.approx(share_interval(count, 2)) for count in (2, 1)]
    assert [text.get_text() for text in figure.legends[0].texts] == ["elman", "lstm"]
    assert axes.get_xticks().tolist() == [10, 20]


def test_losses_are_drawn_with_the_baseline():
    runs = np.stack([course(3, NORMS), course(3, NORMS, ended=2), course(3, NORMS)])
    runs[1, 1, 2] = 0.75
    figure = figures.loss_by_update(frames.course_frame([record(runs)]))
    (axes,) = figure.axes
    validated, trained, baseline = axes.lines
    assert drawn(validated) == pytest.approx(np.array([[0, 0.8], [100, 0.7], [200, 0.6]]))
    assert drawn(trained) == pytest.approx(np.array([[100, 0.8], [200, 0.7]]))
    assert trained.get_color() == validated.get_color()
    assert set(baseline.get_ydata()) == {1.5}
    assert axes.get_yscale() == "log"
    assert axes.get_title("left") == "$T=5$"


def test_horizons_are_drawn_with_deciles_and_the_end_of_the_sequence():
    scales = [1.0, 0.5, 0.4, 4.0]
    runs = np.stack([course(2, NORMS * scale) for scale in scales])
    figure = figures.horizon_by_update(frames.course_frame([record(runs)]))
    (axes,) = figure.axes
    median, end = axes.lines
    # At the start the horizons are 3, 4, 4 and 1; e⁻⁴·⁶ is 1%.
    assert drawn(median)[:, 1].tolist() == [3.5, 4.0]
    assert set(end.get_ydata()) == {4}
    low, high = np.quantile([3, 4, 4, 1], [0.1, 0.9])
    band = axes.collections[0].get_paths()[0].vertices
    at_start = band[band[:, 0] == 0, 1]
    assert (at_start.min(), at_start.max()) == pytest.approx((low, high))


def test_every_length_has_a_panel_and_every_series_one_entry():
    other = course(2, np.zeros(7))
    records = [record(course(2, NORMS)[None]), record(other[None])]
    records += [record(course(2, NORMS)[None], cell="lstm")]
    figure = figures.loss_by_update(frames.course_frame(records))
    assert [axes.get_title("left") for axes in figure.axes] == ["$T=5$", "$T=7$"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["elman", "lstm"]


def test_records_from_before_a_column_was_measured_are_reported():
    rows = rows_of([1000, None])
    old = rows.drop(columns=["overflowed_at", "status_at_start", "status_at_end"])
    pd.testing.assert_frame_equal(tables.summarise(old), tables.summarise(rows))
