"""Cells and arrays that other people bring: the right number, or one sentence."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from flax import nnx

from throughtime import as_step, lyapunov_spectrum, measure, watch_gradients
from throughtime.adjoints import adjoint_log_norms, plain_adjoints
from throughtime.cells import StackedCell
from throughtime.cells.carries import layout_of
from throughtime.cells.gates import gate_values
from throughtime.depth import gradients_by_layer
from throughtime.lyapunov import STATUSES, exponent_errors
from throughtime.scaled import log_norm

T, D, N = 12, 3, 4
INPUTS = jax.random.normal(jax.random.key(1), (2, T, D), jnp.float32)


class Wrapped(nnx.Module):
    """An LSTM of Flax with something of the user's own around it."""

    num_feature_axes, in_features = 1, D

    def __init__(self, rngs):
        self.cell = nnx.LSTMCell(D, N, rngs=rngs)
        self.own(rngs)

    def own(self, rngs):
        """What the cell has besides."""

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return self.cell.initialize_carry(shape, rngs)


class HiddenFirst(Wrapped):
    """As PyTorch and Haiku have it."""

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return self.cell.initialize_carry(shape, rngs)[::-1]

    def __call__(self, carry, x):
        (c, h), y = self.cell(carry[::-1], x)
        return (h, c), y


class Clocked(Wrapped):
    """A float clock at the end of the carry."""

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return (*self.cell.initialize_carry(shape, rngs), jnp.zeros((*shape[:-1], 1)))

    def __call__(self, carry, x):
        (c, h), y = self.cell(carry[:2], x)
        return (c, h, carry[2] + 1), y


class Counted(Wrapped):
    """An integer, a flag and a random key in a carry of dicts."""

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        rest = {"n": jnp.int32(70_000), "odd": jnp.bool_(False), "key": jax.random.key(5)}
        return {"lstm": self.cell.initialize_carry(shape, rngs), **rest}

    def __call__(self, carry, x):
        new, y = self.cell(carry["lstm"], x)
        key = jax.random.split(carry["key"])[0]
        return {"lstm": new, "n": carry["n"] + 1, "odd": ~carry["odd"], "key": key}, y


class Noisy(Wrapped):
    """Dropout, batch normalisation, and a count of its own steps."""

    def own(self, rngs):
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.normal = nnx.BatchNorm(N, rngs=rngs)
        self.steps = nnx.Variable(jnp.int32(0))

    def __call__(self, carry, x):
        self.steps[...] = self.steps[...] + 1
        (c, h), _ = self.cell(carry, x)
        h = self.dropout(h) * self.normal(jnp.ones(N, jnp.float32))
        return (c, h), h


class Rested(Noisy):
    """The same as it is when nothing is learned, written out."""

    def __call__(self, carry, x):
        (c, h), _ = self.cell(carry, x)
        h = h / jnp.sqrt(jnp.float32(1 + 1e-5))
        return (c, h), h


@functools.cache
def plain():
    return measure(nnx.LSTMCell(D, N, rngs=nnx.Rngs(0)), INPUTS)


def one_sum(steps):
    """The bound of a log of steps products of sums in float32: what another order may round."""
    return 64 * steps * float(np.finfo(np.float32).eps)


@pytest.mark.parametrize("kind", [HiddenFirst, Clocked])
def test_what_is_measured_is_no_matter_of_where_a_carry_keeps_it(kind):
    found = measure(kind(nnx.Rngs(0)), INPUTS)
    assert np.allclose(found.log_norms, plain().log_norms, rtol=0, atol=one_sum(T))
    assert (found.verdict, found.status) == (plain().verdict, "ok")


