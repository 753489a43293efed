"""Puts pages and metrics on a scheduler together with the controller (an entry point)."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler

from yfccdask.dashboard.live.dask_server import add_pages
from yfccdask.dashboard.live.documents import TAB, all_documents
from yfccdask.dashboard.live.metrics import add_metrics
from yfccdask.dashboard.live.readings import Readings


def install(controller: Any, scheduler: Scheduler) -> None:
    """Add the pages ``/yfccdask`` and ``/individual-yfccdask-…`` to a scheduler's web server.

    ``controller`` is the `yfccdask.training.control.controller.Controller` that trains there.
    """
    add_pages(scheduler, all_documents(Readings(controller, scheduler)), [TAB])
    add_metrics(scheduler)
