"""``train``: from a configuration and a store to a finished run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client

from yfccdask.config import Config, load_config
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.runs import Run, create_run, refuse_existing
from yfccdask.training.clusters import ClusterRequest, connect, same_cluster
from yfccdask.training.inputs import check_staging, check_store
from yfccdask.training.loop import OnEvent, Trainer, layouts_of
from yfccdask.training.provenance import run_provenance

Result = TypeVar("Result")


def train(
    config: Config | str | Path,
    data: BlockStore | str | Path,
    run: str | Path,
    *,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    on_event: OnEvent = lambda event: None,
    on_connect: OnEvent = lambda facts: None,
) -> Run:
    """Train a network on a block store, layer after layer.

    Parameters
    ----------
    config : Config, preset's name or path
    data : BlockStore or path
    run : path
        The run's folder; it must not exist.
    client : distributed.Client, optional
        Train on this client's cluster.
    cluster : ClusterRequest, optional
        Otherwise where to train; by default an embedded cluster with a process per core.
    on_event : callable, optional
        Given every event as it is recorded.
    on_connect : callable, optional
        Given ``{"scheduler": address, "dashboard": link, "workers": number}`` at the start.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, StoreError, RunError
        Before anything is written.
    Diverged
        If an objective is not finite; the run keeps its events and its last commit.
    """
    config = config if isinstance(config, Config) else load_config(config)
    store = open_store(data)
    check_store(config, store)
    path = refuse_existing(run)
    if client is not None:
        cluster = same_cluster(client)
    session = _session(config, store, path, cluster or ClusterRequest(), on_event, on_connect)
    return run_blocking(session)


async def _session(
    config: Config,
    store: BlockStore,
    path: Path,
    cluster: ClusterRequest,
    on_event: OnEvent,
    on_connect: OnEvent,
) -> Run:
    async with connect(cluster) as client:
        facts = (await client.scheduler.identity())["workers"].values()
        check_staging(config, store, sum(fact["memory_limit"] or math.inf for fact in facts))
        workers = max(1, len(facts))
        address = client.scheduler.address
        link = client.dashboard_link
        on_connect({"scheduler": address, "dashboard": link, "workers": workers})
        run = create_run(path, config, run_provenance(store))
        trainer = Trainer(client, run, store, layouts_of(run, workers), on_event)
        await trainer.train()
    return run


def with_client(
    cluster: ClusterRequest, work: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    """Call a blocking function with ``client=`` a client of the cluster that was asked for."""

    async def session() -> Result:
        async with connect(cluster) as own:
            return await asyncio.to_thread(_call, same_cluster(own), work, *arguments, **options)

    return run_blocking(session())


def _call(
    cluster: ClusterRequest, work: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    with Client(cluster.scheduler, security=cluster.security, set_as_default=False) as client:
        return work(*arguments, client=client, **options)


def run_blocking(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also where an event loop runs already (as in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
