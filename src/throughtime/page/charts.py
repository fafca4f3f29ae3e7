"""The two charts as Vega-Lite: empty, as the page's script fills them with what is chosen.

Colours are the page's CSS variables, so that light and dark need no second drawing.
"""

from __future__ import annotations

from typing import Any

import altair as alt

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
SOFT, RULE, PAPER = "var(--soft)", "var(--rule)", "var(--paper)"
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
"""Of the lines of cells: with seven colours, 28 cells are told apart."""

TOLD = alt.TooltipContent("data")
"""The whole row, of which the page's script shows what it means to."""

CROSS = "M-.7,-.7L.7,.7M-.7,.7L.7,-.7"
SHAPES = {
    "first_zero_lag": "triangle-down",
    "first_inf_lag": "triangle-up",
    "zero": CROSS,
    "status": "diamond",
}
"""The marks, in one shape each."""

HEIGHT = 320


def by_lag(cells: list[str], num_colours: int) -> dict[str, Any]:
    """The gradient by lag: bands, medians, marks, and a point under the pointer.

    Args:
        cells: all names, in order; a cell's colour is that of its place.
        num_colours: how many colours the page has.

    Returns:
        A specification with the data sets lags, marks and range, and the parameters low, high (of
        the frame, decades) and last (lag).
    """
    x = alt.X("lag:Q", title="lag k: steps before the last", scale=_scale(0, "last"))
    y = alt.Y("median:Q", title=None, scale=_scale("low", "high"))
    hues = _hues(cells, num_colours)
    lags = alt.Chart(alt.NamedData("lags"))
    order = alt.Order("lag:Q")
    range_ = alt.Chart(alt.NamedData("range"))
    layers = [
        range_.mark_rule(stroke=SOFT, strokeDash=[4, 4], clip=True).encode(y="y:Q"),
        range_.mark_text(align="left", baseline="bottom", dx=5, dy=-3, fill=SOFT, clip=True).encode(
            y="y:Q", x=alt.value(0), text="text:N"
        ),
        lags.mark_area(opacity=0.16, clip=True).encode(
            x, _end("low", y), y2="high:Q", **_fill(hues)
        ),
        lags.mark_line(strokeWidth=2, clip=True).encode(x, y, order=order, **hues),
        _under_pointer(lags, "lags").encode(x, y, **_fill(hues)),
        _marks("marks").encode(x, y, **_shape(hues)),
    ]
    return _finished(layers, "by_lag", {"low": -1, "high": 1, "last": 1})


def by_scale(cells: list[str], num_colours: int, limits: tuple[float, ...]) -> dict[str, Any]:
    """The gradient that is left at the first step, over recurrent scale.

    The axis is linear within a decade and logarithmic beyond, as both a factor of 10 and
    hundreds of decades have to be seen.

    Args:
        cells: as for `by_lag`.
        num_colours: as for `by_lag`.
        limits: decades; what lies within the first is shaded, the others are lines.

    Returns:
        A specification with the data sets points, line, marks and here (the chosen scale), and
        the parameters low, high (decades), left, right (scales) and ticks.
    """
    axis = alt.Axis(values=alt.expr("ticks"), tickCount=99, labelOverlap=False)
    x = alt.X("scale:Q", title="recurrent scale", scale=_scale("left", "right"))
    scale = _scale("low", "high", type="symlog", constant=1)
    y = alt.Y("median:Q", title=None, scale=scale, axis=axis)
    hues, order = _hues(cells, num_colours), alt.Order("scale:Q")
    points, line = (alt.Chart(alt.NamedData(name)) for name in ("points", "line"))
    within = alt.Chart(alt.InlineData([{"a": -limits[0], "b": limits[0]}]))
    beyond = alt.Chart(alt.InlineData([{"a": s * limit} for limit in limits for s in (-1, 1)]))
    layers = [
        within.mark_rect(fill=RULE, opacity=0.55).encode(y=alt.Y("a:Q", scale=scale), y2="b:Q"),
        beyond.mark_rule(stroke=SOFT, strokeDash=[2, 3], strokeWidth=0.8).encode(y="a:Q"),
        alt.Chart(alt.NamedData("here")).mark_rule(stroke=SOFT).encode(x="scale:Q"),
        line.mark_area(opacity=0.16, clip=True).encode(
            x, _end("low", y), y2="high:Q", **_fill(hues)
        ),
        line.mark_line(strokeWidth=2, clip=True).encode(x, y, order=order, **hues),
        points.mark_point(size=28, opacity=1, filled=True).encode(x, y, **_fill(hues)),
        _under_pointer(points, "points").encode(x, y, **_fill(hues)),
        _marks("marks").encode(x, y, **_shape(hues)),
    ]
    start = {"low": -4, "high": 4, "left": 0, "right": 1, "ticks": [0]}
    return _finished(layers, "by_scale", start)


