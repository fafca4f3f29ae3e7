"""Ω, flossing and orthogonality against formulas in NumPy, and their gradients."""

import functools

import gated
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bounds import factored, near, states
from flax import nnx

from throughtime.cells import make_cell
from throughtime.lyapunov.frames import initial_frame
from throughtime.mitigations import make_mitigation
from throughtime.mitigations.penalties import flossing_penalty, vanishing_penalty

B, T, D, N = 3, 7, 2, 4
INPUTS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
STEPS_WEIGHTS = jnp.zeros(T, jnp.float64).at[jnp.array([3, T - 1])].set(jnp.array([0.3, 1.0]))
SEQUENCE_WEIGHTS = jnp.array([1.0, 0.0, 2.0], jnp.float64)


def loss(outputs):
    """Of two steps; the second sequence has no gradient at all."""
    by_step = jnp.sum(jnp.sin(outputs), axis=2) @ STEPS_WEIGHTS.astype(outputs.dtype)
    return by_step @ SEQUENCE_WEIGHTS.astype(outputs.dtype)


@functools.cache
def network(name, dtype="float64"):
    """A cell's parts, and the value and gradient of Ω as a function of parameters and bound."""
    cell = make_cell(name, D, N, recurrent_scale=1.4, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype))
    graphdef, state = nnx.split(cell)
    inputs = INPUTS.astype(dtype)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=0)
    def omega(state, bound):
        return vanishing_penalty(nnx.merge(graphdef, state), inputs, loss, bound)

    return graphdef, state, omega


def constants(steps, w):
    """h_{t−1} and a_t of every step, ``(B, T, N)``, by BPTT in NumPy; ``steps`` is of NumPy."""
    before, adjoints = np.zeros((B, T, N)), np.zeros((B, T, N))
    for b in range(B):
        states, jacobians = [np.zeros(N)], []
        for x in np.asarray(INPUTS[b]):
            new, jacobian = steps(w, states[-1], x)
            states.append(new)
            jacobians.append(jacobian)
        a = np.zeros(N)
        for t in reversed(range(T)):
            a = a + np.cos(states[t + 1]) * float(STEPS_WEIGHTS[t] * SEQUENCE_WEIGHTS[b])
            before[b, t], adjoints[b, t] = states[t], a
            a = jacobians[t].T @ a
    return before, adjoints


def elman(w, h, x):
    new = np.tanh(x @ w["input_kernel"] + h @ w["recurrent_kernel"] + w["bias"])
    return new, (1 - new**2)[:, None] * w["recurrent_kernel"].T


def gru(w, h, x):
    bias = np.concatenate([np.zeros(2 * N), w["candidate_bias"]])
    listed = [w["input_kernel"], w["bias"], w["recurrent_kernel"], bias]
    new, parts = gated.gru(listed, h, x)
    return new, sum(parts)


def arrays(state):
    return {name: np.array(leaf[...]) for name, leaf in state.items()}


def authors_omega(w_hh, h, d_ht, bound):
    """Pascanu's Theano code in NumPy; h_1 … h_T and dC/dh_1 … dC/dh_T are ``(T, B, N)``."""
    tmp_x = ((d_ht * (1 - h**2)) @ w_hh.T) ** 2
    tmp_x, tmp_y = tmp_x.sum(2), (d_ht**2).sum(2)
    ratio = np.divide(tmp_x, tmp_y, out=np.ones_like(tmp_x), where=tmp_y >= bound)
    n_elems = (tmp_y >= bound).mean(1)
    return ((ratio - 1) ** 2).mean(1).sum() / n_elems.sum()


@pytest.mark.parametrize("bound", [1e-20, 0.5])
def test_omega_of_the_elman_cell_is_that_of_the_authors_code(bound):
    _, state, omega = network("elman")
    w = arrays(state)
    before, adjoints = constants(elman, w)
    after = np.array(
        [[elman(w, before[b, t], INPUTS[b, t])[0] for b in range(B)] for t in range(T)]
    )
    d_ht = adjoints.swapaxes(0, 1)
    counted = ((d_ht**2).sum(2) >= bound).sum()
    assert counted == 2 * T if bound < 0.1 else 0 < counted < 2 * T
    value, gradient = omega(state, bound)
    rounding = states(2 * T, D + N)
    kernel = w["recurrent_kernel"]
    assert np.allclose(value, authors_omega(kernel, after, d_ht, bound), rtol=rounding)
    for i, j in np.ndindex(N, N):
        change = np.zeros((N, N))
        change[i, j] = 1e-5
        up, down = (authors_omega(kernel + s * change, after, d_ht, bound) for s in (1, -1))
        assert np.isclose(gradient["recurrent_kernel"][i, j], (up - down) / 2e-5, rtol=1e-7)
    assert not gradient["input_kernel"][...].any()
    assert not gradient["bias"][...].any()


