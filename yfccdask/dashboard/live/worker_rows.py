"""Plots with a row for every worker; the one of what each does now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, HoverTool, Range1d

from yfccdask.dashboard.live.component import Component, as_columns, set_data, set_range
from yfccdask.dashboard.live.dask_server import WorkerReading
from yfccdask.dashboard.live.pipeline_plot import rows_of
from yfccdask.dashboard.live.plot_style import (
    FONT,
    INK,
    calm_figure,
    waiting_label,
)
from yfccdask.dashboard.live.readings import Reading
from yfccdask.dashboard.live.task_names import OTHER, Job
from yfccdask.data.plain_texts import plain_label
from yfccdask.training.control.html_status import layer_colour

MOST_NAMES = 40  # of workers beside their rows; with more, they are in the tooltips only
LEAST_HEIGHT, MOST_HEIGHT, ROW_HEIGHT = 130, 620, 24
CELLS = ("x", "y", "colour", "alpha", "text", "worker", "what")
OTHER_WORK = "images, rest"


def ordered_workers(reading: Reading) -> list[WorkerReading]:
    """The workers in the plan's order, then those that it doesn't know."""
    plan = (reading.history or {}).get("plan") or {"workers": []}
    place = {address: number for number, address in enumerate(plan["workers"])}
    return sorted(reading.workers, key=lambda worker: place.get(worker.address, len(place)))


class WorkerPlot(Component):
    """A figure with a row for each worker, from the top."""

    def __init__(self, title: str, **options: Any) -> None:
        self.root = calm_figure(title, LEAST_HEIGHT, y_range=Range1d(0.5, -0.5), **options)
        self.waiting = waiting_label(self.root)
        self.root.ygrid.grid_line_color = None

    def fill(self) -> None:
        """Stay as high as the workers' rows."""

    def name_rows(self, workers: list[WorkerReading]) -> None:
        """Make room for the workers and write their names, if they fit."""
        count = len(workers)
        height = min(MOST_HEIGHT, max(LEAST_HEIGHT, 70 + ROW_HEIGHT * count))
        if self.root.height != height:
            self.root.height = height
        set_range(self.root.y_range, max(count, 1) - 0.5, -0.5)
        self.root.yaxis.visible = count <= MOST_NAMES
        names = {n: plain_label(worker.name) for n, worker in enumerate(workers)}
        if self.root.yaxis.major_label_overrides != names:
            self.root.yaxis.ticker = list(names)
            self.root.yaxis.major_label_overrides = names


class WorkersNow(WorkerPlot):
    """Which layer each worker trains or forwards; pale where it holds chunks of the layer."""

    def __init__(self) -> None:
        super().__init__("Workers: what each does now", x_range=["1 trains"])
        self.source = ColumnDataSource({name: [] for name in CELLS})
        shown = self.root.rect(
            "x", "y", width=0.94, height=0.84, source=self.source,
            fill_color="colour", fill_alpha="alpha", line_color=None,
        )  # fmt: skip
        text = {"text_align": "center", "text_baseline": "middle"}
        look = {"text_font_size": "10px", "text_color": INK, "text_font": value(FONT)}
        self.root.text("x", "y", "text", source=self.source, **text, **look)
        tips = [("worker", "@worker"), ("", "@what")]
        self.root.add_tools(HoverTool(renderers=[shown], tooltips=tips))

    def update(self, reading: Reading) -> None:
        """Show what the workers said last."""
        workers = ordered_workers(reading)
        self.name_rows(workers)
        self.waiting.visible = not reading.layers
        if not reading.layers:
            set_data(self.source, {name: [] for name in CELLS})
            return
        columns = [*rows_of(reading.layers), OTHER_WORK]
        if self.root.x_range.factors != columns:
            self.root.x_range.factors = columns
        set_data(self.source, worker_cells(reading, workers, columns))


def worker_cells(
    reading: Reading, workers: list[WorkerReading], columns: list[str]
) -> dict[str, list[Any]]:
    """A cell for every worker and column where it holds, or does, something."""
    held = held_layers(reading)
    cells = [
        cell
        for row, worker in enumerate(workers)
        for cell in cells_of(row, worker, columns, held.get(worker.address, set()))
    ]
    return as_columns(CELLS, cells)


def held_layers(reading: Reading) -> dict[str, set[int]]:
    """By worker's address, the layers (from 1) of which the plan gave it chunks."""
    plan = (reading.history or {}).get("plan") or {"workers": [], "layers": []}
    return {
        address: {n for n, layer in enumerate(plan["layers"], 1) if layer["chunks"][number]}
        for number, address in enumerate(plan["workers"])
    }


def cells_of(
    row: int, worker: WorkerReading, columns: list[str], held: set[int]
) -> Iterator[tuple[Any, ...]]:
    """One worker's cells: full where it does something, pale where it only holds chunks."""
    texts = {column_of(job): job_text(job) for job in worker.jobs}
    for column in columns:
        layer = OTHER if column == OTHER_WORK else int(column.split()[0])
        if column in texts or layer in held:
            text, strength = texts.get(column, ""), 0.85 if column in texts else 0.12
            what = f"layer {column} {text}" if layer else text
            name = plain_label(worker.name)
            yield column, row, layer_colour(layer), strength, text, name, what


def column_of(job: Job) -> str:
    """The column of what a worker does."""
    names = {"train": f"{job.layer} trains", "forward": f"{job.layer} forwards"}
    return names.get(job.kind, OTHER_WORK)


def job_text(job: Job) -> str:
    """What a worker does, in a cell.

    Examples
    --------
    >>> job_text(Job("train", 1, tick=7)), job_text(Job("forward", 1, block=3))
    ('tick 7', 'block 3')
    """
    if job.kind == "train":
        return f"tick {job.tick}"
    return f"block {job.block}" if job.kind == "forward" else job.kind
