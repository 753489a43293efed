"""What lies in each worker's memory by layer, and how much that may be."""

from __future__ import annotations

from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter, Range1d
from dask.utils import format_bytes

from yfccdask.dashboard.live.component import as_columns, set_data, set_range
from yfccdask.dashboard.live.dask_server import WorkerReading
from yfccdask.dashboard.live.plot_style import INK, LOST, PLANNED
from yfccdask.dashboard.live.readings import Reading
from yfccdask.dashboard.live.worker_rows import WorkerPlot, ordered_workers
from yfccdask.data.plain_texts import plain_label
from yfccdask.training.control.html_status import layer_colour

BARS = ("y", "left", "right", "colour", "worker", "what", "bytes")
POINTS = ("x", "y", "worker", "what")
MARKS = {
    "process": "process",
    "planned": "planned peak",
    "limit": "limit",
    "device": "GPU memory used",
    "device_limit": "GPU memory",
}
STROKE = {"marker": "dash", "size": 16, "angle": 1.5708}
LOOKS: dict[str, dict[str, Any]] = {
    "process": {"marker": "diamond", "size": 10, "color": INK},
    "planned": {**STROKE, "color": PLANNED},
    "limit": {**STROKE, "color": LOST},
    "device": {"marker": "circle", "size": 9, "color": INK},
    "device_limit": {"marker": "circle", "size": 9, "color": INK, "fill_color": None},
}


class Memory(WorkerPlot):
    """What lies in each worker's memory by layer; its process, its GPU, the plan and the limit.

    Bars are the chunks and fields that Dask keeps. A diamond is the whole process, a stroke the
    peak that the plan expects, a red stroke the limit, if it is near; a circle is what is used of
    the GPU's memory where there is one, and an open one all of it.
    """

    def __init__(self) -> None:
        super().__init__("Memory by layer", x_range=Range1d(0, 1))
        self.bars = ColumnDataSource({name: [] for name in BARS})
        self.points = {name: ColumnDataSource({key: [] for key in POINTS}) for name in MARKS}
        self._draw()
        self.root.xaxis.ticker = BasicTicker(
            base=1024, mantissas=[1, 2, 4, 8, 16, 32, 64, 128, 256]
        )
        self.root.xaxis.formatter = NumeralTickFormatter(format="0 b")

    def _draw(self) -> None:
        plot = self.root
        bars = plot.hbar(
            y="y", left="left", right="right", height=0.7, source=self.bars,
            fill_color="colour", fill_alpha=0.7, line_color=None,
        )  # fmt: skip
        tips = [("worker", "@worker"), ("", "@what"), ("bytes", "@bytes{0.00 b}")]
        plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
        drawn = [plot.scatter("x", "y", source=self.points[k], **v) for k, v in LOOKS.items()]
        tips = [("worker", "@worker"), ("", "@what: @x{0.00 b}")]
        plot.add_tools(HoverTool(renderers=drawn, tooltips=tips))

    def update(self, reading: Reading) -> None:
        """Show what the workers hold."""
        self.waiting.visible = not reading.workers
        workers = ordered_workers(reading)
        self.name_rows(workers)
        set_data(self.bars, memory_bars(reading, workers))
        points = memory_points(reading, workers)
        for name, source in self.points.items():
            set_data(source, points[name])
        shown = (points[name]["x"] for name in ("process", "planned", "device"))
        ends = [*self.bars.data["right"], *(x for each in shown for x in each)]
        set_range(self.root.x_range, 0, 1.25 * max(ends, default=1))
        self.root.title.text = memory_title(workers)


def memory_title(workers: list[WorkerReading]) -> str:
    """What the marks are; the GPU's only where there is one."""
    marks = "diamond: process, grey: planned peak"
    if limits := [worker.limit for worker in workers if worker.limit]:
        marks += f", red: limit of {format_bytes(min(limits))}"
    if limits := [worker.device_limit for worker in workers if worker.device_limit]:
        marks += f", circle: GPU, of {format_bytes(min(limits))}"
    return f"Memory by layer ({marks})"


def memory_bars(reading: Reading, workers: list[WorkerReading]) -> dict[str, list[Any]]:
    """Bars of every worker, layer after layer."""
    bars = []
    for row, worker in enumerate(workers):
        end, name = 0, plain_label(worker.name)
        for layer, size in sorted(reading.held.get(worker.address, {}).items()):
            what = f"layer {layer}" if layer else "images and others"
            bars.append((row, end, end + size, layer_colour(layer), name, what, size))
            end += size
    return as_columns(BARS, bars)


def memory_points(
    reading: Reading, workers: list[WorkerReading]
) -> dict[str, dict[str, list[Any]]]:
    """The marks on every worker's row, by what they say; there is none for what is 0."""
    plan = (reading.history or {}).get("plan") or {"workers": [], "peaks": []}
    peaks = dict(zip(plan["workers"], plan["peaks"], strict=True))
    points: dict[str, list[tuple[Any, ...]]] = {name: [] for name in MARKS}
    for row, worker in enumerate(workers):
        for name, value in marked_bytes(worker, peaks).items():
            if value:
                points[name].append((value, row, plain_label(worker.name), MARKS[name]))
    return {name: as_columns(POINTS, each) for name, each in points.items()}


def marked_bytes(worker: WorkerReading, peaks: dict[str, int]) -> dict[str, int]:
    """A worker's marks in bytes."""
    return {
        "process": worker.memory,
        "planned": peaks.get(worker.address, 0),
        "limit": worker.limit,
        "device": worker.device_memory,
        "device_limit": worker.device_limit,
    }
