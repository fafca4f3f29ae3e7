"""Spectra as tables and figures: medians, intervals, what is not ok, theory beside it."""

import math

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from made_rows import frame, rows_of

from throughtime import figures, frames, tables


def spectrum_rows(exponents, *, status="ok", sums=None, **point):
    """Rows of one point: one network for every leading exponent."""
    shared = rows_of([0.0] * len(exponents), status=status, **point)
    gradient = ["log10_gradient_ratio", "rate", "horizon", "horizon_is_bound", "loss"]
    measured = {
        "diagnostic": "spectrum",
        "leading_exponent": exponents,
        "leading_exponent_low": np.subtract(exponents, 0.01),
        "leading_exponent_high": np.add(exponents, 0.03),
        "exponent_sum": sums,
        "kaplan_yorke_dimension": 2.5,
        "kaplan_yorke_is_bound": True,
        "entropy_rate": 0.25,
        "entropy_is_bound": False,
        "exponent_floor": -30.0,
    }
    lags = ["first_zero_lag", "first_inf_lag"]
    return shared.drop(columns=gradient + lags).assign(**measured)


SEVEN = [0.3, 0.1, 0.7, 0.2, 0.5, 0.4, 0.6]


def test_summary_of_spectra_has_medians_and_what_more_it_knows():
    (line,) = tables.summarise(spectrum_rows(SEVEN)).to_dict("records")
    assert line["leading_exponent_median"] == 0.4
    # Of seven, the exact 95% interval of the median ends at ranks 1 and 7.
    ends = line["leading_exponent_ci_low"], line["leading_exponent_ci_high"]
    assert ends == (0.1, 0.7)
    assert math.isnan(line["exponent_sum_median"])
    assert line["widest_orbit_interval"] == pytest.approx(0.04)
    assert (line["kaplan_yorke_is_bound"], line["entropy_is_bound"]) == (True, False)
    words = tables.describe_point(spectrum_rows(SEVEN))
    assert "leading Lyapunov exponent λ_1 in nats per step  0.40 [0.10, 0.70]" in words
    assert "Kaplan–Yorke dimension  at least 2.5000 [2.5000, 2.5000]" in words
    assert "sum" not in words
    assert "sum of all exponents  -1.5000" in tables.describe_point(spectrum_rows(SEVEN, sums=-1.5))


def test_diagnostics_are_not_mixed_in_a_table():
    with pytest.raises(ValueError, match=r"one diagnostic .* not \['gradient', 'spectrum'\]"):
        tables.summarise(frame(rows_of([0.0]), spectrum_rows([0.0], seed=1)))


def test_written_table_says_what_it_shows(tmp_path):
    tables.write_table(spectrum_rows(SEVEN), tmp_path)
    assert "Median leading Lyapunov exponent λ_1 in nats" in (tmp_path / "table.md").read_text()
    assert r"$\lambda_1$" in (tmp_path / "table.tex").read_text()


def sweep():
    return frame(
        spectrum_rows(SEVEN, recurrent_scale=1.0),
        spectrum_rows([x + 1 for x in SEVEN], recurrent_scale=2.0),
        spectrum_rows([9.0], recurrent_scale=2.0, seed=7, status="not_converged"),
        spectrum_rows([math.nan], recurrent_scale=3.0, status="nonfinite"),
    )


def test_the_figure_draws_medians_bands_and_theory_and_counts_the_rest():
    theory = pd.DataFrame(
        {"cell": "lstm", "source": "theory", "recurrent_scale": [1.0, 1.1, 1.2, 2.9, 3.0, 4.5]}
    ).assign(exponent=lambda rows: -rows["recurrent_scale"])
    figure = figures.exponent_by_scale(tables.summarise(sweep()), theory)
    (axes,) = figure.axes
    by_label = {line.get_label(): line for line in axes.lines}
    median = by_label["$T=50$"]
    assert np.array_equal(median.get_ydata()[:2], [0.4, 1.4])
    assert by_label["not every network ok"].get_xydata().tolist() == [[2.0, 1.4]]
    band = axes.collections[0].get_paths()[0].vertices
    assert {band[band[:, 0] == 1.0, 1].min(), band[band[:, 0] == 1.0, 1].max()} == {0.1, 0.7}
    # A jump of scales ends a dashed curve; a scale by itself is a cross.
    dashed = [line.get_xdata().tolist() for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == [[1.0, 1.1, 1.2], [2.9, 3.0]]
    assert by_label["known value"].get_xydata().tolist() == [[4.5, -4.5]]
    assert [text.get_text() for text in axes.texts] == ["1 scales without a finite exponent"]


def record(exponents, status):
    shared = {"cell": "gru", "recurrent_scale": 1.0, "sequence_length": 9, "state_size": 4}
    each = {"seed": [0, 1], "status": status}
    own = {"key": "k", "run_id": "r", "created": "c", "origin": {}}
    return own | {"shared": shared, "each": each, "curves": np.array(exponents)}


def test_spectra_are_drawn_of_networks_that_are_ok():
    found = [record([[0.5, 0.0, -1.0], [5.0, 5.0, 5.0]], ["ok", "nonfinite"])]
    tidy = frames.spectra_frame(found)
    assert tidy["fraction"].tolist() == [0.125, 0.375, 0.625]
    assert tidy["exponent"].tolist() == [0.5, 0.0, -1.0]
    figure = figures.spectra(tidy)
    assert isinstance(figure, matplotlib.figure.Figure)
    (curve,) = [line for line in figure.axes[0].lines if line.get_label() == "1"]
    assert curve.get_xydata().tolist() == [[0.125, 0.5], [0.375, 0.0], [0.625, -1.0]]
    with pytest.raises(ValueError, match="no network has status ok"):
        figures.spectra(frames.spectra_frame([record([[1.0], [2.0]], ["collapsed", "nonfinite"])]))
