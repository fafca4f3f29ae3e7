"""Runs of many updates: side by side, in pieces, to a known optimum; and what comes around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import near, states
from recipes import (
    EVERY,
    NETWORK,
    NEURON,
    ONE,
    STRUCTURE,
    D,
    K,
    N,
    T,
    arrays,
    compiled,
    forward,
)

from throughtime import objectives, training
from throughtime.mitigations import Mitigation, make_mitigation
from throughtime.objectives import Recipe
from throughtime.tasks import Sample, Task
from throughtime.tasks.task import mean_squared, squared_distance

TRUTH = {"w": 0.9, "v": 0.5}


PHASES = np.random.default_rng(2).uniform(0, 2 * np.pi, (4, T, 1))


def imitation(step):
    """A batch of a linear neuron's own outputs, without noise; other inputs at every step."""
    inputs = jnp.sin(jnp.broadcast_to(step.astype(jnp.float64), PHASES.shape) * 1.7 + PHASES)
    lags = np.subtract.outer(np.arange(T), np.arange(T))
    weights = 2 * TRUTH["v"] * np.where(lags >= 0, TRUTH["w"] ** np.abs(lags), 0)
    targets = jnp.einsum("ts,bsd->btd", weights, inputs)
    return Sample(inputs, targets, jnp.full((4, T), 1 / T))


def runner(num_updates, **remedy):
    """A run of a linear neuron by learning rate and key, from a state or from its start."""
    recipe = Recipe(NEURON, squared_distance, "momentum", Mitigation(**remedy))

    def start(rate, key):
        return training.start_training(recipe, ONE, rate, key)

    return start, lambda state: training.fit(state, imitation, num_updates)


@pytest.mark.slow
def test_runs_side_by_side_are_the_single_runs_and_reach_the_optimum():
    rates = jnp.array([0.002, 0.004, 0.0], jnp.float64)
    keys = jax.random.split(jax.random.key(0), 3)
    start, run = runner(600)
    states = jax.vmap(start)(rates, keys)
    lanes, infos = compiled(jax.vmap(run), states)(states)
    one = jax.tree.map(lambda leaf: leaf[1], states)
    single, info = compiled(run, one)(one)
    for found, expected in zip(
        jax.tree.leaves((lanes.network, infos)),
        jax.tree.leaves((single.network, info)),
        strict=True,
    ):
        assert np.allclose(found[1], expected, rtol=1e-10, atol=1e-13), np.max(
            np.abs(found[1] - expected)
        )
    v, w = (np.asarray(lanes.network.cell[name][...]) for name in ("input_weights", "loop_weight"))
    product = v[:, 0] * np.asarray(lanes.network.kernel)[:, 0, 0]
    product = product * np.asarray(lanes.network.cell["output_weight"][...])
    assert np.allclose(w[:2], TRUTH["w"], rtol=1e-6)
    assert np.allclose(product[:2], 2 * TRUTH["v"], rtol=1e-6)
    assert w[2] == ONE.cell["loop_weight"][...]
    assert np.array_equal(lanes.optimizer[1].hyperparams["learning_rate"], rates)
    assert not np.allclose(infos.loss[0, :9], infos.loss[1, :9], rtol=1e-2)


def test_a_run_in_two_pieces_is_the_run_in_one():
    """Two programs, alike up to rounding; that of the noise and of dropout is the same draws."""
    noise = make_mitigation("gradient_noise", eta=0.1).gradient
    start, half = runner(3, gradient=noise, dropout=0.5)
    whole = runner(6, gradient=noise, dropout=0.5)[1]
    state = start(jnp.asarray(0.01), jax.random.key(7))
    half = compiled(half, state)
    first, first_infos = half(state)
    second, second_infos = half(first)
    once, infos = compiled(whole, state)(state)
    pieces = jax.tree.map(lambda *parts: jnp.concatenate(parts), first_infos, second_infos)
    for found, expected in zip(
        jax.tree.leaves((second, pieces)), jax.tree.leaves((once, infos)), strict=True
    ):
        if jnp.issubdtype(found.dtype, jax.dtypes.prng_key):
            found, expected = jax.random.key_data(found), jax.random.key_data(expected)
        if jnp.issubdtype(found.dtype, jnp.floating):
            assert near(found, expected, states(6 * 2 * T, D + N))
        else:
            assert np.array_equal(found, expected)
    assert (int(once.step), int(once.counts.inner.updates)) == (6, 6)
    again, _ = half(first.replace(key=state.key))
    assert again.network.kernel != second.network.kernel


def test_validation_is_a_plain_mean_over_all_sequences(monkeypatch):
    monkeypatch.setattr(objectives, "EVALUATED_AT_ONCE", 2)

    def sample(key, length):
        del length
        inputs, targets = (jax.random.normal(k, (T, n), jnp.float64)
                           for k, n in zip(jax.random.split(key), (D, K), strict=True))  # fmt: skip
        return Sample(inputs, targets, jnp.asarray(EVERY))

    task = Task(sample, squared_distance, D, K, error=mean_squared)
    remedy = Mitigation(window=(1, 1), dropout=0.9)
    recipe = Recipe(STRUCTURE, task.loss, remedy=remedy)
    keys = jax.random.split(jax.random.key(3), 5)
    found = compiled(lambda n: objectives.evaluate(recipe, n, task, keys, T), NETWORK)(NETWORK)
    w, losses = arrays(NETWORK), []
    for xs, targets, weights in (map(np.asarray, sample(key, T)) for key in keys):
        errors = forward(w, xs)[1:] @ w["kernel"] + w["read_bias"] - targets
        losses.append(weights @ np.sum(errors**2, axis=1))
    rounding = {"rtol": states(2 * T, D + N + K), "atol": 0}
    assert np.allclose(found, [np.mean(losses), np.mean(losses) / EVERY.sum()], **rounding)


def test_flossing_before_training_drives_the_exponent_to_zero():
    """Of a linear neuron it is ln |w|; nothing else of the cell has to do with it."""
    flossing = make_mitigation("flossing", exponents=1, steps=100, learning_rate=0.02).prepare

    def prepared(cell, preparation=flossing):
        return training.prepare(preparation, NEURON, cell, jnp.ones((1, T, 1)), jnp.sum)

    with jax.numpy_dtype_promotion("standard"):  # as above
        after = compiled(prepared, ONE.cell)(ONE.cell)
    assert abs(np.log(after["loop_weight"][...])) < 1e-2
    for name in ("input_weights", "output_weight"):
        assert np.array_equal(after[name][...], ONE.cell[name][...])
    assert prepared(ONE.cell, None) is ONE.cell
