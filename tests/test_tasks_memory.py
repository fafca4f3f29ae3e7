"""Tasks of memory: sequences decoded by NumPy, and what the best blind answer costs."""

import math
from itertools import pairwise

import numpy as np
import pytest
from bounds import FUNCTION, gamma
from drawn import batch, entropy, made

from throughtime.tasks.shepherd import VOCABULARY

SIZE = 2048


def drawn(name, length, **options):
    """The real steps of many sequences; nothing is in the padding."""
    sample = batch(made(name, **options), length, size=SIZE)
    for leaf in sample:
        assert not leaf[:, :-length].any()
    return [leaf[:, -length:] for leaf in sample]


def assert_uniform(values, allowed):
    """The frequencies are alike within five standard errors, and nothing else occurs."""
    found, counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(found, sorted(allowed))
    total, share = np.size(values), 1 / len(allowed)
    assert abs(counts - total * share).max() <= 5 * np.sqrt(total * share * (1 - share))


def blind_loss(targets, weights):
    """The loss of the best answer of each step, and its largest error.

    The frequencies of N sequences give too small an entropy, by a χ² of k - 1 degrees over 2 N:
    for one degree, five standard deviations of a normal are 25.
    """
    losses = [entropy(step) for step in targets.T]
    classes = len(np.unique(targets))
    return np.sum(weights[0] * losses), (classes - 1 + 25) / (2 * len(targets))


