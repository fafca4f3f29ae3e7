"""The benchmark of the measurements: peers that compute the same numbers, and rows that say so."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from throughtime.cells import as_step, make_cell
from throughtime.lyapunov import lyapunov_spectrum
from throughtime.lyapunov.frames import initial_frame

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Scripts find the modules beside them."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


def contestant(name, numbers, count=None):
    from contestants import Contestant

    def run():
        if count is not None:
            count.append(name)
        return numbers

    return Contestant(name, run)


def case(ours, *peers, **options):
    from contestants import Case, apart

    return Case("b", "c", ours, list(peers), apart, 0.5, **options)


def test_numbers_that_differ_are_not_timed():
    from contestants import measure

    for wrong in (1.6, math.nan, math.inf, np.ones(2)):
        runs = []
        ours, peer = contestant("ours", 1.0, runs), contestant("peer", wrong, runs)
        with pytest.raises(RuntimeError, match=r"b, c: the numbers are .* apart, at most 0.5"):
            measure(case(ours, contestant("good", 1.5), peer), 5)
        assert runs == ["peer", "ours"]


def test_differences():
    from contestants import apart, relative

    ours, theirs = (
        [np.array([1.0, 2.0]), np.array([[0.0]])],
        [np.array([1.5, 4.0]), np.array([[1.0]])],
    )
    assert apart(ours, theirs) == 2.0
    assert relative(ours, theirs) == 1.0
    assert relative(ours[:1], theirs[:1]) == 0.5
    assert math.isnan(apart(ours, theirs[::-1]))
    assert math.isnan(apart([np.array([np.nan, 0.0])], [np.zeros(2)]))


class Clock:
    """A clock that a run moves on by as much as it is said to take."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def contestant(self, name, *seconds):
        from contestants import Contestant

        lasting = itertools.chain(seconds, itertools.repeat(seconds[-1]))

        def run():
            self.now += next(lasting)
            return 1.0

        return Contestant(name, run)


def test_a_row_has_medians_within_turns_and_the_first_run_apart(monkeypatch):
    import contestants

    clock = Clock()
    monkeypatch.setattr(contestants, "time", clock)
    # A run to warm up, one to see how long it takes, three that count.
    ours = clock.contestant("ours", 10.0, 1.0, 1.0, 2.0, 4.0)
    peer = clock.contestant("peer", 7.0, 6.0, 6.0, 4.0, 16.0)
    (row,) = contestants.measure(case(ours, peer, aim=3.5), 3)
    assert (row["ours_seconds"], row["peer_seconds"], row["compile_seconds"]) == (2.0, 6.0, 8.0)
    assert (row["ratio_lowest"], row["ratio"], row["ratio_highest"]) == (2.0, 4.0, 6.0)
    assert (row["ratio_with_compile"], row["agreement"], row["tolerance"]) == (0.6, 0.0, 0.5)
    assert (row["aim"], row["reached"]) == (">= 3.5", "yes")


def test_what_is_quick_runs_often_and_a_cost_is_the_other_way_round(monkeypatch):
    import contestants

    clock = Clock()
    monkeypatch.setattr(contestants, "time", clock)
    ours, peer = clock.contestant("ours", 0.011), clock.contestant("peer", 0.01)
    (row,) = contestants.measure(case(ours, peer, aim=1.05, is_cost=True), 2)
    assert clock.now == pytest.approx(0.021 * 2 + 2 * (5 * 0.011 + 5 * 0.01))
    assert row["ratio"] == pytest.approx(1.1)
    assert (row["aim"], row["reached"], row["ratio_with_compile"]) == ("<= 1.05", "no", None)


def test_the_geometric_mean_is_of_the_medians_of_all_and_of_each_cell():
    from benchmark_measurements import geometric_means

    row = {"benchmark": "bptt", "ours": "a", "peer": "b", "agreement": 1e-6, "tolerance": 1e-3}
    rows = [row | {"case": f"{cell}, N", "ratio": ratio} for cell, ratio in (("c", 0.5), ("d", 8))]
    rows += [row | {"case": "c, M", "ratio": 0.125, "agreement": 1e-5}]
    means = geometric_means(rows)
    assert [each["case"].split(", ")[1] for each in means] == ["all", "c", "d"]
    assert [each["ratio"] for each in means] == pytest.approx([0.5 ** (1 / 3), 0.25, 8])
    assert [each.get("reached") for each in means] == ["no", None, None]
    assert [each["agreement"] for each in means] == [1e-5, 1e-5, 1e-6]
    assert (means[0]["ratio_lowest"], means[0]["ratio_highest"]) == (0.125, 8)


# Peers

DTYPE = np.float64


def drawn_weights(name):
    """A cell in float64 with biases that are not zero, and its arrays."""
    cell = make_cell(name, 2, 3, recurrent_scale=1.2, dtype=jnp.float64, rngs=nnx.Rngs(0))
    rng, arrays = np.random.default_rng(1), {}
    for key in ("input_kernel", "recurrent_kernel", "bias", "candidate_bias"):
        if hasattr(cell, key):
            parameter = getattr(cell, key)
            parameter[...] = jnp.asarray(rng.normal(size=parameter.shape))
            arrays[key] = np.asarray(parameter[...])
    return cell, arrays


