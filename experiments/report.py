"""Make the tables, figures and page of a run from its records alone, without running anything.

python experiments/report.py results/standard
python experiments/report.py results/standard --run 20260131T120000000000
python experiments/report.py results/mitigation --run all
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from throughtime.command_line import one_sentence


def main() -> None:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description="Tables and figures of a run.")
    parser.add_argument("folder", type=Path, help="results/<name>")
    parser.add_argument("--run", help="id of the run, or all; by default the latest")
    arguments = parser.parse_args()
    with one_sentence():
        report(arguments.folder, arguments.run)


Report = tuple[list[Path], dict[str, Any]]
"""The files written, and the figures by name."""


class Run(NamedTuple):
    """What was measured, as every report takes it.

    Attributes:
        folder: results/<name>.
        found: the records of one diagnostic, each network once.
        rows: one for each network.
        panels: the rows with all that varies within a cell in its name.
        summary: one line for each point.
        are_several: whether they are all runs of the folder.
    """

    folder: Path
    found: list
    rows: Any
    panels: Any
    summary: Any
    are_several: bool


def report(folder: Path, run_id: str | None) -> None:
    """Write tables and figures of one run and print what they say."""
    from throughtime import networks, records
    from throughtime.points import in_one_sentence

    runs = folder / "runs"
    one = run_id or records.latest_run(runs)
    found, missing = records.load_runs(runs) if one == "all" else records.load_run(runs, one)
    parts = networks.by_diagnostic(networks.told_apart(found))
    written = []
    for diagnostic, part in parts.items():
        once = networks.distinct(part)
        stem = "table" if len(parts) == 1 else f"table_{diagnostic}"
        with in_one_sentence(folder):
            written += report_on(diagnostic, folder, once.records, one == "all", stem)
        if once.text:
            print(once.text)
    print("written: " + ", ".join(str(path) for path in written))
    if missing:
        print(f"{missing} points of this run are missing; the same sweep command runs them.")


def report_on(diagnostic: str, folder: Path, found: list, are_several: bool, stem: str):
    """Write the table, further tables and the figures of one diagnostic; returns their paths."""
    from throughtime import figures, frames, tables

    rows = frames.rows_frame(found)
    summary, panels = tables.summarise(rows), tables.one_series_a_cell(rows)
    written = tables.write_table(summary, folder, stem)
    own, drawn = REPORTS[diagnostic](Run(folder, found, rows, panels, summary, are_several))
    written += own
    for name, figure in drawn.items():
        written += figures.save(figure, folder / name)
    return written


def are_ok(rows):
    """The rows whose networks have numbers; there is nothing to draw of others."""
    return rows[rows["status"] == "ok"]


def gradient_report(run: Run) -> Report:
    """The league, where there is one; curves, heat map and the page to explore them."""
    from throughtime import figures, tables

    written, drawn, to_read = [], {}, None
    if tables.can_be_compared(run.rows):
        curves = default_curves(run)
        league, saved, written = tables.write_league(run.rows, run.folder, curves)
        drawn |= {"stable_bands": figures.stable_bands(league)}
        if len(saved):
            drawn |= {"mitigation_by_scale": figures.mitigation_by_scale(saved)}
        to_read = tables.league_to_read(league)
    run = on_shared_scales(run) if run.are_several else run
    return [*written, write_page(run, to_read)], drawn | gradient_figures(run)


def on_shared_scales(run: Run) -> Run:
    """What was measured at recurrent scales that all cells share, which figures and page show.

    Where they share none, as in searches of several cells, all is shown.
    """
    by_scale = run.rows.groupby("recurrent_scale")["cell"].nunique()
    shared = set(by_scale.index[by_scale == run.rows["cell"].nunique()])
    if not shared:
        return run

    def kept(frame):
        return frame[frame["recurrent_scale"].isin(shared)].reset_index(drop=True)

    found = [record for record in run.found if record["shared"]["recurrent_scale"] in shared]
    frames = {"rows": kept(run.rows), "panels": kept(run.panels), "summary": kept(run.summary)}
    return run._replace(found=found, **frames)


def gradient_figures(run: Run) -> dict[str, Any]:
    """The gradient by lag, and what is left of it as a field; prints the stable scales."""
    from throughtime import bands, figures, frames, tables
    from throughtime.predictions import edge_predictions

    lengths, summary = run.rows["sequence_length"].nunique(), run.summary
    if "input_scale" in tables.series_columns(run.rows) and lengths == 1:
        driven = summary[summary["input_scale"].notna()]
        named = tables.one_series_a_cell(driven, apart="input_scale")
        return {"phase_diagram": figures.phase_diagram(named, edge_predictions(named))}
    print(bands.describe(bands.find(summary)))
    drawn, ok = {}, are_ok(run.panels)
    if len(ok) and run.panels["cell"].nunique() <= MOST_PANELS:  # the page has the curves of more
        curves = frames.curves_frame(run.found, run.panels["cell"])
        longest = int(ok["sequence_length"].max())
        drawn["gradient_by_lag"] = figures.gradient_by_lag(curves, run.panels, longest)
    if run.rows["recurrent_scale"].nunique() > 1 and lengths > 1:
        drawn["ratio_heatmap"] = figures.ratio_heatmap(tables.one_series_a_cell(summary))
    return drawn


def write_page(run: Run, league) -> Path:
    """Write report.html; of all that varies within a cell the page lets choose the dtype alone."""
    from throughtime import frames, tables
    from throughtime.page import page
    from throughtime.tables.written import replace

    rows = run.rows
    named = tables.one_series_a_cell(rows, apart="dtype")
    curves = frames.curves_frame(run.found, named["cell"])
    html = page(named, curves, league, title=run.folder.resolve().name)
    return replace(run.folder / "report.html", html)


def default_curves(run: Run):
    """The curves at the default recurrent scale and the longest sequences: of all, far too many."""
    from throughtime import frames, tables

    where = {"recurrent_scale": tables.SCALE, "sequence_length": run.rows["sequence_length"].max()}
    chosen = [one for one in run.found if where.items() <= one["shared"].items()]
    here = (run.panels[list(where)] == list(where.values())).all(axis=1)
    cells = run.panels.loc[here, "cell"]
    return frames.curves_frame(chosen, cells) if chosen else None


def spectrum_report(run: Run) -> Report:
    """The leading exponent by scale beside theory, and spectra where more than it was measured."""
    from throughtime import figures, frames, tables
    from throughtime.predictions import exponent_predictions

    drawn = {}
    if run.rows["recurrent_scale"].nunique() > 1:
        predicted = exponent_predictions(run.panels)
        summary = tables.one_series_a_cell(run.summary)
        drawn["exponent_by_scale"] = figures.exponent_by_scale(summary, predicted)
    if len(are_ok(run.rows)) and any(record["curves"].shape[1] > 1 for record in run.found):
        exponents = frames.spectra_frame(run.found, each_length_its_own(run.panels)["cell"])
        drawn["spectra"] = figures.spectra(exponents)
    return [], drawn


def paths_report(run: Run) -> Report:
    """Which way the gradient goes."""
    from throughtime import figures, frames

    paths = frames.paths_frame(run.found, run.panels["cell"])
    drawn = {f"gradient_paths_T{T}": own for T, own in paths.groupby("sequence_length")}
    if run.rows["sequence_length"].nunique() == 1:
        drawn = {"gradient_paths": paths} if len(paths) else {}
    return [], {name: figures.gradient_paths(own) for name, own in drawn.items()}


def training_report(run: Run) -> Report:
    """The course of every training, and what foretells it; who solves the task at which length."""
    from throughtime import frames, tables

    panels = each_scale_its_own(run.panels)
    course = frames.course_frame(run.found, panels["cell"])
    written = tables.write_course(course, run.folder)
    if tables.can_be_foretold(run.rows):
        written += tables.write_foretold(run.rows, run.folder)
    return written, training_figures(panels, course)


def each_scale_its_own(panels):
    """The rows with the recurrent scale in the cell's name, where it varies: none is averaged."""
    from throughtime.tables import told_numbers

    if panels["recurrent_scale"].nunique() == 1:
        return panels
    return panels.assign(cell=panels["cell"] + ", scale " + told_numbers(panels["recurrent_scale"]))


