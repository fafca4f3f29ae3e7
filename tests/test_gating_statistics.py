"""Critical scales, stable bands and paired gains: by hand, by loops, and coverage by simulation."""

import math

import numpy as np
import pytest

from throughtime import statistics
from throughtime.statistics import resampling
from throughtime.statistics.stable import _extent, _widths

INF, NAN = math.inf, math.nan
NETWORKS = 16


def coverage(make, truth, count=400):
    """The share of samples whose intervals hold the truth."""
    rng = np.random.default_rng(0)
    hits = [[one.low <= t <= one.high for one, t in zip(make(rng), truth, strict=True)]
            for _ in range(count)]  # fmt: skip
    return np.mean(hits, axis=0)


def test_the_bootstrap_of_a_median_covers_and_that_of_a_skewed_mean_does_not():
    def skewed(rng):
        values = rng.lognormal(size=NETWORKS)
        of = statistics.bootstrap_interval
        exact = statistics.quantile_interval(values)
        return of(values), exact, of(values, lambda x: x.mean(axis=-1))

    median, exact, mean = coverage(skewed, (1.0, 1.0, math.exp(0.5)), count=1500)
    assert 0.92 < median < 0.97
    assert 0.97 < exact < 0.99  # 97.9%: between the fourth and the thirteenth
    assert mean < 0.87
    normal = coverage(lambda rng: [statistics.bootstrap_interval(rng.normal(size=16))], [0.0], 1500)
    assert 0.93 < normal < 0.97


def test_bootstrap_only_ranks_and_draws_the_same_every_time():
    of = statistics.bootstrap_interval
    dead = np.array([-INF] * 8 + [1.0] * 8)
    assert of(dead) == (-INF, 1.0)
    assert of(np.full(16, 2.0)) == (2.0, 2.0)
    values = np.random.default_rng(3).normal(size=16)
    np.testing.assert_array_equal(
        resampling.draws(16), np.random.default_rng(0).integers(16, size=(1000, 16))
    )
    assert set(of(values)) <= set(((values[:, None] + values) / 2).ravel())
    assert np.isnan(of(np.ones(1))).all()
    assert np.isnan(of(values, lambda x: np.where(x[..., 0] > 0, NAN, 1.0))).all()
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        of(np.array([1.0, NAN]))
    with pytest.raises(ValueError, match="0 of 0 values"):
        of(np.zeros(0))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 1"):
        of(values, confidence=1.0)


def test_medians_of_what_is_known_need_a_majority():
    table = np.array([[3.0, 1, 2, NAN], [1, 2, NAN, NAN], [-INF, -INF, 1, 2], [-INF, -INF, 1, INF],
                      [-INF, -INF, INF, INF]])  # fmt: skip
    found = resampling.medians(table)
    np.testing.assert_array_equal(found, [2.0, NAN, -INF, -INF, NAN])
    values = np.random.default_rng(0).normal(size=(5, 7, 9))
    np.testing.assert_array_equal(resampling.medians(values), np.median(values, axis=-1))


SCALES = np.array([0.5, 1.0, 1.5, 2.0, 3.0])


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([-3.0, -1.0, 1.0, 2.0, 3.0], 1.25),
        ([-3.0, 1.0, -1.0, 3.0, 3.0], 1.625),  # the first crossing does not stay
        ([-1.0, -1.0, -1.0, -1.0, -0.1], INF),
        ([-1.0, 1.0, 1.0, 1.0, -0.1], INF),
        ([0.0, 1.0, 1.0, 1.0, 1.0], -INF),
        ([-INF, -INF, -INF, 5.0, 5.0], 2.0),
        ([-INF, -1.0, 0.0, 5.0, 5.0], 1.5),
        ([NAN, -1.0, 1.0, NAN, 5.0], 1.25),
        ([-1.0, NAN, 1.0, 1.0, 1.0], None),
        ([-1.0, -1.0, -1.0, -1.0, NAN], None),
        ([NAN, 1.0, 1.0, 1.0, 1.0], None),
        ([NAN, NAN, NAN, NAN, NAN], None),
    ],
)
def test_critical_scale_of_one_network(rates, expected):
    found = statistics.critical_scale(SCALES, np.array(rates)[:, None])
    assert found.num == (expected is not None)
    assert math.isnan(found.value) if expected is None else found.value == expected


