"""What is counted of gradients: how many were changed, and which were not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bounds import FUNCTION, gamma
from jax.flatten_util import ravel_pytree

from throughtime.counting import counted, global_norm


def tree(*numbers, dtype=jnp.float64):
    return {"a": jnp.asarray(numbers[:1], dtype), "b": jnp.asarray(numbers[1:], dtype)}


@functools.cache
def updating(make):
    """The update of a transformation that is made of a number."""
    return jax.jit(lambda gradient, state, number: make(number).update(gradient, state))


def counts_of(make, gradients, number=1.0):
    """The counts after some gradients, and what became of each of them."""
    state, passed = make(number).init(gradients[0]), []
    for gradient in gradients:
        out, state = updating(make)(gradient, state, number)
        passed.append(out)
    return state, passed


def clipping(max_norm):
    return counted(optax.clip_by_global_norm(max_norm))


def passing(_):
    return counted()


def test_counts_of_clipped_gradients():
    gradients = [tree(3.0, 4.0, 0.0), tree(0.3, 0.4, 0.0), tree(0.0, 0.0, 1.5), tree(0.0, 1.0, 0.0)]
    for max_norm, changed in ((1e9, 0), (1e-9, 4), (1.0, 2)):
        state, passed = counts_of(clipping, gradients, max_norm)
        assert list(map(int, state[:4])) == [4, changed, 0, 0]
        assert state.last_norm == 1.0
        for gradient, out in zip(gradients, passed, strict=True):
            g = ravel_pytree(gradient)[0]
            expected = g * min(1, max_norm / np.linalg.norm(g))
            assert np.allclose(ravel_pytree(out)[0], expected, rtol=gamma(FUNCTION), atol=0)


def test_counts_of_gradients_that_are_not_finite():
    good, bad = tree(3.0, 4.0, 0.0), [tree(1.0, np.nan, 0.0), tree(-np.inf, 1.0, 0.0)]
    gradients = [good, tree(0.0, 0.6, 0.8), bad[0], tree(5.0, 12.0, 0.0), bad[1], bad[0]]
    state, passed = counts_of(passing, gradients)
    assert list(map(int, state[:4])) == [6, 0, 3, 3]
    assert state.last_norm == 13.0
    for gradient, out in zip(gradients, passed, strict=True):
        assert all(out[name].tobytes() == gradient[name].tobytes() for name in out)
    # The norm is that of the gradient before it is changed, and a bad one is not called changed.
    state, _ = counts_of(clipping, gradients[:4], 2.0)
    assert list(map(int, state[:4])) == [4, 2, 1, 3]
    assert state.last_norm == 13.0


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_a_norm_whose_square_is_no_float_is_a_norm(size):
    gradient = tree(3 * size, 4 * size, 0.0, dtype=jnp.float32)
    state, _ = counts_of(passing, [gradient])
    assert list(map(int, state[:4])) == [1, 0, 0, 0]
    assert np.isclose(state.last_norm, 5 * size, rtol=1e-6)
    assert np.isinf(global_norm(gradient | {"c": jnp.array(jnp.inf, jnp.float32)}))
    assert np.isnan(global_norm(gradient | {"c": jnp.array(jnp.nan, jnp.float32)}))
    assert global_norm(jax.tree.map(jnp.zeros_like, gradient)) == 0


def test_what_is_counted_keeps_parameters_and_further_arguments():
    def update(updates, state, params=None, *, factor, **extra):
        return jax.tree.map(lambda g, p: factor * g + p, updates, params), state + 1

    wrapped = counted(
        optax.GradientTransformationExtraArgs(lambda params: jnp.zeros((), jnp.int32), update)
    )
    gradient, params = tree(1.0, 2.0, 3.0), tree(10.0, 20.0, 30.0)
    state = wrapped.init(params)
    out, state = wrapped.update(gradient, state, params, factor=2.0, unheard_of=1)
    assert np.array_equal(ravel_pytree(out)[0], [12.0, 24.0, 36.0])
    assert (int(state.inner), int(state.changed)) == (1, 1)
    chain = optax.chain(counted(optax.add_decayed_weights(0.1)), optax.sgd(0.5))
    out, state = chain.update(gradient, chain.init(params), params, factor=2.0)
    assert np.allclose(ravel_pytree(out)[0], [-1.0, -2.0, -3.0], rtol=gamma(4), atol=0)
    assert int(state[0].changed) == 1


def test_counting_within_injected_hyperparameters():
    @optax.inject_hyperparams
    def clipped(max_norm, learning_rate):
        return optax.chain(counted(optax.clip_by_global_norm(max_norm)), optax.sgd(learning_rate))

    transformation = clipped(max_norm=1.0, learning_rate=0.5)
    gradient = tree(3.0, 4.0, 0.0)
    state = transformation.init(gradient)
    for max_norm, expected, changed in ((1.0, [-0.3, -0.4, 0.0], 1), (9.0, [-1.5, -2.0, 0.0], 1)):
        state = optax.tree.set(state, max_norm=jnp.asarray(max_norm))
        out, state = jax.jit(transformation.update)(gradient, state)
        assert np.allclose(ravel_pytree(out)[0], expected, rtol=gamma(FUNCTION), atol=0)
        assert int(state.inner_state[0].changed) == changed


def test_a_norm_beyond_the_float_range_is_counted_as_it_is():
    gradient = {"W": jnp.full((3, 3), 3e38, jnp.float32)}
    state, _ = counts_of(passing, [gradient])
    # One rounding of the norm of nine equal numbers, √9 · 3e38, and those of its sum of squares.
    found = np.ldexp(np.float64(state.last.mantissa), int(state.last.exponent))
    assert np.isclose(found, 3 * float(np.float32(3e38)), rtol=6 * 2.0**-23)
    assert np.isinf(state.last_norm)
    assert list(map(int, state[:4])) == [1, 0, 0, 0]
    half, _ = counts_of(passing, [{"W": jnp.full((3, 3), 6e4, jnp.float16)}])
    assert np.isclose(half.last_norm, 1.8e5, rtol=6 * np.finfo(np.float32).eps)


def test_only_real_and_complex_leaves_are_counted():
    mixed = {
        "z": jnp.array([3e30j], jnp.complex64),
        "h": jnp.array([4.0], jnp.bfloat16),
        "n": jnp.array([12345]),
        "key": jax.random.key(0),
    }
    state, _ = counts_of(passing, [mixed])
    assert np.isclose(state.last_norm, 3e30, rtol=6 * np.finfo(np.float32).eps)
    for bad in (jnp.array([np.nan], jnp.complex64), jnp.array([1j * np.inf], jnp.complex64)):
        assert int(counts_of(passing, [mixed | {"z": bad}])[0].nonfinite) == 1
    for empty in ({}, {"n": jnp.array([12345])}):
        state, _ = counts_of(passing, [empty])
        assert (float(state.last_norm), list(map(int, state[:4]))) == (0, [1, 0, 0, 0])
    masked = optax.masked(counted(), {"a": False, "b": True})
    out, state = masked.update(tree(3.0, 4.0, 0.0), masked.init(tree(1.0, 1.0, 1.0)))
    assert (float(state.inner_state.last_norm), float(out["a"][0])) == (4.0, 3.0)
    nothing = optax.masked(counted(), {"a": False, "b": False})
    assert float(nothing.init(tree(3.0, 4.0, 0.0)).inner_state.last_norm) == 0
