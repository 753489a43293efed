"""Where the work runs: an embedded local cluster, or a scheduler that is there already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
from dask.core import flatten
from distributed import Client, LocalCluster, futures_of, wait

from yfccdask.errors import ClusterError

TRAINING_SETTINGS = {
    "distributed.scheduler.work-stealing": False,  # a moved chunk is a moved model
    "distributed.scheduler.no-workers-timeout": "60s",  # a chunk's worker is gone for good
    "distributed.admin.low-level-log-length": 100,  # messages are kept whole, with their graphs
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,  # the plan bounds memory; a paused worker hangs pins
    "distributed.comm.timeouts.connect": "60s",
    # Dask trims freed memory at once by default, which also switches glibc's own adjustment off:
    # every buffer over 128 kB is then mapped and faulted in again at each use.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}


@dataclass(frozen=True)
class ClusterRequest:
    """What was asked for: an address or a scheduler file, or workers of one's own.

    ``workers`` are single-threaded processes; ``memory`` is per worker, as Dask reads it;
    ``security`` is a `distributed.Security` with the TLS files of a scheduler that asks for them.
    """

    scheduler: str | None = None
    scheduler_file: str | None = None
    workers: int | None = None
    memory: str | None = None
    processes: bool = True
    security: Any = None


@asynccontextmanager
async def connect(request: ClusterRequest) -> AsyncIterator[Client]:
    """An asynchronous client of the cluster that was asked for; an embedded one ends with it."""
    if request.scheduler or request.scheduler_file:
        async with await _attached(request) as client:
            yield client
        return
    with dask.config.set(TRAINING_SETTINGS):
        async with (
            LocalCluster(
                n_workers=request.workers or dask.system.CPU_COUNT,
                threads_per_worker=1,
                processes=request.processes,
                memory_limit=request.memory or "auto",
                host="127.0.0.1",
                protocol="tcp",
                dashboard_address="127.0.0.1:0",
                asynchronous=True,
                silence_logs=logging.WARNING,
            ) as cluster,
            Client(cluster, asynchronous=True, set_as_default=False) as client,
        ):
            try:
                yield client
            finally:
                if request.processes:
                    with suppress(OSError, TimeoutError):
                        await asyncio.wait_for(client.run(hush_worker), timeout=5)


def hush_worker() -> None:
    """On a worker whose work is over: taking the cluster down is no news.

    A heartbeat under way when the scheduler closes would be logged as an error, with a traceback.
    """
    for name in ("distributed.worker", "distributed.core", "distributed.nanny"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def same_cluster(client: Client) -> ClusterRequest:
    """The request for a second client of a client's cluster, TLS files included."""
    return ClusterRequest(scheduler=client.scheduler.address, security=client.security)


def started(client: Client, *collections: Any, priority: int = 0) -> Any:
    """Persist collections as they are built: optimizing a graph would lose its tasks' places.

    Tasks of a higher ``priority`` go first on their workers.
    """
    persisted = client.persist(list(collections), optimize_graph=False, priority=priority)
    return persisted[0] if len(collections) == 1 else persisted


async def compute_chunks(client: Client, array: da.Array) -> list[Any]:
    """All chunks of an array that is only a graph yet, in the order of their indices."""
    return await gather_chunks(client, started(client, array))


async def gather_chunks(client: Client, array: da.Array) -> list[Any]:
    """All chunks of a persisted array, in the order of their indices."""
    futures = {future.key: future for future in futures_of(array)}
    keys = list(flatten(array.__dask_keys__()))
    return list(await client.gather([futures[key] for key in keys]))


async def computed(client: Client, *collections: Any) -> None:
    """Wait until persisted collections are computed; raises what the first failed task raised."""
    futures = futures_of(collections)
    with client.as_current():
        await wait(futures)
    for future in futures:
        if future.status != "finished":
            await future


async def _attached(request: ClusterRequest) -> Client:
    """A client of a scheduler that is there already, and has workers."""
    options = {"address": request.scheduler, "scheduler_file": request.scheduler_file}
    named = {key: value for key, value in options.items() if value}
    if request.security is not None:
        named["security"] = request.security
    where = request.scheduler or request.scheduler_file
    if request.scheduler_file and not Path(request.scheduler_file).is_file():
        raise ClusterError(
            f"expected the file that a Dask scheduler wrote at {where}, found none: is it running?"
        )
    try:
        client = await Client(asynchronous=True, set_as_default=False, timeout="20s", **named)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"expected a Dask scheduler at {where}, found none ({error}): is it running, and can "
            "this machine reach it?"
        ) from None
    if not (await client.scheduler.identity())["workers"]:
        await client.close()
        raise ClusterError(f"expected workers at {where}, found none: start `dask worker` first")
    return client