def test_integers_flags_and_keys_are_carried_and_have_no_gradient():
    cell = Counted(nnx.Rngs(0))
    with pytest.warns(UserWarning, match=r"parts of bool and int32 and key<fry>: they have no"):
        found = measure(cell, INPUTS)
    assert np.allclose(found.log_norms, plain().log_norms, rtol=0, atol=one_sum(T))
    with pytest.warns(UserWarning, match="no gradient"):
        bridge = as_step(cell)
    carry = bridge.unravel(bridge.follow(INPUTS[0]).states[-1])
    assert (int(carry["n"]), bool(carry["odd"])) == (70_000 + T, T % 2 == 1)
    key = jax.random.key(5)
    for _ in range(T):
        key = jax.random.split(key)[0]
    assert jnp.array_equal(jax.random.key_data(carry["key"]), jax.random.key_data(key))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("whole", [np.int8, np.uint16, np.int32])
def test_integers_pass_every_float_type_unrounded(dtype, whole):
    info = np.iinfo(whole)
    carry = (jnp.zeros(2, dtype), jnp.array([info.min, info.max, 1], whole))
    layout = layout_of(carry)
    assert layout.pack(carry).dtype == dtype
    assert jnp.array_equal(layout.unpack(layout.pack(carry))[1], carry[1])


def test_a_cell_is_measured_as_it_is_when_nothing_is_learned():
    cell = Noisy(nnx.Rngs(0))
    with pytest.warns(UserWarning, match="deterministic|writes") as told:
        found = measure(cell, INPUTS)
    said = {str(each.message) for each in told}
    assert "Noisy is measured with deterministic=True, as after its eval()." in said
    assert "Noisy writes to its steps as it steps; for measuring it stays as it was." in said
    with pytest.warns(UserWarning, match="deterministic=True"):
        expected = measure(Rested(nnx.Rngs(0)), INPUTS)
    assert np.allclose(found.log_norms, expected.log_norms, rtol=0, atol=one_sum(T))
    assert int(cell.steps[...]) == 0
    assert not cell.dropout.deterministic


def test_weights_of_numpy_are_no_state_of_their_own():
    graphdef, state = nnx.split(nnx.GRUCell(D, N, rngs=nnx.Rngs(0)))
    cell = nnx.merge(graphdef, jax.tree.map(np.asarray, state))
    expected = as_step(nnx.GRUCell(D, N, rngs=nnx.Rngs(0)))
    step, h0, _ = as_step(cell)
    assert np.array_equal(step(h0, INPUTS[0, 0]), expected.step(h0, INPUTS[0, 0]))


class Doubled(Wrapped):
    """An output that is no part of the carry: twice the old h, plus the new one and the input."""

    def __call__(self, carry, x):
        new, h = self.cell(carry, x)
        return new, jnp.concatenate([h + 2 * carry[1], x], axis=-1)


def test_read_is_what_the_cell_returns_and_output_the_same_of_its_states():
    cell = Doubled(nnx.Rngs(0))
    bridge, carry = as_step(cell), cell.initialize_carry((D,), nnx.Rngs(0))
    run, outputs = bridge.follow(INPUTS[0]), []
    for x in INPUTS[0]:
        carry, y = cell(carry, x)
        outputs.append(y)
    expected = np.stack(outputs)
    bound = {"rtol": 0, "atol": one_sum(T)}
    assert np.allclose(jax.vmap(bridge.read)(run.previous, run.inputs), expected, **bound)
    assert np.allclose(bridge.outputs(run), expected, **bound)
    at = (run.previous[3], run.states[3], INPUTS[0, 3])
    by_old, by_new = jax.jacobian(bridge.output, (0, 1))(*at)
    h = np.eye(2 * N, dtype=np.float32)[N:]
    assert np.array_equal(by_old, np.concatenate([2 * h, np.zeros((D, 2 * N))]))
    assert np.array_equal(by_new, np.concatenate([h, np.zeros((D, 2 * N))]))


