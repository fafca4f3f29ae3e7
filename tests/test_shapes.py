"""Shapes of curves against closed forms and random walks, half-lives and areas against algebra."""

import math
from collections import Counter

import numpy as np
import pytest

from throughtime import statistics

LAGS = np.arange(200)
POWER_LAW = -np.log1p(LAGS)  # the mean of |λ|^{2k} over the unit disk, 1/(k + 1)
JORDAN = np.log1p(LAGS) + LAGS * math.log(0.9)


def ring(r_min):
    """ln E|λ|^{2k} of eigenvalues spread evenly over the ring between r_min and 1."""
    return np.log1p(-(r_min ** (2.0 * LAGS + 2))) - np.log((LAGS + 1) * (1 - r_min**2))


def names(mean, noise, count=200, networks=1):
    """How often each shape is found of curves that walk at random about their mean."""
    rng = np.random.default_rng(0)
    found = Counter()
    for _ in range(count):
        walks = rng.normal(scale=noise, size=(networks, LAGS.size)).cumsum(axis=1)
        found[statistics.shape(np.median(mean + walks, axis=0)).name] += 1
    assert sum(found.values()) == count
    return {name: number / count for name, number in found.items()}


def test_shapes_of_closed_forms_and_their_parameters():
    flat = statistics.shape(np.full(200, 3.0))
    assert flat.name == "flat"
    assert math.isnan(flat.rate)
    line = statistics.shape(7.0 - 0.01 * LAGS)
    assert (line.name, line.rate) == ("exponential", pytest.approx(-0.01, rel=1e-9))
    assert math.isnan(line.power)
    law = statistics.shape(ring(0.0))
    assert (law.name, law.power) == ("power law", pytest.approx(-1.0, rel=1e-9))
    block = statistics.shape(JORDAN)
    assert block.name == "transient"
    assert (block.rate, block.power) == pytest.approx((math.log(0.9), 1.0), rel=1e-9)
    bent = statistics.shape(np.where(LAGS < 16, -0.5 * LAGS, -8.0 - 0.01 * (LAGS - 16)))
    assert (bent.name, bent.rate) == ("transient", pytest.approx(-0.01, rel=1e-9))
    assert min(one.lead for one in (flat, line, law, block, bent)) > statistics.shapes.MARGIN


def test_a_curve_is_not_judged_where_it_cannot_be():
    for lag, value in ((3, np.nan), (199, -np.inf), (0, np.inf)):
        curve = POWER_LAW.copy()
        curve[lag] = value
        assert statistics.shape(curve).name == "undecided"
    assert statistics.shape(POWER_LAW[:15]).name == "undecided"
    assert statistics.shape(POWER_LAW[:16]).name == "power law"
    assert statistics.shape(POWER_LAW, margin=1e9).name == "undecided"


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_a_random_walk_with_drift_is_seldom_called_anything_else(noise):
    found = names(-0.1 * LAGS, noise)
    assert found["exponential"] > 0.8
    assert found.get("power law", 0) + found.get("transient", 0) + found.get("flat", 0) < 0.03
    still = names(0.0 * LAGS, noise)
    assert still["flat"] > 0.8
    assert 1 - still["flat"] - still["undecided"] < 0.04


def test_increments_that_remember_the_last_one_count_less():
    rng = np.random.default_rng(1)
    found = Counter()
    for _ in range(200):
        steps = np.convolve(rng.normal(scale=0.1, size=240), 0.6 ** np.arange(41), "valid")
        found[statistics.shape(np.cumsum(steps - 0.1)).name] += 1
    assert found["transient"] + found["power law"] <= 6
    assert found["exponential"] > 150


def test_power_laws_and_transients_are_seen_through_the_noise_of_sixteen_networks():
    assert names(POWER_LAW, 0.3, count=50, networks=16)["power law"] > 0.95
    assert names(ring(0.5), 0.3, count=50, networks=16)["power law"] > 0.9
    assert names(JORDAN, 0.1, count=50, networks=16)["transient"] > 0.95
    assert names(-0.1 * LAGS, 0.3, count=50, networks=16)["exponential"] > 0.95
    # One network alone: the few first lags are all that tells, so the answer is often none.
    alone = names(POWER_LAW, 0.3)
    assert alone["power law"] > 0.5
    assert alone.get("exponential", 0) + alone.get("transient", 0) < 0.03


@pytest.mark.parametrize("factor", [0.3, 0.9, 0.99])
def test_half_life_of_a_power_is_the_quotient_of_logarithms(factor):
    lag = math.ceil(math.log(0.5) / math.log(factor))
    curve = 5.0 + np.arange(500) * math.log(factor)
    assert statistics.half_life(curve) == (lag, False)
    assert statistics.half_life(curve[: lag + 1]) == (lag, False)
    assert statistics.half_life(curve[:lag]) == (lag, True)


def test_half_life_waits_until_the_gradient_stays_below_half():
    half, nan, inf = -math.log(2), math.nan, math.inf
    assert statistics.half_life(np.array([0.0, -9.0, -0.1, half, half])) == (3, False)
    assert statistics.half_life(np.array([0.0, -9.0, nan, -9.0])) == (1, True)
    assert statistics.half_life(np.array([0.0, nan, -0.1, -9.0])) == (3, False)
    assert statistics.half_life(np.array([0.0, -inf])) == (1, False)
    assert statistics.half_life(np.array([nan, nan])) == (0, True)
    assert statistics.half_life(np.array([-inf, -inf])) == (0, True)


def test_area_is_the_mean_loss_in_decades():
    ln10 = math.log(10)
    curve = 3.0 - 0.2 * ln10 * np.arange(11)
    assert statistics.area(curve) == pytest.approx(-0.2 * 10 / 2)
    assert statistics.area(-curve) == 0.0
    assert statistics.area(np.array([0.0, 5.0, -4.0, 0.0]) * ln10) == pytest.approx(-1.0)
    assert statistics.area(np.array([0.0, -np.inf, 0.0])) == -np.inf
    assert math.isnan(statistics.area(np.array([0.0, np.nan, 0.0])))
    assert math.isnan(statistics.area(np.array([-np.inf, -1.0])))


def test_verdict_shares_and_their_word():
    shares, word = statistics.verdict_shares(8 * ["vanishing"] + ["stable", "undefined"])
    assert shares["vanishing"] == 0.8
    assert (shares["stable"], shares["transient"], word) == (0.1, 0.0, "vanishing")
    assert statistics.verdict_shares(7 * ["stable"] + 3 * ["exploding"]).word == "mixed"
    with pytest.raises(ValueError, match="unknown verdict 'stabel'; did you mean 'stable'"):
        statistics.verdict_shares(["stable", "stabel"])
    with pytest.raises(ValueError, match="no verdicts"):
        statistics.verdict_shares([])
