"""Cells that leak, that skip, and whose terms are normalised, against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import factored, gamma, near, states
from flax import nnx

from throughtime.cells import CELLS, SYSTEMS, as_step, hidden, make_cell, options_of
from throughtime.dynamics import rollout
from throughtime.mitigations import combine
from throughtime.points import InputError, read_point

D, N, T = 3, 4, 6
NAMES = [name for name in CELLS if name not in SYSTEMS]


def build(name, size=N, d=D, **options):
    options = {"recurrent_scale": 1.3, "dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return make_cell(name, d, 1 if name == "scalar" else size, **options)


def drive(length=T, d=D):
    return jax.random.normal(jax.random.key(1), (length, d), jnp.float64)


def carries(cell, inputs):
    """The carries of a Python loop, the first of them initial."""
    found = [cell.initialize_carry((cell.in_features,), nnx.Rngs(0))]
    for x in inputs:
        found.append(cell(found[-1], x)[0])
    return found


def normal(a):
    return (a - a.mean()) / np.sqrt(a.var() + 1e-5)


@pytest.mark.parametrize(
    "name", ["elman", "lstm", pytest.param("flax_lstm", marks=pytest.mark.slow)]
)
def test_a_leaky_cell_is_a_loop_of_convex_sums(name):
    plain, slow = build(name), build(name, leak=0.3)
    state = plain.initialize_carry((D,), nnx.Rngs(0))
    for x, carry in zip(drive(), carries(slow, drive())[1:], strict=True):
        new = plain(state, x)[0]
        state = jax.tree.map(lambda s, to: 0.7 * s + 0.3 * to, state, new)
        for one, other in zip(jax.tree.leaves(carry), jax.tree.leaves(state), strict=True):
            assert near(one, other, states(T, D + N))
    assert np.array_equal(slow(carry, x)[1], hidden(slow(carry, x)[0]))


def test_the_gradient_of_a_leaky_neuron_is_a_power():
    step, h0, _ = as_step(build("scalar", leak=0.25, recurrent_scale=0.6))
    last = jax.grad(lambda h: rollout(step, h, drive())[-1, 0])(h0)
    assert np.allclose(last, (1 - 0.25 + 0.25 * 0.6) ** T, rtol=gamma(4 * T), atol=0)


@pytest.mark.parametrize(
    "name", ["elman", "lstm", pytest.param("flax_gru", marks=pytest.mark.slow)]
)
def test_a_skipping_cell_sees_the_mean_of_two_states(name):
    plain, lag = build(name), 3
    carry = plain.initialize_carry((D,), nnx.Rngs(0))
    past = [hidden(carry)] * lag
    found = carries(build(name, skip=lag), drive())
    assert hidden(found[0]).shape == (N,)
    for x, skipped in zip(drive(), found[1:], strict=True):
        seen = (past[-1] + past[-lag]) / 2
        carry = plain((carry[0], seen) if isinstance(carry, tuple) else seen, x)[0]
        past.append(hidden(carry))
        assert near(hidden(skipped), past[-1], states(T, D + N))
        if isinstance(carry, tuple):
            assert near(skipped[-2], carry[0], states(T, D + N))


@pytest.mark.parametrize("lag", [2, 5])
def test_the_gradient_of_a_skipping_neuron_is_a_recursion(lag):
    """With w = 2 and lag 2 it is Fibonacci's: g_k = g_{k−1} + g_{k−2}."""
    cell, steps = build("scalar", d=1, skip=lag, recurrent_scale=2.0), 12
    line, a = cell.initialize_carry((1,))
    inputs = jnp.zeros((steps, 1), jnp.float64)

    def last(a):
        step, h0, _ = as_step(cell, (line, a))
        return rollout(step, h0, inputs)[:, -1]

    expected = [0] * (lag - 1) + [1]
    for _ in range(steps):
        expected.append(expected[-1] + expected[-lag])
    assert np.array_equal(jax.jacfwd(last)(a)[:, 0], expected[lag:])
    if lag == 2:
        assert expected[-1] == 233


def test_what_leaks_is_the_cell_and_not_the_delay_line():
    both, leaky = build("lstm", leak=0.3, skip=2), build("lstm", leak=0.3)
    line, c, h = carries(both, drive())[-2]
    new = both((line, c, h), drive()[-1])[0]
    assert np.array_equal(new[0][0], h)
    expected = leaky((c, (h + line[0]) / 2), drive()[-1])[0]
    assert np.array_equal(new[1], expected[0])
    assert np.array_equal(new[2], expected[1])


