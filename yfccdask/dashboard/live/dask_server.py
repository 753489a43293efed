"""All that is known here of Dask's own server: its pages, menu, workers and metrics.

These names are private to distributed, and stable since 2018 to 2020; a test asserts what comes
out of them: routes, the menu's entry, and the plots that JupyterLab's extension lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import distributed.http
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from distributed.scheduler import Scheduler, WorkerState
from jinja2 import Environment, FileSystemLoader
from tornado.ioloop import IOLoop

from yfccdask.dashboard.live.task_names import Job, job_of

MOST_TASKS = 8  # of a worker that are looked at
PAGE_TEMPLATE = "simple.html"  # Dask's menu above one plot
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(distributed.http.__file__).with_name("templates")),
)
DocumentMaker = Callable[[Scheduler, dict[str, Any], Document], None]


class WorkerReading(NamedTuple):
    """One worker at a moment.

    Attributes
    ----------
    name, address : str
        The name may be anything that a person gave it.
    memory, limit : int
        Bytes of its process, and how many it may have; 0 for no limit.
    device_memory, device_limit : int
        The same for its GPU; 0 where it has none.
    jobs : tuple of Job
        What it executes.
    """

    name: str
    address: str
    memory: int
    limit: int
    device_memory: int
    device_limit: int
    jobs: tuple[Job, ...]


def add_pages(
    scheduler: Scheduler, documents: Mapping[str, DocumentMaker], tabs: list[str]
) -> bool:
    """Add pages to the web server of a scheduler that runs, and ``tabs`` to its menu.

    Returns whether there is such a server: it may have been started with ``--no-dashboard``.
    ``documents`` are by route, each with a leading slash; a route that is there already stays.
    """
    served = _bokeh_server(scheduler)
    if served is None:
        return False
    new = {route: make for route, make in documents.items() if route not in served.app_paths}
    variables = template_variables(scheduler)
    pages = BokehApplication(new, scheduler, served.prefix, variables)
    scheduler.http_application.add_application(pages)
    pages.initialize(IOLoop.current())
    pages.start()
    served._applications.update(pages._applications)  # what individual-plots.json lists
    _extend_menu(variables, list(new), tabs)
    return True


def _bokeh_server(scheduler: Scheduler) -> BokehTornado | None:
    applications = scheduler.http_application.applications
    return next((app for app in applications if isinstance(app, BokehTornado)), None)


def _extend_menu(variables: dict[str, Any], routes: list[str], tabs: list[str]) -> None:
    """The lists are shared by all pages: what is added here is seen on each."""
    pages, plots = variables["pages"], variables["plots"]
    pages[:] = [page for page in pages if page not in tabs]
    pages[1:1] = tabs  # after the status page
    plots += [
        {"url": route.strip("/"), "name": route.removeprefix("/individual-").replace("-", " ")}
        for route in routes
        if route.startswith("/individual-")
    ]


def use_page_template(document: Document, variables: dict[str, Any]) -> None:
    """Show a document below Dask's menu."""
    document.template = TEMPLATES.get_template(PAGE_TEMPLATE)
    document.template_variables.update(variables)


def read_workers(scheduler: Scheduler) -> list[WorkerReading]:
    """All workers of a scheduler, in the order in which they came."""
    return [_worker_reading(each) for each in scheduler.workers.values()]


def _worker_reading(worker: WorkerState) -> WorkerReading:
    metrics, extra = worker.metrics, worker.extra
    return WorkerReading(
        name=str(worker.name),
        address=worker.address,
        memory=int(metrics.get("memory", 0)),
        limit=int(worker.memory_limit or 0),
        device_memory=int(metrics.get("gpu", {}).get("memory-used", 0)),
        device_limit=int(extra.get("gpu", {}).get("memory-total", 0)),
        jobs=_jobs_of(worker),
    )


def _jobs_of(worker: WorkerState) -> tuple[Job, ...]:
    """What a worker said in its last heartbeat that it executes, else what it was given to do."""
    said = [task for task in worker.executing if task.processing_on is worker]
    names = [task.group_key for task in said[:MOST_TASKS]]
    if not names:
        names = [task.group_key for task, _ in zip(worker.processing, range(1), strict=False)]
    return tuple(job_of(name) for name in names)


def held_bytes(worker: WorkerState) -> dict[int, int]:
    """The bytes of what lies in a worker's memory, by layer (from 1; 0 for no layer).

    It looks at every key that the worker holds.
    """
    found: dict[int, int] = {}
    for task in worker.has_what:
        layer = job_of(task.group_key).layer
        found[layer] = found.get(layer, 0) + task.get_nbytes()
    return found
