"""Cells against their equations in NumPy and against PyTorch with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, gamma, near, states
from flax import nnx

from throughtime.cells import CELLS, SYSTEMS, as_step, hidden, inputs_of_their_own, make_cell
from throughtime.cells.activations import sigmoid, tanh
from throughtime.dynamics import rollout

D, N, T = 3, 4, 6


def sig(a):
    return 1 / (1 + np.exp(-a))


def build(name, **options):
    options = {"recurrent_scale": 1.3, "dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    size = 1 if name == "scalar" else len(SYSTEMS[name].start) if name in SYSTEMS else N
    cell = make_cell(name, options.pop("in_features", D), size, **options)
    for path, leaf in nnx.iter_graph(cell):
        # Biases are zero at the start, where an error in them would not show.
        if isinstance(leaf, nnx.Param) and "bias" in str(path[-1]):
            leaf[...] = leaf[...] + jnp.linspace(-0.5, 0.7, leaf[...].size)
    return cell


def drive(seed=1, length=T, d=D):
    return jax.random.normal(jax.random.key(seed), (length, d), jnp.float64)


def final_state(cell, inputs):
    step, h0, _ = as_step(cell)
    return rollout(step, h0, inputs)[-1]


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("identity", lambda a: a),
        ("sigmoid", sig),
        ("tanh", np.tanh),
        ("relu", lambda a: np.maximum(a, 0)),
    ],
)
def test_elman_and_scalar_equations(name, f):
    cell, xs, h = build("elman", activation=name), np.asarray(drive()), np.zeros(N)
    for x in xs:
        h = f(x @ cell.input_kernel[...] + h @ cell.recurrent_kernel[...] + cell.bias[...])
    assert near(final_state(cell, drive()), h, states(T, D + N))
    neuron, a = build("scalar", activation=name), 0.0
    for x in xs:
        a = f(1.3 * a + x @ neuron.input_weights[...])
    assert near(final_state(neuron, drive()), a, states(T, D + 1))


def test_gru_equations():
    cell, h = build("gru"), np.zeros(N)
    w_r, w_z, w_n = np.split(np.asarray(cell.input_kernel[...]), 3, axis=1)
    u_r, u_z, u_n = np.split(np.asarray(cell.recurrent_kernel[...]), 3, axis=1)
    b_r, b_z, b_n = np.split(np.asarray(cell.bias[...]), 3)
    for x in np.asarray(drive()):
        r, z = sig(x @ w_r + h @ u_r + b_r), sig(x @ w_z + h @ u_z + b_z)
        n = np.tanh(x @ w_n + b_n + r * (h @ u_n + cell.candidate_bias[...]))
        h = (1 - z) * n + z * h
    assert near(final_state(cell, drive()), h, states(T, D + N))


def test_lstm_equations():
    cell, c, h = build("lstm"), np.zeros(N), np.zeros(N)
    for x in np.asarray(drive()):
        a = x @ cell.input_kernel[...] + h @ cell.recurrent_kernel[...] + cell.bias[...]
        i, f, g, o = np.split(a, 4)
        c = sig(f) * c + sig(i) * np.tanh(g)
        h = sig(o) * np.tanh(c)
    assert near(final_state(cell, drive()), np.concatenate([c, h]), states(T, D + N))


def test_two_radar_points_by_hand():
    """ŷ = w_3 f(4 w_2 + w_n f(2 w_1)) of the introductory text, each step with its own weight."""
    w_1, w_2, w_3, w_n = 0.3, -0.2, 1.5, 0.8
    cell = build("scalar", activation="sigmoid", in_features=2, recurrent_scale=w_n)
    cell.input_weights[...] = jnp.array([w_1, w_2])
    cell.output_weight[...] = jnp.float64(w_3)
    carry = cell.initialize_carry((2,))
    for x in inputs_of_their_own(jnp.array([2.0, 4.0])):
        carry, output = cell(carry, x)
    assert near(output, w_3 * sig(4 * w_2 + w_n * sig(2 * w_1)), states(2, 2))


@pytest.mark.parametrize("f", [sigmoid, tanh], ids=["sigmoid", "tanh"])
def test_derivative_of_a_saturated_unit_is_small_and_not_lost(f):
    a = jnp.array([-40.0, -3.0, 0.0, 3.0, 40.0], jnp.float32)
    derivative = jax.vmap(jax.grad(f))(a)
    t = 2 * a.astype(jnp.float64) if f is tanh else a.astype(jnp.float64)
    exact = (4 if f is tanh else 1) * sig(t) * sig(-t)
    assert np.all(derivative > 0)
    assert np.allclose(derivative, exact, rtol=gamma(2 * FUNCTION, jnp.float32), atol=0)


def test_update_gate_keeps_and_forget_gate_forgets():
    cell = make_cell("gru", D, N, recurrent_scale=0.0, update_bias=30.0, rngs=nnx.Rngs(0))
    kept, _ = cell(jnp.full(N, 0.3, jnp.float32), jnp.zeros(D, jnp.float32))
    assert np.allclose(kept, 0.3, rtol=states(1, D + N, jnp.float32), atol=0)
    cell = make_cell("lstm", D, N, recurrent_scale=0.0, forget_bias=1.0, rngs=nnx.Rngs(0))
    carry = (jnp.ones(N, jnp.float32), jnp.zeros(N, jnp.float32))
    (c, _), _ = cell(carry, jnp.zeros(D, jnp.float32))
    assert np.allclose(c, sig(1.0), rtol=states(1, D + N, jnp.float32), atol=0)


def test_chrono_biases():
    lstm = make_cell("lstm", D, 2000, recurrent_scale=1.0, chrono_steps=100, rngs=nnx.Rngs(0))
    b_i, b_f, b_g, b_o = np.split(np.asarray(lstm.bias[...]), 4)
    assert np.array_equal(b_i, -b_f)
    assert not b_g.any()
    assert not b_o.any()
    times = np.exp(b_f)
    assert times.min() >= 1
    assert times.max() <= 99
    assert abs(times.mean() - 50) < 4 * 98 / np.sqrt(12 * 2000)
    gru = make_cell("gru", D, 2000, recurrent_scale=1.0, chrono_steps=100, rngs=nnx.Rngs(0))
    b_r, b_z, b_n = np.split(np.asarray(gru.bias[...]), 3)
    assert np.exp(b_z).max() <= 99
    assert (b_z >= 0).all()
    assert not b_r.any()
    assert not b_n.any()


@pytest.mark.parametrize("name", CELLS)
def test_the_state_is_the_whole_carry_and_batches_agree(name):
    cell = build(name)
    step, h0, unravel = as_step(cell)
    h = step(h0, drive()[0])
    assert np.array_equal(hidden(unravel(h)), h[-cell.hidden_features :])
    carry = cell.initialize_carry((2, D), nnx.Rngs(0))
    batched = hidden(cell(carry, drive(length=2))[0])
    singly = [hidden(unravel(step(h0, x))) for x in drive(length=2)]
    assert np.allclose(batched, singly, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in CELLS if name not in SYSTEMS])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_a_cell_computes_in_the_dtype_it_is_asked_for(name, dtype):
    step, h0, _ = as_step(build(name), dtype=dtype)
    reference, _, _ = as_step(build(name))
    x = drive()[0]
    assert step(h0, x.astype(dtype)).dtype == dtype
    tolerance = float(8 * jnp.finfo(dtype).eps)
    difference = step(h0, x.astype(dtype)).astype(jnp.float64) - reference(h0.astype(x.dtype), x)
    assert np.abs(difference).max() < tolerance * 4


def test_flax_cells_scale_their_own_ensemble():
    for name in ("flax_simple", "flax_gru", "flax_lstm", "flax_optimized_lstm"):
        once, twice = (
            nnx.state(make_cell(name, D, N, recurrent_scale=s, rngs=nnx.Rngs(0))) for s in (1, 2)
        )
        for (path, one), (_, two) in zip(
            nnx.to_flat_state(once), nnx.to_flat_state(twice), strict=True
        ):
            recurrent = str(path[0]) in ("dense_h", "hi", "hf", "hg", "ho")
            factor = 2 if recurrent and path[-1] == "kernel" else 1
            assert np.array_equal(factor * one[...], two[...])


def test_a_cell_that_widens_its_carry_is_named():
    class Widening(nnx.RNNCellBase):
        def __call__(self, carry, inputs):
            return carry.astype(jnp.float64), carry

    step = as_step(Widening(), jnp.zeros(1, jnp.float32)).step
    with pytest.raises(ValueError, match="Widening turns a float32 carry into float64"):
        step(jnp.zeros(1, jnp.float32), jnp.zeros(1, jnp.float32))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("elmann", {}, "unknown cell 'elmann'; did you mean 'elman'?"),
        ("lstm", {"forget_bais": 1}, "did you mean 'forget_bias'?"),
        ("elman", {"activation": "tan"}, "did you mean 'tanh'?"),
        ("gru", {"initializer": "orthogonl"}, "did you mean 'orthogonal'?"),
        ("scalar", {"initializer": "gaussian"}, "draws no recurrent weights"),
        ("scalar", {"in_features": 1}, "1 hidden feature, not 2"),
        ("lstm", {"chrono_steps": 1.0}, ">= 2, not 1.0"),
    ],
)
def test_bad_cells_are_refused_in_one_sentence(name, options, sentence):
    options = dict(options)
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        make_cell(
            name, options.pop("in_features", 1), 2, recurrent_scale=1.0, rngs=nnx.Rngs(0), **options
        )


@pytest.mark.peers
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_cells_and_their_gradients_equal_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'peers'")
    cell = build(name)
    peer = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[name](
        D, N, dtype=torch.float64
    )
    candidate = np.zeros(cell.bias[...].size)
    if name == "gru":
        candidate[2 * N :] = cell.candidate_bias[...]
    with torch.no_grad():
        peer.weight_ih_l0.copy_(torch.tensor(np.array(cell.input_kernel[...].T)))
        peer.weight_hh_l0.copy_(torch.tensor(np.array(cell.recurrent_kernel[...].T)))
        peer.bias_ih_l0.copy_(torch.tensor(np.array(cell.bias[...])))
        peer.bias_hh_l0.copy_(torch.tensor(candidate))
    xs = torch.tensor(np.array(drive()), requires_grad=True)
    outputs, _ = peer(xs)
    torch.sin(outputs).sum().backward()

    def loss(cell, inputs):
        step, h0, unravel = as_step(cell)
        states = rollout(step, h0, inputs)
        return jnp.sum(jnp.sin(jax.vmap(lambda h: hidden(unravel(h)))(states)))

    graphdef, state = nnx.split(cell)
    by_weights, by_inputs = jax.grad(
        lambda state, inputs: loss(nnx.merge(graphdef, state), inputs), argnums=(0, 1)
    )(state, drive())
    step, h0, unravel = as_step(cell)
    ours = jax.vmap(lambda h: hidden(unravel(h)))(rollout(step, h0, drive()))
    assert np.allclose(ours, outputs.detach(), rtol=1e-12)
    assert np.allclose(by_inputs, xs.grad, rtol=1e-11, atol=1e-14)
    for ours, theirs in (
        (by_weights["input_kernel"][...].T, peer.weight_ih_l0.grad),
        (by_weights["recurrent_kernel"][...].T, peer.weight_hh_l0.grad),
        (by_weights["bias"][...], peer.bias_ih_l0.grad),
    ):
        assert np.allclose(ours, theirs, rtol=1e-11, atol=1e-14)
