"""The page as a reader has it: in Chromium, without a network."""

import re
import shutil

import pytest
from browser import (
    DESKTOP,
    PHONE,
    choose,
    look,
    paths,
    press,
    requests,
    rows,
    script,
    settle,
    shown,
    texts,
)
from made_page import ENDING, EVIL, frames, hard_cases, lines, point, sweep

from throughtime.page import page

pytestmark = pytest.mark.browser

SWITCHES = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "proxy-server=127.0.0.1:9",  # where nothing listens: no request leaves the machine
    "proxy-bypass-list=<-loopback>",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or pytest.fail("there is no chromium")
    for switch in SWITCHES:
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as driver:
        driver.set_script_timeout(20)
        yield driver


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    def write(text):
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(text, encoding="utf-8")
        return path.as_uri()

    return write


@pytest.fixture(scope="module")
def plain(write):
    other = point(lines([-0.3] * 6), cell="gru", recurrent_scale=1.0, dtype="float64")
    rows, curves = sweep()
    made = frames((rows, curves), other)
    league = rows.groupby("cell")["rate"].median().reset_index()
    return write(page(*made, league.assign(networks=[24, 3]), title="A sweep"))


@pytest.fixture(scope="module")
def hard(write):
    rows, curves = hard_cases()
    league = rows[["cell", "log10_gradient_ratio"]].drop_duplicates("cell")
    return write(page(rows, curves, league, title=EVIL))


def test_it_draws_what_is_chosen(chromium, plain):
    look(chromium, plain)
    drawn = rows(chromium, "byLag", "lags")
    assert {(row["cell"], row["scale"]) for row in drawn} == {("elman", 1), ("gru", 1)}
    assert max(row["lag"] for row in drawn) == 50
    before = paths(chromium, "#by-lag")
    assert len(before) == 2
    choose(chromium, "sequence_length", 0)
    assert max(row["lag"] for row in rows(chromium, "byLag", "lags")) == 20
    assert texts(chromium, "#lag-of") == ["recurrent scale 1, T = 21"]
    choose(chromium, "cell", 0)
    assert {row["cell"] for row in rows(chromium, "byLag", "lags")} == {"gru"}
    assert {row["cell"] for row in rows(chromium, "byScale", "points")} == {"gru"}
    (after,) = paths(chromium, "#by-lag")
    assert after not in before
    choose(chromium, "dtype", 1)
    drawn = rows(chromium, "byLag", "lags")
    assert [row["median"] for row in drawn] == pytest.approx([-0.3 * r["lag"] for r in drawn])
    assert len(rows(chromium, "byScale", "points")) == 1
    assert texts(chromium, "#lag-notes li") == []
    choose(chromium, "cell", 0)
    absent = "elman: not measured at this scale, length and dtype."
    assert texts(chromium, "#lag-notes li") == [absent]
    for cell in (0, 1):
        choose(chromium, "cell", cell)
    assert paths(chromium, "#by-lag") == rows(chromium, "byScale", "points") == []
    assert chromium.get_log("browser") == []


def test_the_keyboard_does_all_that_the_pointer_does(chromium, plain):
    from selenium.webdriver.common.keys import Keys

    look(chromium, plain)
    visited = []
    for _ in range(12):
        chromium.switch_to.active_element.send_keys(Keys.TAB)
        focused = script(chromium, "[document.activeElement.name, document.activeElement.tagName]")
        visited.append(focused[0] or focused[1])
    assert visited[:5] == ["recurrent_scale", "sequence_length", "dtype", "cell", "cell"]
    assert visited.count("SUMMARY") == 2
    assert "BUTTON" in visited
    press(chromium, "#scale", Keys.ARROW_RIGHT)
    assert {row["scale"] for row in rows(chromium, "byLag", "lags")} == {2}
    assert script(chromium, "document.getElementById('scale').ariaValueText") == "2"
    assert rows(chromium, "byScale", "here") == [{"scale": 2}]
    press(chromium, "[name=cell]", Keys.SPACE)
    assert {row["cell"] for row in rows(chromium, "byLag", "lags")} == {"gru"}
    press(chromium, "[name=sequence_length]:checked", Keys.ARROW_LEFT)
    assert max(row["lag"] for row in rows(chromium, "byLag", "lags")) == 20


def test_tables_hold_the_numbers_of_the_charts(chromium, plain):
    look(chromium, plain)
    assert [t for t in shown(chromium, "td") if "[" in t] == []
    for summary in chromium.find_elements("css selector", "summary"):
        summary.click()
    assert len(shown(chromium, "#scale-table tbody tr")) == 6
    (row, *_) = shown(chromium, "#scale-table tbody tr.here")
    assert row.startswith("elman 1 0.0 [−1.0, 1.0] 0.000 [")
    assert row.endswith(" ≥ 49 stable keeps it 8 of 8 ok")
    assert shown(chromium, "#lag-table thead th") == ["lag", "elman", "gru"]
    assert shown(chromium, "#lag-table tbody tr")[-1] == "50 0 [−1, 1] 0.5 [−0.5, 1.5]"
    assert shown(chromium, "#bands-table tbody tr")[0].startswith("elman ")