def each_length_its_own(panels):
    """The rows with the sequence length in the cell's name, where it varies."""
    lengths = panels["sequence_length"]
    if lengths.nunique() == 1:
        return panels
    return panels.assign(cell=panels["cell"] + lengths.map(", T = {}".format))


def training_figures(panels, course) -> dict[str, Any]:
    """Loss and horizon over updates; of many settings what they come to, side by side."""
    from throughtime import figures, tables

    lengths = panels["sequence_length"]
    if panels["cell"].nunique() > MOST_LINES and panels["solved_below"].notna().any():
        return {"remedies": figures.remedies(tables.summarise(each_length_its_own(panels)))}
    drawn = {"loss": figures.loss_by_update(course), "horizon": figures.horizon_by_update(course)}
    if lengths.nunique() > 1:
        drawn["success_by_length"] = figures.success_by_length(tables.summarise(panels))
    return drawn


MOST_PANELS = 12
"""Of curves by lag in a figure that can be read."""

MOST_LINES = 7
"""In a panel; more settings are listed side by side instead."""

REPORTS = {
    "gradient": gradient_report,
    "spectrum": spectrum_report,
    "paths": paths_report,
    "training": training_report,
}
"""Of each diagnostic the tables of its own, written, and its figures."""

if __name__ == "__main__":
    main()
