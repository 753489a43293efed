"""``train`` and ``resume``: from a configuration and a store, or a commit, to a finished run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client

from yfccdask.config import Config, load_config
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import latest_commit
from yfccdask.data.runs import Run, create_run, open_run, refuse_existing
from yfccdask.errors import RunError, StoreError
from yfccdask.training.clusters import ClusterRequest, connect, same_cluster
from yfccdask.training.inputs import check_store
from yfccdask.training.loop import OnEvent, Trainer
from yfccdask.training.planning import at_addresses, plan_on, refuse
from yfccdask.training.provenance import differences, run_provenance, worker_facts

Result = TypeVar("Result")


def train(
    config: Config | str | Path,
    data: BlockStore | str | Path,
    run: str | Path,
    *,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    force: bool = False,
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
    force : bool
        Train although the plan refuses.
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
    PlanRefused
        Where the run does not fit the workers' memory or the disk; likewise.
    Diverged
        If an objective is not finite; the run keeps its events and its last commit.
    """
    config = config if isinstance(config, Config) else load_config(config)
    store = open_store(data)
    check_store(config, store)
    path = refuse_existing(run)
    if client is not None:
        cluster = same_cluster(client)
    where = (path, config)
    session = _session(store, where, cluster or ClusterRequest(), force, on_event, on_connect)
    return run_blocking(session)


def resume(
    run: Run | str | Path,
    *,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    force: bool = False,
    on_event: OnEvent = lambda event: None,
    on_connect: OnEvent = lambda facts: None,
) -> Run:
    """Go on with a run from its last commit, to the same bits as if it had never stopped.

    The configuration and the store are the run's own; workers may be others, and more or fewer. A
    run without a commit starts again from its first tick.

    Parameters
    ----------
    run : Run or path
    client, cluster, force, on_event, on_connect
        As for `train`.

    Raises
    ------
    RunError
        If it is no run, or one that has finished.
    StoreError
        If the store is gone, or is not the one that the run was begun with.
    DamagedCommit, PlanRefused, LostChunk, Diverged
    """
    run = open_run(run)
    commit = latest_commit(run.path)
    if commit is not None and commit.finished:
        raise RunError(f"{run.path}: expected a run to go on with, found one that has finished")
    store = store_of(run)
    if client is not None:
        cluster = same_cluster(client)
    session = _session(store, run, cluster or ClusterRequest(), force, on_event, on_connect)
    return run_blocking(session)


def store_of(run: Run) -> BlockStore:
    """The store that a run was begun with.

    Raises
    ------
    StoreError
        If it is gone, or another one lies there.
    """
    recorded = run.provenance["store"]
    store = open_store(recorded["path"])
    if store.digest != recorded["digest"]:
        raise StoreError(
            f"{store.path}: expected the store that the run was begun with, of digest "
            f"{recorded['digest']}, found {store.digest}: put that store back"
        )
    return store


async def _session(
    store: BlockStore,
    where: Run | tuple[Path, Config],
    cluster: ClusterRequest,
    force: bool,
    on_event: OnEvent,
    on_connect: OnEvent,
) -> Run:
    """Train a new run at a path, or go on with one that is there."""
    path, config = (where.path, where.config) if isinstance(where, Run) else where
    async with connect(cluster) as client:
        plan, addresses = await plan_on(client, config, store, path)
        if not force:
            refuse(plan)
        link = client.dashboard_link
        place = {"scheduler": client.scheduler.address, "dashboard": link}
        on_connect({**place, "workers": len(addresses)})
        facts, owners = await worker_facts(client), at_addresses(plan, addresses)
        run = where if isinstance(where, Run) else None
        if run is None:
            run = create_run(path, config, run_provenance(store, facts))
        trainer = Trainer(client, run, store, list(plan.layouts), owners, on_event)
        if isinstance(where, Run):
            for text in differences(run.provenance, facts):
                trainer.log("warning", text=text)
            trainer.go_on_from(latest_commit(run.path))
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