def test_layers_hand_up_what_they_put_out():
    class Halved(Wrapped):
        def __call__(self, carry, x):
            new, h = self.cell(carry, x)
            return new, h[:D] / 2

    below, above = Halved(nnx.Rngs(0)), nnx.LSTMCell(D, N, rngs=nnx.Rngs(1))
    stack = StackedCell([below, above])
    carry = stack.initialize_carry((D,), nnx.Rngs(0))
    (_, (_, h)), y = stack(carry, INPUTS[0, 0])
    low, half = below(carry[0], INPUTS[0, 0])
    assert jnp.array_equal(y, above(carry[1], half)[1])
    assert jnp.array_equal(y, h)
    norms = gradients_by_layer(stack, lambda ys: jnp.sum(ys[-1]), INPUTS[0], upward=True)
    step, h0, _ = as_step(stack)
    whole = adjoint_log_norms(lambda states: jnp.sum(states[-1, -N:]), step, h0, INPUTS[0])
    at_the_end = log_norm(norms)[1, -1]
    assert np.isclose(at_the_end, whole[-1], rtol=0, atol=one_sum(1))
    del low


# Saturated units.


def saturated(dtype):
    """A Flax cell that is fed pixels as they are, and the truth of its leading exponent."""
    cell = nnx.SimpleCell(D, N, dtype=None, param_dtype=dtype, rngs=nnx.Rngs(0))
    pixels = np.random.default_rng(0).integers(0, 60, (T, D)).astype(np.float64)
    kernels = [np.asarray(each.kernel[...], np.float64) for each in (cell.dense_i, cell.dense_h)]
    weights, around = (mp.matrix(each.tolist()) for each in kernels)
    h, slopes = mp.zeros(1, N), []
    for row in pixels:
        terms = mp.matrix([row.tolist()]) * weights + h * around
        h = terms.apply(mp.tanh)
        slopes.append([mp.sech(term) ** 2 for term in terms])
    return cell, jnp.asarray(pixels, dtype), around, slopes


def test_the_slopes_of_saturated_units_keep_all_their_digits():
    """‖dL/dh_t‖ of h_T · w down to e^-600, against mpmath: 4 e^-2|a| is no 1 − tanh²."""
    with mp.workdps(60):
        cell, inputs, around, slopes = saturated(jnp.float64)
        step, h0, _ = as_step(cell)
        found = adjoint_log_norms(lambda states: jnp.sum(states[-1]), step, h0, inputs)
        adjoint, expected = mp.ones(N, 1), []
        for slope in reversed(slopes):
            expected.append(float(mp.log(mp.norm(adjoint))))
            adjoint = around * mp.diag(slope) * adjoint
    # A slope e^-2|a| is as wrong as its exponent is rounded: eps |a| for each of D + N + 1 terms.
    largest = max(float(abs(mp.log(s))) for slope in slopes for s in slope)
    bound = 16 * T * (D + N + 1) * np.finfo(np.float64).eps * largest
    assert np.allclose(found[::-1], expected, rtol=0, atol=bound)
    assert min(expected) < -300
    plain = plain_adjoints(
        lambda states: jnp.sum(states[-1]), as_step(cell, exact=False).step, h0, inputs
    )
    assert not plain[0].any()


def test_a_derivative_that_is_too_small_for_a_float_is_not_called_minus_infinity():
    pixels = jnp.asarray(np.random.default_rng(0).integers(100, 256, (40, D)), jnp.float32)
    cell = nnx.SimpleCell(D, N, rngs=nnx.Rngs(0))
    found = measure(cell, pixels)
    assert (found.status, found.verdict) == ("collapsed", "undefined")
    step, h0, _ = as_step(cell)
    spectrum = lyapunov_spectrum(step, h0, pixels)
    assert STATUSES[int(spectrum.status)] == "collapsed"
    assert np.isnan(exponent_errors(spectrum).high[0])


@pytest.mark.parametrize(
    ("name", "scale", "lost"),
    [("elman", 0.0, True), ("gru", 0.0, False), ("elman", 1.0, False)],
)
def test_weights_of_zero_forget_exactly(name, scale, lost):
    from throughtime import make_cell

    found = measure(make_cell(name, D, N, recurrent_scale=scale, rngs=nnx.Rngs(0)), INPUTS)
    assert (found.log10_ratio == -np.inf) == lost
    assert found.status == "ok"


