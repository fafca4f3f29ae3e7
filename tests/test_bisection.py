"""The lowest crossing of each function, in as few rounds as predicted, and none invented."""

import math
import re

import pytest
from bounds import gamma
from hypothesis import given
from hypothesis import strategies as st

from throughtime.bisection import Bisection, Crossing

NAN, INF = math.nan, math.inf


class Asked:
    """Functions that remember at which points they were evaluated, round by round."""

    def __init__(self, *functions):
        self.functions = functions
        self.rounds = []

    def __call__(self, asked):
        self.rounds.append(list(asked))
        return [self.functions[i](x) for i, x in asked]


def solve(*functions, low=0.0, high=4.0, **settings):
    asked = Asked(*functions)
    return Bisection(low, high, **settings).solve(asked, len(functions)), asked


def crossing(function, **settings):
    return solve(function, **settings)[0][0]


def steps(*values):
    """A function with these values at 0, 1, 2, … and straight lines between them."""

    def function(x):
        left = min(int(x), len(values) - 2)
        return values[left] + (values[left + 1] - values[left]) * (x - left)

    return function


def at(values, **settings):
    """The crossing of a function known at 0, 1, 2, … alone: the points of the first round."""
    settings = {"high": len(values) - 1.0, "points_per_round": len(values)} | settings
    return crossing(lambda x: values[int(x)], **settings)


def test_a_scalar_network_is_critical_at_one_for_every_length():
    lengths = (2, 50, 1000)
    functions = [lambda g, T=T: (T - 1) * math.log10(g) for T in lengths]
    found, asked = solve(*functions, low=0.1)
    for one, T in zip(found, lengths, strict=True):
        assert one.status == "ok"
        assert one.direction == "up"
        assert one.low < 1 < one.high
        # Interpolation leaves the curvature: width² |f''| / 8 f' = 3e-9 at a width of 1.6e-4.
        assert one.critical == pytest.approx(1, abs=4e-9)
        assert one.value_low == (T - 1) * math.log10(one.low)
        assert one.value_high == (T - 1) * math.log10(one.high)
    # All lengths advance together: 3.9 / 6 / 8^4 is the first width below 1e-3.
    assert [len(each) for each in asked.rounds] == [21] * 5
    assert {one.num_points for one in found} == {35}


@pytest.mark.parametrize("k", [2, 3, 7, 16])
@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-6])
def test_the_rounds_are_as_many_as_the_widths_say(k, tolerance):
    (found,), asked = solve(
        lambda x: x - math.pi, points_per_round=k, tolerance=tolerance, max_rounds=99
    )
    widths = [4.0 / (k - 1)]
    while widths[-1] > tolerance:
        widths.append(widths[-1] / (k + 1))
    assert len(asked.rounds) == len(widths)
    assert found.num_points == k * len(widths)
    # Both ends are rounded to 12 decimals.
    assert found.high - found.low == pytest.approx(widths[-1], abs=2e-12)
    assert found.critical == pytest.approx(math.pi, abs=1e-9)


@pytest.mark.parametrize(
    ("function", "root", "direction"),
    [
        (lambda x: 3 * x - 2, 2 / 3, "up"),
        (lambda x: 5 - 2 * x, 2.5, "down"),
        (lambda x: math.tanh(50 * (x - 1.234)), 1.234, "up"),
        (lambda x: -math.tanh(x - 3.99), 3.99, "down"),
        (lambda x: -1.0 if x < 1.7 else 300.0, 1.7, "up"),
    ],
)
def test_known_roots_within_the_tolerance(function, root, direction):
    found = crossing(function)
    assert found.status == "ok"
    assert found.direction == direction
    assert found.low <= root <= found.high
    assert abs(found.critical - root) <= found.high - found.low <= 1e-3


def test_a_straight_line_is_interpolated_exactly_from_any_bracket():
    found = crossing(lambda x: 3 * x - 2, points_per_round=2, max_rounds=1)
    assert (found.low, found.high, found.status) == (0, 4, "not converged")
    assert found.critical == pytest.approx(2 / 3, rel=gamma(8))


def test_the_lowest_crossing_that_the_first_round_tells_apart():
    first = crossing(steps(-1, 1, -1, 1, -1), points_per_round=5)
    assert first.critical == pytest.approx(0.5, abs=1e-12)
    # Both crossings of the first cell [0, 2] are missed; the next one is found.
    missed = crossing(steps(-1, 1, -1, -1, 1), points_per_round=3)
    assert missed.critical == pytest.approx(3.5, abs=1e-12)
    # The one cell of the first round turns out to hold three crossings.
    third = crossing(steps(-1, 1, -1, 1), high=3.0, points_per_round=2)
    assert third.critical == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("values", [[1, 2, 3], [-3, -2, -1], [-INF, -INF, -1], [1, INF, 2]])
def test_without_a_crossing_there_is_no_number(values):
    assert at(values) == Crossing(status="no crossing", num_points=3, num_undefined=0)


@pytest.mark.parametrize("values", [[-1, NAN, 1], [NAN, NAN, NAN], [NAN, 1, 2], [-1, -1, NAN]])
def test_no_bracket_reaches_across_an_undefined_point(values):
    undefined = sum(map(math.isnan, values))
    assert at(values) == Crossing(status="undefined", num_points=3, num_undefined=undefined)


