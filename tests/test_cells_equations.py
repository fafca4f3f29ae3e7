"""Cells against their equations in NumPy, and their derivatives against complex steps of these."""

import cell_steps
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, gamma, near, states
from flax import nnx

from throughtime.cells import as_step, gate_values, make_cell
from throughtime.dynamics import rollout

D, N, T = 3, 4, 6
CASES = {
    "mgu": {},
    "ugrnn": {},
    "minimal_rnn": {},
    "lstm_peephole": {},
    "lstm_coupled": {},
    "lem": {"step_size": 0.7},
    "cornn": {"step_size": 0.3},
    "antisymmetric": {"step_size": 0.4, "damping": 0.3},
    "antisymmetric+gated": {"step_size": 0.4, "damping": 0.3, "gated": True},
    "exp_rnn": {},
    "exp_rnn+cayley": {"map": "cayley"},
}
GATED = ("mgu", "ugrnn", "minimal_rnn")


def build(name, **options):
    options = {"recurrent_scale": 1.3, "dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return make_cell(name.split("+")[0], D, N, **options)


def arrays(state):
    return {name: np.asarray(leaf[...]) for name, leaf in state.items()}


def directions(tree, seed):
    """Noise in the shape of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]  # noqa: B905
    return jax.tree.unflatten(structure, noise)


@pytest.mark.parametrize("name", CASES)
def test_equations_and_derivatives_by_state_and_weights(name):
    """All weights are non-zero, biases and skew matrices too; the derivative is by all at once."""
    cell, base = build(name, **CASES[name]), name.split("+")[0]
    graphdef, state = nnx.split(cell)
    state = jax.tree.map(lambda leaf, noise: leaf + 0.4 * noise, state, directions(state, 1))
    cell = nnx.merge(graphdef, state)
    h0 = directions(as_step(cell).h0, 2) / 2
    tangents = directions((state, h0), 3)
    xs = jax.random.normal(jax.random.key(4), (T, D), jnp.float64)

    def last(state, h):
        return rollout(as_step(nnx.merge(graphdef, state)).step, h, xs)[-1]

    found, derivative = jax.jit(lambda *at: jax.jvp(last, at, tangents))(state, h0)
    w, v = arrays(state), arrays(tangents[0])
    moved = {key: w[key] + 1j * cell_steps.EPSILON * v[key] for key in w}
    start = np.asarray(h0) + 1j * cell_steps.EPSILON * np.asarray(tangents[1])
    consts = cell_steps.constants(cell)
    expected, gates = cell_steps.follow(base, moved | consts, start, np.asarray(xs))
    assert near(found, expected.real, states(T, D + N))
    # A derivative adds as many terms for each of the T states and each of its functions.
    assert near(derivative, expected.imag / cell_steps.EPSILON, states(4 * T, D + N))
    opened = gate_values(cell, as_step(cell).unravel(h0), xs[0])
    assert set(opened) == set(gates[0])
    for gate, values in gates[0].items():
        assert near(opened[gate].values, values.real, states(1, D + N))
        assert (opened[gate].low, opened[gate].high) == (0, 1)


@pytest.mark.parametrize("name", GATED)
def test_a_positive_bias_keeps_the_state(name):
    """Without recurrent weights the Jacobian is the gate: σ(b) at the bias, T steps its power."""
    cell = build(name, recurrent_scale=0.0, update_bias=2.0)
    step = as_step(cell).step
    nothing = jnp.zeros(D, jnp.float64)
    if name == "mgu":  # whose candidate is of its own state without weights, too: a constant
        assert np.array_equal(cell.bias[...], np.repeat([-2.0, 0.0], N))
    jacobian = jax.jacfwd(step)(jnp.full(N, 0.3, jnp.float64), nothing)
    assert near(jacobian, np.eye(N) * cell_steps.sig(2.0), states(1, D + N))


@pytest.mark.parametrize("name", [*GATED, "lstm_coupled", "lstm_peephole"])
def test_chrono_biases_open_the_gate_that_keeps(name):
    cell = build(name, chrono_steps=100)
    kept = {
        "mgu": lambda: -cell.bias[...][:N],
        "ugrnn": lambda: cell.bias[...][:N],
        "minimal_rnn": lambda: cell.gate_bias[...],
        "lstm_coupled": lambda: cell.bias[...][:N],
        "lstm_peephole": lambda: cell.bias[...][N : 2 * N],
    }[name]()
    assert np.all((np.exp(kept) > 1) & (np.exp(kept) < 99))
    assert len(set(np.asarray(kept))) == N
    biases = np.count_nonzero(cell.bias[...])
    assert biases == {"minimal_rnn": 0, "lstm_peephole": 2 * N}.get(name, N)


def test_an_lstm_is_its_variants_without_what_they_add():
    plain, peephole = build("lstm"), build("lstm_peephole")
    carry = tuple(jax.random.normal(jax.random.key(5), (2, 2, N), jnp.float64))
    x = jnp.ones((2, D), jnp.float64)
    assert not np.allclose(plain(carry, x)[1], peephole(carry, x)[1], rtol=1e-3)
    peephole.peepholes[...] = 0 * peephole.peepholes[...]
    assert near(plain(carry, x)[1], peephole(carry, x)[1], states(1, D + N))
    coupled = build("lstm_coupled")
    for name in ("input_kernel", "recurrent_kernel", "bias"):
        _, f, g, o = jnp.split(getattr(plain, name)[...], 4, axis=-1)
        getattr(coupled, name)[...] = jnp.concatenate([f, g, o], axis=-1)
        getattr(plain, name)[...] = jnp.concatenate([-f, f, g, o], axis=-1)
    assert near(plain(carry, x)[1], coupled(carry, x)[1], states(1, D + N))


def test_peepholes_are_as_large_as_a_recurrent_weight():
    size, gain = 1000, 1.7
    cell = make_cell("lstm_peephole", 1, size, recurrent_scale=gain, rngs=nnx.Rngs(0))
    assert cell.peepholes[...].shape == (size, 3)
    ours, theirs = np.asarray(cell.peepholes[...]), np.asarray(cell.recurrent_kernel[...])
    ratio = np.var(ours) / np.var(theirs)
    assert abs(ratio - 1) < 4 * np.sqrt(2 / (3 * size))


@pytest.mark.parametrize("name", ["mgu", "lem"])
def test_a_gate_that_reads_by_itself_reads_what_it_would_among_all(name):
    cell = build(name, layer_norm=True)
    cell.recurrent_gain[...] = jnp.linspace(0.5, 1.5, cell.gates * N)
    h = jax.random.normal(jax.random.key(6), (2, N), jnp.float64)
    whole = np.asarray(cell.recurrent_terms(h))
    last = cell.recurrent_terms(h, cell.gates - 1)
    first = cell.recurrent_terms(h, 0, cell.gates - 1)
    # Of a mean, a variance and a root.
    rounding = gamma(4 * N + FUNCTION)
    assert near(jnp.concatenate([first, last], axis=1), whole, rounding)
    normal = whole[:, :N] / np.linspace(0.5, 1.5, cell.gates * N)[:N]
    assert np.allclose(np.mean(normal, axis=1), 0, atol=rounding * np.abs(normal).max())


@pytest.mark.parametrize("name", ["lem", "cornn", "antisymmetric"])
def test_time_goes_on(name):
    with pytest.raises(ValueError, match=r"step_size must be > 0, not 0\.0\."):
        build(name, step_size=0.0)
