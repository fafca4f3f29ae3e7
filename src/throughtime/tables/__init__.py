"""Rows of a sweep -> one line per point with intervals over seeds -> CSV, Markdown, LaTeX."""

from throughtime.tables.course import write_course
from throughtime.tables.grids import REFERENCE, can_be_compared
from throughtime.tables.league import LIMITS, SCALE, bands_of, league, league_to_read, write_league
from throughtime.tables.measures import EXPONENT, RATIO, measure_of
from throughtime.tables.mitigation import mitigation_table
from throughtime.tables.prediction import can_be_foretold, foretold, write_foretold
from throughtime.tables.summary import (
    is_setting,
    one_series_a_cell,
    point_columns,
    series_columns,
    summarise,
    summary_of,
    told_numbers,
)
from throughtime.tables.written import (
    describe_point,
    headline_table,
    interval_text,
    scale_range,
    write_table,
)

__all__ = [
    "EXPONENT",
    "LIMITS",
    "RATIO",
    "REFERENCE",
    "SCALE",
    "bands_of",
    "can_be_compared",
    "can_be_foretold",
    "describe_point",
    "foretold",
    "headline_table",
    "interval_text",
    "is_setting",
    "league",
    "league_to_read",
    "measure_of",
    "mitigation_table",
    "one_series_a_cell",
    "point_columns",
    "scale_range",
    "series_columns",
    "summarise",
    "summary_of",
    "told_numbers",
    "write_course",
    "write_foretold",
    "write_league",
    "write_table",
]
