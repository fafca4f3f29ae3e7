"""Tasks: closed-form tracks, real data found again, moments with their standard errors."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import batch, write

from throughtime.tasks import TASKS, make_task
from throughtime.tasks.digits import load_images
from throughtime.tasks.text import ALPHABET, OTHER, encode

FIELD = 100e3
F64 = jnp.float64
ANGLE = 2 * np.pi * 2.0**-23  # the rounding of a full turn in float32


# Every task ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_traced_length_gives_the_bits_of_the_static_one(name):
    task = make_task(name, max_length=12)
    key = jax.random.key(3)
    for length in (2, 7):
        traced = jax.jit(task.sample)(key, jnp.int32(length))
        static = jax.jit(lambda key, length=length: task.sample(key, length))(key)
        for one, other in zip(traced, static, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", TASKS)
def test_max_length_only_adds_zeros_in_front(name):
    short, long = (batch(make_task(name, max_length=T), 6) for T in (6, 20))
    for one, other in zip(short, long, strict=True):
        np.testing.assert_allclose(other[:, -6:], one, rtol=1e-6, atol=ANGLE)
        assert not other[:, :-6].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_dtype_sees_the_same_sequence(name):
    """Up to one rounding to the dtype, and to those of an angle of the radar's in float32."""
    exact = batch(make_task(name, max_length=9, dtype=F64), 5)
    for dtype in ("float32", "bfloat16", "float16"):
        rounded = batch(make_task(name, max_length=9, dtype=dtype), 5)
        assert rounded.inputs.dtype == rounded.weights.dtype == jnp.dtype(dtype)
        precision = {"rtol": float(jnp.finfo(dtype).eps), "atol": ANGLE}
        for one, other in zip(exact, rounded, strict=True):
            np.testing.assert_allclose(other.astype(one.dtype), one, **precision)


@pytest.mark.parametrize("name", TASKS)
def test_weights_count_the_last_step_or_in_text_every_real_one(name):
    weights = batch(make_task(name, max_length=9, dtype=F64), 5, size=1).weights[0]
    expected = [0.2] * 5 if name == "text" else [0, 0, 0, 0, 1]
    np.testing.assert_allclose(weights, [0, 0, 0, 0, *expected], rtol=1e-15)


@pytest.mark.parametrize("name", ["radar", "noise"])
def test_a_longer_sequence_continues_a_shorter_one(name):
    task = make_task(name, max_length=12)
    short, long = batch(task, 5).inputs[:, 7:], batch(task, 9).inputs[:, 3:8]
    np.testing.assert_allclose(long, short, rtol=1e-6, atol=ANGLE)


@pytest.mark.parametrize("name", TASKS)
def test_losses_agree_with_numpy(name):
    task = make_task(name, max_length=8, dtype=F64)
    targets = batch(task, 6, size=1).targets[0]
    outputs = np.random.default_rng(0).normal(size=(8, task.out_features))
    if name in ("digits", "text"):
        expected = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(8), targets]
    elif name == "radar":
        expected = ((outputs[:, 0] - targets[:, 0]) ** 2 + (outputs[:, 1] - targets[:, 1]) ** 2) / 2
    else:
        expected = outputs[:, 0]
    loss = task.loss(jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_allclose(loss, expected, rtol=1e-13)


# Digits, text, noise ------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "steps"), [("pixel", 64), ("row", 8)])
def test_digits_are_the_images_of_scikit_learn(by, steps):
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = {image.tobytes(): digits.target[i] for i, image in enumerate(digits.images)}
    task = make_task("digits", max_length=steps + 3, dtype=F64, by=by)
    whole, part = batch(task, steps, size=40), batch(task, steps // 2 + 1, size=40)
    images = [np.ascontiguousarray(16 * inputs[3:].reshape(8, 8)) for inputs in whole.inputs]
    expected = np.array([labels[image.tobytes()] for image in images])
    np.testing.assert_array_equal(whole.targets[:, 3:], np.tile(expected[:, None], steps))
    np.testing.assert_array_equal(
        part.inputs[:, -(steps // 2 + 1) :], whole.inputs[:, 3 : steps // 2 + 4]
    )
    assert len({image.tobytes() for image in images}) > 35
    assert task.longest == steps


def test_digits_without_scikit_learn_say_how_to_install_it(monkeypatch):
    load_images.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install throughtime\[data\]"):
        make_task("digits", max_length=8)


def test_characters_are_classes_of_a_fixed_alphabet():
    text = "Az ~\n\té€\U0001f600\r\x7f\x1f"
    expected = [ALPHABET.index(each) if each in ALPHABET else 96 for each in text]
    np.testing.assert_array_equal(encode(text), expected)
    assert len(ALPHABET) == len(set(ALPHABET)) == OTHER == 96
    assert sorted(ALPHABET) == sorted(map(chr, [10, *range(32, 127)]))


@pytest.mark.parametrize("own_file", [False, True])
def test_text_windows_decode_to_the_source(tmp_path, own_file):
    from pydoc_data.topics import topics

    source = "".join(topics[name] for name in sorted(topics))
    options = {}
    if own_file:
        source = "Wie schön!\nNoch ein Satz, \u201eund Schluß\u201c."
        options = {"file": write(tmp_path / "own.txt", source.replace("\n", "\r\n"))}
    decoded = "".join(each if each in ALPHABET else "\0" for each in source)
    task = make_task("text", max_length=12, **options)
    assert task.longest == len(source) - 1
    assert task.in_features == task.out_features == 97
    sample = batch(task, 9, size=64)
    np.testing.assert_array_equal(sample.inputs[:, 3:].sum(axis=2), 1)
    classes = sample.inputs[:, 3:].argmax(axis=2)
    np.testing.assert_array_equal(sample.targets[:, 3:-1], classes[:, 1:])
    windows = np.concatenate([classes, sample.targets[:, -1:]], axis=1)
    texts = {"".join((ALPHABET + "\0")[each] for each in window) for window in windows}
    assert all(len(text) == 10 and text in decoded for text in texts)
    starts = {decoded.index(text) for text in texts}
    assert len(starts) > (20 if own_file else 60)


def test_a_bad_text_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the text file nowhere\.txt does not exist"):
        make_task("text", max_length=8, file="nowhere.txt")
    with pytest.raises(ValueError, match="holds 2 characters; at least 3 are needed"):
        make_task("text", max_length=8, file=write(tmp_path / "short.txt", "ab"))


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
