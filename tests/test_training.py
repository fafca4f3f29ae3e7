"""One update: BPTT in NumPy, remedies in their order, closed forms of the optimisers."""

import functools

import bounds
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import (
    EVERY,
    LAST,
    NAMES,
    NETWORK,
    NEURON,
    ONE,
    RATE,
    STRUCTURE,
    B,
    D,
    K,
    N,
    T,
    arrays,
    batch,
    compiled,
    forward,
    network,
)

from throughtime import objectives, training
from throughtime.mitigations import Mitigation, make_mitigation
from throughtime.objectives import Recipe
from throughtime.tasks import Sample
from throughtime.tasks.task import squared_distance


def bptt(network, samples, window=(T, T)):
    """Loss and gradients of a tanh network: of pieces of k1 steps from the end, each k2 back."""
    w, (k1, k2) = arrays(network), window
    gradients, value = {name: np.zeros_like(array) for name, array in w.items()}, 0.0
    for xs, targets, weights in zip(*map(np.asarray, samples), strict=True):
        h = forward(w, xs)
        errors = h[1:] @ w["kernel"] + w["read_bias"] - targets
        value += np.sum(weights * np.sum(errors**2, axis=1)) / B
        by_output = 2 * weights[:, None] * errors / B
        gradients["kernel"] += h[1:].T @ by_output
        gradients["read_bias"] += by_output.sum(axis=0)
        for end in range(T, 0, -k1):
            a = np.zeros(N)
            for t in range(end, max(end - k2, 0), -1):
                if t > end - k1:
                    a = a + w["kernel"] @ by_output[t - 1]
                by_terms = a * (1 - h[t] ** 2)
                gradients["input_kernel"] += np.outer(xs[t - 1], by_terms)
                gradients["recurrent_kernel"] += np.outer(h[t - 1], by_terms)
                gradients["bias"] += by_terms
                a = w["recurrent_kernel"] @ by_terms
    return value, gradients


def assert_close(found, expected, bound=bounds.states(4 * T, D + N + K)):  # noqa: B008
    for name, array in expected.items():
        assert bounds.near(found[name], array, bound), name


WINDOWS = (None, (2, 99), (9, 9), (3, 3), (2, 5), (1, 4))


@functools.cache
def losses_by_window():
    def losses(network, samples):
        recipes = [
            Recipe(STRUCTURE, squared_distance, remedy=Mitigation(window=w)) for w in WINDOWS
        ]
        both = jax.value_and_grad(lambda recipe, n: objectives.batch_loss(recipe, n, samples), 1)
        return [both(recipe, network) for recipe in recipes]

    return compiled(losses, NETWORK, batch())


@pytest.mark.parametrize("weights", [LAST, EVERY], ids=["last", "every"])
def test_gradients_of_full_and_truncated_bptt(weights):
    samples = batch(weights)
    for window, (value, gradient) in zip(
        WINDOWS, losses_by_window()(NETWORK, samples), strict=True
    ):
        is_full = window is None or window[1] >= T
        expected, gradients = bptt(NETWORK, samples, (T, T) if is_full else window)
        assert np.isclose(value, expected, rtol=bounds.states(T, D + N + K), atol=0)
        assert_close(arrays(gradient), gradients)
    full, short = (bptt(NETWORK, samples, window)[1] for window in ((T, T), (2, 5)))
    assert not np.allclose(full["bias"], short["bias"], rtol=1e-2)


def test_truncated_gradient_of_a_linear_neuron():
    """h_t = (1 − w^t)/(1 − w): the loss h_T reaches back k2 steps, Σ_{k < k2} w^k h_{T−k−1}."""
    w, reach = 0.8, 4
    structure, net = network("scalar", 1, 1, recurrent_scale=w)
    net.cell["input_weights"][...] = jnp.ones(1)
    net = net._replace(kernel=jnp.ones((1, 1)), bias=jnp.zeros(1))
    samples = Sample(jnp.ones((1, T, 1)), jnp.zeros((1, T)), jnp.asarray(LAST)[None])
    recipe = Recipe(structure, lambda y, _: y[:, 0], remedy=make_mitigation("truncate", k1=1, k2=4))
    gradient = jax.jit(jax.grad(lambda n: objectives.batch_loss(recipe, n, samples)))(net)
    k, rounding = np.arange(reach), {"rtol": bounds.gamma(8 * T), "atol": 0}
    states = (1 - w ** (T - k - 1.0)) / (1 - w)
    assert np.isclose(gradient.cell["loop_weight"][...], np.sum(w**k * states), **rounding)
    assert np.isclose(gradient.cell["input_weights"][...][0], np.sum(w**k), **rounding)


def halved(parameters):
    """A projection that does not commute with an update."""
    return jax.tree.map(lambda leaf: jnp.where(leaf > 0, leaf / 2, leaf), parameters)


def recurrent_size(cell, inputs, loss):
    """A penalty: Σ W³, and what it was given; of the loss only whether it is the batch's own."""
    del inputs
    return jnp.sum(cell.recurrent_kernel[...] ** 3) + loss(jnp.zeros((B, T, N)))