@pytest.mark.slow
def test_omega_of_a_gated_cell_and_its_immediate_gradient():
    _, state, omega = network("gru")
    w = arrays(state)
    before, adjoints = constants(gru, w)

    def frozen(w):
        errors = []
        for b, t in np.ndindex(B, T):
            a = adjoints[b, t]
            if a.any():
                pulled = gru(w, before[b, t], np.asarray(INPUTS[b, t]))[1].T @ a
                errors.append((pulled @ pulled / (a @ a) - 1) ** 2)
        assert len(errors) == 2 * T
        return np.mean(errors)

    value, gradient = omega(state, 1e-20)
    assert np.allclose(value, frozen(w), rtol=states(2 * T, D + N), atol=0)
    draws = np.random.default_rng(0)
    for name in w:
        direction = draws.normal(size=w[name].shape)
        up, down = (frozen(w | {name: w[name] + s * 1e-5 * direction}) for s in (1, -1))
        expected = np.sum(np.asarray(gradient[name][...]) * direction)
        assert np.isclose(expected, (up - down) / 2e-5, rtol=1e-7)


def test_omega_beyond_the_float_range():
    """With J = 1e-12 W, gradients of 1e-70 are 0 in float32; nothing of Ω is lost to that."""
    _, state, omega = network("elman", "float32")
    scale = {"recurrent_kernel": 1e-12}
    small = jax.tree_util.tree_map_with_path(lambda p, x: scale.get(p[0].key, 1) * x, state)
    value, gradient = omega(small, 0.0)
    assert abs(value - 1) < 1e-6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    nothing, gradient = omega(small, 1e9)
    assert nothing == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_omega_asks_nothing_of_the_read_out():
    """A read-out changes the adjoints, which are constants."""
    graphdef, state, _ = network("elman")

    @jax.jit
    @jax.value_and_grad
    def by_readout(weight):
        cell = nnx.merge(graphdef, state)
        return vanishing_penalty(cell, INPUTS, lambda o: loss(o) + weight * jnp.sum(o**2))

    (one, gradient), (two, _) = by_readout(jnp.float64(0.5)), by_readout(jnp.float64(1))
    assert one != two
    assert gradient == 0


def test_weight_multiplies_omega():
    graphdef, state, omega = network("elman")
    penalty = make_mitigation("omega", weight=3.0).penalty
    value = jax.jit(lambda state: penalty(nnx.merge(graphdef, state), INPUTS, loss))(state)
    assert np.allclose(value, 3 * omega(state, 1e-20)[0], rtol=states(2 * T, D + N), atol=0)


def floss(name, size, k, target=0.0, **options):
    options = {"dtype": jnp.float64, "recurrent_scale": 1.0} | options
    cell = make_cell(name, D, size, rngs=nnx.Rngs(0), **options)
    graphdef, state = nnx.split(cell)
    return state, lambda state, inputs: flossing_penalty(
        nnx.merge(graphdef, state), inputs, k, target
    )


def exponents(w, sequence, k):
    """Of the Elman cell, by QR in NumPy."""
    size = len(w["bias"])
    h, q, logs = np.zeros(size), np.asarray(initial_frame(size, k, jnp.float64)), []
    for x in np.asarray(sequence):
        h, jacobian = elman(w, h, x)
        q, r = np.linalg.qr(jacobian @ q)
        logs.append(np.log(np.abs(np.diag(r))))
    return np.mean(logs, axis=0)


