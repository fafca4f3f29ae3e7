"""Trainings of narrow floats: the optimiser's arithmetic is float32, and its faults are its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from recipes import ONE, T, network
from trained import BASE

from throughtime import training
from throughtime.learned import Look, Run
from throughtime.mitigations import Mitigation, make_mitigation
from throughtime.mitigations.penalties import vanishing_penalty
from throughtime.objectives import Recipe
from throughtime.scaled import Scaled, from_float, norm
from throughtime.tasks import Sample
from throughtime.watching import GradientWatch

RATE = 1e-3
EPS = np.finfo(np.float32).eps


def first_output(size):
    """A loss whose gradient by the bias of the read-out is ``size``, whatever the network."""
    return lambda y, _: jnp.asarray(size, y.dtype) * y[:, 0]


@functools.cache
def trained(dtype, optimizer, num_updates, size=1.0, master=True, remedy=None):
    """A run of some updates on one batch, and its state before; what its loss's gradient is."""
    structure, start = network("scalar", 1, 1, recurrent_scale=0.5, dtype=jnp.dtype(dtype))
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    start = start._replace(bias=jnp.ones(1, dtype))
    remedy = Mitigation() if remedy is None else make_mitigation(remedy)
    recipe = Recipe(structure, first_output(size), optimizer, remedy, master)
    weights = jnp.zeros((1, T), dtype).at[:, -1].set(1)
    samples = Sample(jnp.zeros((1, T, 1), dtype), jnp.zeros((1, T), dtype), weights)

    @jax.jit
    def run():
        state = training.start_training(recipe, start, jnp.asarray(RATE, jnp.float32),
                                        jax.random.key(0))  # fmt: skip
        return state, training.fit(state, lambda step: samples, num_updates)

    return run()


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "momentum", "sgd"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_first_updates_follow_the_closed_form_in_float32(dtype, optimizer):
    """Of a gradient g = 1 at all updates, from b = 1; β₂ = .999 and ε = 1e-8 are what they are."""
    before, (state, info) = trained(dtype, optimizer, 2)
    moves = {
        "sgd": [1, 1],
        "momentum": [1, 1.9],
        "adam": [1 / (1 + 1e-8)] * 2,
        "rmsprop": [1 / np.sqrt(0.1 + 1e-8), 1 / np.sqrt(0.19 + 1e-8)],
    }[optimizer]
    # Ten roundings of numbers of size 1, and 1 − β₂ᵗ ≈ t/1000, which magnifies that of β₂.
    assert np.isclose(state.master.bias[0], 1 - RATE * sum(moves), rtol=10 * EPS)
    assert state.network.bias[0] == jnp.asarray(state.master.bias[0], dtype)
    hyperparameters = state.optimizer[1].hyperparams
    assert hyperparameters["learning_rate"] == np.float32(RATE)
    assert {leaf.dtype for leaf in jax.tree.leaves(hyperparameters)} == {jnp.dtype(jnp.float32)}
    assert info.gradient_norm.dtype == jnp.float32
    assert (int(state.overflowed_at), int(state.counts.nonfinite)) == (0, 0)
    assert before.network.bias[0] == 1


def test_without_master_weights_updates_below_half_an_ulp_are_lost():
    """From 1 downwards bfloat16 has steps of 2^-8: a move of 1e-3 is less than half of one."""
    kept, lost = (trained("bfloat16", "sgd", 8, master=master)[1][0] for master in (True, False))
    assert np.isclose(kept.master.bias[0], 1 - 8 * RATE, rtol=10 * EPS)
    assert float(kept.network.bias[0]) == 1 - 2 * 2**-8
    assert (float(lost.network.bias[0]), lost.master) == (1.0, None)
    assert trained("float32", "sgd", 1)[1][0].master is None


def test_an_exploding_gradient_is_clipped_and_moves_the_network():
    """‖g‖ = 1e30 in float32; the read-out's bias moves by the learning rate at every update."""
    state = trained("float32", "sgd", 2, size=1e30, remedy="clip")[1][0]
    assert np.isclose(state.network.bias[0], 1 - 2 * RATE, rtol=10 * EPS)
    assert (int(state.counts.changed), int(state.counts.nonfinite)) == (2, 0)


def test_an_optimiser_that_overflows_is_no_diverged_network():
    """Adam squares a gradient of 1e30, and would never move again."""
    state = trained("float32", "adam", 3, size=1e30)[1][0]
    assert (int(state.overflowed_at), int(state.counts.nonfinite)) == (1, 0)
    seen = GradientWatch(from_float(jnp.ones(2)), None, jnp.zeros(()), {}, 0)
    counts = jax.tree.map(np.asarray, state.counts._replace(inner=None))
    counts = counts._replace(first_nonfinite=np.int32(2))
    look = Look.of(seen, (np.nan, np.nan), counts, None, np.asarray(state.overflowed_at))
    run = Run(BASE, 0, [look])
    assert (run.status, look.diverged_at, look.overflowed_at) == ("overflow", 0, 1)
    assert run.is_done(None)
    assert np.isclose(look.last_norm, 1e30, rtol=10 * EPS)
    own = Look.of(seen, (np.nan, np.nan), counts, None, np.int32(0))
    assert (Run(BASE, 0, [own]).status, own.diverged_at) == ("nonfinite", 2)


def test_a_norm_of_many_float16_numbers():
    """Their sum of squares is beyond float16, which the norm is not."""
    many = jnp.full(2**18, 0.5, jnp.float16)
    found = jax.jit(lambda x: norm(Scaled(x, jnp.zeros((), jnp.int32))))(many)
    assert (float(found.mantissa), int(found.exponent)) == (0.5, 9)


def test_penalties_in_float16_that_are_beyond_its_range():
    """Of a linear neuron Ω = (w² − 1)², and ‖WᵀW − I‖² is the same for its one weight."""
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), ONE.cell)
    cell["loop_weight"][...] = jnp.full((), 17.0, jnp.float16)
    structure, _ = network("scalar", 1, 1, recurrent_scale=0.5, dtype=jnp.dtype("float16"))
    neuron = nnx.merge(structure, cell)
    inputs = jnp.zeros((1, 3, 1), jnp.float16)
    omega = vanishing_penalty(neuron, inputs, lambda outputs: jnp.sum(outputs[:, -1]))
    orthogonality = make_mitigation("orthogonality", weight=1.0).penalty(neuron, inputs, None)
    # Jᵀa is rounded to float16: r = w² by 2^-10, and (r − 1)² by twice that.
    assert np.isclose(float(omega), 288.0**2, rtol=2.1 * 2**-10)
    assert float(orthogonality) == 288.0**2
