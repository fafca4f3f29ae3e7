"""README and docs: programs print what is said, commands are commands, files exist."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hydra_plugins.throughtime._composer import Composer
from throughtime.cells import CELLS, SYSTEMS
from throughtime.points import read_point

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = "\n".join(page.read_text() for page in PAGES)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def printed(capsys, is_meant):
    """The words that some programs print, run as a user has it: JAX's ordinary dtypes."""
    names = {}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for block in filter(is_meant, blocks("python")):
            exec(block, names)
    return capsys.readouterr().out.replace("-", "−").split()


@pytest.mark.slow
def test_the_training_loop_is_watched():
    """100 updates: a change of the last bit of the inputs changes the fifth digit of the share."""
    (block,) = (block for block in blocks("python") if "counted(" in block)
    command = [sys.executable, "-c", block]
    share, clipped = subprocess.check_output(command, text=True).split()
    assert f"It prints {share} and {clipped}: " in README


def test_the_programs_print_what_is_said_of_them(capsys):
    found = printed(capsys, lambda block: "counted(" not in block)
    gru, (*lstm, log_ratio, zero_lag), parts = found[:3], found[3:9], found[9:]
    assert "It prints {} {} {}: 1 %".format(*gru) in README
    assert "It prints {} {} {} {}: of the gradient".format(*lstm) in README
    assert f"is e^−{float(log_ratio[1:]):.0f} of the last" in README
    assert f"That is lag {zero_lag}." in README
    assert "prints {}, {}, {} and {}: of".format(*parts) in README


LINES = [line.split("  #")[0] for block in blocks("bash") for line in block.splitlines()]
SWEEPS = [line for line in LINES if re.search(r"(sweep|spectrum|train)\.py", line)]


@pytest.mark.parametrize("command", SWEEPS)
def test_every_sweep_is_made_of_valid_points(command):
    script, arguments = re.findall(r"(sweep|spectrum|train)\.py (.*)", command.replace("'", ""))[0]
    words = arguments.split()
    overrides = [word for word in words if word != "-m"]
    # An interval is searched from its ends.
    overrides = [re.sub(r"interval\((.*)\)", r"\1", word) for word in overrides]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(loader).parse_overrides(overrides)
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
        master = compose(script, [w for w in words if "+" in w], return_hydra_config=True)
        assert (len(jobs) > 1 or bool(master.hydra.sweeper.params)) == ("-m" in words)
        composer = Composer(loader, master)
        for job in jobs:
            points = [word for word in job if not word.startswith("hydra")]
            assert read_point(OmegaConf.to_container(composer.compose(points), resolve=True))


def test_the_critical_scales_shown_are_those_committed():
    with (ROOT / "results" / "critical" / "critical_recurrent_scale.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = {(one["cell"], one["sequence_length"]): one for one in lines}
    shown = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|$", README, re.MULTILINE)
    assert len(shown) == len(found) / 2 == 3
    for cell, *scales in shown:
        for length, scale in zip(("50", "200"), scales, strict=True):
            assert f"{float(found[cell, length]['critical_recurrent_scale']):.3f}" == scale
            assert found[cell, length]["status"] == "ok"


def test_the_exponents_shown_are_those_committed():
    with (ROOT / "results" / "exponents" / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = {
        (one["cell"], one["task_in_features"], float(one["recurrent_scale"])): one for one in lines
    }
    shown = re.findall(r"^\| `(\w+)` \| (no|yes) \| (.*) \|$", README, re.MULTILINE)
    assert len(shown) == 6
    for cell, driven, texts in shown:
        for scale, text in zip((1.0, 2.0, 4.0), texts.split(" | "), strict=True):
            one = found[cell, "64" if driven == "yes" else "0", scale]
            numbers = [float(x.replace("−", "-")) for x in re.findall(r"[−\d.]+", text)]
            names = ("median", "ci_low", "ci_high")
            for number, name in zip(numbers, names, strict=True):
                assert number == pytest.approx(float(one[f"leading_exponent_{name}"]), abs=0.0051)


def test_the_seconds_shown_are_those_committed():
    with (ROOT / "results" / "benchmark" / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = {(one["launcher"], one["cache"], one["points"]): one["seconds"] for one in lines}
    names = {
        "batched": ("batched", "cold"),
        "batched, with programs compiled before": ("batched", "warm"),
    }
    names |= {"Hydra's basic launcher": ("basic", "cold")}
    names |= {"Hydra's joblib launcher, 2 processes": ("joblib", "cold")}
    names |= {"a plain PyTorch loop, which keeps no more than float32 holds": ("torch", "none")}
    for name, key in names.items():
        (line,) = re.findall(rf"^\| {name} \| (.*) \|$", README, re.MULTILINE)
        for points, shown in zip(("200", "10000", "100000"), line.split("|"), strict=True):
            if shown.strip():
                decimals = len(shown.strip().partition(".")[2])
                assert round(float(found[*key, points]), decimals) == float(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_and_every_file_linked_exists(page):
    text = page.read_text()
    for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (page.parent / path).stat().st_size > 10_000
    for path in re.findall(r"(?<!!)\[[^]]*\]\(([^):#]*)[^)]*\)", text):
        assert (page.parent / path).exists(), path


def test_the_league_shown_is_the_league_committed():
    lines = (ROOT / "results" / "mitigation" / "league.md").read_text().splitlines()
    table = [[one.strip() for one in line.strip("|").split("|")] for line in lines if "|" in line]
    league = {line[0]: dict(zip(table[0], line, strict=True)) for line in table}
    names = ("critical scale", "band, T = 1000", "×", "rate", "horizon", "saved")
    shown = re.findall(
        r"^\| `(\w+)` \| (.*(?:\|.*){5}) \|$", (ROOT / "README.md").read_text(), re.M
    )
    assert len(shown) == 10
    for cell, numbers in shown:
        assert numbers.split(" | ") == [league[cell][name] for name in names]


def test_every_cell_has_its_conventions():
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "conventions.md").read_text()))
    assert named >= {path.stem for path in (ROOT / "conf" / "cell").glob("*.yaml")}
    assert named >= {name for name in CELLS if name not in SYSTEMS}


def test_the_table_shown_is_the_table_committed():
    committed = (ROOT / "results" / "standard" / "table.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in committed]
    shown = [line for line in README.splitlines() if re.match(r"\| (elman|gru|lstm) \|", line)]
    assert len(shown) == 12
    for line in shown:
        cell, scale, *numbers = [part.strip() for part in line.strip("|").split("|")]
        (row,) = [row for row in rows if row[:2] == [cell, scale]]
        assert numbers == [row[2], row[6], row[8]]
