"""Stacks and hierarchies against Python loops, and their gradients by layer in closed form."""

from functools import partial
from math import comb

import bounds
import jax
import jax.numpy as jnp
import loops
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from throughtime.adjoints import adjoint_states
from throughtime.cells import StackedCell, as_step, hidden, make_cell
from throughtime.depth import gradients_by_layer
from throughtime.diagnostics import gradient_diagnostics, spectrum_diagnostics
from throughtime.dynamics import rollout
from throughtime.points import InputError, read_point
from throughtime.predictions import exponent_predictions
from throughtime.programs import program_key
from throughtime.scaled import log_norm, norm, to_float
from throughtime.sweeps import refused, run_group
from throughtime.tasks import Sample

D, N, T = 3, 4, 6


def build(name="lstm", layers=3, slow_every=1, **options):
    options = {"recurrent_scale": 1.2, "dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return make_cell(name, D, N, layers=layers, slow_every=slow_every, **options)


def drive(length=T, d=D, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(1), (length, d), dtype)


@pytest.mark.parametrize(
    ("name", "every"), [("lstm", (1, 1)), ("elman", (1, 2, 4)), ("elman", (2, 3, 1))]
)
def test_a_stack_is_its_cells_in_a_loop_and_slow_ones_move_at_multiples(name, every):
    cell = StackedCell(build(name, layers=len(every)).cells, every)
    step, h0, unravel = as_step(cell)
    states = np.asarray(jax.jit(partial(rollout, step, h0))(drive(14)))
    if max(every) > 1:
        assert np.array_equal(states[:, 0], np.arange(1, 15) % np.lcm.reduce(every))
        states = states[:, 1:]
    expected = loops.follow_layers(cell.cells, every, drive(14))
    assert bounds.near(states, expected, bounds.states(len(every) * 14, D + N))
    assert np.array_equal(hidden(unravel(h0 + 1)), np.ones(N))
    first = np.argmax(np.any(states[:, -N:] != 0, axis=1)) + 1
    assert first == max(every)


def test_sequences_of_a_batch_have_clocks_of_their_own():
    """Layers move every 1, 2, 4 steps: after 7 steps all three do, after 4 only the first."""
    cell = build("elman", slow_every=2)
    carry = cell.initialize_carry((2, D), nnx.Rngs(0))
    assert carry[0].shape == (2,)
    late = (jnp.array([7.0, 4.0]), *carry[1:])
    (clock, *layers), output = jax.jit(cell.__call__)(late, drive(2))
    assert np.array_equal(clock, [0, 1])
    moved = [np.any(np.asarray(layer) != 0, axis=1).tolist() for layer in layers]
    assert moved == [[True, True], [True, False], [True, False]]
    expected = loops.follow_layers(cell.cells, (1, 1, 1), drive(2)[:1])
    assert bounds.near(output[0], expected[0, -N:], bounds.states(3, D + N))


def test_one_layer_is_the_cell_itself_and_more_begin_with_it():
    for name in ("elman", "scalar", "flax_simple"):
        draw = partial(make_cell, name, 1, 1, recurrent_scale=0.7)
        plain, one = draw(rngs=nnx.Rngs(3)), draw(rngs=nnx.Rngs(3), layers=1, slow_every=4)
        stack = draw(rngs=nnx.Rngs(3), layers=2)
        assert type(one) is type(plain)
        for other in (one, stack.cells[0]):
            jax.tree.map(np.testing.assert_array_equal, nnx.state(plain), nnx.state(other))
    first, second = (np.asarray(one.recurrent_kernel[...]) for one in build(layers=3).cells[1:])
    assert not np.any(first == second)


def squares_and_whole(cell, xs, loss):
    step, h0, unravel = as_step(cell)
    read = jax.vmap(lambda h: hidden(unravel(h)))
    whole = norm(adjoint_states(lambda states: loss(read(states)), step, h0, xs))
    return to_float(gradients_by_layer(cell, loss, xs)), to_float(whole)


@pytest.mark.slow
def test_squares_of_the_layers_sum_to_the_gradient_of_the_stack():
    def loss(h):
        return jnp.sum(jnp.sin(h[-1])) + jnp.sum(jnp.sin(h)) ** 2

    cell = build("lstm", layers=2, slow_every=2)
    found, whole = jax.jit(partial(squares_and_whole, cell, loss=loss))(drive(7))
    assert found.shape == (2, 7)
    assert bounds.near(np.sum(found**2, axis=0), whole**2, bounds.states(4 * 7, D + N))


@pytest.mark.slow
def test_nodes_are_differentiated_as_by_autodiff():
    """dL/de of every layer's carry + e within the step, where the layer above reads it too."""
    cell, every = StackedCell(build("elman").cells, (1, 2, 1)), (1, 2, 1)
    weights = jnp.linspace(0.5, 1.5, T)[:, None]

    def outputs(perturbations):
        carries, history = [jnp.zeros(N)] * 3, []
        for t, x in enumerate(drive(), start=1):
            for layer, one in enumerate(cell.cells):
                moved = one(carries[layer], x)[0] if t % every[layer] == 0 else carries[layer]
                x = carries[layer] = moved + perturbations[layer, t - 1]
            history.append(x)
        return jnp.stack(history)

    def loss(h):
        return jnp.sum(jnp.sin(h) * weights)

    @jax.jit
    def both(xs):
        found = gradients_by_layer(cell, loss, xs, upward=True)
        return found, jax.grad(lambda e: loss(outputs(e)))(jnp.zeros((3, T, N)))

    found, expected = both(drive())
    exact = np.linalg.norm(expected, axis=2)
    assert bounds.near(to_float(found), exact, bounds.states(6 * T, D + N))


def scalars(loops, ups, dtype=jnp.float64):
    """A stack of linear neurons h^l_t = w_l h^l_{t−1} + v_l h^{l−1}_t."""
    cells = [make_cell("scalar", 1, 1, recurrent_scale=w, dtype=dtype, rngs=nnx.Rngs(0))
             for w in loops]  # fmt: skip
    for cell, v in zip(cells, ups, strict=True):
        cell.input_weights[...] = jnp.full(1, v, dtype)
    return StackedCell(cells)


def by_layer_of_the_last(cell, xs, **options):
    return gradients_by_layer(cell, lambda h: h[-1, 0], xs, **options)


def test_linear_layers_multiply_weights_and_count_paths():
    """From (l, t) to (3, T) lead C(k + 3 − l, k) ways of k = T − t steps in time and 3 − l up."""
    w, v, length = 0.9, 0.7, 40
    cell, k = scalars([w] * 3, [1.0, v, v]), np.arange(length)[::-1]
    node, carry = jax.jit(
        lambda xs: [by_layer_of_the_last(cell, xs, upward=upward) for upward in (True, False)]
    )(drive(length, 1))
    node, carry = to_float(node), to_float(carry)
    for layer in (1, 2, 3):
        up = 3 - layer
        ways = np.array([comb(n + up, up) for n in k])
        assert np.allclose(
            node[layer - 1], ways * w**k * v**up, rtol=bounds.gamma(4 * length), atol=0
        )
        # The carry's first step is in time: what is left of the way begins a step later.
        ways = np.array([comb(n - 1 + up, up) if n else up == 0 for n in k])
        assert np.allclose(
            carry[layer - 1], ways * w**k * v**up, rtol=bounds.gamma(4 * length), atol=0
        )


def test_a_layer_is_not_lost_beside_one_that_is_larger_beyond_the_floats():
    """w_2 = 1/4 below 4: dL/dh^2 = 4^−k, while dL/dh^1 = 4 Σ_j 4^(k−1−2j), in float32."""
    cell, k = scalars([4.0, 0.25], [1.0, 1.0], jnp.float32), np.arange(300)[::-1]
    xs = jnp.zeros((300, 1), jnp.float32)
    step, h0, _ = as_step(cell)
    found, flat = jax.jit(
        lambda xs: (
            by_layer_of_the_last(cell, xs),
            adjoint_states(lambda h: h[-1, 1], step, h0, xs),
        )
    )(xs)
    logs = log_norm(found).astype(jnp.float64)
    # Of the logarithm, and of two roundings in each of 300 steps.
    rounding = {"rtol": bounds.gamma(4, jnp.float32), "atol": bounds.gamma(600, jnp.float32)}
    assert np.allclose(logs[1], -k * np.log(4), **rounding)
    below = k * np.log(4) + np.log((1 - 16.0 ** -np.maximum(k, 1)) / (1 - 1 / 16))
    assert np.allclose(logs[0, :-1], below[:-1], **rounding)
    assert logs[0, -1] == -np.inf
    assert flat.mantissa[0, 1] == 0


def test_a_slow_linear_layer_keeps_what_a_fast_one_forgets():
    """w = 1/2 at each move: T − t of them in a fast layer, in a slow one ⌊T/8⌋ − ⌊t/8⌋."""
    cell = scalars([0.5, 0.5], [1.0, 1.0])
    slow, t = StackedCell(cell.cells, (1, 8)), np.arange(1, 65)
    found = to_float(jax.jit(partial(by_layer_of_the_last, slow))(drive(64, 1)))
    assert np.allclose(found[1], 0.5 ** (64 // 8 - t // 8), rtol=bounds.gamma(64), atol=0)


def batch(length=6, size=2):
    weights = jnp.zeros((size, length)).at[:, -1].set(1.0)
    inputs = jax.random.normal(jax.random.key(2), (size, length, D), jnp.float64)
    return Sample(inputs, jnp.zeros((size, length, 1)), weights)


@pytest.mark.slow
def test_diagnostics_of_a_stack():
    """Two sequences: the norm over their states is that of the layers of both."""
    cell, readout = build("lstm", layers=2, slow_every=2), jnp.ones((N, 1))
    squared = lambda y, target: jnp.sum((y - target) ** 2, axis=1)  # noqa: E731
    found = jax.jit(lambda b: gradient_diagnostics(cell, readout, squared, b, jnp.int32(6)))(
        batch()
    )
    by_layer = jax.jit(
        jax.vmap(partial(gradients_by_layer, cell, lambda h: jnp.sum((h[-1] @ readout) ** 2) / 2))
    )(batch().inputs)
    expected = np.sqrt(np.sum(to_float(by_layer) ** 2, axis=(0, 1)))[::-1]
    assert bounds.near(to_float(found.norms), expected, bounds.states(4 * 6, D + N))
    assert int(found.first_bad_step) == 0


def test_exponents_of_linear_layers_are_their_own_and_the_clock_has_none():
    """λ = ln w_l for each layer, divided by its stride; the clock adds −∞, whatever its start."""
    stack = scalars([0.9, 0.4], [1.0, 1.0])
    sample = Sample(drive(400, 1)[None], jnp.zeros((1, 400, 1)), jnp.ones((1, 400)))
    for cell, expected in (
        (stack, [np.log(0.9), np.log(0.4)]),
        (StackedCell(stack.cells, (1, 2)), [np.log(0.9), np.log(0.4) / 2, -np.inf]),
    ):
        measure = partial(spectrum_diagnostics, cell, transient=200, start_scale=0.1)
        found = jax.jit(measure)(sample)
        assert np.allclose(found.exponents, expected, rtol=1e-9)
        assert int(found.status) == 0


def point(cell, **changes):
    given = {"name": "test", "device": "auto", "task": {"name": "radar"}, "loss_at": "last"}
    given |= {"match": "units"}
    given |= {"diagnostic": {"name": "gradient"}, "recurrent_scale": 1.0, "sequence_length": 5}
    given |= {"hidden_features": 4, "num_seeds": 1, "seed": 0, "data_seed": 0, "batch_size": 1}
    return read_point(given | {"dtype": "float32", "cell": cell} | changes)


@pytest.mark.slow
def test_a_stack_is_swept_like_any_cell():
    null = {"name": "lstm", "layers": None, "slow_every": None}
    assert point(null).key == point({"name": "lstm"}).key
    deep = point({"name": "lstm", "layers": 2, "slow_every": 2})
    key = program_key(deep)
    assert refused(key, [deep]) == []
    ((result,),) = run_group(key, [deep])
    assert result.shared["state_size"] == 2 * 2 * 4 + 1
    assert np.all(np.isfinite(result.curves))


def test_theory_of_one_layer_is_not_drawn_beside_a_stack():
    rows = {"cell": "elman", "kind": "elman", "task": "noise", "in_features": 0}
    rows |= {"activation": "identity", "initializer": "gaussian", "recurrent_scale": [0.5, 1.0]}
    assert len(exponent_predictions(pd.DataFrame(rows | {"layers": 1}))) > 0
    assert exponent_predictions(pd.DataFrame(rows | {"layers": 2})).empty


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: StackedCell([]), "at least 1 cell, not 0"),
        (lambda: StackedCell(build("elman").cells, (1, 2)), r"3 integers >= 1.*not \(1, 2\)"),
        (lambda: StackedCell(build("elman").cells, (1, 2, 0)), r"not \(1, 2, 0\)"),
        (
            lambda: StackedCell([build("elman", layers=1)] * 2),
            "layer 1 hands up 4 numbers, but layer 2 has",
        ),
        (lambda: build(layers=0), "layers must be an integer >= 1, not 0"),
        (lambda: build(slow_every=1.5), "slow_every must be an integer >= 1, not 1.5"),
        (
            lambda: as_step(build("elman", slow_every=17, dtype=jnp.bfloat16)),
            "bfloat16 counts to 256",
        ),
        (lambda: make_cell("cat", 1, 2, recurrent_scale=1, rngs=nnx.Rngs(0), layers=2), "layers"),
        (lambda: point({"name": "gru", "layers": 0}), "cell.layers must be an integer from 1"),
        (lambda: gradients_by_layer(build("elman"), jnp.sum, drive(0)), "at least 1 step, not 0"),
    ],
)
def test_bad_stacks_are_refused_in_one_sentence(act, sentence):
    with pytest.raises((ValueError, InputError), match=sentence):
        act()


def test_a_clock_counts_exactly_in_small_floats():
    cell = StackedCell(build("elman", layers=2).cells, (1, 256))
    step, h0, _ = as_step(cell, dtype=jnp.bfloat16)
    clock = rollout(step, h0, drive(520, dtype=jnp.bfloat16))[:, 0]
    assert np.array_equal(clock.astype(jnp.float32), np.arange(1, 521) % 256)