def test_a_dead_rectifier_has_no_gradient_and_says_ok():
    from throughtime import make_cell

    cell = make_cell("elman", D, N, recurrent_scale=1.0, activation="relu", rngs=nnx.Rngs(0))
    cell.bias[...] = cell.bias[...] - 100
    cell.bias[...] = cell.bias[...].at[0].set(1.0)
    cell.recurrent_kernel[...] = jnp.zeros((N, N), jnp.float32).at[1, 0].set(1.0)
    found = measure(cell, INPUTS)
    assert (found.log10_ratio, found.status) == (-np.inf, "ok")


# Gates of the user's own.


@pytest.mark.parametrize("kind", [nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell])
def test_gates_are_what_the_cells_own_function_makes_of_them(kind):
    def step(a):
        return jnp.clip(a, 0, 1)

    cell = kind(D, N, gate_fn=step, rngs=nnx.Rngs(0))
    usual = kind(D, N, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((D,), nnx.Rngs(0))
    terms = gate_values(usual, carry, INPUTS[0, 0])
    for name, gate in gate_values(cell, carry, INPUTS[0, 0]).items():
        term = jax.scipy.special.logit(terms[name].values)
        assert np.allclose(gate.values, step(term), rtol=0, atol=16 * np.finfo(np.float32).eps)
    unbounded = kind(D, N, gate_fn=jax.nn.relu, rngs=nnx.Rngs(0))
    with pytest.warns(UserWarning, match="relu is not bounded by 0 and 1"):
        assert gate_values(unbounded, carry, INPUTS[0, 0]) == {}


# Sequences of different length.


def test_padding_counts_for_nothing_even_if_it_is_nan():
    cell, own = nnx.GRUCell(D, N, rngs=nnx.Rngs(0)), 5
    lengths = jnp.array([own, own])
    padded = INPUTS.at[:, own:].set(jnp.nan)
    loss = lambda ys: jnp.mean(jnp.sum(ys[:, own - 1], axis=-1))  # noqa: E731
    one = watch_gradients(cell, INPUTS[:, :own], loss, older_than=2)
    two = watch_gradients(cell, padded, loss, older_than=2, lengths=lengths)
    close = {"rtol": 0, "atol": one_sum(T)}
    for name in ("norms", "parameter_norms"):
        short, long = (log_norm(getattr(seen, name)) for seen in (one, two))
        assert np.allclose(long[:own], short, **close)
        assert np.all(np.isneginf(long[own:]))
    assert np.isclose(two.older_share, one.older_share, **close)
    assert two.saturation.keys() == one.saturation.keys()
    for gate, share in one.saturation.items():
        assert np.isclose(two.saturation[gate], share, **close)
    assert (int(one.first_bad_step), int(two.first_bad_step)) == (0, 0)
    found = measure(cell, padded, lengths=lengths)
    expected = measure(cell, INPUTS[:, :own])
    assert np.allclose(found.log_norms, expected.log_norms, **close)
    assert found.horizon == expected.horizon
    assert np.isclose(found.rate, expected.rate, **close)


def test_a_tail_of_zeros_is_asked_about():
    cell = nnx.GRUCell(D, N, rngs=nnx.Rngs(0))
    padded = INPUTS.at[1, 5:].set(0)
    with pytest.warns(UserWarning, match="sequence 1 ends in 7 steps of zeros; if that is padding"):
        measure(cell, padded)


# Every public door.


def door(name, cell, inputs, **options):
    if name == "measure":
        return measure(cell, inputs, **options)
    return watch_gradients(cell, inputs, lambda ys: jnp.sum(ys), **options)


CELL = nnx.GRUCell(D, N, rngs=nnx.Rngs(0))
BAD_INPUTS = [
    (jnp.ones((2, T, D), jnp.int32), {}, "must be of bfloat16, float16, float32, float64, not int"),
    (jnp.ones((2, T, D), jnp.complex64), {}, "float64, not complex64"),
    (jnp.ones((2, T, D)).astype(jnp.float8_e5m2), {}, "float64, not float8_e5m2"),
    ([[[1.0] * D] * T], {}, "inputs must be an array, not a list"),
    (jnp.ones((0, T, D)), {}, r"at least .* step.?, not \(0, 12, 3\)"),
    (jnp.ones((2, 0, D)), {}, r"at least .* step.?, not \(2, 0, 3\)"),
    (jnp.ones((2, T, D + 1)), {}, r"B, T, 3\) .*, not \(2, 12, 4\)"),
    (INPUTS.at[1, 4, 0].set(jnp.inf), {}, "be finite, and sequence 1 is not at step 4"),
    (INPUTS, {"lengths": jnp.array([3])}, r"lengths must be 2 integers .* not int64\[1\]"),
    (INPUTS, {"lengths": jnp.array([3, T + 1])}, "to 12, not 13"),
    (INPUTS, {"lengths": jnp.array([3.0, 4.0])}, "not float64"),
]


@pytest.mark.parametrize("name", ["measure", "watch_gradients"])
@pytest.mark.parametrize(("inputs", "options", "sentence"), BAD_INPUTS)
def test_bad_inputs_are_refused_in_one_sentence(name, inputs, options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence) as refused:
        door(name, CELL, inputs, **options)
    assert str(refused.value).endswith(".")


NO_CELLS = [
    (nnx.RNN(CELL, rngs=nnx.Rngs(0)), "an nnx.RNN is no cell; pass its cell, rnn.cell"),
    (flax.linen.LSTMCell(N), "LSTMCell is a flax.linen module"),
    (nnx.GRUCell, "GRUCell is a class; pass a cell that was built from it"),
    (lambda carry, x: (carry, carry), "function is no recurrent cell"),
    (None, "NoneType is no recurrent cell"),
]


@pytest.mark.parametrize("name", ["measure", "watch_gradients"])
@pytest.mark.parametrize(("cell", "sentence"), NO_CELLS)
def test_what_is_no_cell_is_refused_with_what_to_pass_instead(name, cell, sentence):
    with pytest.raises(TypeError, match=sentence):
        door(name, cell, INPUTS)


def carrying(new, start=None):
    """A cell whose carry is at first one thing and then another."""

    class Odd(nnx.Module):
        in_features, num_feature_axes = D, 1

        def initialize_carry(self, shape, rngs=None, carry_init=None):
            return jnp.zeros(N, jnp.float32) if start is None else start

        def __call__(self, carry, x):
            return new(carry)

    return Odd()


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (carrying(lambda h: (h.astype(jnp.bfloat16), h)), "turns a float32 carry into bfloat16"),
        (carrying(lambda h: (h[:2], h)), r"turns a carry of shape \(4,\) into \(2,\)"),
        (carrying(lambda h: ((h, h), h)), "it must keep its parts"),
        (carrying(lambda h: h), r"must return \(carry, output\)"),
        (carrying(lambda h: (h, h), jnp.zeros(N, jnp.complex64)), "a part of complex64"),
        (carrying(lambda h: (h, h), jnp.zeros(N, jnp.int32)), "this one is int32"),
    ],
)
def test_a_carry_that_is_none_is_named(cell, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        measure(cell, INPUTS)


@pytest.mark.parametrize("name", ["adjoint_log_norms", "plain_adjoints", "lyapunov_spectrum"])
def test_a_complex_state_is_refused_at_every_door(name):
    import throughtime

    loss = () if name == "lyapunov_spectrum" else (lambda states: jnp.sum(jnp.abs(states[-1])),)
    with pytest.raises(ValueError, match=r"h0 must be of .*, not complex64"):
        getattr(throughtime, name)(
            *loss, lambda h, x: 0.5j * h, jnp.ones(2, jnp.complex64), INPUTS[0]
        )
