"""Curves of a run as Bokeh plots: both terms of the objective, and throughput, per layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.models import NumeralTickFormatter
from bokeh.plotting import figure
from markupsafe import Markup

from yfccdask.dashboard.summary import block_pace
from yfccdask.data.events import Event

INK, FAINT = "#334155", "#e2e8f0"
COLOURS = {"reconstruction": "#0f766e", "sparsity": "#b45309", "throughput": "#4f46e5"}
MOST_POINTS, MOST_BINS = 1200, 40
LOGARITHMIC = 20  # largest over least value from which an axis is logarithmic


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """The running mean (n,) over ``width`` values; shorter at both ends."""
    ones = np.ones(max(1, min(width, len(values))))
    whole = np.convolve(np.ones(len(values)), ones, "same")
    return np.convolve(values, ones, "same") / whole


def layer_plots(blocks: Sequence[Event]) -> dict[str, Any]:
    """The plots of a layer by name, from the events of its blocks (at least one)."""
    plots = {}
    for term in ("reconstruction", "sparsity"):
        values = np.concatenate([np.asarray(event[term], float) for event in blocks])
        plots[term] = _term_plot(values, term)
    return plots | {"throughput": _pace_plot(*block_pace(blocks))}


def embedded_plots(blocks: dict[int, list[Event]]) -> tuple[str, dict[int, dict[str, Markup]]]:
    """One script, and the plots' places in the page per layer and name."""
    plots = {number: layer_plots(events) for number, events in blocks.items()}
    flat = {(number, name): plot for number, named in plots.items() for name, plot in named.items()}
    if not flat:
        return "", {}
    script, places = components(list(flat.values()))
    divided = dict(zip(flat, places, strict=True))
    return script, {
        number: {name: Markup(divided[number, name]) for name in named}
        for number, named in plots.items()
    }


def is_logarithmic(values: np.ndarray) -> bool:
    """Whether values span so much that a logarithmic axis shows them better."""
    least = float(np.min(values))
    return least > 0 and float(np.max(values)) / least > LOGARITHMIC


def _term_plot(values: np.ndarray, term: str) -> Any:
    steps, wide = np.arange(len(values)), smoothed(values, len(values) // 40)
    stride = max(1, len(values) // MOST_POINTS)
    kind = "log" if is_logarithmic(values) else "linear"
    title = f"{term.capitalize()}{' (logarithmic axis)' if kind == 'log' else ''}"
    plot = empty_plot(title, "mini-batches", kind)
    colour = COLOURS[term]
    shown = slice(None, None, stride)
    plot.line(steps[shown], values[shown], color=colour, alpha=0.25, line_width=1)
    plot.line(steps[shown], wide[shown], color=colour, line_width=2)
    return plot


def _pace_plot(seconds: np.ndarray, images: np.ndarray) -> Any:
    unit, length = _time_unit(float(seconds[-1]))
    edges = np.linspace(0.0, seconds[-1], min(MOST_BINS, len(seconds)) + 1)
    trained = np.interp(edges, np.append(0.0, seconds), np.append(0.0, images))
    widths = np.maximum(np.diff(edges), 1e-9)
    plot = empty_plot("Images per second", f"{unit} since the layer began", "linear")
    rates, middles = np.diff(trained) / widths, (edges[1:] + edges[:-1]) / 2
    plot.line(middles / length, rates, color=COLOURS["throughput"], line_width=2)
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    return plot


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds < 600:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 36_000 else ("hours", 3600.0)


def empty_plot(title: str, x_label: str, y_kind: str) -> Any:
    """A plot in the page's own look, without tools; ``y_kind`` is linear or log."""
    plot = figure(
        title=title,
        x_axis_label=x_label,
        y_axis_type=y_kind,
        height=210,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        output_backend="svg",
        min_border_right=12,
    )
    _calm(plot)
    return plot


def _calm(plot: Any) -> None:
    """No frames, faint lines, the page's own font."""
    font = "system-ui, sans-serif"
    plot.title.text_font, plot.title.text_color = font, INK
    plot.title.text_font_size, plot.title.text_font_style = "13px", "normal"
    plot.outline_line_color = None
    plot.xgrid.grid_line_color, plot.ygrid.grid_line_color = None, FAINT
    plot.background_fill_color = plot.border_fill_color = None
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_line_color = axis.major_tick_line_color = FAINT
        axis.minor_tick_line_color = None
        axis.axis_label_text_font = axis.major_label_text_font = font
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
        axis.axis_label_text_color = axis.major_label_text_color = INK
