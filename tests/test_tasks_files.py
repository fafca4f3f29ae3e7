"""Files of the user's own: whatever separates their cells, the points are the same."""

import numpy as np
import pytest

from throughtime.tasks.tracks import read_tracks

LINES = [["time", "x", "y"], ["0", "1.5", "2"], ["1", "-2", "3e1"], ["2", "3", "5"]]
POINTS = [[1.5, 2.0], [-2.0, 30.0], [3.0, 5.0]]
SEPARATED = {
    "comma": (",", ""),
    "semicolon": (";", ""),
    "tab": ("\t", ""),
    "bar": ("|", ""),
    "named comma": (",", "sep=,\n"),
    "named semicolon": (";", "sep=;\r\n"),
    "named colon": (":", "SEP=:\n"),
    "named tab in quotes": ("\t", '"sep=\t"\n'),
    "after a blank line": (";", "\n"),
}


def written(folder, delimiter, first="", lines=LINES):
    path = folder / "track.csv"
    path.write_text(first + "\n".join(delimiter.join(line) for line in lines), newline="")
    return path


@pytest.mark.parametrize(("delimiter", "first"), SEPARATED.values(), ids=SEPARATED)
def test_points_are_the_same_whatever_separates_them(tmp_path, delimiter, first):
    assert read_tracks(written(tmp_path, delimiter, first)).tolist() == POINTS


def test_the_delimiter_is_the_one_that_makes_the_columns_asked_for(tmp_path):
    lines = [["time", "x;a;b;c", "y"], *LINES[1:]]
    found = read_tracks(written(tmp_path, ",", lines=lines), ("time", "x;a;b;c", "y"))
    assert found.tolist() == POINTS
    lines = [["time", '"x, east"', '"y, north"'], *LINES[1:]]
    found = read_tracks(written(tmp_path, ";", lines=lines), ("time", "x, east", "y, north"))
    assert found.tolist() == POINTS


def test_lines_keep_the_numbers_that_an_editor_shows(tmp_path):
    lines = [*LINES, ["3", "far", "1"]]
    with pytest.raises(ValueError, match=r"line 6: x is 'far', which is not a finite number\.$"):
        read_tracks(written(tmp_path, ";", "sep=;\n", lines))


def test_points_that_pandas_reads_are_those_read(tmp_path):
    import pandas as pd

    random = np.random.default_rng(0)
    table = pd.DataFrame({"time": np.arange(50.0), **{n: random.normal(size=50) for n in "xy"}})
    path = tmp_path / "track.csv"
    for delimiter in ",;\t|":
        table.to_csv(path, sep=delimiter, index=False)
        assert np.array_equal(read_tracks(path), table[["x", "y"]])
