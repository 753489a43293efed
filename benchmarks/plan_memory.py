"""Does the plan bound the memory? ``python -m benchmarks.plan_memory [case ...]``

Trains small but real networks whose arrays take 200 MB and more per worker, and compares every
worker's peak above an idle worker (the kernel's own high-water mark) with the plan's projection:
measured <= projected <= 1.25 x measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.recording import record
from yfccdask.config import Config, parse_config
from yfccdask.data import BlockStore, write_store
from yfccdask.data.runs import create_run
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.loop import Trainer
from yfccdask.training.planning import RunPlan, at_addresses, plan_on
from yfccdask.training.provenance import run_provenance, worker_facts

MOST = 1.25  # of the measured peak
LOCAL = {"kind": "local", "window": 16, "stride": 4, "units": 384, "lcn": {"window": 5}}
DENSE = {"kind": "dense", "units": 4096, "leaf": 2048, "sparsity": 0.01, "rate": 1e-5}
SECOND = {**LOCAL, "units": 96}
SMALL = {"data_block": 192, "mini_batch": 48}
LARGE = {"data_block": 960, "mini_batch": 192}
STAGGERED = {"start": "after_blocks", "after_blocks": 1}
CASES: dict[str, dict[str, Any]] = {
    "local": {"layers": [LOCAL], "batching": SMALL},
    "local, 1 block in flight": {
        "layers": [LOCAL],
        "batching": SMALL,
        "engine": {"blocks_in_flight": 1},
    },
    "dense": {"layers": [DENSE], "batching": SMALL},
    "dense in parts": {"layers": [DENSE], "batching": SMALL, "engine": {"chunk_leaves": 3}},
    "local and dense": {"layers": [{**LOCAL, "stride": 8}, DENSE], "batching": SMALL},
    "fields": {"layers": [LOCAL, {**SECOND, "stride": 8, "window": 12}], "batching": LARGE},
    "staged": {
        "layers": [LOCAL, {**SECOND, "stride": 8, "window": 12, "passes": 2}],
        "batching": LARGE,
        "engine": {"stage_fields": "memory"},
    },
    "staggered": {"layers": [LOCAL, SECOND], "batching": SMALL, "pipeline": STAGGERED},
    "staggered, rarely synchronised": {
        "layers": [LOCAL, SECOND],
        "batching": SMALL,
        "pipeline": {**STAGGERED, "sync_every": 3},
    },
    "weights on disk": {
        "layers": [LOCAL],
        "batching": SMALL,
        "engine": {"weights": "disk", "chunk": [7, 13]},
    },
}
BLOCKS, SIZE = 4, 64


def config_of(case: dict[str, Any]) -> Config:
    """A case's configuration."""
    tree = {
        "images": {"size": SIZE},
        "preprocessing": {"whitening": {"patch": 9, "samples": 2000}},
        **case,
    }
    return parse_config(tree, "benchmark")


def noise_store(folder: Path, block: int) -> BlockStore:
    """Blocks of smooth noise."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(BLOCKS * block, SIZE, SIZE, 3))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)
    images = np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)
    return write_store(images, folder / f"store-{block}", block_size=block)


async def peaks_of(config: Config, store: BlockStore, path: Path, workers: int) -> Any:
    """Train; the plan, and every worker's high-water mark in bytes."""
    async with connect(ClusterRequest(workers=workers)) as client:
        plan, addresses = await plan_on(client, config, store, path)
        facts = await worker_facts(client)
        run = create_run(path, config, run_provenance(store, facts))
        owners = at_addresses(plan, addresses)
        await client.run(reset_high_water)
        await Trainer(client, run, store, plan.layouts, owners).train()
        return plan, await high_water(client, addresses)


def reset_high_water() -> None:
    """On a worker: let its high-water mark begin at what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def worker_high_water() -> int:
    """On a worker: the most bytes that were resident since the mark was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


async def high_water(client: Client, addresses: list[str]) -> list[int]:
    """Every worker's mark, in the order of the plan's workers."""
    found = await client.run(worker_high_water)
    return [found[address] for address in addresses]


def compared(plan: RunPlan, marks: list[int]) -> dict[str, Any]:
    """The fullest worker's projected and measured bytes above an idle worker."""
    projected, measured = plan.peak - plan.idle, max(marks) - plan.idle
    return {
        "projected": projected,
        "measured": measured,
        "ratio": round(projected / measured, 3),
        "within": measured <= projected <= MOST * measured,
        "workers": [
            {"projected": peak - plan.idle, "measured": mark - plan.idle}
            for peak, mark in zip(plan.peaks, marks, strict=True)
        ],
    }


def main(wanted: list[str]) -> None:
    """Run the cases that are wanted (all by default) on 1 and 2 workers; print and record."""
    figures: dict[str, Any] = {}
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary)
        stores = {size: noise_store(folder, size) for size in (192, 960)}
        for name in wanted:
            config = config_of(CASES[name])
            store = stores[config.batching.data_block]
            for workers in (1, 2):
                path = folder / f"run-{len(figures)}"
                found = asyncio.run(peaks_of(config, store, path, workers))
                figures[f"{name}, {workers} workers"] = row = compared(*found)
                print(
                    f"{name:32} {workers} workers: projected {row['projected'] / 1e6:7.0f} MB, "
                    f"measured {row['measured'] / 1e6:7.0f} MB, ratio {row['ratio']:.2f} "
                    f"{'' if row['within'] else '<-- out of bounds'}",
                    flush=True,
                )
    if set(wanted) == set(CASES):
        print(record("plan_memory", {"cases": figures}))


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
