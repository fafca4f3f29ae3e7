"""Frames as the page takes them, with curves that are known."""

import numpy as np
import pandas as pd
from made_rows import frame, rows_of

LN10 = np.log(10)
EVIL = "<b>x</b>&\"'"
ENDING = "</script><script>alert(1)</script>"


def point(decades, *, statuses=None, zero=None, inf=None, **at):
    """Rows and curves of one point.

    `decades`: log10 of the gradients relative to lag 0, a row for every network; `zero` and `inf`:
    the lag at which plain floats lose each.
    """
    decades = np.atleast_2d(np.asarray(decades, float))
    count, length = decades.shape
    statuses = statuses or ["ok"] * count
    rows = rows_of(decades[:, -1], sequence_length=length, **at).assign(status=statuses)
    is_ok = rows["status"] == "ok"
    rows["verdict"] = rows["verdict"].where(is_ok, "undefined")
    rows["log10_gradient_ratio"] = rows["log10_gradient_ratio"].where(is_ok)
    for name, lags in (("first_zero_lag", zero), ("first_inf_lag", inf)):
        rows[name] = pd.array(lags or [None] * count, "Int64")
    labels = ["cell", "recurrent_scale", "sequence_length", "seed", "dtype"]
    curves = rows[labels].loc[rows.index.repeat(length)].reset_index(drop=True)
    return rows, curves.assign(
        lag=np.tile(np.arange(length), count), log_norm=(3 + LN10 * decades).ravel()
    )


def frames(*points):
    """One frame of rows and one of curves."""
    rows, curves = zip(*points, strict=True)
    return frame(*rows), frame(*curves)


def lines(slopes, length=21):
    """Straight curves, in decades."""
    return np.outer(slopes, np.arange(length))


def sweep(cells=("elman", "gru"), scales=(0.5, 1.0, 2.0), lengths=(21, 51), **more):
    """A small sweep: eight networks a point, which grow with the scale and the cell's place."""
    spread = np.linspace(-0.02, 0.02, 8)
    return frames(
        *(
            point(
                lines(np.log10(scale) / 3 + i / 100 + spread, length),
                cell=cell,
                recurrent_scale=scale,
                **more,
            )
            for i, cell in enumerate(cells)
            for scale in scales
            for length in lengths
        )
    )


def hard_cases():
    """One of everything that is not a plain curve, under names that are HTML."""
    exact = np.where(np.arange(21) < 13, lines([-0.5] * 6), -np.inf)
    steep = {"zero": [18, 19, 19, 20, None, None], "recurrent_scale": 1.0}
    broken = ["nonfinite", "nonfinite", "collapsed"]
    return frames(
        point(lines([-0.3, -0.2, -0.25, -0.2, -0.2, -0.3]), cell=EVIL, recurrent_scale=1.0),
        point(lines([0.1] * 6), cell=EVIL, recurrent_scale=2.0),
        point(exact, cell=ENDING, recurrent_scale=1.0),
        point(lines([0.2] * 6), cell=ENDING, recurrent_scale=2.0, inf=[9] * 6),
        point(lines([-2.5, -2.4, -2.3, -2.2, -2.1, -2.0]), cell="steep", **steep),
        point(lines([-4.0] * 6), cell="steep", recurrent_scale=2.0, zero=[10] * 6),
        point(np.full((3, 21), np.nan), cell="gone", recurrent_scale=1.0, statuses=broken),
        point(lines([0.3] * 3), cell="gone", recurrent_scale=2.0),
        point(
            np.where(np.arange(8)[:, None] < 5, lines([-0.1] * 8), np.nan),
            cell="hurt",
            recurrent_scale=1.0,
            statuses=["ok"] * 5 + broken,
        ),
        point(lines([0.02] * 8), cell="hurt", recurrent_scale=2.0),
    )