def test_critical_scale_is_the_median_of_crossings_with_open_ends():
    crossings = np.array([0.6, 0.9, 1.1, 1.2, 1.3, 1.4, 1.7, 9.0])
    rates = SCALES[:, None] - crossings
    found = statistics.critical_scale(SCALES, rates)
    assert found == (pytest.approx(1.25), (pytest.approx(0.6), INF), 8)
    assert statistics.critical_scale(SCALES, -1.0 - 0 * rates).value == INF
    assert statistics.critical_scale(SCALES, 1.0 + 0 * rates) == (-INF, (-INF, -INF), 8)
    split = statistics.critical_scale(SCALES, np.repeat([[-1.0, 1.0]], 5, axis=0))
    assert math.isnan(split.value)
    with pytest.raises(ValueError, match="must increase strictly"):
        statistics.critical_scale(SCALES[::-1], rates)


def test_critical_scale_covers():
    grid = np.linspace(0.5, 3.0, 11)

    def sample(rng):
        crossings = 1.5 * rng.lognormal(sigma=0.1, size=NETWORKS)
        return [statistics.critical_scale(grid, grid[:, None] - crossings).interval]

    assert 0.955 < coverage(sample, [1.5]) < 0.995


def test_every_resample_has_the_bands_that_survival_bands_finds():
    rng = np.random.default_rng(0)
    scales = np.linspace(0.5, 2.0, 7)
    for share in (0.0, 0.3, 0.6):
        ratios = rng.normal(scale=2.0, size=(7, 5)) + np.linspace(-2, 2, 7)[:, None]
        ratios = np.where(rng.random(ratios.shape) < share, NAN, ratios)
        ratios[0, :3], ratios[-1, 2:] = -INF, INF
        middle = resampling.medians(ratios[:, resampling.draws(5)].swapaxes(0, 1))
        extent, (least, most) = _extent(scales, middle, middle, 1.0), _widths(scales, middle, 1.0)
        for i, draw in enumerate(resampling.draws(5)[:300]):
            own = ratios[:, draw]
            known = [row[~np.isnan(row)] for row in own]
            medians = [np.median(row) if row.size > 2 else NAN for row in known]
            bands = statistics.survival_bands(scales, np.array(medians), 1.0)
            width = sum(band.high - band.low for band in bands)
            is_open = any(band.open_low or band.open_high for band in bands)
            if np.isnan(medians).all():
                assert np.isnan([least[i], most[i]]).all()
                continue
            assert least[i] == pytest.approx(width)
            is_open = is_open or (not bands and np.isnan(medians).any())
            assert most[i] == (INF if is_open else pytest.approx(width))
            ends = (bands[0].low, bands[-1].high) if bands else (INF, -INF)
            assert (extent.low[i], extent.high[i]) == pytest.approx(ends)
            opens = (bands[0].open_low, bands[-1].open_high) if bands else (False, False)
            assert (extent.open_low[i], extent.open_high[i]) == opens


def test_stable_band_says_where_it_is_open():
    scales = np.array([1.0, 2.0, 3.0])
    level = np.array([[-4.0], [0.0], [2.0]]) * np.ones(8)
    found = statistics.stable_band(scales, level)
    assert found[:3] == pytest.approx((1.75, 2.5, 0.75))
    assert found.width_interval == pytest.approx((0.75, 0.75))
    assert found[6:11] == (False, False, False, 1, 1)
    wide = statistics.stable_band(scales, level, limit=3.0)
    assert wide[:3] == pytest.approx((1.25, 3.0, 1.75))
    assert (wide.open_low, wide.open_high, wide.is_bound) == (False, True, True)
    assert wide.high_interval == (INF, INF)
    assert wide.width_interval == (pytest.approx(1.75), INF)
    nowhere = statistics.stable_band(scales, level + 9.0)
    assert math.isnan(nowhere.low)
    between = statistics.stable_band(scales, level - 2.0)
    assert (between[:3], between.num_scales) == (pytest.approx((2.5, 3.0, 0.5)), 1)
    assert statistics.stable_band(scales, level * 2 - 2.0, limit=0.5).num_scales == 0
    assert (nowhere.width, nowhere.is_bound, nowhere.num_bands) == (0.0, False, 0)
    assert np.isnan(nowhere.low_interval).all()
    unknown = statistics.stable_band(scales, NAN * level)
    assert math.isnan(unknown.width)
    assert unknown.is_bound
    ratios = np.array([[0.0, 4.0, 0.0, 4.0, 4.0]]).T
    twice = statistics.stable_band(np.arange(1.0, 6), ratios)
    assert (twice.num_bands, twice.width, twice.high) == (2, pytest.approx(0.75), 3.25)