def test_an_update_is_project_of_sgd_of_clip_of_loss_and_penalty():
    clipped = make_mitigation("clip", max_norm=0.5).gradient
    remedy = Mitigation(gradient=clipped, penalty=recurrent_size, project=halved)
    samples = batch(EVERY)

    def updates(network, samples):
        found = []
        for remedy_of in (Mitigation(), remedy):
            recipe = Recipe(STRUCTURE, squared_distance, "sgd", remedy_of)
            state = training.start_training(recipe, network, jnp.asarray(RATE), jax.random.key(0))
            found.append(training.train_step(state, samples))
        return found

    (plain, plain_info), (state, info) = compiled(updates, NETWORK, samples)(NETWORK, samples)
    before, (value, g) = arrays(NETWORK), bptt(NETWORK, samples)
    size = np.sqrt(sum(np.sum(array**2) for array in g.values()))
    assert_close(arrays(plain.network), {name: before[name] - RATE * g[name] for name in g})
    rounding = {"rtol": bounds.states(4 * T, D + N + K), "atol": 0}
    assert np.allclose(plain_info, [value, 0, size], **rounding)
    assert (int(plain.step), *map(int, plain.counts[:4])) == (1, 1, 0, 0, 0)

    g["recurrent_kernel"] = g["recurrent_kernel"] + 3 * before["recurrent_kernel"] ** 2
    g["kernel"], errors = g["kernel"], before["read_bias"] - np.asarray(samples.targets)
    g["read_bias"] = g["read_bias"] + 2 * EVERY @ errors.mean(axis=0)
    size = np.sqrt(sum(np.sum(array**2) for array in g.values()))
    assert size > 1
    after = {name: before[name] - RATE * 0.5 / size * g[name] for name in g}
    projected = {name: np.where(after[name] > 0, after[name] / 2, after[name]) for name in NAMES}
    assert_close(arrays(state.network), after | projected)
    constant = np.sum(EVERY[:, None] * np.mean(errors**2, axis=0))
    penalty = np.sum(before["recurrent_kernel"] ** 3) + constant
    assert np.allclose(info, [value, penalty, size], **rounding)
    assert (int(state.counts.changed), float(state.counts.last_norm)) == (1, pytest.approx(size))


def first_update(g):
    """By name: of the published rules, from zero moments, with the defaults of optax."""
    return {
        "sgd": -RATE * g,
        "momentum": -RATE * g,
        "rmsprop": -RATE * g / np.sqrt(0.1 * g**2 + 1e-8),
        "adam": -RATE * g / (np.abs(g) + 1e-8),
    }


def second_update(g):
    """Of the same gradient once more."""
    return first_update(g) | {
        "momentum": -RATE * 1.9 * g,
        "rmsprop": -RATE * g / np.sqrt(0.19 * g**2 + 1e-8),
    }


def test_optimisers_by_their_closed_forms():
    gradient = jax.tree.map(jnp.sin, NETWORK)

    @jax.jit
    def updates():
        found = {}
        for name in training.OPTIMIZERS:
            recipe = Recipe(STRUCTURE, squared_distance, name)
            rate, key = jnp.asarray(RATE, jnp.float32), jax.random.key(0)
            state = training.start_training(recipe, NETWORK, rate, key).optimizer
            transformation = training._transformation(recipe, key)
            first, state = transformation.update(gradient, state, NETWORK)
            found[name] = first, transformation.update(gradient, state, NETWORK)[0]
        return found

    with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to a power of int32
        found = updates()
    assert set(found) == set(first_update(1.0))
    for name, both in found.items():
        for update, rule in zip(both, (first_update, second_update), strict=True):
            expected = {each: rule(g)[name] for each, g in arrays(gradient).items()}
            assert_close(arrays(update), expected, 1e-9 if name == "adam" else bounds.states(2, 2))


def test_dropout_leaves_out_the_same_outputs_in_all_steps_and_keeps_the_mean():
    """With one output a sequence has no loss at all, or 1/(1 − rate) times its own."""
    samples = Sample(jnp.ones((B, T, 1)), jnp.zeros((B, T)), jnp.ones((B, T)) / T)
    samples = samples._replace(inputs=samples.inputs.at[1].set(3.0))
    plain, none, dropping = (
        Recipe(NEURON, lambda y, _: y[:, 0], remedy=remedy)
        for remedy in (Mitigation(), Mitigation(dropout=0.0), Mitigation(dropout=0.75))
    )
    keys = jax.random.split(jax.random.key(5), 4000)

    @jax.jit
    def measured(keys):
        dropped = jax.vmap(lambda key: objectives.batch_loss(dropping, ONE, samples, key))(keys)
        others = [
            objectives.batch_loss(plain, ONE, samples),
            objectives.batch_loss(none, ONE, samples, keys[0]),
            objectives.batch_loss(dropping, ONE, samples),
        ]
        return dropped, jnp.stack(others)

    found, (value, *others) = map(np.asarray, measured(keys))
    assert others == [value, value]
    # The second sequence has three times the loss of the first: four outcomes.
    which = found / value
    assert np.allclose(which, np.round(which), atol=1e-12)
    shares = [np.mean(np.round(which) == outcome) for outcome in (0, 1, 3, 4)]
    expected = np.array([9, 3, 3, 1]) / 16
    assert np.all(np.abs(shares - expected) < 4 * np.sqrt(expected / len(keys)))
    assert abs(np.mean(which) - 1) < 4 * np.std(which) / np.sqrt(len(keys))
