"""Each layer's objective: both terms, raw and smoothed, with what happened to the layer above."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, Range1d

from yfccdask.dashboard.live.component import PerLayer, set_data, set_range
from yfccdask.dashboard.live.plot_style import (
    FONT,
    PALE_INK,
    calm_figure,
    waiting_figure,
)
from yfccdask.dashboard.live.readings import Reading
from yfccdask.training.control.html_status import layer_colour
from yfccdask.training.history import TERMS

TITLE = "Objective"
HEIGHT = 190
SETTLED_SHARE = 0.05  # of a curve at its begin may lie above the plot, where it falls far
STROKE = {"marker": "dash", "angle": 1.5708, "line_width": 1.5, "color": PALE_INK}
COLUMNS = ("mini_batch", "mean", "least", "largest", "smoothed")
STARTS, COPIES = ("x", "y", "text"), ("x", "y")


class TermPlot:
    """One term of one layer's objective against its mini-batches.

    A band from the least to the largest of neighbouring values, their mean, and the running mean;
    a dashed line where the layer above starts, strokes where it is given a new copy of this one.
    """

    def __init__(self, layer: int, term: str) -> None:
        self.layer, self.term = layer, term
        sources = (ColumnDataSource({n: [] for n in names}) for names in (COLUMNS, STARTS, COPIES))
        self.curve, self.start, self.copies = sources
        self.plot = calm_figure(
            f"layer {layer}: {term}, not in training yet",
            HEIGHT,
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
        )
        self._draw(layer_colour(layer))
        self._show_axes(False)

    def _draw(self, colour: str) -> None:
        plot, where = self.plot, {"source": self.curve, "color": colour}
        band = {"y1": "least", "y2": "largest", "alpha": 0.16}
        plot.varea(x="mini_batch", source=self.curve, fill_color=colour, **band)
        plot.line("mini_batch", "mean", alpha=0.45, **where)
        smooth = plot.line("mini_batch", "smoothed", line_width=2.5, **where)
        tips = [("mini-batch", "@mini_batch{0,0}"), ("mean", "@mean{0.000}")]
        plot.add_tools(HoverTool(renderers=[smooth], tooltips=tips, mode="vline"))
        self._draw_marks()
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
        plot.xaxis.ticker.update(desired_num_ticks=5, min_interval=1)
        plot.yaxis.ticker.desired_num_ticks = 4

    def _show_axes(self, visible: bool) -> None:
        self.plot.axis.visible = self.plot.grid.visible = visible

    def _draw_marks(self) -> None:
        plot = self.plot
        plot.vspan("x", source=self.start, line_color=PALE_INK, line_dash="4 3")
        text = {"text_font": value(FONT), "text_font_size": "11px", "text_color": PALE_INK}
        where = {"x_offset": 4, "y_offset": -2, "text_baseline": "top"}
        plot.text("x", "y", "text", source=self.start, **text, **where)
        plot.scatter("x", "y", source=self.copies, size=9, **STROKE)

    def show(self, layer: dict[str, Any]) -> None:
        """Show a layer's history."""
        curve = layer["curves"][self.term]
        if not curve["mean"]:
            return
        self._show_axes(True)
        self.curve.data = {name: np.array(curve[name]) for name in COLUMNS}
        low, high = shown_range(curve)
        set_range(self.plot.y_range, low, high)
        set_range(self.plot.x_range, 0, max(1, layer["mini_batches"]))
        self._show_marks(layer, low, high)
        self.plot.title.text = f"layer {self.layer}: {self.term} {curve['smoothed'][-1]:.4g}"

    def _show_marks(self, layer: dict[str, Any], low: float, high: float) -> None:
        at = layer["next_started"]
        starts = [] if at is None else [at]
        texts = [f"layer {self.layer + 1} starts" for _ in starts]
        set_data(self.start, {"x": starts, "y": [high] * len(starts), "text": texts})
        copied = layer["synchronised"]
        set_data(self.copies, {"x": copied, "y": [low] * len(copied)})


def shown_range(curve: dict[str, list[float]]) -> tuple[float, float]:
    """From which to which value a curve is shown: all of it after its begin, and a margin."""
    first = min(int(len(curve["mean"]) * SETTLED_SHARE), len(curve["mean"]) - 1)
    low, high = min(curve["least"][first:]), max(curve["largest"][first:])
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


class Objective(PerLayer):
    """A row for each layer, a plot for each term."""

    def resize(self, layers: int) -> None:
        """Make the plots of so many layers."""
        self.plots = [[TermPlot(n, term) for term in TERMS] for n in range(1, layers + 1)]
        rows = [
            row(*(each.plot for each in pair), sizing_mode="stretch_width") for pair in self.plots
        ]
        if not rows:
            rows = [column(waiting_figure(TITLE, HEIGHT), sizing_mode="stretch_width")]
        self.root.children = rows

    def show(self, reading: Reading, history: dict[str, Any]) -> None:
        """Show a run's history."""
        for pair, layer in zip(self.plots, history["layers"], strict=True):
            for plot in pair:
                plot.show(layer)
