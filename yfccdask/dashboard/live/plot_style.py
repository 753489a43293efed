"""How all plots of the pages look, and names that people gave on them."""

from __future__ import annotations

from typing import Any

from bokeh.models import Column, Label, Plot, Range1d, Row
from bokeh.plotting import figure

FONT = "system-ui, sans-serif"
INK, PALE_INK, FAINT = "#334155", "#64748b", "#e2e8f0"
LOST, PLANNED = "#be123c", "#64748b"
WAITING = "nothing yet: no run is in training on this scheduler"


def calm_figure(title: str, height: int, **options: Any) -> Any:
    """An empty figure without frames, as wide as there is room."""
    options = {"tools": "", "toolbar_location": None, **options}
    plot = figure(title=title, height=height, sizing_mode="stretch_width", **options)
    plot.min_border_left, plot.min_border_right = 8, 16
    plot.outline_line_color = plot.background_fill_color = plot.border_fill_color = None
    plot.grid.grid_line_color = FAINT
    plot.title.text_font, plot.title.text_color = FONT, INK
    plot.title.text_font_size, plot.title.text_font_style = "13px", "normal"
    for axis in (*plot.xaxis, *plot.yaxis):
        _calm_axis(axis)
    return plot


def _calm_axis(axis: Any) -> None:
    axis.axis_line_color = axis.major_tick_line_color = FAINT
    axis.minor_tick_line_color = None
    axis.axis_label_text_font = axis.major_label_text_font = FONT
    axis.axis_label_text_font_style = "normal"
    axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
    axis.axis_label_text_color = axis.major_label_text_color = INK


def fill_height(root: Any) -> None:
    """Let plots share the height of a window; in one that is too low for them they scroll."""
    for part in root.references():
        if isinstance(part, (Plot, Row, Column)):
            part.sizing_mode = "stretch_both"
        if isinstance(part, Plot):
            part.min_height = part.height
        if isinstance(part, Row):  # a browser would let it be lower than what is in it
            part.min_height = max(child.height for child in part.children)


def waiting_figure(title: str, height: int) -> Any:
    """A figure that says that there is nothing to show."""
    plot = calm_figure(title, height, x_range=Range1d(0, 1), y_range=Range1d(0, 1))
    plot.axis.visible = plot.grid.visible = False
    waiting_label(plot)
    return plot


def waiting_label(plot: Any, text: str = WAITING) -> Any:
    """Says in the middle of a plot that there is nothing to show; hide it once there is."""
    label = Label(
        x=12, y=12, x_units="screen", y_units="screen", text=text,
        text_color=PALE_INK, text_font=FONT, text_font_size="12px",
    )  # fmt: skip
    plot.add_layout(label)
    return label
