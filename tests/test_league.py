"""Leagues and mitigations against arrays worked out apart, and files that say the same."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from made_rows import NAN, frame, gating_sweep, rows_of

from throughtime import statistics, tables
from throughtime.options import InputError

CELLS = {"elman": (1.0, 1.3), "my_lstm": (0.1, 1.1), "gru": (0.3, 9.0)}
SCALES = np.arange(0.4, 2.2, 0.2).round(1)
OFFSETS = 0.1 * np.random.default_rng(0).normal(size=16)


@pytest.fixture(scope="module")
def rows():
    return gating_sweep(CELLS, SCALES)


def curves_of(rows, exponent):
    """A power law of each network, of another scale in each cell."""
    lags = np.arange(200)
    parts = []
    for line in rows[rows["sequence_length"] == 200].to_dict("records"):
        keys = {name: line[name] for name in ("cell", "recurrent_scale", "sequence_length", "seed")}
        steep = exponent[line["cell"]] * (line["recurrent_scale"] == 1.0)
        parts.append(pd.DataFrame(keys | {"lag": lags, "log_norm": steep(lags) if callable(steep)
                                          else -steep * np.log1p(lags)}))  # fmt: skip
    return pd.concat(parts)


def rates(cell, scale):
    """What `gating_sweep` says of a cell."""
    steepness, critical = CELLS[cell]
    return steepness * (math.log(scale / critical) + OFFSETS)


def test_a_league_is_sorted_by_the_width_of_the_band_at_the_longest_sequences(rows):
    league = tables.league(rows.sample(frac=1.0, random_state=0))
    assert league["cell"].tolist() == ["my_lstm", "elman", "gru"]
    assert league["T200_1_width"].is_monotonic_decreasing
    assert (league["sequence_length"] == 200).all()


def test_a_league_says_what_the_arrays_say(rows):
    league = tables.league(rows).set_index("cell")
    own = league.loc["my_lstm"]
    crossings = 1.1 * np.exp(-OFFSETS)
    assert own["critical_scale"] == pytest.approx(np.median(crossings), abs=6e-3)
    ranked = np.sort(crossings)  # the exact interval of 16: the fourth and the thirteenth
    ends = own[["critical_scale_low", "critical_scale_high"]].tolist()
    assert ends == pytest.approx(ranked[[3, 12]].tolist(), abs=6e-3)
    assert league.loc["gru", "critical_scale"] == np.inf
    here = np.sort(rates("my_lstm", 1.0))
    assert own["rate"] == pytest.approx(np.median(here))
    assert own[["rate_low", "rate_high"]].tolist() == pytest.approx(here[[3, 12]].tolist())
    saved = np.sort(np.abs(rates("elman", 1.0)) - np.abs(rates("my_lstm", 1.0)))
    assert own["saved"] == pytest.approx(np.median(saved))
    assert own[["saved_low", "saved_high"]].tolist() == pytest.approx(saved[[3, 12]].tolist())
    assert (own["saved_word"], own["num_pairs"]) == ("better", 16)
    assert own["state_size"] == 32
    assert "parameters" not in league
    # |199 · 0.1 ln(g / 1.1)| ≤ ln 10 about the median network, r linear between scales.
    middle = np.median(np.exp(-OFFSETS)) * 1.1
    edge = math.exp(math.log(10) / 19.9)
    assert own["T200_1_low"] == pytest.approx(middle / edge, abs=0.01)
    assert own["T200_1_high"] == pytest.approx(middle * edge, abs=0.01)
    factor = own["T200_1_width"] / league.loc["elman", "T200_1_width"]
    assert own["T200_1_factor"] == pytest.approx(factor)
    assert own["T200_1_factor_low"] <= factor <= own["T200_1_factor_high"]
    assert own["T50_3_is_bound"]
    for name in ("saved", "gained", "T200_1_factor"):
        assert math.isnan(league.loc["elman", name])


def test_horizons_of_a_league_are_bounds_where_the_sequences_ended_first(rows):
    league = tables.league(rows).set_index("cell")
    lags = np.sort(
        np.minimum(np.floor(math.log(0.01) / np.minimum(rates("elman", 1.0), -1e-9)), 199)
    )
    own = league.loc["elman"]
    expected = [np.median(lags), lags[3], lags[12]]
    assert own[["horizon", "horizon_low", "horizon_high"]].tolist() == expected
    assert not own["horizon_is_bound"]
    wide = gating_sweep({"elman": (1.0, 1.3), "lstm": (0.001, 1.1)}, [1.0])
    bound = tables.league(wide).set_index("cell").loc["lstm"]
    assert bound["horizon"] == 199
    assert bound["horizon_is_bound"]
    assert bound["horizon_high"] == np.inf
    assert bound["gained_is_lower_bound"]
    assert bound["gained"] == 199 - own["horizon"]


def test_networks_that_are_not_ok_enter_no_number_but_the_verdicts(rows):
    broken = rows.copy()
    bad = (broken["cell"] == "my_lstm") & (broken["seed"] < 4)
    broken.loc[bad, "status"] = "nonfinite"
    broken.loc[bad, "rate"] = 1e3
    own = tables.league(broken).set_index("cell").loc["my_lstm"]
    assert own["rate"] == pytest.approx(np.median(rates("my_lstm", 1.0)[4:]))
    assert own["num_pairs"] == 12
    assert own["share_undefined"] == 0.25
    assert own["verdict"] == "mixed"
    low, high = statistics.share_interval(4, 16)
    assert own[["share_undefined_low", "share_undefined_high"]].tolist() == [low, high]
    # Seeds that one cell lacks do not move the others' pairs.
    fewer = tables.league(rows[~bad]).set_index("cell").loc["my_lstm"]
    assert fewer["saved"] == own["saved"]
    assert fewer["T200_1_factor"] == own["T200_1_factor"]


def test_shapes_come_from_the_median_curve_at_the_default_scale(rows):
    curves = curves_of(rows, {"elman": 1.0, "my_lstm": 0.0, "gru": 2.0})
    shapes = tables.league(rows, curves).set_index("cell")["shape"]
    assert shapes.to_dict() == {"elman": "power law", "my_lstm": "flat", "gru": "power law"}
    assert tables.league(rows)["shape"].isna().all()


def test_what_was_not_measured_is_missing_and_not_zero(rows):
    away = tables.league(rows[rows["recurrent_scale"] != 1.0])
    assert away[["rate", "horizon", "saved", "verdict", "shape"]].isna().all(axis=None)
    assert away["T200_1_width"].notna().all()
    short = (rows["cell"] == "gru") & (rows["sequence_length"] == 200)
    gru = tables.league(rows[~short]).set_index("cell").loc["gru"]
    assert gru[["critical_scale", "T200_1_width", "saved"]].isna().all()
    assert gru["T50_3_width"] == 0.0  # measured, and nowhere


def test_bands_line_by_line(rows):
    league = tables.league(rows)
    bands = tables.bands_of(league)
    assert len(bands) == 3 * 2 * 2
    (line,) = bands[
        (bands["cell"] == "elman") & (bands["sequence_length"] == 50) & (bands["limit"] == 3.0)
    ].to_dict("records")
    own = league.set_index("cell").loc["elman"]
    for name in ("low", "high", "width", "open_high", "low_low", "width_high", "num_scales"):
        assert line[name] == own[f"T50_3_{name}"]
    grid = rows[(rows["cell"] == "elman") & (rows["sequence_length"] == 50)]
    ratios = grid.pivot(index="recurrent_scale", columns="seed", values="log10_gradient_ratio")
    direct = statistics.stable_band(SCALES, ratios.to_numpy(), 3.0)
    assert (line["low"], line["high"]) == (direct.low, direct.high)
    assert (line["width_low"], line["width_high"]) == direct.width_interval


def test_mitigations_of_every_scale_and_length_are_those_of_paired_arrays(rows):
    table = tables.mitigation_table(rows.sample(frac=1.0, random_state=1))
    assert len(table) == 2 * len(SCALES) * 2
    for line in table.to_dict("records"):
        saved = np.abs(rates("elman", line["recurrent_scale"])) - np.abs(
            rates(line["cell"], line["recurrent_scale"])
        )
        assert line["saved"] == pytest.approx(np.median(saved))
        ends = np.sort(saved)[[3, 12]]
        assert [line["saved_low"], line["saved_high"]] == pytest.approx(ends.tolist())
        assert line["saved_word"] == (
            "better" if ends[0] > 0 else "worse" if ends[1] < 0 else "undecided"
        )
    assert set(table["saved_word"]) == {"better", "worse", "undecided"}


def test_mitigations_compare_what_both_have_measured(rows):
    gone = rows[(rows["cell"] != "elman") | (rows["recurrent_scale"] != 1.0)]
    assert set(SCALES) - set(tables.mitigation_table(gone)["recurrent_scale"]) == {1.0}
    apart = frame(rows_of(6 * [-1.0], cell="elman"), rows_of(6 * [-1.0], recurrent_scale=2.0))
    assert tables.mitigation_table(apart).empty
    assert "saved_word" in tables.mitigation_table(apart)


def test_the_files_of_a_league(rows, tmp_path):
    more = rows.assign(parameters=12345, flops_per_step=67.0)
    league, saved, paths = tables.write_league(more, tmp_path / "new")
    names = ["league.csv", "league.md", "league.tex", "mitigation.csv"]
    assert [path.name for path in paths] == names
    read = pd.read_csv(paths[0])
    pd.testing.assert_frame_equal(read, league, check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_csv(paths[3]), saved, check_exact=True)
    lines = paths[1].read_text(encoding="utf-8").splitlines()
    header, mine = ([text.strip() for text in lines[i].strip("|").split("|")] for i in (2, 4))
    entries = dict(zip(header, mine, strict=True))
    own = league.iloc[0]
    low, high = own["saved_low"], own["saved_high"]
    assert entries["cell"] == "my_lstm"
    assert entries["saved"] == f"{own['saved']:.3f} [{low:.3f}, {high:.3f}]"
    assert entries["parameters"] == "12,345"
    assert entries["gained"].startswith(
        "≥ " if own["gained_is_lower_bound"] else str(own["gained"])
    )
    assert entries["shape"] == "–"
    gru = lines[6].split("|")
    assert [text.strip() for text in gru[1:4]] == ["gru", "≥ 2", "nowhere"]


def test_a_band_between_two_scales_says_so(tmp_path):
    rows = gating_sweep(CELLS, [0.5, 1.1, 1.6, 2.0], lengths=(50, 1000))
    league, _, paths = tables.write_league(rows, tmp_path)
    own = league.set_index("cell").loc["elman"]
    assert (own["T1000_1_num_scales"], own["T1000_1_num_bands"]) == (0, 1)
    lines = {
        line.split("|")[1].strip(): line for line in paths[1].read_text("utf-8").splitlines()[4:]
    }
    low, high = own["T1000_1_low"], own["T1000_1_high"]
    assert f"| ≈ {low:.5g} to {high:.5g}" in lines["elman"]
    assert "≈" not in lines["my_lstm"]


def test_the_latex_of_a_league_is_well_formed(rows, tmp_path):
    text = tables.write_league(rows, tmp_path)[2][2].read_text(encoding="utf-8")
    assert text.isascii()
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    closed = re.findall(r"\\end\{(\w+)\}", text)
    assert opened == closed[::-1] == ["table", "tabular"]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    depth = np.cumsum([(sign == "{") - (sign == "}") for sign in bare])
    assert depth.min() >= 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == ["\\toprule", "\\midrule", "\\bottomrule"]
    (columns,) = re.findall(r"\\begin\{tabular\}\{(l+)\}", text)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 4
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
        assert not re.search(r"(?<!\\)[_#%]", line)
    caption = text.partition("\\caption{")[2].partition("\n")[0]
    assert not re.search(r"(?<!\\)[%&#]", caption)
    assert r"my\_lstm" in text
    assert text.count(r"\resizebox{\linewidth}{!}{%") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["rate", "seed"]), "needs the columns seed, rate,"),
        (lambda rows: rows[:0], "needs rows, and there are none"),
        (lambda rows: rows[rows["cell"] != "elman"], "'elman', but has only gru, my_lstm"),
        (lambda rows: rows[rows["cell"] == "elman"], "'elman', but has only elman"),
        (lambda rows: rows.assign(diagnostic="spectrum"), "compares gradients, not spectrum"),
        (lambda rows: frame(rows, rows[:2]), "2 rows repeat a seed at a point"),
    ],
)
def test_what_makes_no_league_is_refused_in_one_sentence(rows, change, message):
    for make in (tables.league, tables.mitigation_table):
        with pytest.raises(InputError, match=message):
            make(change(rows))


def test_settings_of_a_cell_are_cells_of_a_league(rows):
    both = frame(
        rows.assign(forget_bias=np.where(rows["cell"] == "my_lstm", 0.0, NAN)),
        rows[rows["cell"] == "my_lstm"].assign(forget_bias=1.0),
    )
    names = set(tables.league(both)["cell"])
    assert names == {"elman", "gru", "my_lstm, forget_bias 0.0", "my_lstm, forget_bias 1.0"}
    assert tables.can_be_compared(both)
    assert not tables.can_be_compared(rows[rows["cell"] != "elman"])
    assert not tables.can_be_compared(rows.assign(diagnostic="training"))
