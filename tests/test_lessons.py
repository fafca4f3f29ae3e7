"""The lessons: each runs, is short and ends with an exercise, and its page is what it prints."""

import re
import runpy
from pathlib import Path

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "experiments" / "lessons").glob("*.py"))
PAGES = ROOT / "docs" / "lessons"
COSTLY = {"cells", "german_shepherd", "paradigms_and_stacks", "pitfalls"}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def cells(script):
    """The cells of a script in percent format: their kind and their text."""
    parts = re.split(r"^# %%(.*)\n", script.read_text(), flags=re.MULTILINE)
    return [
        (kind.strip(), text.strip()) for kind, text in zip(parts[1::2], parts[2::2], strict=True)
    ]


def code(script):
    return [text for kind, text in cells(script) if kind == ""]


def prose(script):
    """The words of the Markdown cells."""
    texts = [text for kind, text in cells(script) if kind == "[markdown]"]
    return [re.sub(r"^# ?", "", text, flags=re.MULTILINE) for text in texts]


def page_of(script):
    return (PAGES / f"{script.stem}.md").read_text()


def printed_on(page):
    """What the page says was printed: the indented blocks that follow upon code."""
    return lines_of("".join(re.findall(r"^```\n\n((?:    .*\n|\n)+)", page, re.MULTILINE)))


def lines_of(text):
    """The lines that are not empty, with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def agree(one, other):
    """Whether two printed numbers differ by one in the last digit at most."""
    mantissa, _, exponent = one.partition("e")
    power = int(exponent or 0) - len(mantissa.partition(".")[2])
    return abs(float(one) - float(other)) <= 1.01 * 10.0**power


def test_there_are_nine_lessons_and_a_page_for_each():
    assert len(SCRIPTS) == 9
    assert sorted(page.stem for page in PAGES.glob("*.md")) == [one.stem for one in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_lesson_is_short_asserts_and_ends_with_an_exercise(script):
    assert len(script.read_text().splitlines()) <= 120
    assert re.search(r"^assert ", "\n".join(code(script)), re.MULTILINE)
    kind, last = cells(script)[-1]
    assert kind == "[markdown]"
    assert last.rpartition("# ## ")[2].startswith("Exercise\n#\n# ")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_page_is_not_stale(script):
    page = page_of(script)
    assert re.findall(r"^```python\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE) == code(script)
    place = 0
    for text in prose(script):
        place = page.index(text, place)
    pictures = re.findall(r"!\[png\]\((.*?)\)", page)
    assert len(pictures) == "".join(code(script)).count("plt.show()") >= 1
    assert sorted((PAGES / f"{script.stem}_files").iterdir()) == sorted(
        map(PAGES.joinpath, pictures)
    )


def run_here(script):
    with (
        mpl.rc_context(),
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        plt.switch_backend("agg")
        runpy.run_path(str(script), run_name="__main__")
        plt.close("all")


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(one, id=one.stem, marks=[pytest.mark.slow] * (one.stem in COSTLY))
        for one in SCRIPTS
    ],
)
def test_a_lesson_runs_and_prints_what_its_page_says(script, capsys):
    """Run as a user has it, in JAX's ordinary dtypes; numbers may differ in their last digit."""
    run_here(script)
    said, shown = lines_of(capsys.readouterr().out), printed_on(page_of(script))
    assert [NUMBER.sub("#", line) for line in said] == [NUMBER.sub("#", line) for line in shown]
    pairs = zip(NUMBER.findall("\n".join(said)), NUMBER.findall("\n".join(shown)), strict=True)
    assert [pair for pair in pairs if not agree(*pair)] == []
