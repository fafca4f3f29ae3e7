"""Clipping over the whole range of each dtype, against arithmetic with exponents of its own."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from throughtime.mitigations import make_mitigation
from throughtime.mitigations.clipping import clip_by_norm, clip_by_unit
from throughtime.scaled import at_least_float32

DTYPES = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)
NAMES = [np.dtype(dtype).name for dtype in DTYPES]
SHAPES = {"W": (4, 3), "b": (5,), "s": ()}
SIZE = 18


@functools.cache
def clipping(make, limit):
    """A transformation's update, compiled."""
    transformation = make(limit)
    return jax.jit(lambda g, w: transformation.update(g, optax.EmptyState(), w)[0])


def tree(dtype, seed, top, spread):
    """Numbers of both signs, below 2^top and above 2^(top − spread), as many as there are floats.

    What would be subnormal is 0: XLA's CPU takes it for that.
    """
    draws, tiny = np.random.default_rng(seed), float(jnp.finfo(dtype).tiny)
    found = {}
    for name, shape in SHAPES.items():
        exponents = top - draws.integers(0, spread + 1, shape)
        values = draws.choice([-1, 1], shape) * np.ldexp(draws.uniform(0.5, 0.99, shape), exponents)
        found[name] = jnp.asarray(np.where(np.abs(values) < tiny, 0, values), dtype)
    return found


def length(values):
    """The norm as mantissa and exponent: `math.hypot` is right to an ulp, and here in its range."""
    top = max((math.frexp(x)[1] for x in values if x), default=0)
    mantissa, exponent = math.frexp(math.hypot(*(math.ldexp(x, -top) for x in values)))
    return mantissa, exponent + top


def shortened(values, limit):
    """The values times min(1, limit/norm), limit a mantissa and an exponent, too."""
    size, (m, e) = length(values), limit
    if size[0] == 0 or (size[1], size[0]) < (e, m):
        return values
    parts = map(math.frexp, values)
    return [math.ldexp(x * m / size[0], k + e - size[1]) for x, k in parts]


def assert_close(found, expected, dtype):
    """Errors of n/2 + 6 roundings of the arithmetic and one of the result, or an underflow."""
    wide = at_least_float32(dtype)
    rtol = (SIZE / 2 + 6) * float(jnp.finfo(wide).eps) + float(jnp.finfo(dtype).eps)
    atol = float(jnp.finfo(dtype).tiny) + 256 * float(jnp.finfo(wide).tiny)
    assert found.dtype == dtype
    assert np.allclose(np.asarray(found, np.float64), expected, rtol=rtol, atol=atol)


def numbers(dtype):
    """Seeds, largest exponents and spreads that cover a dtype."""
    info = jnp.finfo(dtype)
    return {
        "seed": st.integers(0, 2**32 - 1),
        "top": st.integers(int(info.minexp) + 1, int(info.maxexp)),
        "spread": st.integers(0, 60),
    }


@pytest.mark.parametrize("limit", [1.0, 1e30])
@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_clip_is_right_over_the_whole_float_range(dtype, limit):
    @settings(max_examples=40)
    @given(**numbers(dtype))
    @example(seed=0, top=int(jnp.finfo(dtype).maxexp), spread=0)
    @example(seed=0, top=int(jnp.finfo(dtype).maxexp) // 2 + 2, spread=3)
    def check(seed, top, spread):
        gradient = tree(dtype, seed, top, spread)
        found = clipping(clip_by_norm, limit)(gradient, gradient)
        flat = [float(x) for leaf in gradient.values() for x in np.ravel(leaf)]
        expected = np.array(shortened(flat, math.frexp(limit)))
        places = np.split(expected, np.cumsum([leaf.size for leaf in gradient.values()])[:-1])
        for (name, leaf), part in zip(gradient.items(), places, strict=True):
            assert_close(found[name], part.reshape(leaf.shape), dtype)

    check()


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_adaptive_clip_is_right_over_the_whole_float_range(dtype):
    def unit(gradient, weights):
        m, e = length(weights)
        least = math.frexp(1e-3)
        m, e = max((e, m), (least[1], least[0]))[::-1] if m else least
        product, carry = math.frexp(0.01 * m)
        return shortened(gradient, (product, e + carry))

    @settings(max_examples=40)
    @given(**numbers(dtype), weights=numbers(dtype)["top"])
    @example(seed=0, top=int(jnp.finfo(dtype).maxexp), spread=0, weights=0)
    @example(seed=1, top=int(jnp.finfo(dtype).maxexp), spread=2, weights=10)
    def check(seed, top, spread, weights):
        gradient, weight = tree(dtype, seed, top, spread), tree(dtype, seed + 1, weights, 3)
        found = clipping(clip_by_unit, 0.01)(gradient, weight)
        for name, leaf in gradient.items():
            columns = (np.asarray(x, np.float64).reshape(x.shape[0] if x.ndim else 1, -1).T
                       for x in (leaf, weight[name]))  # fmt: skip
            expected = [unit(*map(np.ndarray.tolist, pair)) for pair in zip(*columns, strict=True)]
            assert_close(found[name], np.array(expected).T.reshape(leaf.shape), dtype)

    check()


def test_a_gradient_of_which_no_square_is_near_an_end_is_clipped_as_optax_does():
    gradient, weight = tree(jnp.float32, 0, 3, 5), tree(jnp.float32, 1, 0, 5)
    pairs = (clip_by_norm, optax.clip_by_global_norm), (clip_by_unit, optax.adaptive_grad_clip)
    for ours, theirs in pairs:
        found, expected = (clipping(make, 0.5)(gradient, weight) for make in (ours, theirs))
        assert all(np.array_equal(found[name], expected[name]) for name in SHAPES)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("name", ["clip", "adaptive_clip"])
def test_a_gradient_that_is_not_finite_is_passed_on(name, bad):
    gradient = {"b": jnp.array([2.0, bad, -3e38], jnp.float32)}
    clip = make_mitigation(name).gradient(jax.random.key(0))
    found, _ = clip.update(gradient, clip.init(gradient), jax.tree.map(jnp.ones_like, gradient))
    assert np.array_equal(found["b"], gradient["b"], equal_nan=True)
    nothing, _ = clip.update({"b": jnp.zeros(3)}, optax.EmptyState(), {"b": jnp.zeros(3)})
    assert np.array_equal(nothing["b"], np.zeros(3))


def test_clip_takes_complex_leaves_and_passes_integers_on():
    clip = clip_by_norm(1.0)
    gradient = {"z": jnp.array([3e30 + 4e30j], jnp.complex64), "n": jnp.array(7)}
    found, _ = clip.update(gradient, optax.EmptyState())
    assert np.allclose(found["z"], [0.6 + 0.8j], rtol=8 * np.finfo(np.float32).eps)
    assert (found["z"].dtype, int(found["n"])) == (jnp.complex64, 7)
    with pytest.raises(ValueError, match=r"adaptive_clip needs real gradients, not complex64\."):
        clip_by_unit(0.1).update(gradient, optax.EmptyState(), gradient)
