"""Paths of the gradient against the cells' equations in NumPy and mpmath, and sums over words."""

import functools
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from bounds import FUNCTION, gamma, near, states
from flax import nnx
from gated import STEPS, orbit, weights

from throughtime import paths
from throughtime.adjoints import adjoint_states
from throughtime.cells import CELLS, SYSTEMS, LSTMCell, as_step, make_cell
from throughtime.paths import gradient_paths, jacobian_paths, path_matrices
from throughtime.scaled import from_float, log_norm, to_float

D, N, T = 3, 2, 6
PARTS = ("highway", "gates", "recurrent")


def build(name, size=N, **options):
    options = {"recurrent_scale": 1.6, "dtype": jnp.float64, "rngs": nnx.Rngs(2)} | options
    cell = make_cell(name, D, size, **options)
    for path, leaf in nnx.iter_graph(cell):
        # Biases are zero at the start, where an error in them would not show.
        if isinstance(leaf, nnx.Param) and "bias" in str(path[-1]):
            leaf[...] = leaf[...] + jnp.linspace(-0.5, 0.7, leaf[...].size, dtype=leaf.dtype)
    return cell


def start(cell):
    h0 = as_step(cell).h0
    return h0 + jnp.linspace(-0.6, 0.8, len(h0), dtype=h0.dtype)


def drive(length=T, dtype=jnp.float64, seed=5):
    return jax.random.normal(jax.random.key(seed), (length, D), dtype)


@functools.cache
def measured(name):
    """All that is asked of a short sequence, compiled once for each cell."""
    cell = build(name)
    step, h0 = as_step(cell).step, start(cell)

    @jax.jit
    def everything(h, xs):
        return (
            jacobian_paths(cell, h, xs[0]),
            jax.jacfwd(step)(h, xs[0]),
            path_matrices(cell, h, xs),
        )

    return cell, everything, everything(h0, drive())


@pytest.mark.parametrize("name", STEPS)
def test_parts_of_a_step_are_those_of_its_equations_and_sum_to_its_jacobian(name):
    cell, _, (parts, jacobian, _) = measured(name)
    assert near(sum(parts), jacobian, states(1, D + N))
    exact = STEPS[name](weights(cell), np.asarray(start(cell)), np.asarray(drive()[0]))[1]
    for part, closed in zip(parts, exact, strict=True):
        assert np.abs(closed).max() > 0.01
        assert near(part, closed, states(1, D + N))
    memory = np.asarray(parts.highway)[:N, :N]
    assert np.array_equal(memory, np.diag(np.diag(memory)))


def lengths(matrices):
    return np.sqrt((np.asarray(matrices) ** 2).sum((-2, -1)))


def sums_over_words(steps):
    """Every word over H, G and R, put down to its first letter, from T backwards, that is no H."""
    sums = dict.fromkeys(PARTS, 0)
    for letters in itertools.product(range(3), repeat=len(steps)):
        word = functools.reduce(
            np.matmul, [step[i] for step, i in zip(steps, letters, strict=True)]
        )
        sums[PARTS[next((i for i in letters if i), 0)]] += word
    return sums


@pytest.mark.parametrize("name", STEPS)
def test_parts_are_sums_over_words_by_the_first_departure(name):
    cell, _, (_, _, matrices) = measured(name)
    steps = orbit(STEPS[name], weights(cell), np.asarray(start(cell)), np.asarray(drive()))
    for lag in range(1, T):
        sums = sums_over_words(steps[: T - 1 - lag : -1])
        whole = functools.reduce(np.matmul, [sum(step) for step in steps[: T - 1 - lag : -1]])
        sums["whole"] = whole
        rounding = states(lag + 1, D + N) * max(np.abs(exact).max() for exact in sums.values())
        for part, exact in sums.items():
            got = to_float(getattr(matrices, part))[lag]
            assert np.allclose(got, exact[:N, :N], rtol=0, atol=rounding), (part, lag)


@pytest.mark.parametrize("name", STEPS)
def test_parts_sum_to_the_whole_at_every_lag(name):
    _, _, (_, _, matrices) = measured(name)
    floats = {part: np.asarray(to_float(getattr(matrices, part))) for part in ("whole", *PARTS)}
    largest = np.max([lengths(part) for part in floats.values()], axis=0)
    defect = lengths(sum(floats[part] for part in PARTS) - floats["whole"]) / largest
    assert max(matrices.defect.max(), defect.max()) < states(T, D + N)
    assert np.array_equal(floats["whole"][0], np.eye(N))
    assert np.array_equal(floats["highway"][0], np.eye(N))
    assert not floats["gates"][0].any()
    assert not floats["recurrent"][0].any()