def test_flossing_penalty_and_its_gradient_by_qr_in_numpy():
    state, penalty = floss("elman", N, 2, -0.1)
    w, inputs = arrays(state), INPUTS[:2]

    def expected(w):
        return np.mean([(exponents(w, sequence, 2) + 0.1) ** 2 for sequence in inputs])

    value, gradient = jax.jit(jax.value_and_grad(penalty))(state, inputs)
    assert np.allclose(value, expected(w), rtol=states(2 * T, D + N), atol=0)
    draws = np.random.default_rng(0)
    for name in w:
        direction = draws.normal(size=w[name].shape)
        up, down = (expected(w | {name: w[name] + s * 1e-5 * direction}) for s in (1, -1))
        along = np.sum(np.asarray(gradient[name][...]) * direction)
        assert np.isclose(along, (up - down) / 2e-5, rtol=1e-6)


def test_flossing_a_linear_neuron_is_a_logarithm():
    state, penalty = floss("scalar", 1, 1)
    both, rounding = jax.jit(jax.value_and_grad(penalty)), states(T, 1)
    for w in (0.3, -2.0):
        state["loop_weight"][...] = jnp.float64(w)
        value, gradient = both(state, INPUTS)
        assert np.isclose(value, np.log(abs(w)) ** 2, rtol=rounding, atol=0)
        assert np.isclose(
            gradient["loop_weight"][...], 2 * np.log(abs(w)) / w, rtol=rounding, atol=0
        )
    state["loop_weight"][...] = jnp.float64(0)
    value, gradient = both(state, INPUTS)
    assert value == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_flossing_drives_the_exponents_to_zero():
    state, penalty = floss("elman", 16, 8, dtype=jnp.float32)
    inputs = jax.random.normal(jax.random.key(2), (1, 30, D), jnp.float32)
    optimiser = optax.adam(1e-2)

    @jax.jit
    def trained(state):
        def update(carry, _):
            state, memory = carry
            updates, memory = optimiser.update(jax.grad(penalty)(state, inputs), memory, state)
            return (optax.apply_updates(state, updates), memory), None

        return jax.lax.scan(update, (state, optimiser.init(state)), length=100)[0][0]

    before = exponents(arrays(state), inputs[0], 8)
    with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to a power of int32
        after = exponents(arrays(trained(state)), inputs[0], 8)
    assert before[0] < -0.4
    assert before[-1] < -1
    assert np.abs(after).max() < 0.2
    assert abs(after[0]) < 0.05


def test_flossing_takes_the_first_sequences_and_the_whole_carry():
    prepare = make_mitigation("flossing", exponents=2 * N, sequences=2, steps=7).prepare
    cell = make_cell("lstm", D, N, recurrent_scale=1.0, rngs=nnx.Rngs(0), dtype=jnp.float64)
    found = jax.jit(lambda inputs: prepare.penalty(cell, inputs, loss))
    assert found(INPUTS) == found(INPUTS.at[2].set(9.0))
    assert found(INPUTS) != found(INPUTS.at[1].set(9.0))
    many = make_mitigation("flossing", exponents=2 * N + 1).prepare.penalty
    with pytest.raises(ValueError, match=f"1 to {2 * N} exponents, not {2 * N + 1}"):
        many(cell, INPUTS, loss)
    during = make_mitigation("flossing", steps=0, weight=0.5)
    assert during.prepare is None
    assert during.penalty is not None


def test_orthogonality_of_each_gate_and_its_gradient():
    cell = make_cell("lstm", D, N, recurrent_scale=1.4, rngs=nnx.Rngs(0), dtype=jnp.float64)
    graphdef, state = nnx.split(cell)
    penalty = make_mitigation("orthogonality", weight=0.5).penalty
    value, gradient = jax.value_and_grad(
        lambda state: penalty(nnx.merge(graphdef, state), INPUTS, loss)
    )(state)
    gates = np.split(np.asarray(state["recurrent_kernel"][...]), 4, axis=1)
    off = [w.T @ w - np.eye(N) for w in gates]
    assert np.allclose(value, 0.5 * sum(np.sum(m**2) for m in off), rtol=factored(4, N), atol=0)
    expected = np.concatenate([0.5 * 4 * w @ m for w, m in zip(gates, off, strict=True)], axis=1)
    assert near(gradient["recurrent_kernel"][...], expected, factored(4, N))
    assert not gradient["input_kernel"][...].any()
    assert not gradient["bias"][...].any()
