"""Models and the five paradigms against Python loops, and trained to optima known exactly."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import loops
import numpy as np
import optax
import pytest
from flax import nnx

from throughtime.cells import StackedCell, as_step, make_cell
from throughtime.depth import gradients_by_direction
from throughtime.dynamics import rollout
from throughtime.models import (
    Model,
    encode_decode,
    many_to_many,
    many_to_one,
    one_to_many,
    one_to_one,
)
from throughtime.scaled import to_float

D, N, K, T = 3, 4, 2, 6


def cell(name="elman", d=D, n=N, seed=0, **options):
    options = {"recurrent_scale": 1.1, "dtype": jnp.float64} | options
    return make_cell(name, d, n, rngs=nnx.Rngs(seed), **options)


def model(forward=None, k=K, **options):
    made = Model(cell() if forward is None else forward, k, rngs=nnx.Rngs(5), **options)
    made.bias[...] = jnp.linspace(-0.5, 0.7, k)
    return made


def drive(length=T, d=D, seed=1):
    return jax.random.normal(jax.random.key(seed), (length, d), jnp.float64)


def answers(made, states):
    return states @ np.asarray(made.kernel[...]) + np.asarray(made.bias[...])


def fed_back(made, carry, x, num_steps):
    """Outputs as the next inputs, in NumPy."""
    said = []
    for _ in range(num_steps):
        carry = loops.move(made.cell, carry, x)
        x = answers(made, loops.read(carry))
        said.append(x)
    return said


def test_one_direction_in_a_loop():
    made = model(cell("lstm"))
    expected = answers(made, loops.follow(made.cell, drive())[0])
    paradigms = (many_to_many, many_to_one, one_to_one)
    run = jax.jit(lambda xs: [paradigm(made, x) for paradigm, x in zip(paradigms, xs, strict=True)])
    every, last, first = run((drive(), drive(), drive()[0]))
    assert np.allclose(every, expected, rtol=1e-12)
    assert np.allclose(last, expected[-1], rtol=1e-12)
    assert np.allclose(first, expected[0], rtol=1e-12)


def test_both_directions_in_a_loop_and_in_a_batch():
    made = model(backward=cell("lstm", seed=1))

    @jax.jit
    @jax.vmap
    def run(xs):
        return made.states(xs), many_to_many(made, xs), many_to_one(made, xs)

    batch = jnp.stack([drive(), drive(seed=2)])
    for xs, found in zip(batch, zip(*run(batch), strict=True), strict=True):
        ahead, behind = loops.follow(made.cell, xs)[0], loops.follow(made.backward, xs[::-1])[0]
        states = np.concatenate([ahead, behind[::-1]], axis=1)
        last = np.concatenate([ahead[-1], behind[-1]])
        expected = (states, answers(made, states), answers(made, last))
        assert all(np.allclose(*pair, rtol=1e-12) for pair in zip(found, expected, strict=True))
        assert not np.allclose(found[2], found[1][-1])


def test_reversed_inputs_and_swapped_cells_reverse_the_states():
    one, other = cell(), cell(seed=1)
    found = model(one, backward=other).states(drive())
    swapped = model(other, backward=one).states(drive()[::-1])[::-1]
    assert np.array_equal(found, np.roll(swapped, N, axis=1))


def test_outputs_are_fed_back():
    made = model(k=D)
    expected = fed_back(made, loops.rest(made.cell), np.asarray(drive()[0]), 5)
    assert np.allclose(one_to_many(made, drive()[0], 5), expected, rtol=1e-12)


def test_a_decoder_goes_on_from_the_encoder():
    encoder, made = cell("lstm"), model(cell("lstm", d=K, seed=3))
    carry = loops.follow(encoder, drive())[1]
    found = jax.jit(lambda xs: encode_decode(encoder, made, xs, 4))(drive())
    assert np.allclose(found, fed_back(made, carry, np.zeros(K), 4), rtol=1e-12)


def test_the_clock_of_an_encoder_goes_on_in_the_decoder():
    """After 4 inputs a layer that moves every 3 steps is due at the decoder's second."""
    layers = StackedCell([cell(), cell(d=N, seed=1)], (1, 3))
    found = encode_decode(layers, model(layers, k=D), drive(4), 5)
    still = [bool(np.array_equal(*pair)) for pair in itertools.pairwise(found)]
    assert still == [False, True, True, False]


def test_the_read_out_is_drawn_with_variance_one_over_m():
    made = Model(cell(), 2000, rngs=nnx.Rngs(5))
    assert abs(made.kernel[...].var() * N - 1) < 5 * np.sqrt(2 / made.kernel[...].size)
    assert not made.bias[...].any()


@pytest.mark.slow
def test_gradients_of_both_directions():
    """Each is the adjoint of its own chain; the backward one's is in the order of the inputs."""
    made, weights = model(backward=cell(seed=1)), jnp.linspace(1, 2, T)[:, None]

    def loss(y):
        return jnp.sum(jnp.sin(y) * weights)

    def perturbed(ahead, behind):
        forward, backward = as_step(made.cell), as_step(made.backward)
        h = rollout(forward.step, forward.h0, drive(), ahead)
        g = rollout(backward.step, backward.h0, drive()[::-1], behind[::-1])[::-1]
        return loss(made.read(jnp.concatenate([h, g], axis=1)))

    @jax.jit
    def both(xs):
        none = jnp.zeros((T, N))
        return gradients_by_direction(made, loss, xs), jax.grad(perturbed, (0, 1))(none, none)

    found, expected = both(drive())
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(to_float(ours)[0], np.linalg.norm(theirs, axis=1), rtol=1e-12)
    one = jax.eval_shape(lambda xs: gradients_by_direction(model(), loss, xs), drive())
    assert one.backward is None


