"""One bounded reading of run and workers for all open pages; none is taken while none is open."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distributed import Scheduler

from yfccdask.dashboard.live.dask_server import WorkerReading, held_bytes, read_workers
from yfccdask.training.planned_figures import planned_rate

FRESH_SECONDS = 0.45  # for which pages share a reading
MEMORY_SECONDS = 2.0  # at least, between looks at what every worker holds
MOST_SHARE = 0.002  # of a core, for these looks
Snapshot = dict[str, Any]


class Reading(NamedTuple):
    """What components are given.

    Attributes
    ----------
    run : dict
        The controller's snapshot.
    workers : list of WorkerReading
    held : dict
        Bytes by worker's address and layer; it may be some seconds old.
    """

    run: Snapshot
    workers: list[WorkerReading]
    held: dict[str, dict[int, int]]

    @property
    def history(self) -> Snapshot | None:
        """The run's history; None before the first run."""
        return self.run.get("history")

    @property
    def layers(self) -> int:
        """Layers of the run; 0 before the first one."""
        return len(self.history["layers"]) if self.history else 0


@dataclass
class Readings:
    """Takes readings of a scheduler, not more often than pages can use.

    Parameters
    ----------
    controller : yfccdask.training.control.controller.Controller
    scheduler : distributed.Scheduler
    """

    controller: Any
    scheduler: Scheduler
    last: Reading | None = None
    held: dict[str, dict[int, int]] = field(default_factory=dict)
    taken: float = float("-inf")
    memory_due: float = float("-inf")

    def current(self) -> Reading:
        """The last reading, or a new one."""
        now = time.monotonic()
        if self.last is None or now - self.taken > FRESH_SECONDS:
            if now >= self.memory_due:
                self._look_at_memory()
            run, workers = self.controller.snapshot(), read_workers(self.scheduler)
            self.last, self.taken = Reading(run, workers, self.held), now
        return self.last

    def _look_at_memory(self) -> None:
        """What every worker holds; the longer it takes, the longer until the next look."""
        began = time.thread_time()
        workers = self.scheduler.workers.values()
        self.held = {worker.address: held_bytes(worker) for worker in workers}
        cost = time.thread_time() - began
        self.memory_due = time.monotonic() + max(MEMORY_SECONDS, cost / MOST_SHARE)


def active_layers(history: Snapshot) -> list[int]:
    """The layers (from 0) that the newest tick trains."""
    ticks = history["ticks"]
    return [visit[0] for visit in ticks[-1]["visits"]] if ticks else []


def planned_images_per_second(history: Snapshot) -> dict[int, float]:
    """By layer (from 0) that trains now, what the plan expects of it."""
    if not history["plan"]:
        return {}
    active = active_layers(history)
    rate = planned_rate(history["plan"], active, history["block_images"])
    return {} if rate is None else dict.fromkeys(active, rate)