def test_the_defect_shows_a_part_that_is_missing(monkeypatch):
    """The whole is the cell's own and not the sum of the parts: here the gates read a constant."""
    cell, reading = build("gru", recurrent_scale=3.0, rngs=nnx.Rngs(0)), paths._reading

    def deaf(read, blocks, users):
        return reading(read, blocks, {**users, "g": jax.lax.stop_gradient(users["g"])})

    monkeypatch.setattr(paths, "_reading", deaf)
    matrices = jax.jit(lambda xs: path_matrices(cell, start(cell), xs))(drive())
    whole, *parts = (np.asarray(to_float(part)) for part in matrices[:4])
    norms = np.array([lengths(part) for part in (whole, *parts)])
    assert not parts[1].any()
    assert np.all(norms[0, 1:] < 0.95 * norms.max(axis=0)[1:])
    assert np.all(matrices.defect[1:] > 0.1)
    missing = lengths(sum(parts) - whole) / norms.max(axis=0)
    assert np.allclose(matrices.defect, missing, rtol=0, atol=states(T, D + N))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_without_weights_only_the_highway_is_left(name):
    """And cells may be traced: here there is one for each bias, under vmap."""
    biases, cells = np.array([-3.0, 4.0]), [build(name, recurrent_scale=0.0) for _ in range(2)]
    for cell, bias in zip(cells, biases, strict=True):
        cell.bias[...] = jnp.full_like(cell.bias[...], bias)
    graphdef, h0 = nnx.graphdef(cells[0]), start(cells[0])

    def measure(parameters):
        return gradient_paths(nnx.merge(graphdef, parameters), h0, jnp.zeros((400, D)))

    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, cells))
    found = jax.jit(jax.vmap(measure))(parameters)
    exact = np.arange(400) * -np.log1p(np.exp(-biases[:, None])) + np.log(N) / 2
    for part in (found.highway, found.whole):
        assert np.allclose(log_norm(part), exact, rtol=gamma(FUNCTION), atol=states(400, 1))
    assert np.all(log_norm(found.gates) == -np.inf)
    assert np.all(log_norm(found.recurrent) == -np.inf)
    assert found.defect.max() < states(400, 1)


LONG = {
    "lstm": {"size": 1, "recurrent_scale": 0.5, "forget_bias": -3.0},
    "gru": {"recurrent_scale": 0.14, "update_bias": -2.6},
}


def by_definition(steps, lag):
    """Σ_s H_T … H_{s+1} (G_s or R_s) J_{s−1} … J_{t+1} at t = T − lag, with the products of all."""
    unit = np.vectorize(mpmath.mpf, otypes=[object])(np.eye(len(steps[0][0])))
    highways = [*itertools.accumulate([step[0] for step in steps[::-1]], np.matmul, initial=unit)]
    later, gates, recurrent = unit, 0, 0
    for s in range(len(steps) - lag, len(steps)):
        highway = highways[len(steps) - 1 - s]
        gates = gates + highway @ steps[s][1] @ later
        recurrent = recurrent + highway @ steps[s][2] @ later
        later = sum(steps[s]) @ later
    return {"whole": later, "highway": highways[lag], "gates": gates, "recurrent": recurrent}


@pytest.mark.parametrize("name", LONG)
def test_two_thousand_steps_against_mpmath(name):
    cell, length = build(name, **LONG[name]), 2000
    h0, xs, m = start(cell), drive(length), cell.hidden_features
    found = jax.jit(lambda xs: gradient_paths(cell, h0, xs))(xs)
    to_mp = np.vectorize(lambda a: mpmath.mpf(float(a)), otypes=[object])
    with mpmath.workdps(30):
        steps = orbit(
            STEPS[name], [to_mp(w) for w in weights(cell)], to_mp(h0), to_mp(np.asarray(xs))
        )
        for lag in (1, 40, length - 1):
            for part, exact in by_definition(steps, lag).items():
                norm = mpmath.sqrt(sum(entry**2 for entry in exact[:m, :m].ravel()))
                mantissa, exponent = (float(a[lag]) for a in getattr(found, part))
                if norm == 0:
                    assert mantissa == 0
                    continue
                assert abs(mantissa * mpmath.mpf(2) ** int(exponent) / norm - 1) < states(
                    length, N
                ), part
    assert log_norm(found.whole)[-1] < -4000
    assert found.defect.max() < states(length, N)


@pytest.mark.slow
def test_float32_neither_overflows_nor_loses_the_sum():
    cell = build("lstm", size=8, recurrent_scale=16.0, forget_bias=1.0, dtype=jnp.float32)
    xs = drive(800, jnp.float32)
    found = jax.jit(lambda xs: gradient_paths(cell, as_step(cell).h0, xs))(xs)
    assert log_norm(found.whole)[-1] > 2 * np.log(np.finfo(np.float32).max)
    assert log_norm(found.highway)[-1] < np.log(np.finfo(np.float32).tiny)
    assert found.defect.max() < states(len(xs), 8, jnp.float32)


