"""The page itself: what is known of a sweep, the charts, and a template around them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from throughtime.options import InputError
from throughtime.page.contents import AXES, LIMITS, checked_summary, contents
from throughtime.tables import point_columns
from throughtime.tables.summary import PROVENANCE

FOLDER = Path(__file__).parent
STYLE = FOLDER.parent / "throughtime.mplstyle"
CHOSEN = 7
"""Cells that are shown before anything is chosen: one of each colour."""


def page(
    rows: pd.DataFrame,
    curves: pd.DataFrame,
    league: pd.DataFrame | None = None,
    title: str = "Gradients through time",
) -> str:
    """A sweep of gradients as one HTML page: it holds all it needs and asks nothing of a network.

    The same frames make the same bytes.

    Args:
        rows: one row per point and seed, as `frames.rows_frame` returns them; several settings of
            one cell must be in its name (`tables.one_series_a_cell`), but for dtype.
        curves: what `frames.curves_frame` returns for the same cells.
        league: a table to show below the charts, any columns, texts and numbers; a column cell
            makes it follow the choice of cells.
        title: of the page.

    Returns:
        The text of an HTML file.

    Raises:
        InputError: for frames without rows or columns, of no gradients, of several settings of one
            cell, or that do not belong to each other; or without altair and vl-convert-python.
    """
    summary = checked_summary(rows, curves)
    known = contents(summary, rows, curves)
    library, palette = _library(), _palette()
    from throughtime.page import charts  # which needs altair

    drawn = {
        "byLag": charts.by_lag(known["cell"], len(palette)),
        "byScale": charts.by_scale(known["cell"], len(palette), LIMITS),
    }
    values = {
        "title": title,
        "axes": {name: known[name] for name in AXES},
        "first": _first(known),
        "chosen": CHOSEN,
        "palette": palette,
        "dashes": charts.DASHES,
        "limits": [f"{10**limit:g}" for limit in LIMITS],
        "league": None if league is None else _league(league),
        "settings": _settings(summary),
        "provenance": _provenance(summary),
        "data": _json(known),
        "charts": _json(drawn),
        "library": library,
    }
    return _template().render(values)


def _first(known: dict[str, Any]) -> dict[str, int]:
    """The indices that are chosen at first: the scale nearest to 1, the longest sequence."""
    scales = np.asarray(known["recurrent_scale"])
    longest = len(known["sequence_length"]) - 1
    return {"recurrent_scale": int(np.argmin(np.abs(scales - 1))), "sequence_length": longest}


@cache
def _library() -> Markup:
    """Vega and what it needs, as JavaScript that may stand within a script element."""
    try:
        import altair  # noqa: F401
        import vl_convert
    except ImportError as error:
        raise InputError(
            f"the page needs {error.name}: python -m pip install 'throughtime[report]'."
        ) from error
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return Markup(re.sub("<(/script|!--)", r"\\x3C\1", bundle, flags=re.I))


def _template() -> jinja2.Template:
    """The page around it all; whatever is not marked as safe is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _palette() -> list[str]:
    """The colours of the figures, from their style."""
    line = next(x for x in STYLE.read_text("utf-8").splitlines() if x.startswith("axes.prop_cycle"))
    return re.findall('"([0-9A-F]{6})"', line)


def _json(value: Any) -> Markup:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _settings(summary: pd.DataFrame) -> dict[str, str]:
    """What was measured, where it is the same at every point."""
    names = [name for name in point_columns(summary) if name not in (*AXES, "diagnostic")]
    constant = [name for name in names if summary[name].nunique(dropna=False) == 1]
    values = {name: summary[name].iloc[0] for name in constant}
    return {_words(name): _entry(value) for name, value in values.items() if _entry(value) != "–"}


def _provenance(summary: pd.DataFrame) -> dict[str, str]:
    """Where the numbers come from: every distinct value, and when the first and last were made."""
    names = [name for name in PROVENANCE if name in summary and name not in ("key", "created")]
    found = {_words(name): "; ".join(sorted(set(summary[name].astype(str)))) for name in names}
    found["dtype"] = "; ".join(sorted(set(summary["dtype"])))
    if "created" in summary:
        times = sorted({time for text in summary["created"] for time in str(text).split("; ")})
        found["measured"] = " to ".join(dict.fromkeys((times[0], times[-1])))
    found["networks"] = f"{summary['num_ok'].sum()} ok of {summary['num_seeds'].sum()}"
    return found


def _league(frame: pd.DataFrame) -> dict[str, Any]:
    """A table as texts, with the numbers to sort by and the cell that each row belongs to."""
    lines = [
        {
            "cell": str(line["cell"]) if "cell" in frame else None,
            "entries": [{"text": _entry(x), "number": _sorted_by(x)} for x in line],
        }
        for _, line in frame.iterrows()
    ]
    numeric = [bool(pd.api.types.is_numeric_dtype(frame[name])) for name in frame]
    return {
        "columns": [(_words(str(name)), n) for name, n in zip(frame, numeric, strict=True)],
        "lines": lines,
    }


def _sorted_by(value: Any) -> str | None:
    """A number in full, or None."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return repr(float(value)) if is_number and not np.isnan(value) else None


def _entry(value: Any) -> str:
    """A value as text: four significant digits, a true minus sign, a dash for what is missing."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if pd.isna(value) or value == "":
        return "–"
    if not isinstance(value, int | float | np.number):
        return str(value)
    text = str(value) if isinstance(value, int | np.integer) else f"{value:.4g}"
    return text.replace("-", "−").replace("inf", "∞")


def _words(name: str) -> str:
    """The name of a column, to read."""
    return name.replace("_", " ")
