"""``train`` and ``resume``: from a configuration and a store, or a commit, to a finished run."""

from __future__ import annotations

import asyncio
import os
import platform
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client

from yfccdask.config import Config, load_config
from yfccdask.config.loading import parse_config
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.run_locks import holder_of
from yfccdask.data.runs import Run, open_run, refuse_existing
from yfccdask.errors import ClusterError, ConfigError
from yfccdask.training.clusters import ClusterRequest, connect, same_cluster
from yfccdask.training.control.controller import Controller, resumable
from yfccdask.training.control.live import LiveRun, outcome
from yfccdask.training.control.stop_signals import on_stop_signals
from yfccdask.training.inputs import check_store
from yfccdask.training.loop import OnEvent

Result = TypeVar("Result")
HERE = (
    "the scheduler lives in this process: closing it (a notebook's kernel, say) ends the run, and "
    "`yfccdask resume` goes on with it; for one that outlives this process start `dask scheduler`"
)


def train(
    config: Config | str | Path,
    data: BlockStore | str | Path,
    run: str | Path,
    *,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    force: bool = False,
    follow: bool = True,
    on_event: OnEvent = lambda event: None,
    on_connect: OnEvent = lambda facts: None,
) -> Run:
    """Train a network on a block store, layer after layer or staggered.

    A controller on the cluster's scheduler trains; this function starts the run and follows it. On
    an embedded cluster the run ends with this process, elsewhere it goes on without it.

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
    follow : bool
        Wait for the run's end; otherwise return once it has begun.
    on_event : callable, optional
        Given every event as it is recorded.
    on_connect : callable, optional
        Given ``{"scheduler": address, "dashboard": link, "workers": number,
        "ends_with_this_process": bool}`` at the start.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError, StoreError, RunError
        Before anything is written.
    PlanRefused
        Where the run does not fit the workers' memory or the disk; likewise.
    ClusterBusy, VersionMismatch
        Where the cluster trains another run, or runs other versions.
    Diverged
        If an objective is not finite; the run keeps its events and its last commit.
    Stopped, LostChunk, DiskFull
        Where it ended early; `resume` goes on with it.
    """
    config = config if isinstance(config, Config) else load_config(config)
    cluster = _cluster(client, cluster)
    config = on_device(config, cluster.device)
    cluster = cluster_for(config, cluster)
    store = open_store(data)
    check_store(config, store)
    path = refuse_existing(run).absolute()
    tree, where = config.model_dump(mode="json"), str(Path(store.path).absolute())
    what = {"config": tree, "store": where, "run": str(path), "force": force}
    return run_blocking(_trained("start", what, cluster, on_event, on_connect, follow))


def resume(
    run: Run | str | Path,
    *,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    force: bool = False,
    follow: bool = True,
    on_event: OnEvent = lambda event: None,
    on_connect: OnEvent = lambda facts: None,
) -> Run:
    """Go on with a run to the same bits as if it had never stopped.

    A run that is paused on the cluster goes on where it is; any other one from its last commit. The
    configuration and the store are the run's own; workers may be others, and more or fewer. A
    run without a commit starts again from its first tick.

    Parameters
    ----------
    run : Run or path
    client, cluster, force, follow, on_event, on_connect
        As for `train`.

    Raises
    ------
    RunError
        If it is no run, or one that has finished.
    StoreError
        If the store is gone, or is not the one that the run was begun with.
    DamagedCommit, PlanRefused, LostChunk, Diverged
    """
    found = resumable(Path(run.path if isinstance(run, Run) else run).absolute())
    path, device = found.path, found.config.arithmetic.device
    what = {"run": str(path), "force": force}
    held = holder_of(path)
    if held and client is None and cluster is None:  # it may be paused there
        cluster = ClusterRequest(scheduler=held["scheduler"])
    cluster = _cluster(client, cluster)
    if cluster.device not in (None, device):
        raise ConfigError(
            f"{path}: expected device {device}, on which the run was begun, found "
            f"{cluster.device}: another one gives other bits; leave --device away"
        )
    cluster = cluster_for(found.config, cluster)
    return run_blocking(_trained("resume", what, cluster, on_event, on_connect, follow))


def on_device(config: Config, device: str | None) -> Config:
    """The configuration for the device that was asked for, ``cpu`` or ``gpu``; None leaves it.

    Raises
    ------
    ConfigError
        If it can't be trained there.
    """
    if device in (None, config.arithmetic.device):
        return config
    tree = config.model_dump(mode="json")
    return parse_config({**tree, "arithmetic": {**tree["arithmetic"], "device": device}})


def cluster_for(config: Config, cluster: ClusterRequest) -> ClusterRequest:
    """The cluster that a configuration needs: GPUs of one's own are then asked for by name."""
    ours = cluster.embedded and cluster.processes and config.arithmetic.device == "gpu"
    return replace(cluster, device="gpu") if ours else cluster


def _cluster(client: Client | None, cluster: ClusterRequest | None) -> ClusterRequest:
    return same_cluster(client) if client is not None else cluster or ClusterRequest()


async def _trained(
    command: str,
    what: dict[str, Any],
    cluster: ClusterRequest,
    on_event: OnEvent,
    on_connect: OnEvent,
    follow: bool,
) -> Run:
    """Send a command to the cluster's controller, and follow the run to its end."""
    if cluster.embedded and not follow:
        raise ClusterError(
            "expected a scheduler that stays, to train without following; found an embedded "
            "cluster, which ends with this process: name one with --scheduler"
        )
    async with connect(cluster) as client:
        live = await LiveRun(client).installed()
        place = await _place(client, live)
        if place["ends_with_this_process"] and not cluster.embedded:
            warnings.warn(HERE, stacklevel=2)
        on_connect(place)
        with on_stop_signals(_stopper(live), interrupt=cluster.embedded):
            try:
                events = await live.begin(command, **what)
                if not follow:
                    return open_run(what["run"])
                return await outcome(what["run"], events, on_event)
            finally:
                if cluster.embedded:
                    await client.run_on_scheduler(stop_controller)


async def _place(client: Client, live: LiveRun) -> dict[str, Any]:
    """Where a run is trained, for a person to read."""
    status = await live.ask("status")
    here = (status["host"], status["pid"]) == (platform.node(), os.getpid())
    return {
        "scheduler": client.scheduler.address,
        "dashboard": client.dashboard_link,
        "workers": len((await client.scheduler.identity(n_workers=-1))["workers"]),
        "ends_with_this_process": here,
    }


def _stopper(live: LiveRun) -> Callable[[str], None]:
    """What a signal does: ask the controller to stop; the follower sees the run's end."""
    asked: set[asyncio.Task[Any]] = set()

    def stop(name: str) -> None:
        asked.add(asyncio.create_task(live.ask("stop")))

    return stop


async def stop_controller(dask_scheduler: Any) -> None:
    """On an embedded scheduler: commit what still trains, before its workers go."""
    await dask_scheduler.plugins[Controller.name].stopped()


def on_cluster(cluster: ClusterRequest, work: Callable[[LiveRun], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with the run that a cluster trains, whether it has workers or not."""

    async def session() -> Any:
        async with connect(cluster, workers=False) as client:
            return await work(LiveRun(client))

    return run_blocking(session())


def with_client(
    cluster: ClusterRequest, work: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    """Call a blocking function with ``client=`` a client of the cluster that was asked for.

    The work is for cores, also where a run is to be trained on GPUs.
    """

    async def session() -> Result:
        async with connect(replace(cluster, device=None)) as own:
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
