"""Paths through the sweep: the same as the measurement itself, from record to table and figure."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import states
from flax import nnx
from made_results import point

from throughtime import figures, frames, tables
from throughtime.cells import as_step
from throughtime.compilation import compiled
from throughtime.paths import GradientPaths, gradient_paths
from throughtime.points import PATHS
from throughtime.programs import program_key, structure_of
from throughtime.scaled import log_norm
from throughtime.sweeps import _drawn, points_at_once, refused, run_group

T, SCALES = 12, (0.0, 1.5)
BASE = point(
    cell="gru",
    diagnostic="paths",
    task="noise",
    task_options=(("in_features", 3),),
    hidden_features=5,
    sequence_length=T,
    num_seeds=2,
    batch_size=2,
    dtype="float64",
)
POINTS = [dataclasses.replace(BASE, recurrent_scale=scale) for scale in SCALES]


@pytest.fixture(scope="module")
def results():
    return [result for batch in run_group(program_key(BASE), POINTS) for result in batch]


def test_the_names_are_the_measurements():
    assert GradientPaths._fields == (*PATHS, "defect")


def test_a_sweep_measures_what_gradient_paths_does(results):
    key = program_key(BASE)
    program = compiled(key, points_at_once(key), 1)
    (weights, _), batches, _ = _drawn(program, [POINTS[1]] * program.size)
    inputs = batches.inputs
    cell = nnx.merge(structure_of(key), jax.tree.map(lambda leaf: leaf[0, 1], weights))
    h0 = as_step(cell).h0
    found = jax.jit(jax.vmap(lambda xs: gradient_paths(cell, h0, xs)))(inputs[1])
    for place, name in enumerate(PATHS):
        squares = jnp.exp(2 * jax.vmap(jax.vmap(log_norm))(getattr(found, name)))
        expected = jnp.log(jnp.sum(squares, axis=0)) / 2
        assert np.allclose(results[1].curves[1, :, place], expected, rtol=1e-12, atol=1e-12)
    assert results[1].each["defect"][1] == pytest.approx(
        float(jnp.max(found.defect)), abs=states(T, 8)
    )


def test_without_a_loop_all_of_the_gradient_stays_on_the_highway(results):
    each, curves = results[0].each, results[0].curves
    assert each["rate_highway"] == pytest.approx(each["rate_whole"], rel=1e-12)
    assert each["rate_gates"] == each["rate_recurrent"] == [-np.inf, -np.inf]
    assert np.isneginf(curves[..., 2:]).all()


def test_paths_reach_table_and_figure(results, tmp_path):
    origin = {"key": "k", "run_id": "r", "created": "now", "origin": {}}
    found = [origin | {"shared": r.shared, "each": r.each, "curves": r.curves} for r in results]
    written = tables.write_table(frames.rows_frame(found), tmp_path)
    text = written[1].read_text()
    assert f"{np.median(results[1].each['rate_highway']):.4f}" in text
    assert "−∞" in text or "-inf" in text
    paths = frames.paths_frame(found)
    figure = figures.gradient_paths(paths[paths["recurrent_scale"] == 1.5])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    whole = results[1].curves[:, :, 0]
    drawn = np.median(whole - whole[:, :1], axis=0) / np.log(10)
    assert np.allclose(lines["whole"].get_ydata(), drawn)
    assert list(lines["gates"].get_xdata()) == list(range(1, T))  # nothing has left it at lag 0


def test_a_cell_that_cannot_be_told_apart_is_refused_before_anything_is_compiled():
    plain = dataclasses.replace(BASE, cell="elman")
    (failure,) = refused(program_key(plain), [plain])
    assert "not in ElmanCell" in failure.reason