def test_a_crossing_beside_undefined_points_is_found():
    found = at([NAN, -1, 1, NAN], max_rounds=1)
    assert (found.low, found.high, found.num_undefined) == (1, 2, 2)
    later = at([-1, NAN, 1, 1, -1], max_rounds=1)
    assert (later.low, later.high, later.direction) == (3, 4, "down")


def test_a_bracket_that_turns_out_undefined_is_given_up():
    def broken(x):
        return NAN if 1 < x < 2 else x - 1.5

    found, asked = solve(broken, points_per_round=5)
    assert found == [Crossing(status="undefined", num_points=10, num_undefined=5)]
    assert len(asked.rounds) == 2
    # Another crossing takes its place.
    found = crossing(lambda x: broken(x) if x < 3 else 3.25 - x, points_per_round=5)
    assert (found.status, found.num_undefined) == ("ok", 5)
    assert found.critical == pytest.approx(3.25, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "critical", "direction"),
    [
        ([-1, 0, 1], 1, "up"),
        ([1, -0.0, -1], 1, "down"),
        ([0, 1, 2], 0, "up"),
        ([-2, -1, 0], 2, "up"),
        ([1, 0, 1], 1, None),
        ([0, 0, 0], 0, None),
        ([NAN, 0, 1], 1, "up"),
        ([-INF, 0, INF], 1, "up"),
    ],
)
def test_a_value_of_exactly_zero_is_the_crossing(values, critical, direction):
    found = at(values)
    assert found.critical == found.low == found.high == critical
    assert found.value_low == found.value_high == 0
    assert (found.direction, found.status, found.num_points) == (direction, "ok", 3)


def test_a_zero_gradient_is_negative_and_infinities_are_halved():
    found = crossing(lambda x: -INF if x < 1.7 else 1.0)
    assert (found.status, found.direction) == ("ok", "up")
    assert found.value_low == -INF
    assert found.low < 1.7 <= found.high
    assert found.critical == (found.low + found.high) / 2
    assert at([INF, -INF], max_rounds=1).critical == 0.5
    assert at([INF, -INF], max_rounds=1).direction == "down"


def test_a_width_is_compared_as_the_points_are_rounded():
    # In floating point 1.1 - 1.0 is 0.10000000000000009.
    found = crossing(lambda x: x - 1.04, low=1.0, high=1.3, points_per_round=4, tolerance=0.1)
    assert (found.status, found.num_points) == ("ok", 4)


def test_what_is_known_leaves_the_search():
    _, asked = solve(lambda x: x - 1.1, lambda x: 1.0, lambda x: x - 2.0, lambda x: NAN)
    assert {i for i, _ in asked.rounds[0]} == {0, 1, 2, 3}
    assert [{i for i, _ in each} for each in asked.rounds[1:]] == [{0}] * 4


def test_a_tolerance_finer_than_the_points_ends_without_claiming_it():
    (found,), asked = solve(lambda x: x - math.pi, tolerance=1e-14, max_rounds=99)
    points = [x for each in asked.rounds for _, x in each]
    assert len(points) == len(set(points)) == found.num_points
    assert found.status == "not converged"
    assert found.high - found.low == pytest.approx(1e-12, rel=1e-3)


@given(
    root=st.floats(-3, 3, allow_subnormal=False),
    slope=st.floats(1e-3, 1e3),
    bend=st.floats(0, 10),
    sign=st.sampled_from([-1, 1]),
    k=st.integers(2, 20),
    max_rounds=st.integers(1, 9),
)
def test_the_root_of_a_monotone_function_is_in_the_bracket(root, slope, bend, sign, k, max_rounds):
    def function(x):
        return sign * (slope * (x - root) + bend * (x - root) ** 3)

    settings = {"low": -3.0, "high": 3.0, "points_per_round": k, "max_rounds": max_rounds}
    found, asked = solve(function, **settings)
    (one,) = found
    assert one.low <= root <= one.high
    assert one.low <= one.critical <= one.high
    narrow = round(one.high - one.low, 12) <= 1e-3
    assert one.status == ("ok" if narrow else "not converged")
    assert narrow or len(asked.rounds) == max_rounds
    assert one.direction == ("up" if sign > 0 else "down")
    again = solve(function, **settings)
    assert again[0] == found
    assert again[1].rounds == asked.rounds
    assert all(round(x, 12) == x for each in asked.rounds for _, x in each)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"low": 4.0}, "two finite ends, the lower one first, got (4.0, 4.0)"),
        ({"high": INF}, "two finite ends"),
        ({"low": NAN}, "two finite ends"),
        ({"points_per_round": 1}, "points_per_round must be at least 2, got 1"),
        ({"tolerance": 0.0}, "tolerance must be above 0, got 0.0"),
        ({"tolerance": NAN}, "tolerance must be above 0, got nan"),
        ({"max_rounds": 0}, "max_rounds must be at least 1, got 0"),
    ],
)
def test_a_search_that_cannot_be_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Bisection(**{"low": 0.0, "high": 4.0} | settings)