def linear(d, n, k, scale=0.5, seed=0):
    forward = cell("elman", d, n, seed, activation="identity", recurrent_scale=scale)
    return Model(forward, k, rngs=nnx.Rngs(seed + 7))


def trained(networks, loss, steps=1500, rate=0.03):
    """The loss after training by Adam with a rate that falls to zero."""
    graphdef, parameters = nnx.split(networks)
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def objective(parameters):
        return loss(nnx.merge(graphdef, parameters))

    def advance(now, _):
        parameters, state = now
        updates, state = optimiser.update(jax.grad(objective)(parameters), state)
        return (optax.apply_updates(parameters, updates), state), None

    @jax.jit
    def run(parameters):
        start = (parameters, optimiser.init(parameters))
        (parameters, _), _ = jax.lax.scan(advance, start, length=steps)
        return objective(parameters)

    with jax.numpy_dtype_promotion("standard"):  # optax counts in int32
        return float(run(parameters))


def mean_squared(run, targets, xs):
    return lambda network: jnp.mean(jnp.square(jax.vmap(partial(run, network))(xs) - targets))


def test_one_to_one_reaches_the_least_squares_loss():
    xs, noise = drive(32), drive(32, 1, seed=3)
    targets = xs @ jnp.array([[1.0], [-2.0], [0.5]]) + 0.3 + noise
    design = np.column_stack([xs, np.ones(32)])
    best = np.linalg.lstsq(design, np.asarray(targets), rcond=None)[1][0] / 32
    found = trained(linear(3, 2, 1), mean_squared(one_to_one, targets, xs))
    assert found == pytest.approx(best, rel=1e-9)


def test_one_to_many_reaches_a_geometric_sequence():
    xs = jnp.array([[1.0], [-0.5], [2.0]])
    targets = xs[:, :, None] * 0.8 ** jnp.arange(1.0, 6.0)[None, :, None]
    run = lambda network, x: one_to_many(network, x, 5)  # noqa: E731
    assert trained(linear(1, 1, 1, seed=1), mean_squared(run, targets, xs)) < 1e-12


@pytest.mark.slow
def test_many_to_one_reaches_a_sum_and_an_average_where_that_is_all_one_can_do():
    """Σ x_t is w = 1 and a unit weight; without the loop the best is x_T, at loss (T − 1) σ²."""
    xs = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(16, 4)))[0] * 4)[:, :, None]
    targets = jnp.sum(xs, axis=1)
    assert trained(linear(1, 1, 1), mean_squared(many_to_one, targets, xs)) < 1e-12

    def without_loop(network):
        network.cell.recurrent_kernel[...] *= 0
        network.bias[...] *= 0
        network.cell.bias[...] *= 0
        return mean_squared(many_to_one, targets, xs)(network)

    assert trained(linear(1, 1, 1), without_loop) == pytest.approx(3.0, rel=1e-9)


def test_many_to_many_reaches_a_running_sum():
    xs = jax.random.normal(jax.random.key(4), (8, 5, 1), jnp.float64)
    run = mean_squared(many_to_many, jnp.cumsum(xs, axis=1), xs)
    assert trained(linear(1, 1, 1), run) < 1e-12


@pytest.mark.slow
def test_an_encoder_and_a_decoder_count_down_what_was_counted():
    """Of T inputs the sum s; then s/2, s/4, …: four numbers that no shorter memory knows."""
    xs = jax.random.normal(jax.random.key(5), (8, 5, 1), jnp.float64)
    targets = jnp.sum(xs, axis=1)[:, :, None] * 0.5 ** jnp.arange(1.0, 5.0)[None, :, None]
    networks = nnx.List([linear(1, 1, 1).cell, linear(1, 1, 1, seed=1)])
    run = lambda both, x: encode_decode(both[0], both[1], x, 4)  # noqa: E731
    assert trained(networks, mean_squared(run, targets, xs)) < 1e-12


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: model(k=0), "out_features must be at least 1, not 0"),
        (lambda: model(backward=cell(d=2)), "the same inputs, not .*3 of float64.*2 of float64"),
        (lambda: model(backward=cell(dtype=jnp.float32)), "same inputs, not .*3 of float32"),
        (lambda: one_to_many(model(), drive()[0], 2), "not 2 for 3"),
        (lambda: one_to_many(model(k=D), drive()[0], 0), "num_steps must be at least 1, not 0"),
        (lambda: one_to_many(model(k=D, backward=cell()), drive()[0], 1), "reads backwards"),
        (lambda: encode_decode(cell("lstm"), model(k=D), drive(), 2), "a carry like the encoder's"),
        (
            lambda: encode_decode(cell("scalar", n=1), model(k=D), drive(), 2),
            r"float64\[1\], not float64",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act()
