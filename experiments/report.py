"""Make the tables and figures of a run from its records alone, without running anything.

python experiments/report.py results/standard
python experiments/report.py results/standard --run 20260131T120000000000
"""

import argparse
from pathlib import Path

from throughtime.command_line import one_sentence


def main() -> None:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description="Tables and figures of a run.")
    parser.add_argument("folder", type=Path, help="results/<name>")
    parser.add_argument("--run", help="id of the run; by default the latest")
    arguments = parser.parse_args()
    with one_sentence():
        report(arguments.folder, arguments.run)


def report(folder: Path, run_id: str | None) -> None:
    """Write tables and figures of one run and print what they say."""
    from throughtime import bands, figures, frames, records, tables

    runs = folder / "runs"
    found, missing = records.load_run(runs, run_id or records.latest_run(runs))
    rows = frames.rows_frame(found)
    written = tables.write_table(rows, folder)
    print(bands.describe(bands.find(rows)))

    panels = tables.one_series_a_cell(rows)
    summary, curves = tables.summarise(panels), frames.curves_frame(found, panels["cell"])
    written += figures.save(figures.gradient_by_lag(curves, panels), folder / "gradient_by_lag")
    if rows["recurrent_scale"].nunique() > 1 and rows["sequence_length"].nunique() > 1:
        written += figures.save(figures.ratio_heatmap(summary), folder / "ratio_heatmap")
    print("written: " + ", ".join(str(path) for path in written))
    if missing:
        print(f"{missing} points of this run are missing; the same sweep command runs them.")


if __name__ == "__main__":
    main()
