"""What is drawn, read back from the artists: the numbers and not the pixels."""

import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from throughtime import figures

LN10 = math.log(10)


def network(cell, scale, seed, log10_curve, *, status="ok", zero=None, inf=None, **more):
    """One row and its curve; the curve is given in decades relative to lag 0."""
    length = len(log10_curve)
    point = {"cell": cell, "recurrent_scale": scale, "sequence_length": length, "seed": seed}
    row = (
        point
        | {
            "diagnostic": "gradient",
            "loss": 0.0,
            "dtype": "float32",
            "log10_gradient_ratio": log10_curve[-1],
            "rate": 0.0,
            "horizon": 0,
            "horizon_is_bound": False,
            "verdict": "stable" if status == "ok" else "undefined",
            "first_zero_lag": zero,
            "first_inf_lag": inf,
            "first_bad_step": None,
            "status": status,
        }
        | more
    )
    log_norm = 3.0 + LN10 * np.asarray(log10_curve, float)
    return row, pd.DataFrame(point | {"lag": np.arange(length), "log_norm": log_norm})


def frames(*networks):
    rows = pd.DataFrame([row for row, _ in networks])
    lags = ["first_zero_lag", "first_inf_lag", "first_bad_step"]
    rows[lags] = rows[lags].astype("Int64")
    return pd.concat([curve for _, curve in networks], ignore_index=True), rows


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title("left") == title]
    return found


def curves_of(axes):
    """The lines that are curves: no marker, solid, not empty."""
    lines = [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata())]
    return [line for line in lines if line.get_linestyle() == "-"]


def marks_of(axes, marker):
    return [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == marker]


def notes_of(axes):
    return [text.get_text() for text in axes.texts]


def slopes(scale, slopes, length=21, cell="lstm", **extra):
    lags = np.arange(length)
    return [network(cell, scale, i, slope * lags, **extra) for i, slope in enumerate(slopes)]


def test_curves_are_medians_and_bands_are_order_statistics():
    noise = np.random.default_rng(0).normal(size=(2, 12, 30)).cumsum(axis=2)
    noise -= noise[:, :, :1]
    networks = [
        network("gru", scale, seed, noise[i, seed])
        for i, scale in enumerate((0.5, 2.0))
        for seed in range(12)
    ]
    axes = panel(figures.gradient_by_lag(*frames(*networks)), "gru")
    for i, (line, band) in enumerate(zip(curves_of(axes), axes.collections, strict=True)):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(30))
        np.testing.assert_allclose(line.get_ydata(), np.median(noise[i], axis=0), atol=1e-12)
        ranked = np.sort(noise[i], axis=0)
        # 12 seeds: 0.1 · 11 = 1.1 and 0.9 · 11 = 9.9, so ranks 1 below and 10 above, from zero.
        outline = band.get_paths()[0].vertices
        for rank, extreme in ((1, np.min), (10, np.max)):
            drawn = [extreme(outline[outline[:, 0] == lag, 1]) for lag in range(1, 29)]
            np.testing.assert_allclose(drawn, ranked[rank, 1:29], atol=1e-12)


def test_each_cell_has_a_panel_and_each_scale_a_colour_of_its_own():
    networks = [
        one
        for cell in ("b", "a", "d", "c", "e")
        for scale in np.geomspace(0.1, 4, 20)
        for one in slopes(float(scale), [-0.1, -0.2], cell=cell)
    ]
    figure = figures.gradient_by_lag(*frames(*networks))
    *panels, bar = figure.axes
    assert [axes.get_title("left") for axes in panels] == ["a", "b", "c", "d", "e"]
    assert all(len({to_hex(line.get_color()) for line in curves_of(p)}) == 20 for p in panels)
    assert len(panels[0].collections) == len(bar.get_yticks()) == 7
    assert figure.get_figwidth() == 7.0
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in panels]
    assert not any(a.overlaps(b) for a in boxes for b in boxes if a is not b)


def test_default_is_the_longest_sequence_and_one_cell_fits_one_column():
    data = frames(*slopes(1.0, [-0.1]), *slopes(1.0, [-0.2], length=41))
    assert curves_of(panel(figures.gradient_by_lag(*data), "lstm"))[0].get_ydata()[-1] == (
        pytest.approx(-8.0)
    )
    figure = figures.gradient_by_lag(*data, sequence_length=21)
    assert curves_of(panel(figure, "lstm"))[0].get_ydata()[-1] == pytest.approx(-2.0)
    assert figure.get_figwidth() == 3.4
    with pytest.raises(ValueError, match="no curves of sequence length 30: there are 21, 41"):
        figures.gradient_by_lag(*data, sequence_length=30)


def test_marks_sit_where_half_the_seeds_are_lost_to_the_dtype():
    lags = np.arange(61)
    down = [network("lstm", 0.5, i, -1.0 * lags, zero=zero) for i, zero in enumerate([40, 42, 50])]
    up = [
        network("lstm", 2.0, i, 0.9 * lags, inf=inf) for i, inf in enumerate([45, 46, None, None])
    ]
    flat = [
        network("lstm", 1.0, i, 0.0 * lags, zero=zero) for i, zero in enumerate([9, None, None])
    ]
    axes = panel(figures.gradient_by_lag(*frames(*down, *up, *flat)), "lstm")
    assert marks_of(axes, "v") == [[[42.0, pytest.approx(-42.0)]]]
    assert marks_of(axes, "^") == [[[46.0, pytest.approx(0.9 * 46)]]]


