"""Training's settings on schedulers and workers that run already, where configuration is too late.

Dask reads most settings once, when a process starts. What can be changed later is changed for as
long as a run trains, and put back: others may use the cluster afterwards.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Scheduler, Status, Worker, WorkerPlugin
from distributed.protocol.pickle import dumps
from zict import Buffer

from yfccdask.training.dask_settings import TRAINING_SETTINGS

ANSWER_SECONDS = 10.0  # a worker that hangs does not hold up the others
AT_START_ONLY = ("distributed.admin.",)  # logs are as long as they were made
CONNECT = "distributed.comm.timeouts.connect"
NO_WORKERS = "distributed.scheduler.no-workers-timeout"
FRACTIONS = ("target", "spill", "pause")
MALLOC = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}  # mallopt's numbers
logger = logging.getLogger("yfccdask.controller")


def can_be_set_late(name: str) -> bool:
    """Whether a run sets one of `TRAINING_SETTINGS` itself, in processes that run already.

    Examples
    --------
    >>> can_be_set_late("distributed.worker.memory.pause")
    True
    """
    return not name.startswith(AT_START_ONLY)


@asynccontextmanager
async def in_force(scheduler: Scheduler) -> AsyncIterator[None]:
    """Keep a scheduler and all its workers, those to come too, to training's settings."""
    reached = {name: v for name, v in TRAINING_SETTINGS.items() if can_be_set_late(name)}
    found = scheduler.no_workers_timeout, scheduler.idle_timeout
    plugin = TrainingWorker()
    with dask.config.set(reached):
        scheduler.no_workers_timeout = parse_timedelta(TRAINING_SETTINGS[NO_WORKERS])
        scheduler.idle_timeout = None  # it would end a paused run
        stole = await _stealing_stopped(scheduler)
        adding = scheduler.register_worker_plugin(
            None, dumps(plugin), name=plugin.name, idempotent=False
        )
        await _on_workers(adding)
        try:
            yield
        finally:
            await _on_workers(scheduler.unregister_worker_plugin(None, name=plugin.name))
            scheduler.no_workers_timeout, scheduler.idle_timeout = found
            scheduler.idle_since = None
            if stole:
                await scheduler.extensions["stealing"].start()


async def _stealing_stopped(scheduler: Scheduler) -> bool:
    """Stop the stealing of work; whether there was any."""
    if "stealing" not in scheduler.periodic_callbacks:
        return False
    with suppress(TimeoutError):  # what is being stolen now may come from a worker that hangs
        await asyncio.wait_for(scheduler.extensions["stealing"].stop(), ANSWER_SECONDS)
    return True


async def _on_workers(telling: Awaitable[dict[str, Any]]) -> None:
    """Wait until all workers are told; say which ones could not do it."""
    try:
        answers = await asyncio.wait_for(telling, ANSWER_SECONDS)
    except (TimeoutError, OSError, ValueError) as error:  # ValueError: the plugin is gone already
        logger.warning("not all workers took training's settings: %r", error)
        return
    for address, answer in answers.items():
        if answer.get("status") != "OK":
            logger.warning("%s did not take training's settings: %s", address, answer.get("text"))


class TrainingWorker(WorkerPlugin):
    """Training's settings on a worker, until the plugin is taken away again.

    Nothing is spilled and the worker isn't paused. What concerns the whole process stays: it is
    patient with connections, and its freed memory isn't trimmed at once.
    """

    name = "yfccdask-training-settings"

    def setup(self, worker: Worker) -> None:
        """On a worker: change, and remember what was."""
        manager = worker.memory_manager
        names = [f"memory_{name}_fraction" for name in FRACTIONS]
        self.found = {name: getattr(manager, name) for name in names}
        for name in names:
            setattr(manager, name, False)
        if worker.status == Status.paused:  # nothing else would wake it now
            worker.status = Status.running
        self.spill_above = spill_above(worker, math.inf)
        if parse_timedelta(dask.config.get(CONNECT)) < parse_timedelta(TRAINING_SETTINGS[CONNECT]):
            dask.config.set({CONNECT: TRAINING_SETTINGS[CONNECT]})
        keep_freed_memory()

    def teardown(self, worker: Worker) -> None:
        """On a worker: as it was."""
        for name, value in self.found.items():
            setattr(worker.memory_manager, name, value)
        if self.spill_above is not None:
            spill_above(worker, self.spill_above)


def spill_above(worker: Worker, limit: float) -> float | None:
    """Set the bytes above which a worker's store spills; what it was, None where it doesn't.

    dask-cuda's store has a part for host memory, which spills like Dask's own.
    """
    store = getattr(worker.data, "host_buffer", worker.data)
    if not isinstance(store, Buffer):
        return None
    found, store.n = store.n, limit
    return float(found)


def keep_freed_memory() -> bool:
    """Undo a nanny's trimming of freed memory in this process; whether there was any to undo."""
    wanted = {
        name: TRAINING_SETTINGS[f"distributed.nanny.pre-spawn-environ.{name}"] for name in MALLOC
    }
    set_here = {name: int(os.environ.get(name) or 0) for name in wanted}
    if not any(set_here.values()) or all(set_here[name] >= wanted[name] for name in wanted):
        return False
    with suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        for name, number in MALLOC.items():
            if library.mallopt(number, wanted[name]):
                os.environ[name] = str(wanted[name])  # doctor looks there
    return True