def test_an_edge_beside_dead_gradients_may_lie_anywhere_up_to_them():
    scales = np.array([1.0, 2.0, 3.0])
    ratios = np.array([[-INF], [-0.2], [4.0]]) + np.linspace(0.0, 0.1, 16)
    found = statistics.stable_band(scales, ratios)
    assert (found.low, found.low_interval) == (2.0, (1.0, 2.0))
    exploding = statistics.stable_band(scales, -ratios)
    assert (exploding.low, exploding.low_interval) == (2.0, (1.0, 2.0))


def test_band_factor_pairs_its_resamples_and_keeps_its_bounds():
    scales = np.linspace(0.0, 8.0, 33)
    offsets = np.random.default_rng(1).normal(scale=0.3, size=12)
    plain = statistics.stable_band(scales, (scales[:, None] - 4) * 4 * np.exp(offsets))
    twice = statistics.stable_band(scales, (scales[:, None] - 4) * 2 * np.exp(offsets))
    found = statistics.band_factor(plain, twice)
    # The same networks, half as steep: twice as wide in each resample, which unpaired it is not.
    assert found == (pytest.approx(2.0), pytest.approx((2.0, 2.0)), False, False)
    assert plain.width_interval.high > 1.1 * plain.width_interval.low
    whole = statistics.stable_band(scales, 0.1 * (scales[:, None] - 4) * np.exp(offsets))
    bound = statistics.band_factor(plain, whole)
    assert (bound.is_lower_bound, bound.is_upper_bound) == (True, False)
    assert bound.value == pytest.approx(8.0 / plain.width)
    assert bound.interval == (pytest.approx(8.0 / plain.width_interval.high), INF)
    other = statistics.band_factor(whole, plain)
    assert other[0] == pytest.approx(plain.width / 8.0)
    assert (other.interval.low, *other[2:]) == (0.0, False, True)
    assert math.isnan(statistics.band_factor(whole, whole).value)
    nowhere = statistics.stable_band(scales, 9.0 + 0 * scales[:, None] + offsets)
    assert statistics.band_factor(nowhere, plain).value == INF
    assert statistics.band_factor(plain, nowhere) == (0.0, (0.0, 0.0), False, False)
    assert np.isnan(statistics.band_factor(nowhere, nowhere).value)


def test_edges_widths_and_factors_cover():
    grid = np.linspace(0.5, 3.0, 11)

    def ratios(rng, steepness, shifts):
        slopes = steepness * rng.lognormal(sigma=0.3, size=NETWORKS)
        return slopes * (grid[:, None] - 1.6 - shifts)

    def sample(rng, networks=NETWORKS):
        shifts = rng.normal(scale=0.1, size=networks)  # what paired networks share
        plain = statistics.stable_band(grid, ratios(rng, 4.0, shifts))
        gated = statistics.stable_band(grid, ratios(rng, 2.0, shifts))
        factor = statistics.band_factor(plain, gated)
        return plain.low_interval, plain.high_interval, plain.width_interval, factor.interval

    # Of so many networks that the medians are those of the distribution: E sums of 10^5.
    rng = np.random.default_rng(7)
    slopes, shifts = rng.lognormal(sigma=0.3, size=200_001), rng.normal(scale=0.1, size=200_001)
    bands = [
        statistics.survival_bands(
            grid, np.array([np.median(s * slopes * (g - 1.6 - shifts)) for g in grid])
        )[0]
        for s in (4.0, 2.0)
    ]
    widths = [band.high - band.low for band in bands]
    truth = (bands[0].low, bands[0].high, widths[0], widths[1] / widths[0])
    found = coverage(sample, truth, count=300)
    assert (found[:2] > 0.96).all()  # exact: 97.9%
    assert (found[2:] > 0.92).all()
    assert (found[2:] < 0.975).all()


