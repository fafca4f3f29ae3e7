"""Odd cells, arrays and losses: the right number, a warning, or one sentence."""

import functools
import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from throughtime import as_step, measure, statistics, watch_gradients
from throughtime.scaled import log_norm
from throughtime.traced import coarsest, trace

T, D, N = 8, 3, 4
INPUTS = jax.random.normal(jax.random.key(1), (T, D), jnp.float32)


class Plain(nnx.Module):
    """h' = act(x W + h U), y = read(h'); all else is what a test makes of it."""

    num_feature_axes, in_features = 1, D

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.inner = nnx.Linear(D, N, rngs=rngs)
        self.around = nnx.Linear(N, N, rngs=rngs)
        self.own()

    def own(self):
        """What the cell has besides."""

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return jnp.full((*shape[:-1], N), 0.1, jnp.float32)

    def __call__(self, carry, x):
        h = self.act(self.inner(x) + self.around(carry))
        return h, self.read(h)

    def act(self, a):
        return jnp.tanh(a)

    def read(self, h):
        return h


def made(**methods):
    """A cell with other methods."""
    return type("Odd", (Plain,), methods)()


def tanh_in_a_scan(a):
    return jax.lax.scan(lambda c, _: (jnp.tanh(c), None), a, length=1)[0]


BLOCKS = {
    "checkpoint": jax.checkpoint(jnp.tanh),
    "cond": lambda a: jax.lax.cond(jnp.sum(a) > 0, jnp.tanh, lambda b: jnp.tanh(b), a),
    "scan": tanh_in_a_scan,
    "scan in a jit": jax.jit(tanh_in_a_scan),
}


@functools.cache
def saturated():
    return measure(made(), 30 * INPUTS)


@pytest.mark.parametrize("name", BLOCKS)
def test_slopes_keep_their_digits_within_blocks_of_a_cell(name):
    found = measure(made(act=lambda self, a: BLOCKS[name](a)), 30 * INPUTS)
    assert (found.status, found.verdict) == ("ok", saturated().verdict)
    # A slope e^-2|a| is as wrong as its exponent is rounded, at every step: eps |a| per term.
    largest = 2 * 30 * np.abs(INPUTS).max() * (D + N)
    bound = 16 * T * np.finfo(np.float32).eps * largest
    assert np.allclose(found.log_norms, saturated().log_norms, rtol=0, atol=bound)
    assert saturated().log_norms[-1] < -150


def test_rules_reach_every_carry_and_output_of_a_loop():
    def loop(a):
        def body(carry, x):
            h = jnp.tanh(carry[0] * x + a)
            return (h, carry[1] + 1), 2 * h

        (h, n), ys = jax.lax.scan(body, (a, jnp.int32(0)), jnp.arange(1.0, 4.0), reverse=True)
        return [h, n, ys]

    program = trace(loop, jnp.ones(N), rules={"tanh": jnp.sinh})
    assert program.is_changed
    h, n, ys = program(jnp.full(N, 0.1))
    expected, rows = 0.1, []
    for x in (3.0, 2.0, 1.0):
        expected = np.sinh(expected * x + 0.1)
        rows.append(2 * expected)
    bound = 64 * np.finfo(float).eps
    assert np.allclose(h, expected, rtol=bound)
    assert int(n) == 3
    assert np.allclose(ys[:, 0], rows[::-1], rtol=bound)


