"""Networks that were measured more than once: each counts once, and says where it comes from."""

import copy
import itertools
import math

import made_trainings
import numpy as np
import pandas as pd
import pytest
from made_rows import frame, rows_of
from made_sweeps import LABEL, ORIGIN, points, result
from markdown_it import MarkdownIt

from throughtime import figures, frames, networks, tables


def records(swept):
    """The records of a multirun, as `load_run` returns them."""
    return [
        {"key": one.key, "run_id": "r", "created": f"at {i}", "origin": ORIGIN}
        | {name: getattr(result(one), name) for name in ("shared", "each", "curves")}
        for i, one in enumerate(points(swept))
    ]


def test_a_network_of_overlapping_seeds_is_the_one_that_was_measured_first():
    found = records({"seed": [2, 0, 1], "num_seeds": [2, 3]})
    once = networks.distinct(found)
    rows = frames.rows_frame(once.records)
    # Seeds 2 3, 2 3 4, 0 1, 0 1 2, 1 2, 1 2 3.
    assert rows["seed"].tolist() == [2, 3, 4, 0, 1]
    assert rows["key"].tolist() == [found[i]["key"] for i in (0, 0, 1, 2, 2)]
    assert rows["created"].tolist() == [f"at {i}" for i in (0, 0, 1, 2, 2)]
    whole = {row["seed"]: row["rate"] for _, row in frames.rows_frame(found).iterrows()}
    assert rows["rate"].tolist() == [whole[seed] for seed in rows["seed"]]
    curves = frames.curves_frame(once.records)
    last = curves[curves["lag"] == 5].set_index("seed")["log_norm"] / 5
    ok = rows[rows["status"] == "ok"].set_index("seed")["rate"]
    np.testing.assert_allclose(last[ok.index], ok, rtol=1e-15)
    assert (once.num_repeated, once.num_differing) == (15 - 5, 0)
    assert once.text == "10 networks were measured more than once and count once."


def test_networks_that_differ_in_anything_but_the_seed_are_all_kept():
    swept = {"data_seed": [0, 1], "batch_size": [2, 3], "loss_at": ["last", "task"]}
    found = records(swept)
    once = networks.distinct(found)
    assert once.records == found
    assert once.text == ""


def test_measurements_of_a_network_that_disagree_are_said_to():
    found = records({"cell": [{"name": "gru", "update_bias": 3.0}], "num_seeds": [1, 2]})
    for record in found:
        record["each"]["log10_gradient_ratio"][0], record["each"]["status"][0] = -2.5, "ok"
    second = copy.deepcopy(found[1])
    second["each"]["log10_gradient_ratio"][0] += 3e-7
    second["each"]["seconds"] = [9.0, 9.0]
    said = "1 networks were measured more than once and count once"
    once = networks.distinct([found[0], second])
    assert once.text == (
        f"{said}; the first measurement counts, from which 1 later ones differ "
        "(their log10 gradient ratio by 3e-07 at most)."
    )
    assert once.records[0] is found[0]
    second["each"]["log10_gradient_ratio"][0] = math.nan
    second["each"]["status"][0] = "nonfinite"
    once = networks.distinct([found[0], second])
    assert once.text == f"{said}; the first measurement counts, from which 1 later ones differ."
    second["each"] = copy.deepcopy(found[1]["each"]) | {"seconds": [9.0, 9.0]}
    assert networks.distinct([found[0], second]).num_differing == 0


def test_a_label_of_several_runs_that_two_cells_have_gets_their_names():
    cells = [{"name": name, "label": "mine"} for name in ("gru", "lstm")]
    found = networks.told_apart(records({"cell": [*cells, {"name": "elman"}]}))
    names = [record["shared"]["cell"] for record in found]
    assert names == ["mine (gru)", "mine (lstm)", "elman"]


def test_a_line_of_a_summary_counts_every_network_once_and_names_all_its_records():
    found = records({"num_seeds": [1, 2, 3]})
    (line,) = tables.summarise(frames.rows_frame(networks.distinct(found).records)).to_dict(
        "records"
    )
    assert line["num_seeds"] == 3
    assert line["key"] == "; ".join(sorted(record["key"] for record in found))


def test_the_interval_of_a_predictor_is_the_same_for_networks_of_one_record_and_of_two():
    parts = [
        made_trainings.rows_of([100, None, 200, 300], key=f"k{i}", sequence_length=20 + i)
        for i in range(4)
    ]
    whole = frame(*parts)
    random = np.random.default_rng(0).normal(size=len(whole))
    whole = whole.assign(horizon_at_start=random, rate_at_start=random)
    apart = whole.assign(key=[f"k{i:02}" for i in range(len(whole))])
    pd.testing.assert_frame_equal(tables.foretold(apart), tables.foretold(whole))
    assert not tables.can_be_foretold(apart[apart["sequence_length"] == 20])


def cells_of(text):
    """The rows of the first table of a Markdown text, as a reader of it sees them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows = []
    for before, token in itertools.pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            assert {child.type for child in token.children} <= {"text"}, token.content
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_every_text_of_a_table_in_markdown_is_shown_as_it_is(tmp_path):
    names = [LABEL, "_a_ <b>~~c~~ \\| d", "lstm_open"]
    files = [f"{name}.txt" for name in names]
    rows = [rows_of([1.0] * 6, cell=name, file=file) for name in names for file in files]
    tables.write_table(frame(*rows, rows_of([1.0] * 6, cell="gru")), tmp_path)
    head, *lines = cells_of((tmp_path / "table.md").read_text())
    assert head == ["cell", "file", "recurrent_scale", "T = 50"]
    shown = [line[:2] for line in lines]
    wanted = [[name, file] for name in names for file in files]
    assert sorted(shown) == sorted([*wanted, ["gru", "–"]])  # which has no file


def test_a_setting_that_a_cell_lacks_is_a_dash_in_every_table(tmp_path):
    rows = frame(
        *(rows_of([1.0] * 6, forget_bias=bias) for bias in (0.0, 1.0)),
        rows_of([1.0] * 6, cell="gru"),
    )
    tables.write_table(rows, tmp_path)
    assert [line[1] for line in cells_of((tmp_path / "table.md").read_text())[1:]] == [
        "–",
        "0.0",
        "1.0",
    ]
    assert "gru & -- & 1 & 1.00" in (tmp_path / "table.tex").read_text()


def test_a_dollar_sign_in_a_name_begins_no_formula():
    rows = frame(
        *(
            rows_of([float(T)] * 6, cell=LABEL, recurrent_scale=g, sequence_length=T)
            for g in (1.0, 2.0)
            for T in (5, 9)
        )
    )
    figure = figures.ratio_heatmap(tables.summarise(rows.assign(cell=r"$\q$")))
    figure.draw_without_rendering()  # a formula of this text is refused
    assert figure.axes[0].get_title(loc="left") == r"\$\q\$"


@pytest.mark.parametrize(
    ("scales", "texts"),
    [
        ([0.5, 1.0, 1.23456789], ["0.5", "1", "1.23457"]),
        ([1.0, 1.0000001], ["1", "1.0000001"]),
        ([2.0, 1.0, 1.0 + 1e-12], ["2", "1", "1.000000000001"]),
    ],
)
def test_scales_are_told_apart_whatever_they_are(scales, texts):
    assert tables.told_numbers(pd.Series(scales)).tolist() == texts
