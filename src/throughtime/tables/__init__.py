"""Rows of a sweep -> one line per point with intervals over seeds -> CSV, Markdown, LaTeX."""

from throughtime.tables.course import write_course
from throughtime.tables.measures import EXPONENT, RATIO, measure_of
from throughtime.tables.prediction import can_be_foretold, foretold, write_foretold
from throughtime.tables.summary import (
    one_series_a_cell,
    point_columns,
    series_columns,
    summarise,
)
from throughtime.tables.written import describe_point, headline_table, write_table

__all__ = [
    "EXPONENT",
    "RATIO",
    "can_be_foretold",
    "describe_point",
    "foretold",
    "headline_table",
    "measure_of",
    "one_series_a_cell",
    "point_columns",
    "series_columns",
    "summarise",
    "write_course",
    "write_foretold",
    "write_table",
]