def fate(rates, horizons=None, is_bound=None):
    rates = np.array(rates, np.float64)
    horizons = np.zeros(rates.size) if horizons is None else np.array(horizons, np.float64)
    is_bound = np.zeros(rates.size, bool) if is_bound is None else np.array(is_bound)
    return statistics.Fate(rates, horizons, is_bound)


def test_what_a_gate_saves_is_paired_and_counts_explosions_as_losses():
    plain = fate([-0.5, 0.6, -0.7, 0.8, -0.9, 1.0, NAN])
    gated = fate([0.1, 0.1, -0.1, 0.1, 0.1, -0.1, 0.0])
    saved, gained = statistics.mitigation(plain, gated)
    assert saved.value == pytest.approx(0.65)
    assert saved.interval == pytest.approx((0.4, 0.9))
    assert saved[2:] == (False, False, "better", 6)
    assert statistics.mitigation(gated, plain).saved.word == "worse"
    assert gained[:2] == (0.0, (0.0, 0.0))
    assert gained.word == "undecided"
    few = statistics.mitigation(fate([-1.0] * 5), fate([0.0] * 5)).saved
    assert (few.value, few.word, few.num) == (1.0, "undecided", 5)
    none = statistics.mitigation(fate([NAN]), fate([0.0])).saved
    assert (math.isnan(none.value), none.word, none.num) == (True, "undecided", 0)
    with pytest.raises(ValueError, match="6 ungated and 7 gated networks do not pair"):
        statistics.mitigation(fate([0.0] * 6), fate([0.0] * 7))


def test_gradients_of_exactly_zero_bound_what_is_saved():
    dead, alive = fate([-INF] * 8), fate([-0.1] * 8)
    assert statistics.mitigation(dead, alive).saved[:2] == (INF, (INF, INF))
    assert statistics.mitigation(alive, dead).saved.word == "worse"
    both = statistics.mitigation(dead, dead).saved
    assert math.isnan(both.value)
    assert (both.interval, both.word) == ((-INF, INF), "undecided")


between = statistics.Interval


@pytest.mark.parametrize(
    ("plain", "gated", "expected"),
    [
        (0, 0, (30.0, between(30.0, 30.0), False, False, "better")),
        (0, 8, (30.0, between(30.0, INF), True, False, "better")),
        (8, 0, (30.0, between(-INF, 30.0), False, True, "undecided")),
        (8, 8, (NAN, between(-INF, INF), False, False, "undecided")),
        (0, 3, (30.0, between(30.0, INF), False, False, "better")),
        (2, 8, (30.0, between(-INF, INF), True, False, "undecided")),
    ],
)
def test_horizons_that_are_bounds_bound_the_gain(plain, gated, expected):
    rates, bound = np.zeros(8), np.arange(8)
    found = statistics.mitigation(
        fate(rates, np.full(8, 19.0), bound < plain), fate(rates, np.full(8, 49.0), bound < gated)
    )
    assert repr(found.gained) == repr(statistics.Gain(*expected, 8))


def test_gains_cover_the_truth_though_most_sequences_end_first():
    def sample(rng):
        shared = rng.normal(size=NETWORKS)
        plain = np.exp(3.0 + shared)
        gated = plain + 20.0 * rng.lognormal(sigma=1.0, size=NETWORKS)
        seen = [fate(0 * shared, np.minimum(h, 49.0), h >= 49.0) for h in (plain, gated)]
        return [statistics.mitigation(*seen).gained.interval]

    assert coverage(sample, [20.0], count=600) > 0.955
