"""Gradients that are watched, against stacked systems, closed forms and formulas of the gates."""

import functools

import cell_steps
import gated
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import gamma
from flax import nnx
from jax.flatten_util import ravel_pytree

from throughtime.cells import CELLS, SYSTEMS, as_step, hidden, make_cell
from throughtime.dynamics import rollout
from throughtime.scaled import log_norm, to_float
from throughtime.watching import watch_gradients

B, T, D, N = 3, 6, 2, 4
OLDER = 3
INPUTS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
STEPS = jnp.zeros(T, jnp.float64).at[jnp.array([2, T - 1])].set(jnp.array([0.3, 1.0]))


def loss(outputs):
    """Of two steps, a mean over the batch whose sequences are not alike."""
    return jnp.mean(jnp.sum(jnp.sin(outputs), axis=2) @ STEPS * jnp.arange(1.0, 1 + len(outputs)))


def cell_of(name):
    """By the name in `CELLS`, and what is put around it."""
    name, *around = name.split("+")
    options = {"leaky": {"leak": 0.3, "skip": 2}, "stack": {"layers": 2, "slow_every": 2}}
    chosen = {key: value for each in around for key, value in options[each].items()}
    size = 1 if name == "scalar" else N
    return make_cell(
        name, D, size, recurrent_scale=1.4, dtype=jnp.float64, rngs=nnx.Rngs(0), **chosen
    )


@functools.cache
def program(name):
    """What is watched, and by plain autodiff dL/dθ_t and dL/dh_t of h_t = step(θ_t, h, x_t) + e_t.

    The parameters have a copy for each step, and the states of the batch lie side by side.
    """
    graphdef, state, rest = nnx.split(cell_of(name), nnx.Param, ...)
    theta, unflatten = ravel_pytree(state)

    def at(theta):
        return as_step(nnx.merge(graphdef, unflatten(theta), rest))

    def plain(thetas, moves, inputs):
        _, h0, unravel = at(theta)

        def forward(states, now):
            theta, move, xs = now
            states = jax.vmap(at(theta).step)(states, xs) + move
            cell = nnx.merge(graphdef, unflatten(theta), rest)
            weight = cell.output_weight[...] if name == "scalar" else 1.0
            return states, weight * jax.vmap(lambda h: hidden(unravel(h)))(states)

        driven = (thetas, moves, jnp.swapaxes(inputs, 0, 1))
        outputs = jax.lax.scan(forward, jnp.tile(h0, (B, 1)), driven)[1]
        return loss(jnp.swapaxes(outputs, 0, 1))

    def both(theta, inputs):
        copies, moves = jnp.tile(theta, (T, 1)), jnp.zeros((T, B, at(theta).h0.size))
        cell = nnx.merge(graphdef, unflatten(theta), rest)
        seen = watch_gradients(cell, inputs, loss, older_than=OLDER)
        by_step = jax.grad(plain, argnums=(0, 1))(copies, moves, inputs)
        return seen, *(each[::-1] for each in by_step)

    return theta, compiled(both, theta, INPUTS)


def compiled(function, *arguments):
    """The function, compiled as trainings are."""
    lowered = jax.jit(function).lower(*arguments)
    return lowered.compile({"xla_backend_optimization_level": 1})


FAST = ("elman",)
GATELESS = (*SYSTEMS, "order_blind")
SLOW = ["elman+stack+leaky", *(name for name in CELLS if name not in (*GATELESS, *FAST))]


@pytest.mark.parametrize("name", [*FAST, *[pytest.param(s, marks=pytest.mark.slow) for s in SLOW]])
def test_a_batch_is_watched_as_one_system_of_all_its_states(name):
    theta, both = program(name)
    seen, by_lag, adjoints = both(theta, INPUTS)
    assert np.allclose(to_float(seen.norms), np.linalg.norm(adjoints, axis=(1, 2)), rtol=1e-12)
    sizes = np.linalg.norm(by_lag, axis=1)
    assert np.allclose(to_float(seen.parameter_norms), sizes, rtol=1e-12)
    young, old = (np.linalg.norm(part.sum(axis=0)) for part in (by_lag[:OLDER], by_lag[OLDER:]))
    assert np.isclose(seen.older_share, old / (young + old), rtol=1e-11)
    assert 0 < seen.older_share < 1
    assert seen.first_bad_step == 0
    states = orbit(name, theta)
    expected = {} if states is None else shares(name, theta, states)
    assert set(seen.saturation) == set(expected)
    for gate, share in expected.items():
        assert np.isclose(seen.saturation[gate], share, rtol=1e-12)