def test_a_row_of_adjoints_is_the_gradient_of_a_loss():
    cell, slope = build("lstm"), jnp.array([0.0, 0.0, 0.7, -1.3])

    @jax.jit
    def both(h0, xs):
        expected = adjoint_states(lambda states: states[-1] @ slope, as_step(cell).step, h0, xs)
        return expected, path_matrices(cell, h0, xs, slope[None])

    expected, got = both(start(cell), drive())
    assert got.whole.mantissa.shape == (T, 1, N)
    assert near(to_float(got.whole)[:, 0], to_float(expected)[::-1, :N], states(2 * T, D + N))
    assert not to_float(got.highway)[0].any()
    assert got.defect.max() < states(T, D + N)


@pytest.mark.slow
def test_one_step_has_one_lag():
    cell = build("gru")
    found = jax.jit(lambda: gradient_paths(cell, start(cell), drive(1)))()
    norms = [to_float(part).tolist() for part in found[:4]]
    assert np.allclose(norms, [[N**0.5], [N**0.5], [0], [0]], rtol=gamma(N * N), atol=0)


def test_a_batch_is_its_sequences_and_norms_are_those_of_the_matrices():
    cell, everything, _ = measured("gru")
    batch = jax.random.normal(jax.random.key(6), (3, T, D), jnp.float64)
    found = jax.jit(jax.vmap(lambda xs: gradient_paths(cell, start(cell), xs)))(batch)
    for i, xs in enumerate(batch):
        matrices = everything(start(cell), xs)[2]
        for part in ("whole", *PARTS):
            norms = to_float(getattr(found, part))[i]
            assert near(norms, lengths(to_float(getattr(matrices, part))), states(2 * T, D + N))
        assert max(found.defect[i].max(), matrices.defect.max()) < states(T, D + N)


def test_states_that_are_not_finite_leave_no_number():
    cell, everything, _ = measured("lstm")
    last = drive().at[-1, 0].set(jnp.nan)
    endless = start(cell).at[0].set(jnp.inf)
    for h0, xs in ((start(cell), last), (endless, drive())):
        matrices = everything(h0, xs)[2]
        for part in ("whole", *PARTS):
            assert np.isnan(log_norm(getattr(matrices, part))).all()
        assert np.isnan(matrices.defect).all()


def test_measuring_leaves_the_cell_as_it_was():
    cell, _, _ = measured("flax_lstm")
    assert all(isinstance(getattr(cell, name), nnx.Linear) for name in ("hi", "hf", "hg", "ho"))
    assert "recurrent_terms" not in vars(measured("lstm")[0])


class Peeking(LSTMCell):
    """A subclass may read its state by ways of its own."""


@pytest.mark.parametrize("name", [*sorted({*CELLS} - {*STEPS, *SYSTEMS}), "subclass"])
def test_cells_without_known_gates_are_refused(name):
    if name == "subclass":
        cell = Peeking(D, N, rngs=nnx.Rngs(0))
    else:
        cell = build(name, size=1 if name == "scalar" else 2, dtype=jnp.float32)
    with pytest.raises(ValueError, match=f"flax's GRUCell.*, not in {type(cell).__name__}"):
        gradient_paths(cell, as_step(cell).h0, drive(dtype=jnp.float32))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"h0": jnp.zeros(N)}, r"state of this cell is \(4,\) of float64, not \(2,\)"),
        ({"h0": jnp.zeros(2 * N, jnp.float32)}, "float64, not .* of float32"),
        ({"inputs": jnp.zeros((0, D))}, "at least 1 step, not 0"),
        ({"inputs": jnp.zeros((T, D + 1))}, r"\(T, 3\) of float64.*, not \(6, 4\)"),
        ({"inputs": jnp.zeros((2, T, D))}, r"vmap over a batch\), not \(2, 6, 3\)"),
        ({"inputs": jnp.zeros((T, D), jnp.float32)}, r"not \(6, 3\) of float32"),
        ({"adjoints": jnp.zeros(2 * N)}, r"must be \(p, 4\) of float64, not \(4,\)"),
        ({"adjoints": jnp.zeros((1, N))}, r"must be \(p, 4\) of float64, not \(1, 2\)"),
        ({"adjoints": jnp.zeros((1, 2 * N), jnp.float32)}, "of float64, not .* of float32"),
    ],
)
def test_arrays_that_do_not_fit_the_cell_are_refused(change, sentence):
    fitting = {"h0": jnp.zeros(2 * N), "inputs": jnp.zeros((T, D))}
    with pytest.raises(ValueError, match=sentence):
        gradient_paths(build("lstm"), **fitting | change)


def test_the_defect_of_matrices_whose_sum_of_squares_is_beyond_float16():
    """Of 2^18 numbers near 1, where the one part is 7/8 of the whole."""
    whole, part = (
        from_float(jnp.full((512, 512), size, jnp.float16)) for size in (0.875, 0.765625)
    )
    assert float(jax.jit(paths._defect)(whole, part)) == 0.125
