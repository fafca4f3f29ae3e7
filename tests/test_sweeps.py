"""The sweep's numbers: closed forms through the whole path, and the same bits in any company."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import skip_what_does_not_compile
from flax import nnx
from made_results import rows

from throughtime import programs, sweeps
from throughtime.adjoints import adjoint_log_norms
from throughtime.cells import ACTIVATIONS, CELLS, as_step, hidden
from throughtime.compilation import compiled
from throughtime.initializers import INITIALIZERS
from throughtime.mitigations import MITIGATIONS
from throughtime.options import ACTIVATIONS as ACTIVATION_NAMES
from throughtime.options import DTYPES as DTYPE_NAMES
from throughtime.options import ENSEMBLES
from throughtime.options import MITIGATIONS as MITIGATION_NAMES
from throughtime.points import Point
from throughtime.tasks import DTYPES

TESTS = Path(__file__).parent

BASE = Point(
    cell="elman",
    cell_options=(("activation", "tanh"), ("initializer", "gaussian")),
    task="noise",
    task_options=(("in_features", 3),),
    recurrent_scale=1.2,
    sequence_length=20,
    hidden_features=6,
    num_seeds=2,
    seed=0,
    data_seed=0,
    batch_size=3,
    dtype="float32",
    loss_at="last",
)
LINEAR = (("activation", "identity"), ("initializer", "orthogonal"))


def point(**changes):
    return dataclasses.replace(BASE, **changes)


def run(*points):
    """Results in the order of the points, whatever groups they fall into."""
    results = {}
    for key, members in sweeps.group(points).items():
        refused = sweeps.refused(key, members)
        for batch in [refused] if refused else sweeps.run_group(key, members):
            results |= {result.point: result for result in batch}
    return [results[p] for p in points]


@pytest.mark.parametrize("length", [2, 50, 64, 100])
@pytest.mark.parametrize("gain", [0.1, 0.9, 1.0, 2.0])
def test_orthogonal_network_changes_by_its_gain_per_step(gain, length):
    (result,) = run(point(cell_options=LINEAR, recurrent_scale=gain, sequence_length=length))
    for row in rows(result):
        assert row["log10_gradient_ratio"] == pytest.approx(
            (length - 1) * np.log10(gain), rel=1e-5, abs=1e-5
        )
        assert row["rate"] == pytest.approx(np.log(gain), rel=1e-5, abs=1e-6)
        assert row["status"] == "ok"
    assert result.curves.shape == (2, length)


def mean_field_rate(gain, drive=1.0):
    """λ = ½ ln χ of a tanh network driven by white noise, N → ∞.

    q = g² ⟨tanh²(√q z)⟩ + s²,  χ = g² ⟨tanh'²(√q z)⟩ (Molgedey, Schuchhardt, Schuster 1992).
    """
    z, weights = np.polynomial.hermite_e.hermegauss(99)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(1000):
        q = gain**2 * weights @ np.tanh(np.sqrt(q) * z) ** 2 + drive**2
    return 0.5 * np.log(gain**2 * weights @ (1 - np.tanh(np.sqrt(q) * z) ** 2) ** 2)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_driven_tanh_network_grows_as_mean_field_theory_says(gain):
    sizes = {"hidden_features": 128, "num_seeds": 16, "batch_size": 1, "sequence_length": 256}
    (result,) = run(point(task_options=(("in_features", 64),), recurrent_scale=gain, **sizes))
    rates = np.array([row["rate"] for row in rows(result)])
    error = rates.std(ddof=1) / 4
    # Finite networks grow more slowly than infinite ones, by 1/N to 3/N.
    assert -3 / 128 - 4 * error < rates.mean() - mean_field_rate(gain) < 4 * error
    assert error < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "options"),
    # A sigmoid unit leaves zero without any input: padding must hold it where it starts.
    [("lstm", ()), ("elman", (("activation", "sigmoid"),))],
)
def test_the_whole_path_equals_the_core_without_padding(cell, options):
    (result,) = run(point(cell=cell, cell_options=options, dtype="float64"))
    key = programs.program_key(result.point)
    program = compiled(key, sweeps.points_at_once(key), 1)
    (weights, readouts), batch, _ = sweeps._drawn(program, [result.point] * program.size)
    second = jax.tree.map(lambda leaf: leaf[0, 1], weights)
    step, h0, unravel = as_step(nnx.merge(programs.structure_of(key), second))
    readout = readouts[0, 1]
    loss = lambda states: jnp.sum(hidden(unravel(states[-1])) @ readout) / 3  # noqa: E731
    one = lambda inputs: adjoint_log_norms(loss, step, h0, inputs)  # noqa: E731
    each = jax.jit(jax.vmap(one))(batch.inputs[0, :, -20:])
    together = np.logaddexp.reduce(2 * np.asarray(each), axis=0) / 2
    assert np.allclose(result.curves[1], together[::-1], rtol=1e-12, atol=1e-12)


def test_the_same_bits_alone_together_and_in_any_order():
    grid = [
        point(recurrent_scale=scale, sequence_length=length, num_seeds=1)
        for scale in (0.3, 0.8, 1.0, 1.5, 3.0)
        for length in (2, 7, 33, 64)
    ]
    together = run(*grid)
    backwards = run(*reversed(grid))[::-1]
    alone = [run(p)[0] for p in grid[::3]]
    for ours, theirs in [
        *zip(together, backwards, strict=True),
        *zip(together[::3], alone, strict=True),
    ]:
        assert np.array_equal(ours.curves, theirs.curves)
        for mine, other in zip(rows(ours), rows(theirs), strict=True):
            assert mine | {"seconds": 0} == other | {"seconds": 0}


def test_a_network_is_the_same_with_any_number_of_others():
    (many,) = run(point(num_seeds=4))
    (one,) = run(point(num_seeds=1, seed=3))
    assert rows(one)[0]["seed"] == rows(many)[3]["seed"] == 3
    assert np.allclose(one.curves[0], many.curves[3], rtol=1e-5, atol=1e-5)
    assert not np.allclose(many.curves[2], many.curves[3], rtol=1e-3, atol=1e-3)


def test_scales_seeds_and_lengths_share_a_program():
    key = programs.program_key(BASE)
    same = [{"recurrent_scale": 3.0}, {"seed": 5}, {"data_seed": 5}, {"sequence_length": 64}]
    assert all(programs.program_key(point(**change)) == key for change in same)
    others = [{"sequence_length": 65}, {"hidden_features": 7}, {"dtype": "float64"}]
    assert all(programs.program_key(point(**change)) != key for change in others)
    assert [
        programs.program_key(point(sequence_length=n)).num_steps
        for n in (2, 64, 65, 128, 129, 1000)
    ] == [64, 64, 128, 128, 256, 1024]


def test_a_forward_pass_that_overflows_is_named_with_its_step():
    linear = (("activation", "identity"), ("initializer", "identity"))
    (result,) = run(point(cell_options=linear, recurrent_scale=100.0, sequence_length=60))
    key = programs.program_key(result.point)
    inputs = programs.batch_source(key)(np.uint32([0]), np.int32([60])).inputs[0, :, -60:]
    for row, seed in zip(rows(result), (0, 1), strict=True):
        weights, _ = programs.draw_network(key, jnp.uint32(seed), jnp.float64(100.0))
        kernel, h = np.asarray(weights["input_kernel"][...]), np.zeros((3, 6), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(60):
                h = np.float32(100) * h + np.asarray(inputs[:, step]) @ kernel
                if not np.isfinite(h).all():
                    break
        assert row["status"] == "nonfinite"
        assert row["first_bad_step"] == step + 1


def test_exact_zeros_of_rectifiers_and_of_no_recurrence_are_true():
    dead, cut = run(
        point(cell_options=(("activation", "relu"),), hidden_features=1, sequence_length=60),
        point(recurrent_scale=0.0),
    )
    assert {row["status"] for row in rows(dead) + rows(cut)} == {"ok"}
    assert all(row["log10_gradient_ratio"] == -np.inf for row in rows(cut))
    assert all(row["verdict"] == "vanishing" for row in rows(cut))
    assert all(row["horizon"] == 0 for row in rows(cut))
    assert all(row["first_zero_lag"] == 1 for row in rows(cut))


def test_plain_floats_lose_the_gradient_where_powers_of_the_weight_leave_the_range():
    half, double = run(
        point(cell_options=LINEAR, recurrent_scale=0.5, sequence_length=300),
        point(cell_options=LINEAR, recurrent_scale=2.0, sequence_length=120),
    )
    # ln ‖a_T‖ of these networks is within 3 of 0, and every component must vanish.
    for row in rows(half):
        assert row["first_zero_lag"] == pytest.approx(127, abs=5)
        assert row["first_inf_lag"] is None
        assert row["log10_gradient_ratio"] == pytest.approx(299 * np.log10(0.5), rel=1e-5)
    # In a linear network the gradient at a lag is the same at every length that reaches it.
    lag = rows(half)[0]["first_zero_lag"]
    short, longer = run(
        point(cell_options=LINEAR, recurrent_scale=0.5, sequence_length=lag),
        point(cell_options=LINEAR, recurrent_scale=0.5, sequence_length=lag + 1),
    )
    assert rows(short)[0]["first_zero_lag"] is None
    assert rows(longer)[0]["first_zero_lag"] == lag
    for row in rows(double):
        assert row["status"] == "ok"
        assert row["first_zero_lag"] is None
        assert row["first_inf_lag"] is None


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_dtypes_follow_the_same_network(dtype):
    skip_what_does_not_compile(dtype)
    wide, other = run(point(dtype="float32"), point(dtype=dtype))
    eps = max(np.finfo(np.float32).eps, float(jnp.finfo(dtype).eps))
    assert np.allclose(other.curves, wide.curves, rtol=0, atol=100 * eps)


def test_the_loss_of_the_task_or_of_the_last_step():
    last, whole = run(
        point(task="text", task_options=(), loss_at="last"),
        point(task="text", task_options=(), loss_at="task"),
    )
    key = programs.program_key(whole.point)
    weights = programs.batch_source(key)(np.uint32([0]), np.int32([20])).weights[0]
    assert np.allclose(weights[:, -20:], 1 / 20, rtol=1e-6)
    assert not weights[:, :-20].any()
    # Every step's loss pulls at the first state too, so that it vanishes less.
    assert rows(whole)[0]["log10_gradient_ratio"] > rows(last)[0]["log10_gradient_ratio"]


def test_names_known_before_jax_is_imported_are_those_that_exist():
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)
    assert set(ENSEMBLES) == set(INITIALIZERS)
    assert set(MITIGATION_NAMES) == set(MITIGATIONS)
    assert set(DTYPE_NAMES) == set(DTYPES)
    assert {"scalar", "elman", "gru", "lstm"} < set(CELLS)
