"""Images/s and Tflop/s of each layer, against what the plan expects."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    DatetimeTickFormatter,
    NumeralTickFormatter,
    Span,
)

from yfccdask.dashboard.live.component import PerLayer
from yfccdask.dashboard.live.plot_style import PLANNED, calm_figure, waiting_figure
from yfccdask.dashboard.live.readings import Reading, planned_images_per_second
from yfccdask.training.control.html_status import layer_colour, rate_text

TITLE = "Images per second"
HEIGHT = 150
SHORTEST_SPAN = 10_000  # ms on an axis of time
CLOCK = {"seconds": "%H:%M:%S", "minsec": "%H:%M:%S", "minutes": "%H:%M", "hourmin": "%H:%M"}


class PacePlot:
    """One layer's images/s over its last blocks; dashed what the plan expects."""

    def __init__(self, layer: int) -> None:
        self.layer, self.expected = layer, None  # type: int, float | None
        self.source = ColumnDataSource({"time": [], "rate": []})
        self.plot = calm_figure(f"layer {layer}", HEIGHT, x_axis_type="datetime")
        colour = layer_colour(layer)
        self.plot.line("time", "rate", source=self.source, color=colour, line_width=2)
        self.planned = Span(dimension="width", line_color=PLANNED, line_dash="4 3", visible=False)
        self.plot.add_layout(self.planned)
        self.plot.y_range.start, self.plot.x_range.min_interval = 0, SHORTEST_SPAN
        self.plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
        self.plot.yaxis.ticker.desired_num_ticks = 3
        self.plot.xaxis.formatter = DatetimeTickFormatter(**CLOCK)

    def show(self, layer: dict[str, Any], facts: dict[str, Any], planned: float | None) -> None:
        """Show a layer's pace; ``planned`` in images/s where it trains now."""
        pace = layer["pace"]
        rates = np.array(pace["images_per_second"], float)  # None becomes nan
        self.source.data = {"time": 1000 * np.array(pace["time"]), "rate": rates}
        self.expected = planned or self.expected
        if self.expected is not None:
            self.planned.update(location=self.expected, visible=True)
        known = rates[~np.isnan(rates)]
        now = float(known[-1]) if known.size else None
        self.plot.title.text = pace_title(self.layer, now, self.expected, facts["flop_per_image"])


def pace_title(layer: int, now: float | None, planned: float | None, flop: int) -> str:
    """What a layer does in a line.

    Examples
    --------
    >>> pace_title(1, 120.0, 150.0, 15_300_000_000)
    'layer 1: 120 images/s, 1.84 Tflop/s; plan 150 images/s (80 %)'
    >>> pace_title(2, None, None, 1)
    'layer 2: not in training yet'
    """
    if now is None:
        return f"layer {layer}: not in training yet"
    text = f"layer {layer}: {rate_text(now)} images/s, {flop_text(now * flop)}"
    if planned:
        text += f"; plan {rate_text(planned)} images/s ({100 * now / planned:.0f} %)"
    return text


def flop_text(rate: float) -> str:
    """Operations a second in a unit that suits them."""
    for unit, size in (("Tflop/s", 1e12), ("Gflop/s", 1e9)):
        if rate >= 0.1 * size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate / 1e6:.3g} Mflop/s"


class Throughput(PerLayer):
    """A plot for each layer."""

    def resize(self, layers: int) -> None:
        """Make the plots of so many layers."""
        self.plots = [PacePlot(number) for number in range(1, layers + 1)]
        figures = [each.plot for each in self.plots]
        if not figures:
            figures = [waiting_figure(TITLE, HEIGHT)]
        self.root.children = figures

    def show(self, reading: Reading, history: dict[str, Any]) -> None:
        """Show a run's history."""
        if not history["plan"]:
            return
        planned = planned_images_per_second(history)
        layers = zip(self.plots, history["layers"], history["plan"]["layers"], strict=True)
        for number, (plot, layer, facts) in enumerate(layers):
            plot.show(layer, facts, planned.get(number))
