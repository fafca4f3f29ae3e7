"""Heat maps, read back from what was drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from throughtime import figures
from throughtime.predictions import edge_predictions
from throughtime.theory import critical_gain


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title("left") == title]
    return found


def field(ratio, scales, lengths, cell="lstm"):
    """A summary with a given ratio at every point."""
    points = [(float(g), T) for g in scales for T in lengths]
    return pd.DataFrame(
        {
            "cell": cell,
            "recurrent_scale": [g for g, _ in points],
            "sequence_length": [T for _, T in points],
            "num_seeds": 6,
            "num_ok": 6,
            "log10_gradient_ratio_median": [float(ratio(g, T)) for g, T in points],
            "status": "ok",
        }
    )


def contour_of(axes):
    (found,) = [c for c in axes.collections if type(c).__name__ == "QuadContourSet"]
    return np.concatenate([path.vertices for path in found.get_paths()])


def test_heatmap_shows_the_medians_between_midpoints():
    summary = field(lambda g, T: g * T / 100, [1.0, 2.0, 4.0], [10, 100])
    axes = panel(figures.ratio_heatmap(summary), "lstm")
    mesh = axes.collections[0]
    np.testing.assert_allclose(mesh.get_array(), [[0.1, 0.2, 0.4], [1.0, 2.0, 4.0]])
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(corners[:, 0, 1], [10**0.5, 10**1.5, 10**2.5])
    assert axes.get_yscale() == "log"
    assert mesh.norm.vmin == -4.0
    assert mesh.norm.vmax == 4.0


def test_zero_contour_of_a_linear_field_is_where_the_field_is_zero():
    summary = field(lambda g, T: 3 * (g - 1.3), np.arange(0.1, 3, 0.25), [10, 100, 1000])
    axes = panel(figures.ratio_heatmap(summary), "lstm")
    np.testing.assert_allclose(contour_of(axes)[:, 0], 1.3, rtol=1e-12)
    above = panel(figures.ratio_heatmap(field(lambda g, T: g, [1, 2], [10, 100])), "lstm")
    assert len(above.collections) == 1


def test_heatmap_colours_end_at_twenty_decades_and_say_so():
    def bar(ratio):
        figure = figures.ratio_heatmap(field(ratio, [0.5, 1.0, 2.0], [10, 100]))
        mesh = panel(figure, "lstm").collections[0]
        return mesh.norm.vmin, mesh.norm.vmax, figure.axes[-1]._colorbar.extend

    assert bar(lambda g, T: (g - 1) * T) == (-20, 20, "both")
    assert bar(lambda g, T: -g * T) == (-20, 20, "min")
    assert bar(lambda g, T: -np.inf if g < 1 else 1.0) == (-1, 1, "min")
    assert bar(lambda g, T: 25.0) == (-20, 20, "max")
    assert bar(lambda g, T: 0.0) == (-1, 1, "neither")


def test_heatmap_hatches_what_is_not_ok_and_leaves_the_undefined_blank():
    summary = field(lambda g, T: g - 2.5, [1.0, 2.0, 3.0], [10, 100])
    summary.loc[3, ["log10_gradient_ratio_median", "status"]] = [np.nan, "nonfinite 6/6"]
    summary.loc[4, "status"] = "nonfinite 1/6"
    axes = panel(figures.ratio_heatmap(summary), "lstm")
    mesh = axes.collections[0].get_array()
    assert np.ma.getmaskarray(mesh).tolist() == [[False, False, False], [False, True, False]]
    boxes = [box for box in axes.patches if isinstance(box, Rectangle) and box.get_hatch()]
    found = [(*box.get_xy(), box.get_width(), box.get_height()) for box in boxes]
    assert found == [
        pytest.approx((1.5, 10**1.5, 1.0, 10**2.5 - 10**1.5)),
        pytest.approx((2.5, 10**0.5, 1.0, 10**1.5 - 10**0.5)),
    ]


def test_heatmap_of_zero_gradients_of_single_points_and_of_many_cells_draws_without_a_warning():
    def draw(summary):
        figures.ratio_heatmap(summary).draw_without_rendering()

    draw(field(lambda g, T: -np.inf if g < 1.5 else 2.0, [1, 2], [10, 100]))
    draw(field(lambda g, T: np.nan, [1, 2], [10, 100]))
    draw(field(lambda g, T: 1.0, [1], [10]))
    many = [field(lambda g, T: g - 1, [0, 1, 2], [9, 90], cell) for cell in "abcd"]
    draw(pd.concat([*many, field(lambda g, T: g - 1, [0.5, 1.5], [9, 33, 200], "e")]))


def test_heatmap_refuses_two_settings():
    summary = field(lambda g, T: g, [1.0, 2.0], [10, 100])
    summary.insert(0, "batch_size", 4)  # before what was measured, as in every summary
    with pytest.raises(ValueError, match="but batch_size varies"):
        figures.ratio_heatmap(pd.concat([summary, summary.assign(batch_size=8)]))


def phases(edge, scales, drives, **more):
    """A summary whose ratio is 1 at a recurrent scale of 1 + edge · input scale."""
    points = field(lambda g, s: g - 1 - edge * s, scales, drives, cell="elman")
    points = points.rename(columns={"sequence_length": "input_scale"})
    settings = {"sequence_length": 100, "task": "noise", "activation": "tanh"} | more
    return points.assign(**settings)


def test_phase_diagram_has_the_edge_where_the_ratio_is_one_and_theory_beside_it():
    summary = phases(0.5, np.linspace(0, 4, 17), [0.0, 1.0, 2.0])
    edges = edge_predictions(summary)
    axes = panel(figures.phase_diagram(summary, edges), "elman")
    assert axes.get_yscale() == "linear"
    edge = contour_of(axes)
    np.testing.assert_allclose(edge[:, 0], 1 + 0.5 * edge[:, 1], rtol=1e-12)
    (theory,) = [line for line in axes.lines if line.get_label().startswith("theory")]
    np.testing.assert_allclose(theory.get_ydata(), [0, 1, 2])
    known = [1.0, critical_gain(1.0), critical_gain(2.0)]  # undriven: 1
    np.testing.assert_allclose(theory.get_xdata(), known, rtol=1e-9)
    for other in ({"task": "radar"}, {"initializer": "orthogonal"}, {"layers": 2}):
        assert edge_predictions(phases(0.5, [1.0], [1.0], **other)).empty
    labelled = phases(0.5, [1.0], [1.0], kind="elman").assign(cell="mine")
    assert edge_predictions(labelled)["cell"].tolist() == ["mine"]
    alone = phases(0.5, [1.0], [0.0, 3.0], in_features=0)  # an input of no width drives nothing
    assert edge_predictions(alone)["recurrent_scale"].tolist() == [known[0]] * 2


def test_phase_diagram_refuses_two_lengths():
    summary = phases(0.5, [1.0, 2.0], [1.0])
    twice = pd.concat([summary, summary.assign(sequence_length=200)])
    with pytest.raises(ValueError, match=r"one sequence length, not \[100, 200\]"):
        figures.phase_diagram(twice)
