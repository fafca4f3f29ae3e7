"""The page as text: its numbers, what it escapes, what it refuses, and that it fetches nothing."""

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from made_page import ENDING, EVIL, frames, hard_cases, lines, point, sweep

from throughtime import bands, tables
from throughtime.options import InputError
from throughtime.page import page
from throughtime.page.charts import DASHES, SHAPES, by_lag, by_scale
from throughtime.page.contents import kept_lags


class Reader(HTMLParser):
    """Elements with their attributes, and the text within each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data):
        self.texts.append((self.open, data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag):
        return [data.strip() for name, data in self.texts if name == tag and data.strip()]


def data_of(text, name="data"):
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', text)
    return json.loads(found)


def find(data, **at):
    """The one point at these values."""
    index = {name: data[name].index(value) for name, value in at.items()}
    (found,) = [p for p in data["points"] if all(p[name] == i for name, i in index.items())]
    return found


@pytest.fixture(scope="module")
def hard():
    rows, curves = hard_cases()
    league = pd.DataFrame({"cell": [EVIL, ENDING], ENDING: [EVIL, "plain"], "n": [2.0, np.nan]})
    return page(rows, curves, league, title=EVIL)


def test_every_point_is_there_with_its_median_and_its_band():
    noise = np.random.default_rng(0).normal(size=(2, 12, 300)).cumsum(axis=2)
    noise -= noise[:, :, :1]
    scales = (0.5, 2.0)
    rows, curves = frames(
        *(point(noise[i], cell="gru", recurrent_scale=g) for i, g in enumerate(scales))
    )
    data = data_of(page(rows, curves))
    lags = np.asarray(data["lags"][0])
    assert len(data["points"]) == 2
    for i, scale in enumerate(scales):
        curve = find(data, recurrent_scale=scale)["curve"]
        ranked = np.sort(noise[i], axis=0)[:, lags]
        # 12 seeds: 0.1 · 11 = 1.1 and 0.9 · 11 = 9.9, so ranks 1 below and 10 above, from zero.
        expected = {"median": np.median(ranked, axis=0), "low": ranked[1], "high": ranked[10]}
        width = ranked[10] - ranked[1]
        for name, values in expected.items():  # to three digits of the width
            assert (np.abs(curve[name] - values) <= width / 200 + 1e-12).all()


def test_the_numbers_of_a_point_are_those_of_the_tables():
    rows, curves = sweep()
    summary, data = tables.summarise(rows), data_of(page(rows, curves))
    assert len(data["points"]) == len(summary) == 12
    for line in summary.to_dict("records"):
        at = {name: line[name] for name in ("cell", "recurrent_scale", "sequence_length")}
        found = find(data, **at)
        numbers = [line[f"log10_gradient_ratio_{part}"] for part in ("median", "q10", "q90")]
        np.testing.assert_allclose(found["ratio"], numbers, atol=0.0051)
        assert found["text"]["ratio"] == tables.interval_text(line, "log10_gradient_ratio")
        assert found["text"]["rate"] == tables.interval_text(line, "rate")
        assert (found["networks"], found["status"]) == ([8, 8], "ok")


def test_bands_are_those_that_the_report_prints():
    rows, curves = sweep(scales=(0.5, 0.8, 1.0, 1.25, 2.0))
    data = data_of(page(rows, curves))
    for i, limit in enumerate((1.0, 3.0)):
        for line in bands.find(rows, [21, 51], limit).to_dict("records"):
            at = (data["cell"].index(line["cell"]), [21, 51].index(line["sequence_length"]))
            (found,) = [b for b in data["bands"] if (b["cell"], b["sequence_length"]) == at]
            assert found["texts"][i] == line["text"]


@pytest.mark.parametrize("length", [2, 3, 50, 1000, 100_000])
def test_lags_are_thinned_and_keep_both_ends(length):
    lags = kept_lags(length)
    assert (lags[0], lags[-1]) == (0, length - 1)
    assert (np.diff(lags) > 0).all()
    assert len(lags) <= 65
    assert np.diff(lags).max() <= max(1, -(-(length - 1) // 23))


def test_thinned_lags_hold_the_values_at_those_lags():
    data = data_of(page(*frames(point(lines([-0.01, -0.03], 1000), cell="gru"))))
    median = data["points"][0]["curve"]["median"]
    np.testing.assert_allclose(median, -0.02 * np.asarray(data["lags"][0]), atol=0.06)
    assert median[-1] == pytest.approx(-19.98, abs=0.06)


def test_what_is_no_plain_curve_is_marked_as_what_it_is(hard):
    data = data_of(hard)
    exact = find(data, cell=ENDING, recurrent_scale=1.0)
    assert exact["curve"]["median"][12:] == [-6.0] + 8 * [None]
    assert exact["marks"] == {"zero": [12, -6.0]}
    assert exact["ratio"] == [None, None, None]
    assert exact["text"]["ratio"] == "−∞ [−∞, −∞]"
    assert find(data, cell=ENDING, recurrent_scale=2.0)["marks"] == {"first_inf_lag": [9, 1.8]}
    steep = find(data, cell="steep", recurrent_scale=1.0)
    assert steep["marks"] == {"first_zero_lag": [19, -42.75]}
    assert None not in steep["curve"]["median"]
    assert steep["text"]["plain"] == "exactly 0 from lag 19 in 4 of 6"
    gone = find(data, cell="gone", recurrent_scale=1.0)
    assert "curve" not in gone
    assert (gone["networks"], gone["status"]) == ([0, 3], "collapsed 1/3, nonfinite 2/3")
    hurt = find(data, cell="hurt", recurrent_scale=1.0)
    assert hurt["curve"]["median"][-1] == -2.0
    assert (hurt["networks"], hurt["status"]) == ([5, 8], "collapsed 1/8, nonfinite 2/8")
    assert len(data["points"]) == 10
    (unknown,) = [b for b in data["bands"] if data["cell"][b["cell"]] == "gone"]
    assert unknown["texts"][0] == "nowhere in 1 to 2 (undefined at 1 of 2 scales)"


def test_names_are_text_everywhere(hard):
    read = Reader(hard)
    assert read.text("h1") == [EVIL]
    assert read.text("title") == [EVIL]
    assert {EVIL, ENDING, "gone", "hurt", "steep"} <= set(read.text("span"))
    assert read.text("button")[-3:] == ["cell", ENDING, "n"]
    assert read.text("td") == [EVIL, EVIL, "2", ENDING, "plain", "–"]
    assert read.all("b") == []
    assert len(read.all("script")) == 4
    assert data_of(hard)["cell"] == sorted([EVIL, ENDING, "gone", "hurt", "steep"])
    assert data_of(hard, "charts")["byLag"]
    assert [a["data-cell"] for a in read.all("tr") if "data-cell" in a] == [EVIL, ENDING]


def test_nothing_is_fetched(hard):
    read = Reader(hard)
    assert {"link", "img", "iframe", "object", "base", "a"}.isdisjoint(t for t, _ in read.elements)
    attributes = {name for _, given in read.elements for name in given}
    assert {"src", "href", "srcset", "action", "style", "onclick"}.isdisjoint(attributes)
    (policy,) = [a["content"] for a in read.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    own = re.sub(r"<script>.*?</script>", "", hard, flags=re.S)
    addresses = re.findall(r"(?:https?:)?//[a-z][\w.]+[^\s\"']*", own.replace("// ", ""))
    assert set(addresses) <= {"https://vega.github.io/schema/vega-lite/v6.4.1.json"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|import|url)\(|@import", own)


def test_the_same_rows_make_the_same_bytes():
    rows, curves = sweep(scales=(1.0,), lengths=(21,))
    once = page(rows, curves, rows[["cell", "rate"]])
    assert page(rows.copy(), curves.copy(), rows[["cell", "rate"]]) == once
    shuffled = curves.sample(frac=1, random_state=0), rows.sample(frac=1, random_state=1)
    assert page(shuffled[1], shuffled[0], rows[["cell", "rate"]]) == once


def test_only_what_varies_has_a_control():
    def controls(*made):
        inputs = Reader(page(*made)).all("input")
        return {a["name"]: a["type"] for a in inputs}

    hidden = dict.fromkeys(("cell", "recurrent_scale", "sequence_length", "dtype"), "hidden")
    one = sweep(cells=("gru",), scales=(1.0,), lengths=(21,))
    assert controls(*one) == hidden
    shown = {"cell": "checkbox", "recurrent_scale": "range", "sequence_length": "radio"}
    assert controls(*sweep()) == hidden | shown
    other = sweep(cells=("gru",), scales=(1.0,), lengths=(21,), dtype="float64")
    both = [pd.concat(pair, ignore_index=True) for pair in zip(one, other, strict=True)]
    assert controls(*both) == hidden | {"dtype": "radio"}


def test_dtypes_are_kept_apart():
    steep = point(lines([-2.0]), cell="gru", dtype="float64")
    flat = point(lines([-0.1]), cell="gru")
    data = data_of(page(*frames(steep, flat)))
    ends = {d: find(data, dtype=d)["curve"]["median"][-1] for d in ("float32", "float64")}
    assert ends == {"float32": -2.0, "float64": -40.0}
    assert data["ranges"] == {"float32": [-37.93, 38.53], "float64": [-307.65, 308.25]}
    rows, curves = frames(steep, flat)
    with pytest.raises(InputError, match="curves lack the column dtype, which varies"):
        page(rows, curves.drop(columns="dtype"))


def test_a_big_sweep_is_a_small_file():
    """Three of 28 cells: what is left of six megabytes beside the library goes to 28."""
    rng = np.random.default_rng(0)
    points = [
        point(rng.normal(size=(6, T)).cumsum(axis=1), cell=cell, recurrent_scale=float(g))
        for cell in ("a cell with a name", "b", "c")
        for g in range(1, 4)
        for T in (50, 200, 1000)
    ]
    library = len(page(*frames(point(lines([0.1]), cell="a"))).encode())
    grown = len(page(*frames(*points)).encode()) - library
    assert grown * (28 * 21 * 3) / len(points) < 6e6


def test_where_numbers_come_from_stands_at_the_foot():
    rows, curves = sweep(scales=(1.0,), lengths=(21,))
    rows["created"] = ["2026-01-02", "2026-01-01"] * 8
    read = Reader(page(rows, curves))
    found = dict(zip(read.text("dt"), read.text("dd"), strict=True))
    assert found == {
        "run id": "r1",
        "commit": "c0ffee",
        "device": "cpu",
        "dtype": "float32",
        "measured": "2026-01-01 to 2026-01-02",
        "networks": "16 ok of 16",
    }


def test_league_entries_are_short_texts_with_their_full_numbers():
    league = pd.DataFrame({"rank": [1, 2], "rate": [-1 / 3, np.inf], "solved": [True, None]})
    read = Reader(page(*sweep(scales=(1.0,), lengths=(21,)), league))
    assert read.text("td") == ["1", "−0.3333", "yes", "2", "∞", "–"]
    numbers = [float(a["data-number"]) for a in read.all("td") if "data-number" in a]
    assert numbers == [1.0, -1 / 3, 2.0, np.inf]


def test_colours_and_dashes_tell_28_cells_apart():
    cells = [f"cell {i}" for i in range(28)]
    for chart in (by_lag(cells, 7), by_scale(cells, 7, (1.0, 3.0))):
        (line,) = [x for x in chart["layer"] if x["mark"]["type"] == "line"]
        looks = [line["encoding"][name]["scale"]["range"] for name in ("stroke", "strokeDash")]
        assert len({(hue, *dash) for hue, dash in zip(*looks, strict=True)}) == 28
    assert len(DASHES) == len({*map(tuple, DASHES)}) == 4
    assert len({*SHAPES.values()}) == len(SHAPES)


ONE = sweep(scales=(1.0,), lengths=(21,))
BAD = {
    "no rows": (lambda r, c: (r[:0], c[:0]), "the page has no rows to show"),
    "no columns": (lambda r, c: (pd.DataFrame(), c), "rows lack the columns cell, recurrent_scale"),
    "no lag": (lambda r, c: (r, c.drop(columns="lag")), "curves lack the columns lag"),
    "no rate": (lambda r, c: (r.drop(columns="rate"), c), "rows lack the columns rate"),
    "spectra": (lambda r, c: (r.assign(diagnostic="spectrum"), c), "shows gradients, not spectrum"),
    "settings": (lambda r, c: (r.assign(task=["a"] * 4 + ["b"] * 12), c), "but task varies"),
    "twice": (lambda r, c: (pd.concat([r, r]), c), "repeat a seed at a point"),
    "strangers": (lambda r, c: (r[1:], c), "curves of 1 networks of the page belong to no row"),
    "elsewhere": (lambda r, c: (r[8:], c), "1 points of the curves have no rows"),
    "no curve": (lambda r, c: (r, c[21:]), "1 networks of the page have status ok but no curve"),
    "no curves": (lambda r, c: (r, c[:0]), "8 networks of the page have status ok but no curve"),
    "undefined": (lambda r, c: (r, c.assign(log_norm=np.nan)), "an undefined lag"),
    "float8": (lambda r, c: (r.assign(dtype="float8"), c.assign(dtype="float8")), "unknown dtype"),
}


@pytest.mark.parametrize(("change", "sentence"), BAD.values(), ids=BAD)
def test_bad_frames_are_refused_in_one_sentence(change, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        page(*change(*(frame.copy() for frame in ONE)))
    assert "\n" not in str(refused.value)


def test_without_altair_it_says_what_to_install(monkeypatch):
    from throughtime.page import document

    document._library.cache_clear()
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(InputError, match=r"needs altair.*pip install 'throughtime\[report\]'"):
        page(*ONE)