def _scale(low: Any, high: Any, **kind: Any) -> alt.Scale:
    """A scale whose ends the page's script sets."""
    ends = [alt.expr(end) if isinstance(end, str) else end for end in (low, high)]
    return alt.Scale(domain=ends, nice=False, zero=False, **kind)


def _end(field: str, of: alt.Y) -> alt.Y:
    """The same axis for another column."""
    end = of.copy()
    end["shorthand"] = f"{field}:Q"
    return end


def _hues(cells: list[str], num_colours: int) -> dict[str, Any]:
    """Colour, then dashes, by the place of a cell; the page's controls are the legend."""
    places = range(len(cells))
    colours = [f"var(--c{place % num_colours})" for place in places]
    dashes = [DASHES[place // num_colours % len(DASHES)] for place in places]
    return {
        "stroke": alt.Stroke("cell:N", legend=None, scale=alt.Scale(domain=cells, range=colours)),
        "strokeDash": alt.StrokeDash(
            "cell:N", legend=None, scale=alt.Scale(domain=cells, range=dashes)
        ),
    }


def _fill(hues: dict[str, Any]) -> dict[str, Any]:
    """The colours alone, of faces."""
    return {"fill": alt.Fill("cell:N", legend=None, scale=hues["stroke"]["scale"])}


def _shape(hues: dict[str, Any]) -> dict[str, Any]:
    """The colours alone, and the shape of a mark."""
    shapes = alt.Scale(domain=list(SHAPES), range=list(SHAPES.values()))
    return {"stroke": hues["stroke"], "shape": alt.Shape("kind:N", legend=None, scale=shapes)}


def _marks(data: str) -> alt.Chart:
    """Marks that say what a line cannot."""
    return alt.Chart(alt.NamedData(data)).mark_point(
        size=90, strokeWidth=1.8, fill=PAPER, opacity=1, tooltip=TOLD
    )


def _under_pointer(chart: alt.Chart, name: str) -> alt.Chart:
    """Points that are seen while the pointer is nearest to them."""
    nearest = alt.selection_point(
        name=f"near_{name}", on="pointerover", clear="pointerout", nearest=True, empty=False
    )
    opacity = alt.condition(nearest, alt.value(1), alt.value(0))
    points = chart.mark_point(size=60, filled=True, clip=True, tooltip=TOLD).encode(opacity=opacity)
    return points.properties(name=f"pointed_{name}").add_params(nearest)


def _finished(layers: list[Any], name: str, start: dict[str, Any]) -> dict[str, Any]:
    """The layers in one frame as wide as the page lets it be."""
    params = [alt.param(name=param, value=value) for param, value in start.items()]
    axis: dict[str, Any] = {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": RULE,
        "domainColor": SOFT,
    }
    axis |= {
        "tickColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    chart = (
        alt.layer(*layers)
        .add_params(*params)
        .properties(width="container", height=HEIGHT, name=name, background="transparent")
        .configure(font=FONT, padding={"left": 2, "right": 10, "top": 8, "bottom": 4})
        .configure_axis(**axis, labelFont=FONT, titleFont=FONT, labelFlush=False, titlePadding=8)
        .configure_axisX(grid=False, tickCount=6)
        .configure_axisY(domain=False, ticks=False, tickCount=6)
        .configure_view(stroke=None)
        .configure_text(font=FONT, fontSize=11)
    )
    return chart.to_dict()
