"""A training run that is watched: its plan, its events and its workers' high-water marks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.plan_memory import high_water, reset_high_water
from yfccdask.backend import use_one_blas_thread
from yfccdask.config import Config
from yfccdask.data import BlockStore, open_store, write_store
from yfccdask.data.digests import digest
from yfccdask.data.runs import Run, create_run
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.loop import Trainer
from yfccdask.training.planning import RunPlan, at_addresses, plan_on
from yfccdask.training.provenance import run_provenance, worker_facts


@dataclass(frozen=True)
class WatchedRun:
    """What a watched run left behind."""

    run: Run
    plan: RunPlan
    marks: list[int]
    sgemm_rate: float

    def block_seconds(self, layer: int) -> list[float]:
        """Seconds between the ends of a layer's blocks (counted from 1); the first is left out."""
        ends = [each["time"] for each in self.run.events("block") if each["layer"] == layer]
        return np.diff(ends).tolist()

    @property
    def digest(self) -> str:
        """The SHA-256 of the run's logical arrays."""
        return digest(self.run).whole

    def memory(self) -> dict[str, float]:
        """The fullest worker's bytes above an idle one, as projected and as measured, in GB."""
        projected, measured = self.plan.peak - self.plan.idle, max(self.marks) - self.plan.idle
        return {
            "projected_GB": round(projected / 1e9, 3),
            "measured_GB": round(measured / 1e9, 3),
            "projected_of_measured": round(projected / measured, 3),
        }


def watched_run(
    config: Config, store: BlockStore, path: Path, cluster: ClusterRequest
) -> WatchedRun:
    """Train on a cluster of one's own and watch it."""
    return asyncio.run(_watched(config, store, path, cluster))


async def _watched(
    config: Config, store: BlockStore, path: Path, cluster: ClusterRequest
) -> WatchedRun:
    async with connect(cluster) as client:
        plan, addresses = await plan_on(client, config, store, path)
        facts = await worker_facts(client)
        run = create_run(path, config, run_provenance(store, facts))
        owners = at_addresses(plan, addresses)
        rate = await peak_rate(client)
        await client.run(reset_high_water)
        await Trainer(client, run, store, list(plan.layouts), owners, print_block).train()
        return WatchedRun(run, plan, await high_water(client, addresses), rate)


def print_block(event: dict[str, Any]) -> None:
    """A line for every block and commit."""
    if event["event"] in ("block", "commit"):
        layer = event.get("layer", "")
        print(f"{time.strftime('%X')} {event['event']} {layer}", flush=True)


def noise_store(folder: Path, images: int, size: int, block: int) -> BlockStore:
    """Smoothed noise: what is measured doesn't depend on what the images show."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(images, size, size, 3), dtype=np.uint8)
    noise[:, 1:] = noise[:, 1:] // 2 + noise[:, :-1] // 2
    write_store(noise, folder / "store", block_size=block)
    return open_store(folder / "store")


def sgemm(seconds: float, size: int = 2048) -> float:
    """Task: the best rate (flop/s) of a float32 product on one BLAS thread, tried for a while."""
    use_one_blas_thread()
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    out, best, end = np.empty_like(a), float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.process_time()
        np.matmul(a, a, out=out)
        best = min(best, time.process_time() - start)
    return 2 * size**3 / best


async def peak_rate(client: Client, seconds: float = 3.0) -> float:
    """The sgemm rate of all workers of a cluster at once, added up."""
    addresses = list((await client.scheduler.identity())["workers"])
    tries = [client.submit(sgemm, seconds, workers=[a], pure=False) for a in addresses]
    return float(sum(await client.gather(tries)))
