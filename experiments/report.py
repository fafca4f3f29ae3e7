"""Make the tables, figures and page of a run from its records alone, without running anything.

python experiments/report.py results/standard
python experiments/report.py results/standard --run 20260131T120000000000
python experiments/report.py results/mitigation --run all
"""

import argparse
from pathlib import Path
from typing import Any

from throughtime.command_line import one_sentence


def main() -> None:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description="Tables and figures of a run.")
    parser.add_argument("folder", type=Path, help="results/<name>")
    parser.add_argument("--run", help="id of the run, or all; by default the latest")
    arguments = parser.parse_args()
    with one_sentence():
        report(arguments.folder, arguments.run)


def report(folder: Path, run_id: str | None) -> None:
    """Write tables and figures of one run and print what they say."""
    from throughtime import figures, frames, records, tables

    runs = folder / "runs"
    one = run_id or records.latest_run(runs)
    found, missing = records.load_runs(runs) if one == "all" else records.load_run(runs, one)
    rows = frames.rows_frame(found)
    written = tables.write_table(rows, folder)
    panels = tables.one_series_a_cell(rows)
    diagnostic = rows["diagnostic"].iloc[0]
    if diagnostic == "training":
        panels = each_scale_its_own(panels)
        written += tables.write_course(frames.course_frame(found, panels["cell"]), folder)
        if tables.can_be_foretold(rows):
            written += tables.write_foretold(rows, folder)
    to_read, drawn = None, {}
    if tables.can_be_compared(rows):
        league, saved, paths = tables.write_league(rows, folder, default_curves(found, panels))
        written, to_read = written + paths, tables.league_to_read(league)
        drawn |= {"stable_bands": figures.stable_bands(league)}
        drawn |= {"mitigation_by_scale": figures.mitigation_by_scale(saved)}
    if one == "all":
        found, rows, panels = on_shared_scales(found, rows, panels)
    drawn |= FIGURES[diagnostic](found, rows, panels)
    for name, figure in drawn.items():
        written += figures.save(figure, folder / name)
    if diagnostic == "gradient":
        written.append(write_page(found, rows, folder, to_read))
    print("written: " + ", ".join(str(path) for path in written))
    if missing:
        print(f"{missing} points of this run are missing; the same sweep command runs them.")


def on_shared_scales(found: list, rows, panels) -> tuple:
    """What was measured at recurrent scales that all cells share, which figures and page show."""
    by_scale = rows.groupby("recurrent_scale")["cell"].nunique()
    shared = set(by_scale.index[by_scale == rows["cell"].nunique()])
    chosen = [record for record in found if record["shared"]["recurrent_scale"] in shared]
    kept = rows["recurrent_scale"].isin(shared)
    return chosen, rows[kept].reset_index(drop=True), panels[kept].reset_index(drop=True)


def gradient_figures(found: list, rows, panels) -> dict[str, Any]:
    """The gradient by lag, and what is left of it as a field; prints the stable scales."""
    from throughtime import bands, figures, frames, tables
    from throughtime.predictions import edge_predictions

    if rows["input_scale"].nunique() > 1 and rows["sequence_length"].nunique() == 1:
        summary = tables.summarise(rows)
        return {"phase_diagram": figures.phase_diagram(summary, edge_predictions(summary))}
    print(bands.describe(bands.find(rows)))
    drawn = {}
    if panels["cell"].nunique() <= MOST_PANELS:  # the page has the curves of more
        curves = frames.curves_frame(found, panels["cell"])
        drawn["gradient_by_lag"] = figures.gradient_by_lag(curves, panels)
    if rows["recurrent_scale"].nunique() > 1 and rows["sequence_length"].nunique() > 1:
        drawn["ratio_heatmap"] = figures.ratio_heatmap(tables.summarise(panels))
    return drawn


def write_page(found: list, rows, folder: Path, league) -> Path:
    """Write report.html; of all that varies within a cell the page lets choose the dtype alone."""
    from throughtime import frames, tables
    from throughtime.page import page
    from throughtime.tables.written import replace

    named = tables.one_series_a_cell(rows.drop(columns="dtype")).assign(dtype=rows["dtype"])
    curves = frames.curves_frame(found, named["cell"])
    html = page(named, curves, league, title=folder.resolve().name)
    return replace(folder / "report.html", html)


def spectrum_figures(found: list, rows, panels) -> dict[str, Any]:
    """The leading exponent by scale beside theory, and spectra where more than it was measured."""
    from throughtime import figures, frames, tables
    from throughtime.predictions import exponent_predictions

    drawn = {}
    if rows["recurrent_scale"].nunique() > 1:
        predicted = exponent_predictions(panels)
        summary = tables.summarise(panels)
        drawn["exponent_by_scale"] = figures.exponent_by_scale(summary, predicted)
    if any(record["curves"].shape[1] > 1 for record in found):
        exponents = frames.spectra_frame(found, panels["cell"])
        drawn["spectra"] = figures.spectra(exponents)
    return drawn


def paths_figures(found: list, rows, panels) -> dict[str, Any]:
    """Which way the gradient goes."""
    from throughtime import figures, frames

    return {"gradient_paths": figures.gradient_paths(frames.paths_frame(found, panels["cell"]))}


def default_curves(found: list, panels):
    """The curves at the default recurrent scale and the longest sequences: of all, far too many."""
    from throughtime import frames, tables

    longest = panels["sequence_length"].max()
    chosen = [
        record
        for record in found
        if record["shared"]["recurrent_scale"] == tables.SCALE
        and record["shared"]["sequence_length"] == longest
    ]
    where = (panels["recurrent_scale"] == tables.SCALE) & (panels["sequence_length"] == longest)
    return frames.curves_frame(chosen, panels.loc[where, "cell"]) if chosen else None


def each_scale_its_own(panels):
    """The rows with the recurrent scale in the cell's name, where it varies: none is averaged."""
    if panels["recurrent_scale"].nunique() == 1:
        return panels
    return panels.assign(cell=panels["cell"] + panels["recurrent_scale"].map(", scale {:g}".format))


def training_figures(found: list, rows, panels) -> dict[str, Any]:
    """Loss and horizon over updates, and who solves the task at which length."""
    from throughtime import figures, frames, tables

    if panels["cell"].nunique() > MOST_LINES and rows["solved_below"].notna().any():
        lengths = panels["sequence_length"]
        each = panels["cell"] + (lengths.map(", T = {}".format) if lengths.nunique() > 1 else "")
        return {"remedies": figures.remedies(tables.summarise(panels.assign(cell=each)))}
    course = frames.course_frame(found, panels["cell"])
    drawn = {"loss": figures.loss_by_update(course), "horizon": figures.horizon_by_update(course)}
    if rows["sequence_length"].nunique() > 1:
        drawn["success_by_length"] = figures.success_by_length(tables.summarise(panels))
    return drawn


MOST_PANELS = 12
"""Of curves by lag in a figure that can be read."""

MOST_LINES = 7
"""In a panel; more settings are listed side by side instead."""

FIGURES = {
    "gradient": gradient_figures,
    "spectrum": spectrum_figures,
    "paths": paths_figures,
    "training": training_figures,
}

if __name__ == "__main__":
    main()
