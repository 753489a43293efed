"""The pages: all components on ``/yfccdask``, and each on a route of its own for JupyterLab."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from distributed import Scheduler

from yfccdask.dashboard.live.component import Component
from yfccdask.dashboard.live.dask_server import DocumentMaker, use_page_template
from yfccdask.dashboard.live.filter_picture import FilterPicture
from yfccdask.dashboard.live.incidents import Incidents
from yfccdask.dashboard.live.memory_plot import Memory
from yfccdask.dashboard.live.objective import Objective
from yfccdask.dashboard.live.pipeline_plot import PipelinePlot
from yfccdask.dashboard.live.readings import Readings
from yfccdask.dashboard.live.state_header import StateHeader
from yfccdask.dashboard.live.throughput import Throughput
from yfccdask.dashboard.live.worker_rows import WorkersNow

TAB = "yfccdask"
PERIOD = 1000  # ms between updates
MOST_SHARE = 0.01  # of a core, for updates: where they take long, they come less often
PLOTS: dict[str, Callable[[], Component]] = {
    "state": StateHeader,
    "objective": Objective,
    "pipeline": PipelinePlot,
    "workers": WorkersNow,
    "throughput": Throughput,
    "memory": Memory,
    "commits": Incidents,
    "filters": FilterPicture,
}
LEFT = ("objective", "filters", "commits")
RIGHT = ("pipeline", "workers", "throughput", "memory")


class Updates:
    """Updates the components of one open page, within a share of a core."""

    def __init__(self, readings: Readings, components: list[Component]) -> None:
        self.readings, self.components = readings, components
        self.due, self.cost = float("-inf"), 0.0

    def __call__(self) -> None:
        """Update, unless it is too early for that."""
        if time.monotonic() < self.due:
            return
        began = time.thread_time()
        reading = self.readings.current()
        for component in self.components:
            component.update(reading)
        cost, before = time.thread_time() - began, self.cost
        self.due = time.monotonic() + min(cost, before) / MOST_SHARE  # new plots cost once
        self.cost = cost


def all_documents(readings: Readings) -> dict[str, DocumentMaker]:
    """What makes each page, by route."""
    pages: dict[str, DocumentMaker] = {f"/{TAB}": page_maker(readings)}
    for name, plot in PLOTS.items():
        pages[f"/individual-{TAB}-{name}"] = plot_maker(readings, name, plot)
    return pages


def page_maker(readings: Readings) -> DocumentMaker:
    """Makes the page with all components."""

    def make(scheduler: Scheduler, variables: dict[str, Any], document: Document) -> None:
        parts = {name: plot() for name, plot in PLOTS.items()}
        document.title = "yfccdask"
        left, right = ([parts[name].root for name in names] for names in (LEFT, RIGHT))
        sides = row(
            column(*left, sizing_mode="stretch_width"),
            column(*right, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        document.add_root(column(parts["state"].root, sides, sizing_mode="stretch_width"))
        use_page_template(document, variables)
        keep_updated(document, readings, list(parts.values()))

    return make


def plot_maker(readings: Readings, name: str, plot: Callable[[], Component]) -> DocumentMaker:
    """Makes the page of one component."""

    def make(scheduler: Scheduler, variables: dict[str, Any], document: Document) -> None:
        component = plot()
        document.title = f"yfccdask: {name}"
        component.fill()
        document.add_root(component.root)
        keep_updated(document, readings, [component])

    return make


def keep_updated(document: Document, readings: Readings, components: list[Component]) -> None:
    """Update components now, and from time to time as long as their page is open."""
    updates = Updates(readings, components)
    updates()
    document.add_periodic_callback(updates, PERIOD)