def test_the_range_of_the_dtype_is_drawn_where_it_lies_in_the_frame():
    def dashed(dtype, slope):
        figure = figures.gradient_by_lag(*frames(*slopes(1.0, [slope], length=51, dtype=dtype)))
        axes = panel(figure, "lstm")
        return [x.get_ydata()[0] for x in axes.lines if x.get_linestyle() == "--"], notes_of(axes)

    smallest, largest = np.finfo(np.float32).smallest_normal, np.finfo(np.float32).max
    assert dashed("float32", -1.0) == ([pytest.approx(np.log10(smallest))], ["float32 underflow"])
    assert dashed("bfloat16", 1.0) == ([pytest.approx(np.log10(largest))], ["bfloat16 overflow"])
    assert dashed("float16", -1.0)[0] == [pytest.approx(-14 * np.log10(2))]
    assert dashed("float32", -0.1) == ([], [])
    assert dashed("float64", -1.0) == ([], [])
    with pytest.raises(ValueError, match="unknown dtype 'float23'; did you mean 'float"):
        dashed("float23", 1.0)


def test_a_curve_ends_with_a_mark_where_the_gradient_is_exactly_zero():
    curve = np.where(np.arange(21) < 13, -0.5 * np.arange(21), -np.inf)
    axes = panel(figures.gradient_by_lag(*frames(network("irnn", 1.0, 0, curve))), "irnn")
    (line,) = curves_of(axes)
    np.testing.assert_allclose(line.get_ydata(), np.where(np.isfinite(curve), curve, np.nan))
    assert marks_of(axes, "x") == [[[12.0, pytest.approx(-6.0)]]]
    assert notes_of(axes) == []


def test_curves_that_leave_the_frame_are_counted():
    dead = np.where(np.arange(101) < 90, -1.0 * np.arange(101), -np.inf)
    networks = [*slopes(0.5, [-5.0], length=101), *slopes(2.0, [4.0], length=101)]
    axes = panel(figures.gradient_by_lag(*frames(*networks)), "lstm")
    assert -75 < axes.get_ylim()[0] < -60
    assert 60 < axes.get_ylim()[1] < 75
    assert notes_of(axes)[-2:] == [
        "↑ 1 of 2 curves, to $10^{400}$",
        "↓ 1 of 2 curves, to $10^{-500}$",
    ]
    axes = panel(figures.gradient_by_lag(*frames(network("irnn", 1.0, 0, dead))), "irnn")
    assert notes_of(axes)[-1] == "↓ 1 of 1 curves, to 0"


def test_networks_that_are_not_ok_are_left_out_and_counted():
    broken = network("lstm", 1.0, 9, np.full(21, np.nan), status="nonfinite")
    wild = network("lstm", 1.0, 8, 9.0 * np.arange(21), status="collapsed")
    axes = panel(figures.gradient_by_lag(*frames(*slopes(1.0, [-0.2]), broken, wild)), "lstm")
    assert [line.get_ydata()[-1] for line in curves_of(axes)] == [pytest.approx(-4.0)]
    assert axes.get_title("right") == "left out of 3: collapsed 1, nonfinite 1"
    with pytest.raises(ValueError, match="no seed has status ok"):
        figures.gradient_by_lag(*frames(broken))


def test_gradient_by_lag_refuses_what_it_cannot_draw_truthfully():
    curves, rows = frames(*slopes(1.0, [-0.2, -0.3]))
    with pytest.raises(ValueError, match="21 values of the curves belong to no row"):
        figures.gradient_by_lag(curves, rows[:1])
    with pytest.raises(ValueError, match="one figure shows one setting, but task varies"):
        figures.gradient_by_lag(curves, rows.assign(task=["copy", "adding"]))
    with pytest.raises(ValueError, match="undefined lag, or no gradient at lag 0"):
        figures.gradient_by_lag(curves.replace({"log_norm": {3.0: -np.inf}}), rows)


def test_saved_figures_are_the_same_bytes_every_time(tmp_path):
    def write(folder):
        figure = figures.gradient_by_lag(*frames(*slopes(1.0, [-3.0, -2.0]), *slopes(2.0, [0.3])))
        return figures.save(figure, tmp_path / folder / "by_lag_g1.5")

    first, second = write("one"), write("two")
    assert [path.name for path in first] == ["by_lag_g1.5.png", "by_lag_g1.5.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(list(first[0].parent.iterdir())) == 2
    pdf = first[1].read_bytes()
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_style_of_the_user_does_not_reach_a_figure_nor_the_other_way_round(tmp_path):
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "black", "pdf.fonttype": 3}):
        figure = figures.gradient_by_lag(*frames(*slopes(1.0, [-0.1])))
        png, pdf = figures.save(figure, tmp_path / "figure")
        assert matplotlib.rcParams["font.size"] == 30.0
    assert isinstance(figure, Figure)
    assert panel(figure, "lstm").title.get_fontsize() == 8.0
    assert to_hex(panel(figure, "lstm").get_facecolor()) == "#ffffff"
    assert b"/Type3" not in pdf.read_bytes()
    assert int.from_bytes(png.read_bytes()[16:20]) == 680
