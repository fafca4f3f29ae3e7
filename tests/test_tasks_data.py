"""Digits, text and brackets: the data found again, their parts, and what ignores them."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import batch, entropy, write

from throughtime.tasks import brackets, make_task
from throughtime.tasks.digits import load_images
from throughtime.tasks.text import ALPHABET, OTHER, encode

F64 = jnp.float64


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


# Parts --------------------------------------------------------------------------------------------


def drawn_images(**options):
    """The images drawn in 8,000 sequences, all of 360 with a probability of 1 - 1e-7."""
    sample = batch(make_task("digits", max_length=8, by="row", **options), 8, size=8000)
    return {image.tobytes(): label[0] for image, label in zip(*sample[:2], strict=True)}


def test_parts_of_the_digits_share_no_image_and_a_train_size_is_a_part_of_train():
    train, validation, few = (
        drawn_images(**options)
        for options in (
            {"part": "train"},
            {"part": "validation"},
            {"part": "train", "train_size": 50},
        )
    )
    assert 1400 < len(train) <= 1437
    assert (len(validation), len(few)) == (360, 50)
    assert not train.keys() & validation.keys()
    assert few.keys() <= train.keys()
    for labels, options in [(validation, {"part": "validation"}), (few, {"train_size": 50})]:
        task = make_task("digits", max_length=8, **{"part": "train", **options})
        assert task.baseline(8) == pytest.approx(entropy(list(labels.values())), rel=1e-12)


def test_the_best_blind_answer_to_all_digits_is_the_entropy_of_their_labels():
    baseline = make_task("digits", max_length=8).baseline(8)
    assert baseline == pytest.approx(entropy(load_images()[1]), rel=1e-12)
    assert baseline == pytest.approx(np.log(10), abs=2e-4)


@pytest.mark.parametrize("length", [1 + 1, 7, 18])
def test_parts_of_a_text_and_the_entropy_of_all_their_windows(tmp_path, length):
    text = "in the beginning there was a text (and it was short), with an end!\n"
    path = write(tmp_path / "text.txt", text * 3)
    whole, cut = text * 3, 9 * len(text * 3) // 10
    parts = {
        ("all", None): whole,
        ("train", None): whole[:cut],
        ("train", 25): whole[:25],
        ("validation", None): whole[cut:],
    }
    for (part, train_size), held in parts.items():
        task = make_task("text", max_length=18, file=path, part=part, train_size=train_size)
        assert task.longest == len(held) - 1
        windows = [held[start + 1 : start + length + 1] for start in range(len(held) - length)]
        assert task.baseline(length) == pytest.approx(entropy(list("".join(windows))), rel=1e-12)
    classes = batch(task, length, size=200).targets[:, -length:]
    drawn = {"".join(ALPHABET[each] for each in window) for window in classes}
    assert drawn == set(windows)


def test_the_unigram_entropy_of_the_manual():
    from pydoc_data.topics import topics

    characters = list("".join(topics[name] for name in sorted(topics)))
    classes = [each if each in ALPHABET else "" for each in characters]
    task = make_task("text", max_length=50)
    assert task.baseline(50) == pytest.approx(entropy(classes), abs=2e-4)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("digits", {"part": "test"}, "unknown part 'test'"),
        ("digits", {"train_size": 10}, "train_size is 10 but part is 'all'; it needs part='train'"),
        ("digits", {"part": "validation", "train_size": 10}, "but part is 'validation'"),
        ("digits", {"part": "train", "train_size": 1438}, "the train part holds 1437 images, of"),
        ("digits", {"part": "train", "train_size": 0}, "train_size is 0; the train part holds"),
        ("text", {"part": "train", "train_size": 2}, "characters, of which at least 3 are needed"),
        ("brackets", {"part": "test"}, "unknown part 'test'"),
    ],
)
def test_bad_parts_are_refused(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_task(name, max_length=8, **options)


def test_a_part_that_is_too_small_is_refused(tmp_path):
    path = write(tmp_path / "short.txt", "ten chars!")
    with pytest.raises(ValueError, match="'validation' holds 1 characters; at least 3 are needed"):
        make_task("text", max_length=8, file=path, part="validation")


# Brackets -----------------------------------------------------------------------------------------


def is_pair(text):
    """Whether the ends match, and what is between them vanishes as pairs inside are deleted."""
    inner = "".join(each for each in text[1:-1] if each in "([{)]}")
    while any(pair in inner for pair in ("()", "[]", "{}")):
        inner = inner.replace("()", "").replace("[]", "").replace("{}", "")
    return text[0] + text[-1] in ("()", "[]", "{}") and not inner


def windows_of(text, length):
    """The places of the closers of all windows of a length, by trying every opener."""
    return [
        end
        for end in range(length, len(text))
        for start in range(end - length, end)
        if 2 * (end - start) > length and is_pair(text[start : end + 1])
    ]


def test_windows_are_those_of_every_pair_without_an_error(monkeypatch):
    monkeypatch.setattr(brackets, "FEWEST_OTHERS", 1)
    letters = np.random.default_rng(0).choice(list("aaaaaa([{)]}"), 500, p=[1 / 12] * 12)
    text = "(" + "".join(letters) + "(a[b]c)" + "[a{b}{}cd]" * 3
    found = brackets.find_windows(encode(text))
    assert found.shortest == 2
    assert len(found.counts) > 10
    beyond = windows_of(text, 2 + len(found.counts))
    assert len({text[end] for end in beyond}) < 2  # the run of lengths ends where it must
    for i in range(len(found.counts)):
        expected = windows_of(text, 2 + i)
        first, number = found.starts[i], found.counts[i].sum()
        assert found.ends[first : first + number].tolist() == sorted(expected)
        closers = [text[end] for end in expected]
        assert found.counts[i].tolist() == [closers.count(each) for each in ")]}"]


def test_drawn_windows_of_the_manual_end_before_the_closer_of_a_far_opener():
    from pydoc_data.topics import topics

    source = "".join(topics[name] for name in sorted(topics))
    decoded = "".join(each if each in ALPHABET else "\0" for each in source)
    task = make_task("brackets", max_length=60)
    assert task.shortest == 2
    assert 60 < task.longest < 200
    for length in (3, 20, 60):
        sample = batch(task, length, size=200)
        assert not sample.inputs[:, :-length].any()
        classes = sample.inputs[:, -length:].argmax(axis=2)
        np.testing.assert_array_equal(sample.targets[:, -length:-1], classes[:, 1:])
        windows = np.concatenate([classes, sample.targets[:, -1:]], axis=1)
        texts = ["".join((ALPHABET + "\0")[each] for each in window) for window in windows]
        for text in texts:
            assert text in decoded
            assert any(is_pair(text[start:]) for start in range((length + 1) // 2))
        closers = np.array([text[-1] for text in texts])
        # The plug-in entropy of 200 draws: five standard errors of the mean of -ln p.
        assert abs(entropy(closers) - task.baseline(length)) < 5 * 1.0 / np.sqrt(200) + 2 / 400


def test_windows_of_a_length_are_drawn_alike_and_the_baseline_is_their_entropy(tmp_path):
    text = "".join(f"{i:03d}" + each for i, each in enumerate(["(ab)", "[ab]", "{ab}"] * 12))
    task = make_task("brackets", max_length=6, file=write(tmp_path / "text.txt", text))
    assert (task.shortest, task.longest) == (3, 5)
    ends = {length: windows_of(text, length) for length in (3, 5)}
    for length, places in ends.items():
        expected = entropy([text[place] for place in places])
        assert task.baseline(length) == pytest.approx(expected, rel=1e-12)
    sample = batch(task, 5, size=3600)
    inputs = sample.inputs[:, -5:].argmax(axis=2)
    numbers = ["".join(ALPHABET[each] for each in window) for window in inputs]
    counts = np.unique(numbers, return_counts=True)[1]
    assert len(ends[5]) == 36
    assert abs(counts - 3600 / len(counts)).max() < 5 * np.sqrt(3600 / len(counts))


def test_a_text_without_far_brackets_is_refused(tmp_path):
    path = write(tmp_path / "text.txt", "no [brackets] (to) speak of")
    with pytest.raises(ValueError, match="no length up to 8 of which at least 10 windows close"):
        make_task("brackets", max_length=8, file=path)
