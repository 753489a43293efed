"""What all components have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.layouts import column
from bokeh.models import ColumnDataSource

from yfccdask.dashboard.live.plot_style import fill_height
from yfccdask.dashboard.live.readings import Reading


class Component:
    """A part of a page: a root, and an update that is given a reading.

    ``update`` changes only what has changed: what stays the same is not sent to the browser.
    """

    root: Any

    def update(self, reading: Reading) -> None:
        """Show a reading."""
        raise NotImplementedError

    def fill(self) -> None:
        """Be as high as the window, on a page of its own."""
        fill_height(self.root)


class PerLayer(Component):
    """A component with a row of plots for each layer, however many a run has."""

    def __init__(self) -> None:
        self.root = column(sizing_mode="stretch_width")
        self.version: Any = None
        self.fills = False
        self.resize(0)

    def fill(self) -> None:
        """Be as high as the window, whatever plots there will be."""
        self.fills = True
        super().fill()

    def resize(self, layers: int) -> None:
        """Make the plots of so many layers."""
        raise NotImplementedError

    def show(self, reading: Reading, history: dict[str, Any]) -> None:
        """Show the history of a run that has as many layers as there are rows."""
        raise NotImplementedError

    def update(self, reading: Reading) -> None:
        """Show a reading, in new plots where another run has other layers."""
        history = reading.history
        version = (reading.run.get("run"), reading.layers, history and history["version"])
        if version == self.version:
            return
        if self.version is None or version[:2] != self.version[:2]:
            self.resize(reading.layers)
            if self.fills:
                self.fill()
        self.version = version
        if history:
            self.show(reading, history)


def set_data(source: ColumnDataSource, data: dict[str, Any]) -> None:
    """Put lists into a source, unless they are what it has."""
    if source.data != data:
        source.data = data


def set_range(span: Any, start: float, end: float) -> None:
    """Set a range, unless it is so already."""
    if (span.start, span.end) != (start, end):
        span.update(start=start, end=end)


def as_columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Rows as a source's columns.

    Examples
    --------
    >>> as_columns(("x", "y"), [(1, 2), (3, 4)])
    {'x': [1, 3], 'y': [2, 4]}
    >>> as_columns(("x", "y"), [])
    {'x': [], 'y': []}
    """
    values = map(list, zip(*rows, strict=True)) if rows else ([] for _ in names)
    return dict(zip(names, values, strict=True))
