"""A cluster as the plan sees it: its workers' memory, threads and speed, and the free disk."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from yfccdask.backend.device import library_for
from yfccdask.config import Config
from yfccdask.data.blocks import BlockStore
from yfccdask.geometry import ChunkIndex
from yfccdask.training.planning.calibration import Calibration, measured_speeds
from yfccdask.training.planning.host_speeds import loaded_bytes
from yfccdask.training.planning.planner import network_plan, run_plan
from yfccdask.training.planning.records import USED, RunPlan, Site


async def plan_on(
    client: Client, config: Config, store: BlockStore | None, folder: Path
) -> tuple[RunPlan, list[str]]:
    """Plan a run on a client's cluster as it is now.

    Parameters
    ----------
    client : distributed.Client, asynchronous
    config : Config
    store : BlockStore or None
        None where its number of images is not known yet.
    folder : Path
        Where the run is to be written; it need not exist.

    Returns
    -------
    plan : RunPlan
    addresses : list of str
        Of the workers, in the order of the plan's worker numbers.
    """
    facts = await workers_of(client)
    addresses = sorted(facts)
    site = await site_of(client, config, facts, folder)
    speeds = await calibration_of(client, config, addresses)
    network = network_plan(config, store)
    images = None if store is None else store.images
    plan = await asyncio.to_thread(run_plan, config, network, site, images, speeds)
    return plan, addresses


def at_addresses(plan: RunPlan, addresses: list[str]) -> list[dict[ChunkIndex, str]]:
    """The address of the worker of every chunk, per layer."""
    return [
        {index: addresses[worker] for index, worker in owners.items()} for owners in plan.owners
    ]


async def workers_of(client: Client) -> dict[str, Any]:
    """What the scheduler says of every worker, by address."""
    assert client.scheduler is not None
    return dict((await client.scheduler.identity(n_workers=-1))["workers"])


async def site_of(client: Client, config: Config, facts: dict[str, Any], folder: Path) -> Site:
    """What the cluster has: the least of its workers' memory, the most of their threads.

    A run on GPUs is planned for their memory, and what is streamed for that of the hosts.
    """
    limits = [fact["memory_limit"] for fact in facts.values() if fact["memory_limit"]]
    pauses = (await client.run(pausing_share)).values()
    share = min(1.0, *(pause / USED for pause in pauses))  # a paused worker hangs pinned tasks
    beside = None
    if config.arithmetic.device == "gpu":
        beside = int(share * min(limits)) if limits else None
        limits, share = list((await client.run(device_memory)).values()), 1.0
    return Site(
        len(facts),
        int(share * min(limits)) if limits else None,
        max(fact["nthreads"] for fact in facts.values()),
        str(folder),
        shutil.disk_usage(existing_parent(folder)).free,
        await _scratch_free(client, config),
        beside,
    )


def pausing_share() -> float:
    """On a worker: the share of its memory at which Dask pauses it, 1 if it never does."""
    return float(dask.config.get("distributed.worker.memory.pause") or 1.0)


def device_memory() -> int | None:
    """On a worker: bytes of its GPU's memory."""
    return library_for("gpu").memory()


async def _scratch_free(client: Client, config: Config) -> int | None:
    engine = config.engine
    if "disk" not in (engine.weights, engine.stage_fields):
        return None
    found = await client.run(free_on_worker, engine.scratch)
    return min(int(free) for free in found.values())


def free_on_worker(scratch: str | None, dask_worker: Any) -> int:
    """On a worker: bytes free where its scratch is."""
    return shutil.disk_usage(existing_parent(Path(scratch or dask_worker.local_directory))).free


def existing_parent(path: Path) -> Path:
    """The nearest folder above a path, or itself, that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


async def calibration_of(client: Client, config: Config, addresses: list[str]) -> Calibration:
    """The speed of the cluster's first worker, and the memory of its fullest idle one.

    On a GPU that is 0: the process is in the host's memory, the context in the driver's share.
    """
    first = client.submit(measured_speeds, config, workers=[addresses[0]], pure=False)
    speeds: Calibration = await first
    if config.arithmetic.device == "gpu":
        return replace(speeds, idle_bytes=0)
    idle = await client.run(loaded_bytes, workers=addresses)
    return replace(speeds, idle_bytes=max(idle.values()))
