"""The page's plots: where, when, which tags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LogColorMapper, NumeralTickFormatter
from bokeh.plotting import figure

from yfccdask.analysis.metadata.figures import MAP_CELLS_PER_DEGREE
from yfccdask.analysis.metadata.hostile_texts import displayable

INK, FAINT, GREEN, INDIGO = "#334155", "#e2e8f0", "#0f766e", "#4f46e5"
FIRST_YEAR, LAST_YEAR = 1990, 2020
HEAT = ["#9bd3ca", "#74bdb3", "#4fa79b", "#2b8f83", "#0f766e", "#0c625b", "#094d48", "#063834"]
FEW_CELLS = 2000  # fewer are drawn larger, so that they are seen
TOP = 60


def all_plots(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The plots by name; those of empty tables are left out."""
    plots = {}
    if len(tables["positions"]):
        plots["map"] = _map_plot(tables["positions"])
    if len(tables["tags"]):
        plots["tags"] = _bars(tables["tags"], "tag", "photos", "photos with the tag")
    if len(tables["devices"]):
        plots["devices"] = _bars(tables["devices"], "device", "items", "photos and videos")
    for name, title in (("years_taken", "Taken"), ("years_uploaded", "Uploaded")):
        if len(tables[name]):
            plots[name] = _year_plot(tables[name], title)
    return plots


def _map_plot(cells: pd.DataFrame) -> Any:
    """Cells of half a degree, coloured by the logarithm of their counts."""
    step = 1 / MAP_CELLS_PER_DEGREE
    source = ColumnDataSource(
        {
            "longitude": (cells["x"].to_numpy() + 0.5) * step,
            "latitude": (cells["y"].to_numpy() + 0.5) * step,
            "items": cells["items"].to_numpy(),
        }
    )
    size = step * (1.06 if len(cells) > FEW_CELLS else 3)
    plot = _empty_plot(460, x_range=(-180, 180), y_range=(-60, 85))
    colours = LogColorMapper(HEAT, low=1, high=max(2, int(cells["items"].max())))
    shown = plot.rect(
        "longitude",
        "latitude",
        width=size,
        height=size,
        source=source,
        line_color=None,
        fill_color={"field": "items", "transform": colours},
    )
    tips = [("position", "@longitude{0.00}, @latitude{0.00}"), ("items", "@items{0,0}")]
    plot.add_tools(HoverTool(renderers=[shown], tooltips=tips))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "longitude (degrees)", "latitude (degrees)"
    bar = ColorBar(color_mapper=colours, title="items", width=8, border_line_color=None)
    plot.add_layout(bar, "right")
    return plot


def _bars(table: pd.DataFrame, name: str, count: str, label: str) -> Any:
    table = table.head(TOP).iloc[::-1]
    names = [_shown(text) for text in table[name]]
    places = np.arange(len(table))
    source = ColumnDataSource({"place": places, "name": names, "count": table[count].to_numpy()})
    plot = _empty_plot(60 + 17 * len(table))
    shown = plot.hbar(y="place", right="count", height=0.72, source=source, color=GREEN)
    plot.yaxis.ticker = places
    plot.yaxis.major_label_overrides = dict(zip(places.tolist(), names, strict=True))
    plot.x_range.start = 0
    plot.y_range.start, plot.y_range.end = -0.7, len(table) - 0.3
    plot.xaxis.axis_label = label
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    tips = [(name, "@name"), (label, "@count{0,0}")]
    plot.add_tools(HoverTool(renderers=[shown], tooltips=tips))
    return plot


def _shown(text: str) -> str:
    """A label without control characters, at most 40 letters, that no renderer takes for maths."""
    clean = displayable(text)
    clean = clean.replace("$", "\N{FULLWIDTH DOLLAR SIGN}").replace(
        "\\", "\N{REVERSE SOLIDUS OPERATOR}"
    )
    return clean if len(clean) <= 40 else f"{clean[:39]}…"


def _year_plot(years: pd.DataFrame, title: str) -> Any:
    """Items a year; years out of what cameras say rightly are counted at the ends."""
    year = years["year"].clip(FIRST_YEAR, LAST_YEAR)
    table = years.assign(year=year).groupby("year", as_index=False)[["photos", "videos"]].sum()
    source = ColumnDataSource(table.to_dict("list"))
    plot = _empty_plot(280)
    shown = plot.vbar_stack(
        ["photos", "videos"],
        x="year",
        width=0.8,
        source=source,
        color=[GREEN, INDIGO],
        legend_label=["photos", "videos"],
    )
    plot.title.text = title
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xaxis.axis_label = f"year (before {FIRST_YEAR} and after {LAST_YEAR}: at the ends)"
    plot.legend.location, plot.legend.border_line_color = "top_left", None
    tips = [("year", "@year"), ("photos", "@photos{0,0}"), ("videos", "@videos{0,0}")]
    plot.add_tools(HoverTool(renderers=shown, tooltips=tips))
    return plot


def _empty_plot(height: int, **ranges: Any) -> Any:
    plot = figure(height=height, sizing_mode="stretch_width", tools="", **ranges)
    plot.toolbar_location = None
    plot.outline_line_color, plot.grid.grid_line_color = None, FAINT
    plot.axis.axis_line_color, plot.axis.major_tick_line_color = FAINT, FAINT
    plot.axis.minor_tick_line_color, plot.axis.major_label_text_color = None, INK
    plot.axis.axis_label_text_color, plot.axis.axis_label_text_font_style = INK, "normal"
    return plot
