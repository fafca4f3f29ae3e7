"""The benchmark: the same work for all, and rows that are called equal only if they are."""

import itertools
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from made_results import result

from throughtime.cells import make_cell
from throughtime.diagnostics import gradient_diagnostics
from throughtime.ledger import Ledger
from throughtime.points import Point
from throughtime.programs import batch_source, program_key, task_of
from throughtime.tasks import Sample

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
ORIGIN = {"device": "cpu"}


@pytest.fixture
def modules(monkeypatch):
    """Scripts find the modules beside them."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


@pytest.mark.usefixtures("modules")
def test_a_grid_has_as_many_points_as_it_says():
    from benchmark_runs import SCALES_AND_SEEDS, grid

    for points in SCALES_AND_SEEDS:
        axes = grid(points)
        assert len(set(itertools.product(*axes.values()))) == points
        assert min(axes["recurrent_scale"]) == 0.5
        assert max(axes["recurrent_scale"]) < 2


def numbers(folder, *results):
    from benchmark_runs import read

    book = Ledger(folder)
    book.append(results, ORIGIN, "run")
    book.close()
    return read(folder / "records.jsonl").numbers


def timed(measured, seconds):
    return measured._replace(shared=measured.shared | {"seconds": seconds, "networks_at_once": 16})


@pytest.mark.usefixtures("modules")
def test_rows_are_equal_if_every_number_and_curve_is(tmp_path):
    from benchmark import Benchmark, Case

    one, other = timed(result(1.0), 0.1), timed(result(2.0), 0.1)
    curves = one.curves.copy()
    curves[1, 0] = np.nextafter(curves[1, 0], 4)
    benchmark, case = Benchmark(tmp_path), Case("basic", "cold", 2)
    assert not benchmark._check_numbers(case, numbers(tmp_path / "a", one, other))
    assert benchmark._check_numbers(case, numbers(tmp_path / "b", other, timed(one, 7.0)))
    for changed in (one._replace(curves=curves), timed(result(1.0, ratio=1 + 2**-52), 0.1)):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(RuntimeError, match=f"1 points differ, the first is {one.point.key}"):
            benchmark._check_numbers(case, numbers(folder, changed, other))
    with pytest.raises(RuntimeError, match="recorded 1 points"):
        benchmark._check_numbers(case, numbers(tmp_path / "few", one))


@pytest.mark.usefixtures("modules")
def test_what_the_small_sweeps_cannot_tell_apart_is_not_a_number():
    from benchmark import BASE, _per_point

    assert _per_point(3.0 + 0.5, [2.0, 3.0, 3.5], BASE + 100) is None
    assert _per_point(3.0 + 2.0, [2.0, 3.0, 3.5], BASE + 100) == 20.0


def point(length):
    own = {"cell": "elman", "task": "radar", "recurrent_scale": 1.0, "dtype": "float32"}
    sizes = {"hidden_features": 32, "num_seeds": 1, "batch_size": 8, "sequence_length": length}
    return Point(**own, **sizes, seed=0, data_seed=0, loss_at="last")


@pytest.mark.peers
@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("length", [2, 50])
def test_the_loop_in_torch_does_the_same_work(length):
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'peers'")
    from benchmark_runs import radar_batch
    from benchmark_torch import draw, gradient_norms, log10_ratio

    batch, key = radar_batch(), program_key(point(length))
    inputs, targets = batch["inputs"][:, :length], batch["targets"][:, :length]
    swept = batch_source(key)(jnp.zeros(1, jnp.uint32), jnp.array([length], jnp.int32))
    assert np.allclose(swept.inputs[0, :, -length:], inputs, rtol=1e-5)
    assert np.allclose(swept.targets[0, :, -1], targets[:, -1], rtol=1e-5)

    weights = draw(3, 1.3, 2, 2)
    cell = make_cell("elman", 2, 32, recurrent_scale=1.0, rngs=nnx.Rngs(0))
    cell.input_kernel[...], cell.recurrent_kernel[...], readout = (
        jnp.asarray(each.numpy()) for each in weights
    )
    last = jnp.zeros((8, length), jnp.float32).at[:, -1].set(1)
    sample = Sample(jnp.asarray(inputs), jnp.asarray(targets), last)
    measured = gradient_diagnostics(cell, readout, task_of(key).loss, sample, jnp.int32(length))
    ours = np.asarray(measured.norms.mantissa) * 2.0 ** np.asarray(measured.norms.exponent)
    theirs = gradient_norms(weights, torch.from_numpy(inputs), torch.from_numpy(targets[:, -1]))
    assert np.allclose(ours, theirs[::-1], rtol=1e-5)
    assert np.isclose(log10_ratio(theirs), np.log10(ours[-1] / ours[0]), atol=1e-5)


@pytest.mark.usefixtures("modules")
def test_small_sweeps_start_anew_each_time_and_the_batched_ones_go_on(tmp_path, monkeypatch):
    import benchmark
    from benchmark_runs import Cost, Recorded

    seen = []

    def sweep(folder, case):
        seen.append((folder.name, *case))
        return Cost(10.0 * len(seen), 0.0, 0), None

    monkeypatch.setattr(benchmark, "sweep", sweep)
    monkeypatch.setattr(benchmark, "read", lambda path: Recorded({}, 3.0, {}))
    made = benchmark.Benchmark(tmp_path, repeats=2)
    assert made.small_sweeps("batched", "warm") == ([7.0, 27.0], [20.0, 40.0])
    case = ("batched", "warm", benchmark.BASE)
    assert seen == [(f"batched-25-{i}", *case) for i in (0, 0, 1, 1)]
    assert made.small_sweeps("basic", "cold") == ([47.0, 57.0], [])
    assert made.small_sweeps("basic", "cold") == ([47.0, 57.0], [])
    assert len(seen) == 6


QUICK = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import benchmark
benchmark.Benchmark._small_sweeps = lambda self, launcher, cache: ([1.0], [0.5])
benchmark.main()
"""
"""Of five processes less: what they are for is timed alone, and not looked at here."""


@pytest.mark.slow
@pytest.mark.peers
def test_all_launchers_record_equal_rows(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", QUICK, str(EXPERIMENTS), "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    written = tmp_path / "results" / "benchmark" / "runs" / "quick"
    table = pd.read_csv(written / "table.csv").set_index(["launcher", "cache", "points"])
    equal = table["equal_rows"].dropna()
    assert set(equal) == {"yes"}
    assert set(equal.index) == {
        ("joblib", "cold", 50),
        ("batched", "cold", 50),
        ("batched", "warm", 50),
    }
    assert (table[["source", "cpu", "torch"]].notna()).all(axis=None)
    assert "equal_rows" in (written / "table.md").read_text()
