"""Rates, horizons, verdicts and intervals against closed forms, scipy and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import quantile_test

from throughtime import statistics


def exponential(factor, length):
    """Scalar h = w h: the gradient at lag k is w^k."""
    return np.arange(length) * math.log(factor)


def jordan(radius, length):
    """A Jordan block: k ρ^(k-1), with lag 0 (k = 1) as the last step."""
    k = np.arange(1.0, length + 1)
    return np.log(k) + (k - 1) * math.log(radius)


def test_log10_ratio_of_a_power_reaches_beyond_the_floats():
    assert statistics.log10_ratio(7.0 + exponential(0.1, 1001)) == pytest.approx(-1000, rel=1e-12)
    assert statistics.log10_ratio(np.array([-3.0, -1.0, -np.inf])) == -np.inf
    for undefined in ([-3.0, np.nan, -1.0], [-np.inf, -1.0], [0.0, np.inf], [-np.inf, -np.inf]):
        assert math.isnan(statistics.log10_ratio(np.array(undefined)))


@pytest.mark.parametrize("factor", [0.1, 0.97, 1.0, 1.3])
@pytest.mark.parametrize("length", [2, 3, 4, 50, 1001])
def test_rate_of_a_power_is_its_logarithm(factor, length):
    found = statistics.rate(5.0 + exponential(factor, length))
    assert found == pytest.approx(math.log(factor), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 10, 11])
def test_rate_is_numpys_fit_of_the_last_half(length):
    curve = np.random.default_rng(0).normal(size=length)
    start = 0 if length == 2 else math.ceil((length - 1) / 2)
    expected = np.polyfit(np.arange(start, length), curve[start:], 1)[0]
    assert statistics.rate(curve) == pytest.approx(expected, rel=1e-10)


def test_rate_never_looks_at_the_first_half():
    curve = exponential(0.9, 101)
    curve[:50] += 40.0
    assert statistics.rate(curve) == pytest.approx(math.log(0.9), rel=1e-12)


def test_rate_of_a_jordan_block_has_the_bias_of_a_logarithm_fitted_over_the_last_half():
    # Least squares of ln x on [1/2, 1]: 96 ∫ (x - 3/4) ln x dx = 18 - 24 ln 2, per T steps.
    length = 20_000
    bias = statistics.rate(jordan(0.9, length)) - math.log(0.9)
    assert length * bias == pytest.approx(18 - 24 * math.log(2), rel=2e-3)


def test_rate_tells_a_zero_gradient_from_a_broken_run():
    curve = exponential(0.5, 20)
    dead, broken, burst = curve.copy(), curve.copy(), curve.copy()
    dead[15:], broken[3], burst[3] = -np.inf, np.nan, np.inf
    assert statistics.rate(dead) == -np.inf
    assert math.isnan(statistics.rate(broken))
    assert math.isnan(statistics.rate(burst))
    with pytest.raises(ValueError, match="at least 2 lags, got 1"):
        statistics.rate(np.zeros(1))


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("epsilon", [0.3, 0.01, 1e-6])
def test_horizon_of_a_power_is_the_quotient_of_logarithms(factor, epsilon):
    lag = math.floor(math.log(epsilon) / math.log(factor))
    assert statistics.horizon(3.0 + exponential(factor, 2000), epsilon) == (lag, False)
    assert statistics.horizon(exponential(factor, lag + 1), epsilon) == (lag, True)
    assert statistics.horizon(exponential(factor, lag + 2), epsilon) == (lag, False)


def test_horizon_is_the_last_lag_in_reach_not_the_first_lag_out_of_it():
    assert statistics.horizon(np.array([0.0, -9.0, -1.0, -9.0])) == (2, False)


def test_horizon_of_what_is_not_known_is_a_lower_bound():
    nan = np.nan
    assert statistics.horizon(np.array([0.0, -1.0, nan, nan])) == (1, True)
    assert statistics.horizon(np.array([nan, nan])) == (0, True)
    assert statistics.horizon(np.array([-np.inf, 0.0])) == (0, True)
    assert statistics.horizon(np.array([0.0, -np.inf])) == (0, False)
    for epsilon in (0.0, 1.5):
        with pytest.raises(
            ValueError, match=f"epsilon must be above 0 and at most 1, got {epsilon}"
        ):
            statistics.horizon(np.zeros(3), epsilon)
    with pytest.raises(ValueError, match="empty curve"):
        statistics.horizon(np.zeros(0))


@pytest.mark.parametrize("length", [2, 11, 200])
def test_verdict_of_a_power_changes_at_a_factor_of_ten(length):
    edge = 10 ** (1 / (length - 1))
    for factor, expected in [
        (edge**1.001, "exploding"),
        (edge**0.999, "stable"),
        (edge**-0.999, "stable"),
        (edge**-1.001, "vanishing"),
    ]:
        assert statistics.verdict(7.0 + exponential(factor, length)) == expected


def test_verdict_of_a_jordan_block_follows_its_tail():
    # 3-block: k² ρ^k peaks at lag 2/(1-ρ) = 200, and is back at 1 near lag 1294.
    def of(length):
        k = np.arange(1.0, length + 1)
        return statistics.verdict(2 * np.log(k) + (k - 1) * math.log(0.99))

    assert of(60) == "exploding"
    assert of(900) == "transient"
    assert of(1300) == "transient"
    assert of(4000) == "vanishing"
    assert statistics.verdict(jordan(0.9, 400)) == "vanishing"


def test_verdict_of_a_gradient_that_comes_back_is_transient():
    fall = np.concatenate([np.linspace(0, -40, 50), np.linspace(-40, -10, 50)])
    assert statistics.verdict(fall) == "transient"
    assert statistics.verdict(-fall) == "transient"


def test_verdict_on_a_flat_tail_does_not_hang_on_the_sign_of_noise():
    flat = np.concatenate([np.linspace(0, -9, 50), np.full(50, -9.0)])
    noise = 1e-3 * np.linspace(-1, 1, 100)
    assert {statistics.verdict(flat + noise), statistics.verdict(flat - noise)} == {"vanishing"}
    assert {statistics.verdict(noise - flat), statistics.verdict(-noise - flat)} == {"exploding"}


def test_verdict_on_zero_and_broken_gradients():
    dead, broken = exponential(1.5, 20), exponential(1.5, 20)
    dead[18:], broken[19] = -np.inf, np.nan
    assert statistics.verdict(dead) == "vanishing"
    assert statistics.verdict(broken) == "undefined"
    assert statistics.verdict(np.array([-np.inf, 0.0, 0.0])) == "undefined"


@given(
    count=st.integers(1, 40),
    probability=st.sampled_from([0.1, 0.5, 0.9]),
    confidence=st.sampled_from([0.6, 0.9, 0.95, 0.99]),
)
def test_interval_is_scipys_quantile_test_turned_round(count, probability, confidence):
    values = np.random.default_rng(count).normal(size=count)
    test = quantile_test(values, p=probability)
    np.testing.assert_array_equal(
        statistics.quantile_interval(values, probability, confidence),
        test.confidence_interval(confidence),
    )


def test_interval_of_the_median_by_hand():
    # 16 seeds: P(Bin(16, 1/2) ≤ 3) = 697/65536 = 0.0106 and P(≤ 4) = 0.0384, so ranks 4 and 13.
    assert statistics.quantile_interval(np.arange(1.0, 17.0)) == (4.0, 13.0)
    # 6 seeds: 1 - 2/64 = 0.969, the whole range; 5 seeds: 1 - 2/32 = 0.9375 is not enough.
    assert statistics.quantile_interval(np.arange(6.0)) == (0.0, 5.0)
    assert np.isnan(statistics.quantile_interval(np.arange(5.0))).all()
    # 2 seeds hold the median between them exactly half of the time.
    assert statistics.quantile_interval(np.arange(2.0), confidence=0.5) == (0.0, 1.0)
    assert np.isnan(statistics.quantile_interval(np.zeros(0))).all()


def test_interval_ranks_infinite_values_and_refuses_nan():
    values = np.array([-np.inf, -np.inf, -3.0, -2.0, -1.0, 0.0])
    assert statistics.quantile_interval(values) == (-np.inf, 0.0)
    with pytest.raises(ValueError, match="1 values are NaN"):
        statistics.quantile_interval(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        statistics.quantile_interval(values, confidence=95.0)


@pytest.mark.parametrize("probability", [0.25, 0.5])
def test_interval_covers_the_quantile_as_often_as_it_says(probability):
    draws = np.random.default_rng(1).uniform(size=(4000, 20))
    intervals = np.array([statistics.quantile_interval(draw, probability) for draw in draws])
    below, above = (probability < intervals[:, 0]).mean(), (probability > intervals[:, 1]).mean()
    # Each side may miss at most 2.5%; three standard errors of 4000 draws are 0.74%.
    assert max(below, above) < 0.025 + 0.0075
    assert below + above > 0.01


def test_survival_band_of_a_power_ends_at_the_root_of_ten():
    scales = np.arange(0.9, 1.1, 0.001)
    for length in (50, 200):
        (band,) = statistics.survival_bands(scales, (length - 1) * np.log10(scales))
        edge = 10 ** (1 / (length - 1))
        # The error of linear interpolation is at most step² |r''| / 8 / |r'| = 1e-6 / (8 g).
        assert band[:2] == pytest.approx((1 / edge, edge), abs=2e-7)
        assert band[2:] == (False, False)


def test_survival_band_between_two_scales_that_leap_over_it():
    bands = statistics.survival_bands(np.array([1.0, 2.0]), np.array([-3.0, 5.0]))
    assert bands == [(1.25, 1.5, False, False)]


def test_survival_bands_are_open_where_the_edge_was_not_seen():
    scales = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    inf, nan = np.inf, np.nan

    def of(*ratios):
        return statistics.survival_bands(scales, np.array(ratios))

    assert of(0.0, 0.0, 3.0, 0.0, 0.0) == [
        (1.0, 2 + 1 / 3, True, False),
        (4 - 1 / 3, 5.0, False, True),
    ]
    assert of(-inf, -inf, 0.5, 0.6, inf) == [(3.0, 4.0, False, False)]
    assert of(-9.0, nan, 0.5, 0.5, nan) == [(3.0, 4.0, True, True)]
    assert of(-9.0, 9.0, 9.0, 9.0, 9.0) == [pytest.approx((1 + 8 / 18, 1 + 10 / 18, 0, 0))]
    assert of(-9.0, -9.0, 1.0, 9.0, 9.0) == [(2.8, 3.0, False, False)]
    assert of(-inf, -inf, 9.0, 9.0, 2.0) == []


def test_survival_bands_refuse_what_they_cannot_order():
    with pytest.raises(ValueError, match="must increase strictly"):
        statistics.survival_bands(np.array([1.0, 1.0]), np.zeros(2))
    with pytest.raises(ValueError, match="limit must not be negative"):
        statistics.survival_bands(np.array([1.0, 2.0]), np.zeros(2), limit=-1.0)
