"""How well one number foretells another: brute force, SciPy, and coverage by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from made_trainings import rows_of
from scipy import stats

from throughtime import tables
from throughtime.statistics import area_under_curve, prediction, rank_correlation, share_interval


@pytest.mark.parametrize(("count", "total"), [(0, 5), (1, 5), (5, 5), (7, 16), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_share_is_wilsons_closed_form(count, total, confidence):
    # The shares p that |count/total − p| ≤ z √(p (1 − p)/total) allows: a quadratic equation.
    z = stats.norm.ppf((1 + confidence) / 2)
    share, weight = count / total, z**2 / total
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    found = share_interval(count, total, confidence)
    assert found == pytest.approx((middle - half, middle + half), rel=1e-9, abs=1e-12)
    assert found.low <= share <= found.high


def pairs_won(scores, outcomes):
    """The AUC by its definition: over all pairs of a success and a failure."""
    won, lost = scores[outcomes], scores[~outcomes]
    wins = [1.0 if s > t else 0.5 if s == t else 0.0 for s in won for t in lost]
    return np.mean(wins)


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_counts_pairs_with_ties_and_infinities(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(-3, 3, 40).astype(float)
    scores[random.random(40) < 0.2] = -np.inf
    outcomes = random.random(40) < 0.4
    found = area_under_curve(scores, outcomes, np.arange(40))
    assert found.value == pytest.approx(pairs_won(scores, outcomes), rel=1e-12)
    assert found.interval.low < found.value < found.interval.high
    assert (found.num, found.num_clusters) == (40, 40)


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_correlation_is_scipys(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(-3, 3, 30).astype(float)
    outcomes = scores + random.integers(-4, 4, 30)
    outcomes[:6] = -np.inf
    found = rank_correlation(scores, outcomes, np.arange(30))
    ranks = stats.rankdata(outcomes)  # spearmanr itself has no rank for what is infinite
    assert found.value == pytest.approx(stats.spearmanr(scores, ranks).statistic, rel=1e-12)


def test_perfect_useless_and_missing_predictions():
    scores, won = np.arange(8.0), np.arange(8) >= 4
    assert area_under_curve(scores, won, np.arange(8)).value == 1.0
    assert area_under_curve(-scores, won, np.arange(8)).value == 0.0
    assert area_under_curve(np.ones(8), won, np.arange(8))[:2] == (0.5, (0.5, 0.5))
    assert rank_correlation(scores, scores**3, np.arange(8)).value == pytest.approx(1.0)
    nothing = area_under_curve(scores, np.ones(8, bool), np.arange(8))
    assert np.isnan([nothing.value, *nothing.interval]).all()
    assert math.isnan(rank_correlation(np.ones(8), scores, np.arange(8)).value)
    # One point alone says nothing of how points differ.
    alone = area_under_curve(scores, won, np.zeros(8))
    assert alone.value == 1.0
    assert np.isnan(alone.interval).all()
    with pytest.raises(ValueError, match="must not be NaN"):
        area_under_curve(np.array([0.0, np.nan]), np.array([True, False]), np.arange(2))


def test_networks_of_one_point_count_as_one_draw():
    random = np.random.default_rng(3)
    scores, won = random.normal(size=30), random.random(30) < 0.5
    once = area_under_curve(scores, won, np.arange(30))
    copied = area_under_curve(np.tile(scores, 9), np.tile(won, 9), np.tile(np.arange(30), 9))
    # Nine copies of every network are no more points; taken for independent they would be.
    assert copied.value == pytest.approx(once.value, rel=1e-12)
    assert copied.interval == pytest.approx(once.interval, rel=1e-12)
    naive = area_under_curve(np.tile(scores, 9), np.tile(won, 9), np.arange(270))
    width = once.interval.high - once.interval.low
    assert naive.interval.high - naive.interval.low < width / 2


@pytest.mark.slow
def test_the_interval_covers_the_auc_as_often_as_it_says():
    # A point has an effect of its own on score and outcome: 60 points of 4 networks each.
    def draw(random, points):
        labels = np.repeat(np.arange(points), 4)
        scores = random.normal(size=points)[labels] + random.normal(size=labels.size)
        won = scores + 2 * random.normal(size=points)[labels] + random.normal(size=labels.size) > 0
        return scores, won, labels

    random = np.random.default_rng(0)
    scores, won, _ = draw(random, 200_000)
    truth = (stats.rankdata(scores)[won].mean() - (won.sum() + 1) / 2) / (~won).sum()
    intervals = [area_under_curve(*draw(random, 60)).interval for _ in range(100)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    # 95% less what a percentile interval of 60 clusters lacks; the standard error is 2%.
    assert covered >= 0.89


@pytest.fixture
def few(monkeypatch):
    """Fewer resamples: an interval is not what is looked at."""
    monkeypatch.setattr(prediction, "RESAMPLES", 100)


def two_by_two(**changes):
    """Networks of two lengths: those with a longer horizon at the start solve their task."""
    short = rows_of([400, 600, None], sequence_length=10, key="a", **changes)
    long = rows_of([None, None, 800], sequence_length=20, key="b", **changes)
    rows = pd.concat([short, long], ignore_index=True)
    return rows.assign(horizon_at_start=[8, 7, 3, 2, 1, 5])


@pytest.mark.usefixtures("few")
def test_what_is_foretold_is_said_of_all_networks_and_of_each_length():
    rows = two_by_two()
    assert tables.can_be_foretold(rows)
    found = tables.foretold(rows)
    assert list(dict.fromkeys(found["networks"])) == [
        "all",
        "sequence_length 10",
        "sequence_length 20",
    ]
    lines = found.set_index(["networks", "predictor"])
    line = lines.loc["all", "horizon"]
    assert (line["num"], line["num_solved"], line["num_points"]) == (6, 3, 2)
    assert line["auc"] == 1.0
    # Solved after 400, 600, never, never, never, 800.
    waited = [400, 600, 9e9, 9e9, 9e9, 800]
    expected = -stats.spearmanr(rows["horizon_at_start"], waited).statistic
    assert line["rho"] == pytest.approx(expected, rel=1e-12)
    assert lines.loc["sequence_length 10", "horizon"]["auc"] == 1.0


@pytest.mark.usefixtures("few")
def test_networks_without_a_gradient_at_the_start_foretell_nothing():
    rows = two_by_two()
    rows.loc[[1, 4], "log10_ratio_at_start"] = math.nan
    rows.loc[1, "horizon_at_start"] = 0  # what an undefined curve has
    found = tables.foretold(rows)
    assert set(found.loc[found["networks"] == "all", "num"]) == {4}
    assert found.loc[found["predictor"] == "horizon", "auc"].iloc[0] == 1.0
    rows.loc[3:, "log10_ratio_at_start"] = math.nan
    assert "sequence_length 20" not in set(tables.foretold(rows)["networks"])
    assert not tables.can_be_foretold(rows)
    rows["log10_ratio_at_start"] = math.nan
    assert not tables.can_be_foretold(rows)


def test_nothing_is_foretold_where_all_networks_end_alike():
    rows = two_by_two()
    assert not tables.can_be_foretold(rows.assign(solved=True))
    assert not tables.can_be_foretold(rows[rows["key"] == "a"])


@pytest.mark.usefixtures("few")
def test_predictions_are_written_with_a_true_minus_and_a_dash_for_nothing(tmp_path):
    rows = two_by_two().assign(rate_at_start=-np.arange(6.0))
    paths = tables.write_foretold(rows, tmp_path)
    assert [path.name for path in paths] == ["prediction.csv", "prediction.md"]
    table = pd.read_csv(tmp_path / "prediction.csv")
    pd.testing.assert_frame_equal(table, tables.foretold(rows), rtol=1e-12)
    text = (tmp_path / "prediction.md").read_text()
    assert text.startswith(tables.prediction.TITLE)
    (line,) = [one for one in text.splitlines() if one.startswith("| all ") and " rate " in one]
    rho = table.loc[(table["networks"] == "all") & (table["predictor"] == "rate"), "rho"].iloc[0]
    assert f"{rho:.2f}".replace("-", "−") in line
    # The ratio is the same in all networks: no correlation.
    (line,) = [one for one in text.splitlines() if one.startswith("| all ") and "log10" in one]
    assert line.rstrip("| ").endswith("–")
