"""A client of the cluster that was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import dask
from distributed import Client
from distributed.deploy import Cluster

from yfccdask.errors import ClusterError
from yfccdask.training.clusters.embedded import TerminatedByOwner, embedded_cluster, hush_worker
from yfccdask.training.clusters.requested import ClusterRequest
from yfccdask.training.dask_settings import TRAINING_SETTINGS

CONNECT_TIMEOUT = "20s"  # for a scheduler that should be there
AWAITED_SECONDS = 600.0  # for workers that are being started
LOOK_SECONDS = 0.2


@asynccontextmanager
async def connect(request: ClusterRequest, workers: bool = True) -> AsyncIterator[Client]:
    """An asynchronous client of the cluster that was asked for; an embedded one ends with it.

    Parameters
    ----------
    request : ClusterRequest
    workers : bool
        Whether a cluster that runs already must have workers.

    Raises
    ------
    ClusterError
    """
    if not request.embedded:
        async with await _attached(request, workers) as client:
            yield client
        return
    with dask.config.set(TRAINING_SETTINGS):
        async with (
            closed_patiently(embedded_cluster(request)) as cluster,
            Client(cluster, asynchronous=True, set_as_default=False) as client,
        ):
            if request.processes:
                await client.register_plugin(TerminatedByOwner())
            try:
                yield client
            finally:
                if request.processes:
                    with suppress(OSError, TimeoutError):
                        await asyncio.wait_for(client.run(hush_worker), timeout=5)


@asynccontextmanager
async def closed_patiently(cluster: Cluster) -> AsyncIterator[Cluster]:
    """A cluster that may take longer to end than Dask waits (a busy machine): its work is done."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, cluster)
        yield await cluster.__aenter__()


async def _close(cluster: Cluster) -> None:
    with suppress(TimeoutError):
        await cluster.close()


def same_cluster(client: Client) -> ClusterRequest:
    """The request for a second client of a client's cluster, TLS files included."""
    return ClusterRequest(scheduler=client.scheduler.address, security=client.security)


async def _attached(request: ClusterRequest, workers: bool) -> Client:
    """A client of a scheduler that is there already, and has ``workers``."""
    options = {"address": request.scheduler, "scheduler_file": request.scheduler_file}
    named = {key: value for key, value in options.items() if value}
    if request.transport is not None:
        named["security"] = request.transport
    where = request.scheduler or request.scheduler_file
    if request.scheduler_file:
        await _file_there(Path(request.scheduler_file), bool(request.await_workers))
    try:
        client = Client(asynchronous=True, set_as_default=False, timeout=CONNECT_TIMEOUT, **named)
        try:
            await client
        except BaseException:
            await client.close()
            raise
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"expected a Dask scheduler at {where}, found none ({error}): is it running, and can "
            "this machine reach it?"
        ) from None
    try:
        await _workers_there(client, request, workers)
    except BaseException:
        await client.close()
        raise
    return client


async def _file_there(file: Path, awaited: bool) -> None:
    """Wait for the file of a scheduler that is being started; others have it already."""
    deadline = time.monotonic() + (AWAITED_SECONDS if awaited else 0)
    while not file.is_file():
        if time.monotonic() >= deadline:
            raise ClusterError(
                f"expected the file that a Dask scheduler wrote at {file}, found none: is it "
                "running?"
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _workers_there(client: Client, request: ClusterRequest, workers: bool) -> None:
    """Workers, and as many as are awaited."""
    where, wanted = client.scheduler.address, request.await_workers or 0
    with suppress(TimeoutError):
        if wanted:
            await client.wait_for_workers(wanted, timeout=AWAITED_SECONDS)
    found = len((await client.scheduler.identity(n_workers=-1))["workers"])
    if found < wanted:
        raise ClusterError(
            f"expected {wanted} workers at {where} within {AWAITED_SECONDS:.0f} s, found {found}: "
            "look at their logs"
        )
    if workers and not found:
        raise ClusterError(f"expected workers at {where}, found none: start `dask worker` first")