def orbit(name, theta):
    """The states h_0 … h_{T−1} of each sequence, of cells whose gates are known."""
    gateless = ("scalar", "flax_simple", "exp_rnn", "antisymmetric", "cornn", "lru", "s5")
    if "+" in name or name in gateless:
        return None
    cell = rebuilt(name, theta)
    step, h0, _ = as_step(cell)
    states = jax.jit(jax.vmap(lambda xs: rollout(step, h0, xs)))(INPUTS)
    return np.concatenate([np.broadcast_to(h0, (B, 1, len(h0))), states[:, :-1]], axis=1)


def rebuilt(name, theta):
    graphdef, state, rest = nnx.split(cell_of(name), nnx.Param, ...)
    return nnx.merge(graphdef, ravel_pytree(state)[1](theta), rest)


def shares(name, theta, states):
    """The shares of saturated units, by the formulas of the gates in NumPy."""
    cell, xs = rebuilt(name, theta), np.asarray(INPUTS)
    if name == "elman":
        recurrent, bias = np.asarray(cell.recurrent_kernel[...]), np.asarray(cell.bias[...])
        units = np.tanh(xs @ np.asarray(cell.input_kernel[...]) + states @ recurrent + bias)
        return {"hidden": np.mean(np.abs(units) > 0.9)}
    if name in cell_steps.STEPS:
        return shares_by_equations(name, cell, states)
    if name in ("min_gru", "min_lstm", "selective", "mlstm"):
        gates = of_inputs(name, cell, xs)
        return {name: np.mean((gate < 0.05) | (gate > 0.95)) for name, gate in gates.items()}
    w_x, b, w_h, b_h = gated.weights(cell)
    h = states[..., -N:]
    terms = np.split(gated.sig(xs @ w_x + b + h @ w_h + b_h), len(b) // N, axis=-1)
    if "gru" in name:
        gates = dict(zip(("reset", "update"), terms[:2], strict=True))
    elif name == "slstm":
        gates = {"forget": terms[1], "output": terms[3]}
    else:
        gates = {"input": terms[0], "forget": terms[1], "output": terms[3]}
    return {name: np.mean((gate < 0.05) | (gate > 0.95)) for name, gate in gates.items()}


def shares_by_equations(name, cell, states):
    """The shares of saturated units, by the equations of the cell, step by step."""
    w = {key: np.asarray(leaf[...]) for key, leaf in nnx.state(cell).items()}
    w |= cell_steps.constants(cell)
    found = [
        cell_steps.STEPS[name](w, h, x)[1]
        for h, x in zip(
            states.reshape(B * T, -1), np.asarray(INPUTS).reshape(B * T, D), strict=True
        )
    ]
    gates = {gate: np.stack([each[gate] for each in found]) for gate in found[0]}
    return {gate: np.mean((at < 0.05) | (at > 0.95)) for gate, at in gates.items()}


def of_inputs(name, cell, xs):
    """The gates of cells that have no recurrent weights."""
    terms = xs @ np.asarray(cell.input_kernel[...])
    if name == "selective":
        return {"forget": gated.sig(-terms[..., :N] - np.asarray(cell.step_bias[...]))}
    gates = np.split(gated.sig(terms + np.asarray(cell.bias[...])), terms.shape[-1] // N, axis=-1)
    if name == "mlstm":
        terms = xs @ np.asarray(cell.gate_kernel[...]) + np.asarray(cell.gate_bias[...])
        return {"forget": gated.sig(terms[..., 1:]), "output": gates[3]}
    return {"update": gates[0]} if name == "min_gru" else {"input": gates[0], "forget": gates[1]}


@pytest.mark.parametrize("name", FAST)
def test_saturation_is_all_and_nothing_at_the_extremes(name):
    theta, both = program(name)
    _, unflatten = ravel_pytree(nnx.state(cell_of(name), nnx.Param))

    def with_biases(value, scale):
        def one(path, leaf):
            is_bias = "bias" in jax.tree_util.keystr(path)
            return jnp.full_like(leaf, value) if is_bias else scale * leaf

        return ravel_pytree(jax.tree_util.tree_map_with_path(one, unflatten(theta)))[0]

    for value, scale, share in ((30.0, 1.0, 1), (-30.0, 1.0, 1), (0.0, 1e-3, 0)):
        seen = both(with_biases(value, scale), INPUTS)[0]
        found = np.array(list(seen.saturation.values()))
        assert np.allclose(found, share, rtol=gamma(2), atol=0)


def test_what_is_not_finite_is_said():
    theta, both = program("elman")
    seen = both(theta, INPUTS.at[1, 3, 0].set(jnp.nan))[0]
    assert seen.first_bad_step == 4
    assert np.isnan(seen.saturation["hidden"])
    assert np.isnan(seen.older_share)
    assert both(theta, INPUTS.at[2, 0, 1].set(jnp.nan))[0].first_bad_step == 1
    assert both(theta, INPUTS.at[0, T - 1, 1].set(jnp.nan))[0].first_bad_step == T


def test_share_by_the_lag_from_which_a_gradient_is_old():
    cell, first = cell_of("elman"), lambda outputs: jnp.sum(outputs[:, 0])

    def measured():
        cases = ((loss, T), (first, T - 1))
        return [watch_gradients(cell, INPUTS, f, older_than=k).older_share for f, k in cases]

    assert compiled(measured)() == [0, 1]
    with pytest.raises(ValueError, match=r"older_than must be a lag of at least 1 step, not 0\."):
        watch_gradients(cell, INPUTS, loss, older_than=0)


def test_nothing_is_lost_where_plain_floats_lose_the_gradient():
    """h_t = 2^(121−t) and L = 2^−100 h_T: every lag has the same share, and none is a float32.

    dL/dh_{T−k} = 2^−(100+k);  by w: w^k h_{T−k−1} 2^−100 = 2^(22−T) for k < T − 1, then 0;
    by the input weight: w^(T−1) x_1 2^−100 at k = T − 1 alone.
    """
    w, length, older = 0.5, 240, 10
    cell = make_cell("scalar", 1, 1, recurrent_scale=w, dtype=jnp.float32, rngs=nnx.Rngs(0))
    cell.input_weights[...] = jnp.ones(1, jnp.float32)
    inputs = jnp.zeros((1, length, 1), jnp.float32).at[0, 0, 0].set(2.0**120)
    graphdef, state = nnx.split(cell)

    def last(outputs):
        return outputs[0, -1, 0] * jnp.float32(2.0**-100)

    def measured(state, inputs):
        def plain(state):
            step, h0, _ = as_step(nnx.merge(graphdef, state))
            return last(rollout(step, h0, inputs[0])[None])

        seen = watch_gradients(nnx.merge(graphdef, state), inputs, last, older_than=older)
        return seen, jax.grad(plain)(state)

    measured = compiled(measured, state, inputs)
    seen, plain = measured(state, inputs)
    assert plain["loop_weight"][...] == plain["input_weights"][...][0] == 0
    k = np.arange(length)
    # Exact powers of two: a mantissa of 1/2 and the exponent after it.
    assert np.all(seen.norms.mantissa == 0.5)
    assert np.array_equal(seen.norms.exponent, -99 - k)
    assert np.allclose(log_norm(seen.norms), k * np.log(w) - 100 * np.log(2), rtol=1e-6)
    assert np.all(seen.parameter_norms.mantissa == 0.5)
    expected = np.where(k < length - 1, 23 - length, 22 - length)
    assert np.array_equal(seen.parameter_norms.exponent, expected)
    old = np.hypot(length - 1 - older, 0.5)
    assert np.isclose(seen.older_share, old / (old + older), rtol=1e-6)
    assert seen.first_bad_step == 0
    # With w = 2 the state is 2^(119+t): it leaves float32, which ends at 2^128, at step 9.
    state["loop_weight"][...] = jnp.float32(2)
    assert measured(state, inputs)[0].first_bad_step == 9
