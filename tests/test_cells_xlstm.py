"""The cells of the xLSTM: what their stabiliser must not change, and what it must keep finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recurrences
from bounds import near, states
from flax import nnx

from throughtime.cells import as_step, gate_values, hidden, make_cell
from throughtime.dynamics import rollout

D, N, T = 3, 4, 30
FORGET = ("sigmoid", "exponential")


def build(name, dtype=jnp.float32, **options):
    options = {"recurrent_scale": 1.0} | options
    return make_cell(name, D, N, dtype=dtype, rngs=nnx.Rngs(0), **options)


def weights(cell):
    state = nnx.state(cell)
    return {key: np.asarray(state[key][...], float) for key in state}


def drive(length=T, scale=1.0):
    return scale * jax.random.normal(jax.random.key(1), (length, D), jnp.float32)


def outputs(cell, xs):
    step, h0, unravel = as_step(cell)
    states = jax.jit(lambda xs: rollout(step, h0, xs))(xs)
    return np.asarray(jax.vmap(lambda h: hidden(unravel(h)))(states), float)


def with_gates(name, size, shift, **options):
    """A cell whose ln i, and ln f of an exponential gate, are of that size around that shift."""
    cell = build(name, **options)
    if name == "mlstm":
        cell.gate_kernel[...] = size * cell.gate_kernel[...]
        cell.gate_bias[...] = jnp.asarray([shift, -shift / 4], jnp.float32)
    else:
        gates = jnp.arange(4 * N) < 2 * N
        factors = jnp.where(gates, size, 1.0).astype(jnp.float32)[None]
        cell.input_kernel[...] = factors * cell.input_kernel[...]
        cell.recurrent_kernel[...] = factors * cell.recurrent_kernel[...]
        shifts = jnp.repeat(jnp.asarray([shift, -shift / 4, 0, 0], jnp.float32), N)
        cell.bias[...] = shifts
    return cell


# A pre-activation of 100 is rounded to 4e-6 in float32, and so is, relatively, its exponential.
@pytest.mark.parametrize(("size", "shift"), [(30.0, 0.0), (10.0, 150.0), (1.0, -150.0)])
@pytest.mark.parametrize("forget_gate", FORGET)
def test_slstm_with_gates_beyond_float32_is_right(size, shift, forget_gate):
    cell, xs = with_gates("slstm", size, shift, forget_gate=forget_gate), drive(8)
    exact = recurrences.slstm(weights(cell), np.asarray(xs, float), 1.0, forget_gate)
    assert np.allclose(outputs(cell, xs), exact, rtol=1e-3, atol=2e-5)
    assert np.abs(exact).max() > 0.1


@pytest.mark.parametrize(("size", "shift"), [(60.0, 0.0), (10.0, 150.0)])
@pytest.mark.parametrize("forget_gate", FORGET)
def test_mlstm_with_gates_beyond_float32_is_right(size, shift, forget_gate):
    cell, xs = with_gates("mlstm", size, shift, forget_gate=forget_gate), drive(8)
    exact = recurrences.mlstm(weights(cell), np.asarray(xs, float), 1.0, forget_gate)
    terms = np.asarray(cell.gate_terms(xs))
    assert terms[:, 0].max() > 89  # e^89 overflows
    assert np.allclose(outputs(cell, xs), exact, rtol=1e-3, atol=2e-5)
    assert np.abs(exact).max() > 0.3


def test_mlstm_with_closed_gates_is_small_and_right():
    """ln i near −40: the divisor is 1, and h near e^−40, far below the rounding of 1."""
    cell, xs = with_gates("mlstm", 1.0, -40.0, forget_gate="sigmoid"), drive(8)
    exact = recurrences.mlstm(weights(cell), np.asarray(xs, float), 1.0)
    assert np.abs(exact).max() < 1e-15
    assert np.allclose(outputs(cell, xs), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["slstm", "mlstm"])
def test_the_stabiliser_is_seen_by_no_output_and_no_gradient(name):
    """(c e^−δ, n e^−δ, m + δ) is the same memory, and along (−c, −n, 1) no gradient has a part."""
    cell, xs = build(name, jnp.float64), drive(6).astype(jnp.float64)
    step, h0, unravel = as_step(cell)
    (c, n, m, h), later = unravel(rollout(step, h0, xs)[-1]), xs[::-1]

    def after(c, n, m):
        found = jax.lax.scan(cell, (c, n, m, h), later)[1]
        return jnp.sum(jnp.sin(found)), found

    after = jax.jit(jax.value_and_grad(after, (0, 1, 2), has_aux=True))
    (_, found), (by_c, by_n, by_m) = after(c, n, m)
    for shift in (-3.0, 5.0):
        factor = np.exp(-shift)
        assert near(after(c * factor, n * factor, m + shift)[0][1], found, states(6, D + N))
    axes = (0, 1) if name == "mlstm" else ()
    parts = by_m - np.sum(by_c * c, axis=axes) - (by_n @ n if name == "mlstm" else by_n * n)
    # Sums over T states of both, which cancel: relative to the largest of them.
    sizes = [np.abs(by_c * c).max(), np.abs(by_n * n).max(), np.abs(by_m).max()]
    assert np.abs(parts).max() < states(4 * len(xs), N * N) * max(sizes)
    assert np.abs(by_m).max() > 1e-4


def test_slstm_is_a_mean_of_what_it_was_given():
    """Of equal z the mean is z whatever the gates; at ln f = 0 and ln i = 0 all weigh the same."""
    cell = build("slstm", jnp.float64, forget_gate="exponential")
    cell.recurrent_kernel[...] = 0 * cell.recurrent_kernel[...]
    xs, kernel = drive(T).astype(jnp.float64), np.array(cell.input_kernel[...])
    kernel[:, 2 * N : 3 * N] = 0
    cell.input_kernel[...] = jnp.asarray(kernel)
    cell.bias[...] = cell.bias[...].at[2 * N : 3 * N].set(0.7)
    o = recurrences.sig(np.asarray(xs) @ kernel[:, 3 * N :])
    assert near(outputs(cell, xs), o * np.tanh(0.7), states(T, D + N))
    kernel[:, : 2 * N], kernel[:, 2 * N : 3 * N] = 0, 0.5
    cell.input_kernel[...] = jnp.asarray(kernel)
    z = np.tanh(np.asarray(xs) @ kernel[:, 2 * N : 3 * N] + 0.7)
    means = np.cumsum(z, axis=0) / np.arange(1, T + 1)[:, None]
    assert near(outputs(cell, xs), o * means, states(T, D + N))


def test_mlstm_forgets_by_its_gain_and_says_nothing_of_nothing():
    """C_T = Π g f · C_1 of a memory that is given nothing more; at g = 0 it is C_T = i v kᵀ."""
    cell = build("mlstm", jnp.float64, recurrent_scale=0.9)
    f = 0.9 * recurrences.sig(3.0)
    given, silence = jnp.asarray([1.0, -2.0, 0.5], jnp.float64), jnp.zeros(D, jnp.float64)
    move = jax.jit(lambda carry, x: cell(carry, x))
    carry, _ = move(cell.initialize_carry((D,)), given)
    first = carry[0] * jnp.exp(carry[2])[None]
    for steps in range(1, 5):
        carry, output = move(carry, silence)
        c, _, m, _ = carry
        assert near(np.asarray(c) * np.exp(m), f**steps * first, states(steps, D))
        assert np.array_equal(output, np.zeros(N))
    forgetful = build("mlstm", jnp.float64, recurrent_scale=0.0)
    step, h0, _ = as_step(forgetful)
    xs = drive(4).astype(jnp.float64)
    slope = jax.jit(lambda h, x: (step(h, x), jax.jacfwd(step)(h, x)))
    memory = slice(N * N + N)
    now = slope(h0, xs[0])[0]
    new, jacobian = slope(now, xs[1])
    assert near(new[memory], slope(h0, xs[1])[0][memory], states(1, D + N))
    assert not np.allclose(new[memory], now[memory])
    assert np.array_equal(jacobian, np.zeros_like(jacobian))


def test_silence_after_a_very_open_gate_is_no_division_by_zero():
    cell = build("mlstm")
    cell.gate_kernel[...] = jnp.full((D, 2), 100.0, jnp.float32)
    carry, _ = cell(cell.initialize_carry((D,)), jnp.ones(D, jnp.float32))
    assert carry[2] > 290
    carry, output = cell(carry, jnp.zeros(D, jnp.float32))
    assert np.array_equal(output, np.zeros(N))


def test_gates_that_are_bounded_are_shown():
    for name in ("slstm", "mlstm"):
        cell, xs = build(name, jnp.float64), drive(1)[0].astype(jnp.float64)
        carry = cell(cell.initialize_carry((D,)), xs)[0]
        w, h = weights(cell), np.asarray(carry[3])
        found = gate_values(cell, carry, xs)
        assert set(found) == {"forget", "output"}
        if name == "slstm":
            terms = np.asarray(xs) @ w["input_kernel"] + h @ w["recurrent_kernel"] + w["bias"]
            f, o = terms[N : 2 * N], terms[3 * N :]
        else:
            f = np.asarray(xs) @ w["gate_kernel"][:, 1:] + w["gate_bias"][1:]
            o = np.asarray(xs) @ w["input_kernel"][:, 3 * N :]
        assert near(found["forget"].values, recurrences.sig(f), states(1, D + N))
        assert near(found["output"].values, recurrences.sig(o), states(1, D + N))
        assert set(gate_values(build(name, jnp.float64, forget_gate="exponential"), carry, xs)) == {
            "output"
        }