OUTPUTS = {
    "integers": (lambda h: jnp.sign(h).astype(jnp.int32), r"puts out int32\[4\]; only"),
    "flags": (lambda h: h > 0, r"puts out bool\[4\]; only"),
    "complex": (lambda h: h.astype(jnp.complex64), r"puts out complex64\[4\]; only"),
    "nothing": (lambda h: h[:0], r"puts out float32\[0\]; only"),
    "a tuple": (lambda h: (h, h), r"must return \(carry, output\), the output one array"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_without_a_gradient_is_refused(name):
    read, words = OUTPUTS[name]
    cell = made(read=lambda self, h: read(h))
    with pytest.raises((TypeError, ValueError), match=words):
        measure(cell, INPUTS)
    with pytest.raises((TypeError, ValueError), match=words):
        watch_gradients(cell, INPUTS[None], lambda ys: jnp.sum(jnp.abs(ys)))


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [(0.0, 0.0, "float"), ("a", "a", "str"), (jnp.float32(0), 1.0, "float")],
)
def test_a_carry_of_something_but_arrays_is_refused(start, end, word):
    def call(self, carry, x):
        return (self.act(self.inner(x) + self.around(carry[0])), end), carry[0]

    cell = made(initialize_carry=lambda self, *_: (jnp.zeros(N, jnp.float32), start), __call__=call)
    sentence = f"Odd carries a {word}; all parts of a carry must be arrays."
    with pytest.raises(TypeError, match=sentence):
        measure(cell, INPUTS)
    with pytest.raises(TypeError, match=sentence):
        as_step(cell).step(jnp.zeros(N + 1, jnp.float32), INPUTS[0])


def test_a_carry_of_no_numbers_is_refused():
    cell = made(initialize_carry=lambda self, *_: jnp.zeros(0, jnp.float32))
    with pytest.raises(ValueError, match="a carry needs a part of floats"):
        measure(cell, INPUTS)


def test_a_cell_that_is_no_module_of_flax_is_refused():
    class Bare:
        in_features = D

        def initialize_carry(self, shape, rngs=None, carry_init=None):
            return jnp.zeros(N, jnp.float32)

        def __call__(self, carry, x):
            return carry, carry

    with pytest.raises(TypeError, match="Bare is no recurrent cell; pass a cell"):
        measure(Bare(), INPUTS)


def test_an_output_that_is_made_of_no_state_has_exactly_no_gradient_by_it():
    cell = made(__call__=lambda self, h, x: (jnp.tanh(self.around(h)), self.inner(x)))
    found = measure(cell, INPUTS)
    assert np.isfinite(found.log_norms[0])
    assert np.all(np.isneginf(found.log_norms[1:]))
    assert (found.status, found.verdict) == ("ok", "vanishing")


def test_without_a_gradient_at_lag_0_no_curve_is_ok():
    curve = np.array([-np.inf, -np.inf, -1.0])
    assert statistics.status(curve, None, lambda: False) == "collapsed"
    assert statistics.status(curve[::-1], None, lambda: False) == "ok"


LOSSES = {
    "one of each sequence": (lambda ys: jnp.sum(ys, axis=(1, 2)), r"not float32\[2\]\."),
    "an integer": (lambda ys: jnp.sum(ys > 0), r"not int64\[\]\."),
    "complex": (lambda ys: jnp.sum(ys).astype(jnp.complex64), r"not complex64\[\]\."),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_no_real_number_is_refused(name):
    loss, words = LOSSES[name]
    with pytest.raises(ValueError, match=f"the loss must return one real number, {words}"):
        watch_gradients(made(), jnp.stack([INPUTS, INPUTS]), loss)


def watched(cell):
    """What is seen of a cell with a loss of all its outputs, as one program."""
    graphdef, state = nnx.split(cell)

    def seen(state):
        return watch_gradients(nnx.merge(graphdef, state), INPUTS[None], jnp.sum)

    return jax.jit(seen)(state)


def test_parameters_of_several_dtypes_and_integers_are_watched_as_those_of_one():
    """A factor of 1 in bfloat16 and an integer: θ has the gradient that it has without them."""

    def own(self):
        self.count = nnx.Param(jnp.int32(2))
        self.factor = nnx.Param(jnp.ones(N, jnp.bfloat16))

    def act(self, a):
        return jnp.tanh(a * jax.lax.stop_gradient(self.factor[...].astype(a.dtype)))

    one, two = watched(made()), watched(made(own=own, act=act))
    bound = 64 * T * np.finfo(np.float32).eps
    found, expected = log_norm(two.parameter_norms), log_norm(one.parameter_norms)
    assert np.allclose(found, expected, rtol=0, atol=bound)


def test_a_cell_without_parameters_is_said_to_have_none():
    class Fixed(Plain):
        def __init__(self):
            self.weights = nnx.Variable(jnp.full((D, N), 0.3, jnp.float32))

        def __call__(self, carry, x):
            h = jnp.tanh(x @ self.weights[...] + carry / 2)
            return h, h

    with pytest.warns(UserWarning, match=r"Fixed has no nnx.Param, and its parameter_norms are 0"):
        seen = watched(Fixed())
    assert np.all(np.isneginf(log_norm(seen.parameter_norms)))


@pytest.mark.parametrize("transform", ["jit", "vmap", "grad"])
def test_measure_within_a_transformation_is_refused(transform):
    def last(x):
        return jnp.sum(jnp.asarray(measure(made(), x).log_norms))

    inputs = INPUTS[None] if transform == "vmap" else INPUTS
    with pytest.raises(TypeError, match="cannot be called within jit, vmap or grad"):
        getattr(jax, transform)(last)(inputs)


@pytest.mark.parametrize("lengths", ["ab", [[1], [2, 3]], None])
def test_lengths_that_are_no_array_are_refused(lengths):
    with pytest.raises(TypeError, match="lengths must be 1 integers from 2 to 8, not "):
        measure(made(), INPUTS, lengths=[None] if lengths is None else lengths)


def test_fewer_digits_than_asked_for_are_said():
    cell = made(act=lambda self, a: jnp.tanh(a.astype(jnp.bfloat16)).astype(a.dtype))
    with pytest.warns(UserWarning, match="Odd computes in bfloat16 in places, although its carry"):
        measure(cell, INPUTS)
    with jax.enable_x64(False), pytest.warns(UserWarning, match="float64 are measured in float32"):
        measure(made(), np.asarray(INPUTS, np.float64))


def test_the_coarsest_dtype_of_a_program_is_found_within_its_blocks():
    def function(a):
        return [jax.lax.cond(a[0] > 0, lambda b: b.astype(jnp.float16).astype(b.dtype), jnp.sin, a)]

    assert coarsest(trace(function, jnp.ones(N, jnp.float32))) == jnp.float16
    assert coarsest(trace(lambda a: [jnp.sin(a)], jnp.ones(N, jnp.float32))) == jnp.float32


FLOAT16 = """
import numpy as np
from flax import nnx
from throughtime import measure
from throughtime.points import Point
from throughtime.sweeps import group, refused

try:
    measure(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), np.ones((8, 3), np.float16))
except ValueError as error:
    print(error)
sizes = {"sequence_length": 8, "hidden_features": 4, "num_seeds": 1, "batch_size": 1}
seeds = {"seed": 0, "data_seed": 0, "recurrent_scale": 1.0, "loss_at": "last"}
point = Point(cell="elman", task="noise", dtype="float16", **sizes, **seeds)
((key, points),) = group([point]).items()
print(refused(key, points)[0].reason)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="F16C is of x86")
def test_float16_without_the_instructions_for_it_is_refused():
    flags = {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", FLOAT16], env=os.environ | flags, capture_output=True, text=True
    )
    said = "float16 cannot be computed on this device (an x86 CPU needs F16C for it); use bfloat16"
    assert found.stdout.count(said) == 2, found.stderr


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_a_cell_that_keeps_what_it_saw_is_measured_as_without():
    """`sow` makes a variable whose value is a tuple, and no part of the network."""

    def act(self, a):
        h = jnp.tanh(a)
        self.sow(nnx.Intermediate, "seen", h)
        return h

    with pytest.warns(UserWarning, match="Odd writes to its seen as it steps"):
        found = measure(made(act=act), INPUTS)
    assert np.array_equal(found.log_norms, measure(made(), INPUTS).log_norms)