def test_before_the_sequence_the_state_has_always_been_the_same():
    cell = build("flax_gru", skip=3)
    line, h = cell.initialize_carry((2, D), nnx.Rngs(0), jax.nn.initializers.ones)
    assert np.array_equal(h, np.ones((2, N)))
    assert np.array_equal(line, np.ones((2, 2, N)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_can_be_wrapped_and_batched(name):
    cell = build(name, leak=0.5, skip=3)
    assert (cell.in_features, cell.num_feature_axes) == (D, 1)
    carry = cell.initialize_carry((2, D), nnx.Rngs(0))
    batched = cell(cell(carry, drive(2))[0], drive(2) + 1)[1]
    singly = [hidden(carries(cell, [x, x + 1])[-1]) for x in drive(2)]
    assert batched.shape == (2, cell.hidden_features)
    assert near(batched, singly, states(1, D + N))


def test_layer_norm_of_an_elman_cell_and_an_lstm():
    elman = build("elman", layer_norm=True)
    lstm = build("lstm", layer_norm=True)
    for cell in (elman, lstm):
        size = cell.bias[...].size
        cell.bias[...] = cell.bias[...] + jnp.linspace(-0.5, 0.7, size)
        cell.input_gain[...] = jnp.linspace(0.5, 1.5, size)
        cell.recurrent_gain[...] = jnp.linspace(2.0, 1.0, size)
    h = np.zeros(N)
    h2, c = np.zeros(N), np.zeros(N)
    for x in np.asarray(drive()):
        h = np.tanh(terms(elman, x, h, 1)[0])
        i, f, g, o = terms(lstm, x, h2, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h2 = np.tanh(c) / (1 + np.exp(-o))
    normed = states(4 * T, D + N)  # mean, variance and root beside the sums
    assert near(hidden(carries(elman, drive())[-1]), h, normed)
    assert near(hidden(carries(lstm, drive())[-1]), h2, normed)


def terms(cell, x, h, gates):
    """The pre-activations of each gate, normalised."""
    names = ("input_kernel", "recurrent_kernel", "input_gain", "recurrent_gain", "bias")
    arrays = [np.asarray(getattr(cell, name)[...]) for name in names]
    split = [np.split(array, gates, axis=-1) for array in arrays]
    return [
        g_x * normal(x @ w_x) + b + g_h * normal(h @ w_h)
        for w_x, w_h, g_x, g_h, b in zip(*split, strict=True)
    ]


def test_layer_norm_of_a_gru_normalises_before_the_reset_gate():
    cell, h = build("gru", layer_norm=True), np.linspace(-1, 1, N)
    x = np.asarray(drive()[0])
    w_x, w_h = (
        np.split(np.asarray(k[...]), 3, 1) for k in (cell.input_kernel, cell.recurrent_kernel)
    )
    r, z = (1 / (1 + np.exp(-normal(x @ w_x[j]) - normal(h @ w_h[j]))) for j in (0, 1))
    n = np.tanh(normal(x @ w_x[2]) + r * normal(h @ w_h[2]))
    assert near(cell(jnp.asarray(h), drive()[0])[0], (1 - z) * n + z * h, states(4, D + N))


@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_without_layer_norm_the_cell_is_what_it_was(name):
    plain, without = build(name), build(name, layer_norm=False)
    assert set(nnx.state(plain)) == set(nnx.state(without))
    assert not {"input_gain", "recurrent_gain"} & set(nnx.state(plain))
    normalised = nnx.state(build(name, layer_norm=True))
    for key, leaf in nnx.state(plain).items():
        assert np.array_equal(leaf[...], normalised[key][...])
    step, h0, _ = as_step(plain)
    program = str(jax.make_jaxpr(step)(h0, drive()[0]))
    assert "rsqrt" not in program
    assert "sqrt" not in program


@pytest.mark.parametrize("name", ["orthogonal", "identity"])
@pytest.mark.parametrize("cell", ["lstm", "flax_optimized_lstm"])
def test_initialisations_are_of_each_gate(name, cell):
    options = combine([(name, {})], cell).cell_options
    built = build(cell, recurrent_scale=0.7, **options)
    kernel = built.recurrent_kernel if cell == "lstm" else built.dense_h.kernel
    for gate in np.split(np.asarray(kernel[...]), 4, axis=1):
        assert near(gate.T @ gate, 0.49 * np.eye(N), factored(1, N, jnp.float32))
        if name == "identity":
            assert np.allclose(gate, 0.7 * np.eye(N), rtol=gamma(2, jnp.float32), atol=0)


def test_opened_gates():
    lstm = build("lstm", **combine([("forget_bias", {"value": 2})], "lstm").cell_options)
    gru = build("gru", **combine([("forget_bias", {"value": 2})], "gru").cell_options)
    assert np.array_equal(lstm.bias[...], np.repeat([0, 2, 0, 0], N))
    assert np.array_equal(gru.bias[...], np.repeat([0, 2, 0], N))
    chrono = combine([("chrono", {"steps": 100})], "lstm").cell_options
    expected = build("lstm", chrono_steps=100)
    assert np.array_equal(build("lstm", **chrono).bias[...], expected.bias[...])
    assert expected.bias[...].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"leak": 0.0}, "leak must be > 0 and at most 1, not 0.0."),
        ({"leak": 1.5}, "not 1.5."),
        ({"skip": 1}, "skip must be at least 2 steps, not 1."),
        ({"layer_norm": True, "size": 1}, "layer_norm needs at least 2 hidden features, not 1."),
        ({"skipp": 2}, "did you mean 'skip'?"),
    ],
)
def test_bad_cells_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        build("elman", **options)


def test_options_by_cell():
    assert "leak" not in options_of("henon")
    assert {"leak", "skip", "ensemble"} <= set(options_of("flax_gru"))
    assert "layer_norm" not in options_of("flax_gru")
    with pytest.raises(ValueError, match="option of cell 'henon' 'leak'"):
        make_cell("henon", 0, 2, recurrent_scale=1.0, leak=0.5, rngs=nnx.Rngs(0))


def test_points_have_the_options():
    config = {"cell": {"name": "elman", "layer_norm": True, "leak": 0.5, "skip": 2}}
    config |= {"task": {"name": "noise"}, "diagnostic": {"name": "gradient"}}
    config |= {"sequence_length": 4, "hidden_features": 2, "num_seeds": 1, "seed": 0}
    config |= {"data_seed": 0, "batch_size": 1, "dtype": "float32", "loss_at": "last"}
    config |= {"match": "units"}
    point = read_point(config | {"recurrent_scale": 1.0})
    assert dict(point.cell_options) == {"layer_norm": True, "leak": 0.5, "skip": 2}
    config["cell"] = {"name": "elman", "layer_norm": 1}
    with pytest.raises(InputError, match="layer_norm must be true or false, not 1"):
        read_point(config | {"recurrent_scale": 1.0})
