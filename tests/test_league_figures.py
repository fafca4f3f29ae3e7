"""Figures of leagues: what is drawn, read back from the artists."""

import numpy as np
import pytest
from made_rows import gating_sweep
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from throughtime import figures, tables
from throughtime.options import InputError

CELLS = {"elman": (1.0, 1.3), "lstm": (0.1, 1.1), "gru": (0.3, 9.0)}
SCALES = np.arange(0.4, 2.2, 0.2).round(1)


@pytest.fixture(scope="module")
def rows():
    return gating_sweep(CELLS, SCALES)


@pytest.fixture(scope="module")
def league(rows):
    return tables.league(rows)


def bars_of(axes, colour):
    """(low, high, middle) of the horizontal bars of one colour."""
    found = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_height() < 0.9]
    return [
        (p.get_x(), p.get_x() + p.get_width(), p.get_y() + p.get_height() / 2)
        for p in found
        if to_hex(p.get_facecolor()) == colour
    ]


def test_a_bar_spans_every_stable_band_in_the_order_of_the_league(league):
    (axes,) = figures.stable_bands(league).axes
    cells = [text.get_text() for text in axes.get_yticklabels()]
    assert cells == league["cell"].tolist()[::-1] == ["gru", "elman", "lstm"]
    bands = tables.bands_of(league)
    for i, length in enumerate((50, 200)):
        own = bands[(bands["sequence_length"] == length) & (bands["limit"] == 1.0)]
        drawn = {cells[round(y)]: (low, high) for low, high, y in bars_of(axes, COLOURS[i])}
        expected = own[own["width"] > 0].set_index("cell")[["low", "high"]]
        assert set(drawn) == set(expected.index) == {"elman", "lstm"}
        for cell, ends in drawn.items():
            assert ends == pytest.approx(tuple(expected.loc[cell]))


COLOURS = ["#0072b2", "#d55e00"]


def test_open_sides_have_arrows_and_empty_bands_have_dots(league):
    (axes,) = figures.stable_bands(league, limit=3.0).axes
    cells = [text.get_text() for text in axes.get_yticklabels()]
    bands = tables.bands_of(league)
    bands = bands[bands["limit"] == 3.0]
    for marker, side in (("<", "low"), (">", "high")):
        drawn = [p for line in axes.lines if line.get_marker() == marker for p in line.get_xydata()]
        expected = bands[bands[f"open_{side}"]]
        assert sorted(cells[round(y)] for _, y in drawn) == sorted(expected["cell"])
        assert {x for x, _ in drawn} == set(expected[side])
        assert len(drawn) > 0
    dots = [p for line in axes.lines if line.get_marker() == "." for p in line.get_xydata()]
    assert [cells[round(y)] for _, y in dots] == ["gru", "gru"]


def test_intervals_of_edges_and_the_band_of_the_reference_are_drawn(league):
    (axes,) = figures.stable_bands(league).axes
    bands = tables.bands_of(league)
    bands = bands[(bands["limit"] == 1.0) & bands["low"].notna()]
    drawn = {
        tuple(segment[:, 0].round(9)) for lines in axes.collections
        for segment in lines.get_segments()
    }  # fmt: skip
    left, right = axes.get_xlim()
    for line in bands.to_dict("records"):
        for edge in ("low", "high"):
            ends = np.clip([line[f"{edge}_low"], line[f"{edge}_high"]], left, right)
            assert tuple(ends.round(9)) in drawn
    shades = [p for p in axes.patches if p.get_height() > 0.9]
    expected = bands[bands["cell"] == "elman"].sort_values("sequence_length")
    found = [(p.get_x(), p.get_x() + p.get_width()) for p in shades]
    assert found == [pytest.approx(ends) for ends in expected[["low", "high"]].to_numpy().tolist()]


def test_a_limit_that_the_league_lacks_is_refused(league):
    with pytest.raises(InputError, match="bands within 1, 3 decades, not 2"):
        figures.stable_bands(league, limit=2.0)


def test_what_is_saved_is_drawn_with_its_intervals_and_decisions(rows):
    table = tables.mitigation_table(rows)
    figure = figures.mitigation_by_scale(table)
    by_cell = {axes.get_title("left"): axes for axes in figure.axes}
    assert set(by_cell) == {"lstm", "gru"}
    assert {"better", "worse", "undecided"} == set(table["saved_word"])
    for cell, axes in by_cell.items():
        own = table[(table["cell"] == cell) & (table["sequence_length"] == 200)]
        lines = [line for line in axes.lines if line.get_label() == "T = 200"]
        np.testing.assert_array_equal(lines[0].get_xdata(), own["recurrent_scale"])
        np.testing.assert_array_equal(lines[0].get_ydata(), own["saved"])
        outline = axes.collections[1].get_paths()[0].vertices
        for line in own.to_dict("records"):
            at = outline[outline[:, 0] == line["recurrent_scale"], 1]
            assert {line["saved_low"], line["saved_high"]} <= set(at)
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        hollow = sum(len(d.get_xdata()) for d in dots if d.get_markerfacecolor() == "white")
        assert hollow == (table[table["cell"] == cell]["saved_word"] == "undecided").sum()
        assert sum(len(d.get_xdata()) for d in dots) == 2 * len(SCALES)
        (worse,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert worse.get_y() + worse.get_height() == 0.0
        assert worse.get_y() == axes.get_ylim()[0] < table["saved_low"].min()


def test_the_best_cells_are_drawn_where_there_are_many(rows):
    table = tables.mitigation_table(rows)
    (axes,) = figures.mitigation_by_scale(table, most=1).axes
    medians = table[table["sequence_length"] == 200].groupby("cell")["saved"].median()
    assert axes.get_title("left") == medians.idxmax()
    with pytest.raises(InputError, match="no mitigation to draw"):
        figures.mitigation_by_scale(table[:0])


def test_infinite_gains_and_few_networks_leave_gaps_and_no_warning(rows, tmp_path):
    dead = rows.copy()
    at = (dead["cell"] == "elman") & (dead["recurrent_scale"] == 0.4)
    dead.loc[at, ["rate", "log10_gradient_ratio"]] = -np.inf
    table = tables.mitigation_table(dead)
    assert (table["saved"] == np.inf).sum() == 4
    figure = figures.mitigation_by_scale(table)
    assert np.isnan(figure.axes[0].lines[1].get_ydata()[0])
    figures.save(figure, tmp_path / "saved")
    few = rows[rows["seed"] < 2]
    figures.save(figures.mitigation_by_scale(tables.mitigation_table(few)), tmp_path / "few")
    figures.save(figures.stable_bands(tables.league(few)), tmp_path / "bands")