def test_the_league_is_sorted_and_follows_the_choice_of_cells(chromium, plain):
    look(chromium, plain)
    cells = "#league tbody td:first-child"
    assert shown(chromium, cells) == ["elman", "gru"]
    by_rate, by_networks = chromium.find_elements("css selector", "#league th button")[1:]
    by_networks.click()
    assert shown(chromium, cells) == ["gru", "elman"]
    by_rate.click()
    assert shown(chromium, cells) == ["elman", "gru"]
    by_rate.click()
    assert shown(chromium, cells) == ["gru", "elman"]
    sorts = script(chromium, "[...document.querySelectorAll('#league th')].map(h => h.ariaSort)")
    assert sorts == [None, "descending", None]
    choose(chromium, "cell", 0)
    assert shown(chromium, cells) == ["gru"]


def test_marks_say_what_lines_cannot(chromium, hard):
    look(chromium, hard)
    marks = {(m["cell"], m["kind"]): m for m in rows(chromium, "byLag", "marks")}
    assert set(marks) == {
        (ENDING, "zero"),
        ("steep", "first_zero_lag"),
        ("gone", "status"),
        ("hurt", "status"),
    }
    assert (marks[ENDING, "zero"]["lag"], marks[ENDING, "zero"]["median"]) == (12, -6)
    assert marks["steep", "first_zero_lag"]["lag"] == 19
    assert len(chromium.find_elements("css selector", "#by-lag .mark-symbol path[d*=M]")) >= 4
    ended = [row["lag"] for row in rows(chromium, "byLag", "lags") if row["cell"] == ENDING]
    assert max(ended) == 12
    assert texts(chromium, "#lag-notes li") == [
        "gone: no curve, collapsed 1/3, nonfinite 2/3.",
        "hurt: left out of the median, collapsed 1/8, nonfinite 2/8.",
    ]
    unknown = [m for m in rows(chromium, "byScale", "marks") if m["cell"] == "gone"]
    assert [(m["kind"], m["scale"]) for m in unknown] == [("status", 1)]
    (gone,) = [t for t in texts(chromium, "#scale-table tr") if t.startswith("gone1")]
    assert gone == "gone1–––undefined–0 of 3collapsed 1/3, nonfinite 2/3"
    press(chromium, "#scale", "\ue014")  # the right arrow
    assert texts(chromium, "#lag-notes li") == ["steep leaves the frame, to 10⁻⁸⁰."]
    assert {m["kind"] for m in rows(chromium, "byLag", "marks")} == {
        "first_inf_lag",
        "first_zero_lag",
    }


def test_names_are_text_in_the_browser_too(chromium, hard):
    from selenium.webdriver import ActionChains

    look(chromium, hard)
    assert texts(chromium, "h1") == [EVIL]
    assert EVIL in texts(chromium, "#bands-table td")
    assert ENDING in texts(chromium, "#scale-table td")
    for box in chromium.find_elements("css selector", "[name=cell]")[2:]:
        box.click()
    choose(chromium, "cell", 0)
    settle(chromium)
    chart = chromium.find_element("css selector", "#by-lag svg")
    ActionChains(chromium).move_to_element(chart).perform()
    lines = texts(chromium, "#vg-tooltip-element td")
    assert lines[:2] == ["cell", EVIL]
    assert lines[-2:] == ["status", "ok"]
    assert "−4.5 [−6.0, −4.0]" in lines
    assert chromium.find_elements("css selector", "b, script[src]") == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_window(chromium, hard, plain, size):
    for address in (hard, plain):
        look(chromium, address, size)
        for summary in chromium.find_elements("css selector", "summary"):
            summary.click()
        wide, window = script(chromium, "[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window
        for svg in chromium.find_elements("css selector", ".chart svg"):
            assert 250 < svg.rect["width"] <= svg.find_element("xpath", "../..").rect["width"] + 2


def test_dark_is_dark_in_page_and_charts(chromium, plain):
    def colours():
        return script(
            chromium,
            """[["body", "backgroundColor"], ["#by-lag .role-axis-label text", "fill"],
                ["#by-lag .mark-line path", "stroke"], ["td", "color"]].map(([s, name]) =>
                getComputedStyle(document.querySelector(s))[name])""",
        )

    def lightness(colour):
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765

    look(chromium, plain)
    light = colours()
    look(chromium, plain, scheme="dark")
    dark = colours()
    assert lightness(light[0]) > 0.9
    assert lightness(dark[0]) < 0.15
    for on_light, on_dark in ((light[1], dark[1]), (light[3], dark[3])):
        assert lightness(on_light) < 0.5 < lightness(on_dark)
    assert light[2] == dark[2] == "rgb(0, 114, 178)"


def test_no_request_leaves_the_file_and_nothing_is_logged(chromium, plain, hard, write):
    for address in (plain, hard):
        look(chromium, address)
        choose(chromium, "cell", 1)
        assert requests(chromium) == [address]
        assert chromium.get_log("browser") == []
    # That what leaves would be seen:
    chromium.get(write('<img src="http://example.invalid/a.png"><title>asks</title>'))
    assert "http://example.invalid/a.png" in requests(chromium)
    assert [entry["level"] for entry in chromium.get_log("browser")] == ["SEVERE"]
