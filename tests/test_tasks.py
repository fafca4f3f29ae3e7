"""Every task: the same sequence however it is padded, losses, gradients and errors by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, gamma
from compiled import CAREFULLY
from drawn import batch, made

from throughtime.tasks import TASKS, Sample, make_task, weighted_loss
from throughtime.tasks.task import squared_distance
from throughtime.tasks.text import ALPHABET

F64 = jnp.float64
ANGLE = 2 * np.pi * 2.0**-23  # the rounding of a full turn in float32


# Every task ---------------------------------------------------------------------------------------

LENGTHS = {"copy": 21, "temporal_order": 13, "shepherd": 9}
CLASSIFIES = set(TASKS) - {"radar", "noise", "adding"}


def length_of(name):
    """An odd length that suits the task, and is short."""
    return LENGTHS.get(name, 7)


QUICK = ("adding", "noise", "text")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in TASKS]
)
def test_a_traced_and_padded_length_gives_the_sequence_of_a_static_one_in_zeros(name):
    """The same bits; two programs may round the last of a radar track or of a normal."""
    length = length_of(name)
    padded = batch(made(name), length)
    task = make_task(name, max_length=length, dtype=F64)
    keys = jax.random.split(jax.random.key(0), 16)
    static = jax.vmap(lambda key: task.sample(key, length))(keys)  # one operation after the other
    normal = {"rtol": 1e-6}
    rounding = {"radar": normal | {"atol": ANGLE}, "noise": normal, "latching": normal}
    for one, other in zip(static, padded, strict=True):
        np.testing.assert_allclose(other[:, -length:], one, **rounding.get(name, {"rtol": 0}))
        assert not other[:, :-length].any()


@pytest.mark.parametrize("name", ["radar", "noise", "latching"])
def test_traced_length_gives_the_bits_of_the_static_one(name):
    traced = batch(made(name), 7)
    keys = jax.random.split(jax.random.key(0), 16)
    sample = jax.vmap(lambda key: made(name).sample(key, 7))
    static = jax.jit(sample, compiler_options=CAREFULLY)(keys)
    for one, other in zip(traced, static, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_dtype_sees_the_same_sequence(name):
    """Up to one rounding to the dtype, and to those of an angle of the radar's in float32."""
    exact = batch(made(name), length_of(name))
    continuous = name in ("radar", "noise")
    for dtype in ("float32", "bfloat16", "float16") if continuous else ("bfloat16",):
        rounded = batch(make_task(name, max_length=24, dtype=dtype), length_of(name))
        assert rounded.inputs.dtype == rounded.weights.dtype == jnp.dtype(dtype)
        precision = {"rtol": float(jnp.finfo(dtype).eps), "atol": ANGLE}
        for one, other in zip(exact, rounded, strict=True):
            np.testing.assert_allclose(other.astype(one.dtype), one, **precision)


@pytest.mark.parametrize("name", TASKS)
def test_weights_count_the_steps_that_are_judged(name):
    """The last step; in text and copy every real one; of a sentence the last two."""
    length = length_of(name)
    counted = {"text": length, "copy": length, "shepherd": 2}.get(name, 1)
    expected = np.zeros(24)
    expected[-counted:] = 1 / counted
    np.testing.assert_allclose(batch(made(name), length).weights, [expected] * 16, rtol=gamma(2))


@pytest.mark.parametrize("name", ["radar", "noise"])
def test_a_longer_sequence_continues_a_shorter_one(name):
    short, long = batch(made(name), 5).inputs[:, 19:], batch(made(name), 9).inputs[:, 15:20]
    np.testing.assert_allclose(long, short, rtol=1e-6, atol=ANGLE)


def answered(name, seed=0):
    """A task, one of its sequences and random outputs."""
    sample = jax.tree.map(lambda leaf: leaf[seed], batch(made(name), length_of(name)))
    outputs = np.random.default_rng(seed).normal(size=(24, made(name).out_features))
    return made(name), sample, outputs


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_their_gradients_agree_with_numpy(name):
    task, sample, outputs = answered(name)
    targets, weights = sample.targets, sample.weights[:, None]
    if name in CLASSIFIES:
        softmax = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        expected = -np.log(softmax[np.arange(24), targets])
        gradient = weights * (softmax - np.eye(task.out_features)[targets])
    elif name == "noise":
        expected, gradient = outputs[:, 0], weights
    else:
        factor = {"radar": 1 / 2, "adding": 1}[name]
        expected = factor * sum(
            (outputs[:, k] - targets[:, k]) ** 2 for k in range(targets.shape[1])
        )
        gradient = 2 * factor * weights * (outputs - targets)

    def whole(outputs):
        losses = task.loss(outputs, jnp.asarray(targets))
        return jnp.sum(jnp.asarray(sample.weights) * losses), losses

    found, losses = jax.grad(whole, has_aux=True)(jnp.asarray(outputs))
    # Of a softmax of few classes or a square; what is subtracted is about 1.
    rounding = gamma(8 * FUNCTION)
    np.testing.assert_allclose(losses, expected, rtol=rounding, atol=rounding)
    np.testing.assert_allclose(found, gradient, rtol=rounding, atol=rounding)