def spectra(name):
    """Two orbits: the cell's arrays, their inputs, the frame to begin with, and our exponents."""
    cell, arrays = drawn_weights(name)
    step, h0, _ = as_step(cell)
    inputs = np.random.default_rng(2).normal(size=(2, 30, 2))
    run = jax.jit(jax.vmap(lambda x: lyapunov_spectrum(step, h0, x).exponents))
    frame = np.asarray(initial_frame(h0.size, h0.size, jnp.float64))
    return arrays, inputs, frame, np.asarray(run(inputs))


@pytest.mark.parametrize("name", ["elman", "lstm"])
def test_the_spectrum_in_numpy_is_ours(name):
    import peers_numpy

    arrays, inputs, frame, ours = spectra(name)
    assert np.allclose(peers_numpy.spectrum(name, arrays, frame, inputs), ours, atol=1e-10)
    assert np.ptp(ours) > 0.5


@pytest.mark.peers
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_the_spectrum_in_torch_is_ours(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'peers'")
    import peers_torch

    arrays, inputs, frame, ours = spectra(name)
    made = peers_torch.module(name, arrays)
    for orbits in (slice(1), slice(2)):
        theirs = peers_torch.spectrum(made, frame, torch.from_numpy(inputs[orbits]))
        assert np.allclose(theirs, ours[orbits], atol=1e-10)


@pytest.mark.slow
@pytest.mark.peers
def test_every_case_agrees_at_tiny_sizes():
    """All arrays, and no tolerance but rounding; the sweep itself is left to the command."""
    pytest.importorskip("torch", reason="PyTorch is the extra 'peers'")
    from benchmark_cases import QUICK, gradient_cases
    from benchmark_training import bptt_cases

    sizes = QUICK._replace(scales=(1.1,), seeds=2)
    for each in itertools.chain(gradient_cases(sizes), bptt_cases(sizes)):
        if each.ours.name == "run_group":
            continue
        ours = each.ours.numbers(each.ours.run())
        theirs = each.peers[0].numbers(each.peers[0].run())
        assert each.difference(ours, theirs) < 1e-5, each.case
        if each.benchmark == "gradient":
            assert ours[0].shape == (2, sizes.steps)
            assert np.ptp(ours[0]) > 1
        else:
            assert len(ours) == (4 if "lstm" in each.case else 5)


@pytest.mark.peers
def test_what_is_measured_while_training_is_the_gradient_of_each_step():
    pytest.importorskip("torch", reason="PyTorch is the extra 'peers'")
    from benchmark_cases import QUICK
    from benchmark_training import enrolled

    student, parameters = enrolled(QUICK)
    loss, gradient, plain = jax.jit(student.plain)(parameters)
    other, same, scaled = jax.jit(student.scaled)(parameters)
    assert np.isclose(loss, other, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), gradient, same
    )
    assert np.allclose(plain, scaled, atol=1e-5)
    # The last step sees the error itself: dL/dh_T = (h_T W_y − target) W_yᵀ / B, and nothing of c.
    step, h0, _ = student.step(parameters)
    last = jax.jit(jax.vmap(lambda x: jax.lax.scan(lambda h, u: (step(h, u), None), h0, x)[0]))
    outputs = np.asarray(last(student.inputs))[:, -QUICK.hidden :] @ np.asarray(parameters[1])
    errors = (outputs - np.asarray(student.targets)) @ np.asarray(parameters[1]).T
    expected = np.log(np.linalg.norm(errors) / QUICK.training_batch)
    assert np.isclose(plain[-1], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.peers
def test_one_command_measures_and_writes(tmp_path):
    command = [sys.executable, str(EXPERIMENTS / "benchmark_measurements.py"), "--quick"]
    done = subprocess.run(
        [*command, "--only", "bptt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    written = tmp_path / "results" / "benchmark" / "runs" / "quick"
    table = pd.read_csv(written / "measurements.csv")
    assert table["benchmark"].value_counts().to_dict() == {"bptt": 5}
    assert (table["agreement"] <= table["tolerance"]).all()
    assert (table[["ratio_lowest", "ratio", "ratio_highest"]] > 0).all(axis=None)
    origin = ["commit", "cpu", "cores", "device", "date", "torch", "jax", "numpy", "blas_threads"]
    assert table[origin].notna().all(axis=None)
    caption = (written / "measurements.md").read_text().split("| benchmark")[0]
    columns = list(table)[: list(table).index("tolerance") + 1]
    assert [name for name in columns if f"`{name}`" not in caption] == ["benchmark", "peer"]


def test_an_unknown_benchmark_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    import benchmark_measurements

    monkeypatch.setattr(sys, "argv", ["benchmark", "--only", "gradients"])
    monkeypatch.setattr(benchmark_measurements, "versions", lambda packages: {})
    with pytest.raises(SystemExit, match="2"):
        benchmark_measurements.main()
    assert "gradient" in capsys.readouterr().err


@pytest.mark.slow
def test_watching_and_counting_change_nothing_of_what_is_learned():
    from benchmark_watching import QUICK, cases
    from contestants import measure

    with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to a power of int32
        rows = [measure(case, 1, 0.0)[0] for case in itertools.islice(cases(QUICK), 2)]
    for name, row in zip(("watching", "counting"), rows, strict=True):
        assert row["benchmark"] == row["ours"] == name
        assert row["agreement"] <= 1e-6
        assert row["aim"] == "<= 1.05"
        assert row["case"] == "elman, N = 6, T = 7, batch 3, 5 updates"