@pytest.mark.parametrize("length", [2, 7, 24])
def test_adding_marks_one_number_in_each_half_and_asks_for_their_sum(length):
    inputs, targets, _ = drawn("adding", length)
    numbers, markers = inputs[..., 0], inputs[..., 1]
    sequence, place = np.nonzero(markers)
    np.testing.assert_array_equal(sequence, np.repeat(np.arange(SIZE), 2))
    first, second = place[::2], place[1::2]
    assert_uniform(first, range(length // 2))
    assert_uniform(second, range(length // 2, length))
    assert length == 2 or abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(SIZE)
    total = (numbers * markers).sum(axis=1)
    np.testing.assert_allclose(targets[..., 0], np.tile(total[:, None], length), rtol=gamma(2))
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert_uniform(np.floor(8 * numbers), range(8))
    # The variance of a variance: the fourth moment of a triangle is 1/15, so 1/15 - 1/36.
    blind = np.mean((total - total.mean()) ** 2)
    error = 5 * np.sqrt((1 / 15 - 1 / 36) / SIZE)
    assert made("adding").baseline(length) == pytest.approx(blind, abs=error)
    assert made("adding").baseline(length) == pytest.approx(1 / 6, rel=gamma(4))


@pytest.mark.parametrize(
    ("length", "options"), [(21, {}), (24, {}), (7, {"symbols": 3, "alphabet": 2})]
)
def test_copy_shows_symbols_a_delimiter_before_their_recall_and_blanks_elsewhere(length, options):
    symbols, alphabet = options.get("symbols", 10), options.get("alphabet", 8)
    inputs, targets, weights = drawn("copy", length, **options)
    np.testing.assert_array_equal(np.sort(inputs, axis=2)[..., -2:], [[[0, 1]] * length] * SIZE)
    shown = inputs.argmax(axis=2)
    memory = shown[:, :symbols]
    assert_uniform(memory, range(alphabet))
    assert abs(np.corrcoef(memory[:, 0], memory[:, 1])[0, 1]) < 5 / np.sqrt(SIZE)
    delay = length - 2 * symbols
    after = [alphabet] * (delay - 1) + [alphabet + 1] + [alphabet] * symbols
    np.testing.assert_array_equal(shown[:, symbols:], [after] * SIZE)
    np.testing.assert_array_equal(targets[:, : length - symbols], alphabet)
    np.testing.assert_array_equal(targets[:, length - symbols :], memory)
    np.testing.assert_allclose(weights, 1 / length, rtol=gamma(2))
    blind, error = blind_loss(targets, weights)
    baseline = made("copy", **options).baseline(length)
    assert baseline == pytest.approx(blind, abs=error)
    assert baseline == pytest.approx(symbols * math.log(alphabet) / length, rel=gamma(FUNCTION))
    assert made("copy", **options).shortest == 2 * symbols + 1


@pytest.mark.parametrize(("length", "symbols"), [(10, 2), (13, 2), (24, 2), (24, 3)])
def test_temporal_order_places_its_symbols_as_the_program_of_the_paper_does(length, symbols):
    options = {} if symbols == 2 else {"symbols": 3}
    inputs, targets, weights = drawn("temporal_order", length, **options)
    np.testing.assert_array_equal(inputs.sum(axis=2), 1)
    shown = inputs.argmax(axis=2)
    sequence, places = np.nonzero(shown < 2)
    np.testing.assert_array_equal(sequence, np.repeat(np.arange(SIZE), symbols))
    places = places.reshape(SIZE, symbols)
    for place, start in zip(places.T, {2: (0.1, 0.5), 3: (0.1, 0.3, 0.6)}[symbols], strict=True):
        first = int(length * start)
        assert_uniform(place, range(first, first + int(length * 0.1)))
    bits = np.take_along_axis(shown, places, axis=1)
    expected = bits @ 2 ** np.arange(symbols)
    np.testing.assert_array_equal(targets, np.tile(expected[:, None], length))
    assert_uniform(expected, range(2**symbols))
    assert_uniform(shown[shown >= 2], range(2, 6))
    blind, error = blind_loss(targets, weights)
    assert made("temporal_order", **options).baseline(length) == pytest.approx(blind, abs=error)
    assert made("temporal_order").shortest == 10


def test_tenths_in_integers_are_those_of_the_program_of_the_paper():
    for start, tenths in ((0.1, 1), (0.3, 3), (0.5, 5), (0.6, 6)):
        assert all(int(length * start) == tenths * length // 10 for length in range(10, 20_000))


@pytest.mark.parametrize("length", [2, 7])
def test_latching_shows_a_bit_first_and_noise_after(length):
    inputs, targets, weights = drawn("latching", length)
    bit = inputs[:, 0, 0]
    assert_uniform(bit, (-1, 1))
    np.testing.assert_array_equal(targets, np.tile((bit[:, None] > 0).astype(int), length))
    noise = inputs[:, 1:] / 0.2
    bound = 5 / np.sqrt(noise.size)
    assert abs(noise.mean()) < bound
    assert abs(np.mean(noise**2) - 1) < bound * np.sqrt(2)
    assert abs(np.mean(noise**4) - 3) < bound * np.sqrt(96)
    assert abs(np.mean(noise[:, 0, 0] * bit)) < 5 / np.sqrt(SIZE)
    blind, error = blind_loss(targets, weights)
    assert made("latching").baseline(length) == pytest.approx(blind, abs=error)


@pytest.mark.parametrize(("length", "delay"), [(2, None), (7, None), (24, None), (6, 5), (24, 5)])
def test_delayed_xor_compares_two_bits_of_the_past(length, delay):
    options = {} if delay is None else {"delay": delay}
    inputs, targets, weights = drawn("delayed_xor", length, **options)
    assert_uniform(inputs, (-1, 1))
    bits = inputs[..., 0] > 0
    back = length - 1 if delay is None else delay
    for t in range(length):
        judged = t >= back
        expected = bits[:, t - back // 2] != bits[:, t - back] if judged else 0
        np.testing.assert_array_equal(targets[:, t], expected)
        np.testing.assert_allclose(weights[:, t], judged / (length - back), rtol=gamma(2))
    # Neither bit alone tells the answer.
    answer = 2 * targets[:, -1] - 1
    for lag in {back // 2, back}:
        assert abs(np.mean(answer * inputs[:, length - 1 - lag, 0])) < 5 / np.sqrt(SIZE)
    task = made("delayed_xor", **options)
    blind, error = blind_loss(targets[:, back:], weights[:, back:])
    assert task.baseline(length) == pytest.approx(blind, abs=error)
    assert task.shortest == (2 if delay is None else 6)


ORIGIN = {
    ("brown", "black"): "german",
    ("brown", "grey"): "belgian",
    ("white", "black"): "dutch",
    ("white", "grey"): "swiss",
}
BREED = {"dog": "shepherd", "horse": "warmblood"}
FILLERS = {"that", "we", "saw", "today", "near", "our", "old", "farm"}


@pytest.mark.parametrize("length", [8, 9, 24])
def test_shepherd_sentences_are_of_the_grammar(length):
    inputs, targets, weights = drawn("shepherd", length)
    np.testing.assert_array_equal(inputs.sum(axis=2), 1)
    np.testing.assert_array_equal(targets[:, :-1], inputs.argmax(axis=2)[:, 1:])
    words = np.array(VOCABULARY)[np.concatenate([inputs.argmax(axis=2), targets[:, -1:]], axis=1)]
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 24
    for the, c1, and_, c2, animal, *fillers, is_, a, origin, breed in words.tolist():
        assert (the, and_, is_, a) == ("the", "and", "is", "a")
        assert (origin, breed) == (ORIGIN[c1, c2], BREED[animal])
        assert set(fillers) <= FILLERS
    assert_uniform([" ".join(row[[1, 3, 4]]) for row in words], descriptions())
    if length > 8:
        assert_uniform(words[:, 5:-4], FILLERS)
    np.testing.assert_allclose(weights[:, -2:], 0.5, rtol=gamma(2))
    assert not weights[:, :-2].any()
    blind, error = blind_loss(targets[:, -2:], weights[:, -2:])
    assert made("shepherd").baseline(length) == pytest.approx(blind, abs=error)
    assert made("shepherd").baseline(length) == pytest.approx(np.log(4) / 2 + np.log(2) / 2)


def descriptions():
    """All of them."""
    return {f"{c1} {c2} {animal}" for c1, c2 in ORIGIN for animal in BREED}


def test_in_shepherd_every_word_of_a_description_is_needed():
    names = {
        tuple(d.split()): (ORIGIN[tuple(d.split()[:2])], BREED[d.split()[2]])
        for d in descriptions()
    }
    assert len(set(names.values())) == 8
    for place in range(3):
        for one, other in pairwise(sorted(names, key=lambda d: (d[:place] + d[place + 1 :], d))):
            same = one[:place] + one[place + 1 :] == other[:place] + other[place + 1 :]
            assert not same or names[one] != names[other]