def expected_error(name, sample, outputs):
    """The error in plain words and NumPy."""
    wrong = outputs.argmax(axis=-1) != sample.targets if name in CLASSIFIES else None
    if name == "noise":
        return outputs[-1, 0]
    if name in ("radar", "adding"):
        return np.sum((outputs[-1] - sample.targets[-1]) ** 2)
    if name == "copy":
        return sum(wrong[-10:]) / 10
    if name == "shepherd":
        return float(wrong[-1] or wrong[-2])
    if name == "brackets":
        best = max(")]}", key=lambda closer: outputs[-1, ALPHABET.index(closer)])
        return float(best != ALPHABET[sample.targets[-1]])
    return np.mean(wrong[-7:]) if name == "text" else float(wrong[-1])


@pytest.mark.parametrize("name", TASKS)
def test_errors_agree_with_numpy_and_a_nan_is_no_answer(name):
    for seed in range(6):
        task, sample, outputs = answered(name, seed)
        labelled = name in CLASSIFIES
        perfect = np.eye(task.out_features)[sample.targets] if labelled else sample.targets
        # Right answers mixed with random ones: some sequences are right, some half, some wrong.
        outputs = outputs + 2 * (seed % 3) * perfect
        expected = expected_error(name, sample, outputs)
        sample = jax.tree.map(jnp.asarray, sample)
        assert task.error(jnp.asarray(outputs), sample) == pytest.approx(expected, rel=1e-12)
        assert task.error(jnp.asarray(100 * perfect), sample) == 0 or name in ("radar", "adding")
    assert task.error(jnp.asarray(perfect, F64), sample) == 0
    assert jnp.isnan(task.error(jnp.asarray(outputs).at[-1].set(jnp.nan), sample))
    if name not in ("text", "copy"):  # where every step counts
        ignored = jnp.asarray(outputs).at[:-2].set(jnp.nan)
        assert task.error(ignored, sample) == task.error(jnp.asarray(outputs), sample)


def test_a_baseline_refuses_lengths_that_the_task_is_not_defined_for():
    with pytest.raises(ValueError, match="length is 20; sequences of task 'copy' have from 21 to"):
        made("copy").baseline(20)
    with pytest.raises(
        ValueError, match="length is 65; sequences of task 'digits' have from 2 to 64"
    ):
        made("digits").baseline(65)
    assert made("noise").baseline is None
    assert {name for name in TASKS if made(name).solved_below is None} == {
        "radar",
        "text",
        "noise",
        "brackets",
    }


# White noise --------------------------------------------------------------------------------------


def test_noise_is_white_and_normal():
    """Moments within five standard errors, 1/sqrt(N) times the deviation of a single term."""
    x = batch(make_task("noise", max_length=40, dtype=F64, in_features=8), 32, size=64).inputs
    x = x[:, 8:]
    for values, deviation in [
        (x, 1),
        (x**2 - 1, np.sqrt(2)),
        (x**4 - 3, np.sqrt(96)),
        (x[:, 1:] * x[:, :-1], 1),
        (x[:, :, 1:] * x[:, :, :-1], 1),
        (x[1:] * x[:-1], 1),
    ]:
        assert abs(values.mean()) < 5 * deviation / np.sqrt(values.size)


# make_task ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "rader"}, "unknown task 'rader'; did you mean 'radar'"),
        (
            {"name": "radar", "range": 1.0},
            "'range'; did you mean 'range_noise'",
        ),
        ({"name": "noise", "dim": 1}, "unknown option of task 'noise' 'dim'; known: in_features"),
        ({"name": "noise", "in_features": -1}, "in_features is -1; the noise task needs"),
        ({"name": "noise", "max_length": 1}, "max_length is 1; a sequence has at least 2 steps"),
        ({"name": "noise", "dtype": "floot32"}, "unknown dtype 'floot32'; did you mean 'float32'"),
        ({"name": "noise", "dtype": jnp.int32}, "unknown dtype 'int32'; did you mean 'float32'"),
        ({"name": "digits", "by": "rows"}, "pixels 'rows'; did you mean 'row'"),
        ({"name": "copy", "symbols": 0}, "symbols is 0; the copy task needs an integer >= 1"),
        ({"name": "copy", "alphabet": 1}, "alphabet is 1; the copy task needs an integer >= 2"),
        ({"name": "temporal_order", "symbols": 4}, "symbols is 4; the temporal_order task has 2"),
        ({"name": "latching", "noise": -0.1}, "noise is -0.1; a standard deviation is finite"),
        ({"name": "delayed_xor", "delay": 0}, "delay is 0; the delayed_xor task needs an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_task(**{"max_length": 8, **arguments})


def test_float64_is_refused_where_jax_would_silently_compute_in_float32():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="dtype is float64, which needs JAX_ENABLE_X64=1"):
            make_task("noise", max_length=8, dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_loss_beyond_float16_is_a_number():
    answers = jnp.full((2, 1), 300, jnp.float16)
    sample = Sample(
        jnp.zeros((2, 1)), jnp.zeros((2, 1), jnp.float16), jnp.full(2, 0.5, jnp.float16)
    )
    found = weighted_loss(squared_distance, answers, sample)
    assert (found.dtype, found) == (jnp.float32, 90_000)
