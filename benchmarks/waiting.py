"""How long a training run waits for its data: ``python -m benchmarks.waiting [case ...]``.

The last figures of cases that are not named are kept.

Real runs on two workers of one thread, over stores that the system was told to drop from its memory
(the host of a virtual machine may still have them). The scheduler says when which task ran where,
and what it read. Between the start of the first visit of a layer and the end of its last one, a
worker's time is

- computing: a task other than a read runs. Contrast and whitening are a part of it, given apart.
- waiting for data: a read runs; or nothing runs, until a task begins whose last input to be ready
  was a stored or a preprocessed tile.
- idle: nothing runs for another reason. Other workers are behind, a graph is built, the scheduler
  is at work, a commit is written, a layer has no chunk here.

Shares are of both workers' time. ``python -m benchmarks.waiting`` needs a machine of its own: where
others compute, two workers are not equally fast, and wait for each other.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from distributed import SchedulerPlugin

from benchmarks.recording import RESULTS, record
from benchmarks.watched_run import noise_store, print_block
from yfccdask.config import Config, load_config
from yfccdask.data import BlockStore
from yfccdask.data.runs import create_run
from yfccdask.data.shards import shard_path
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.loop import Trainer
from yfccdask.training.planning import at_addresses, plan_on
from yfccdask.training.provenance import run_provenance, worker_facts

WORKERS = 2
ONE_PASS = [f"layers.{layer}.passes=1" for layer in range(3)]
LARGE = [
    "images.size=288",
    "layers=[{kind: local, window: 12, stride: 12, units: 96, tile: [4, 4], lcn: null}]",
]
CASES = {  # overrides of the demo's configuration, and blocks
    "demo": ([], 3),
    "demo, one pass": ([*ONE_PASS, "engine.stage_fields=recompute"], 12),
    "288 x 288, one pass": ([*LARGE, "engine.stage_fields=recompute"], 6),
}
READS = ("image-block", "image-moments")


class Span(NamedTuple):
    """A task that ran: where, when, and what it read."""

    key: Any
    worker: str
    start: float
    stop: float
    reads: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """How its key begins."""
        return str(self.key[0] if isinstance(self.key, tuple) else self.key)


class Timings(SchedulerPlugin):
    """On the scheduler: when every task ran, and where."""

    name = "yfccdask-timings"

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """A task's state changes."""
        if start == "processing" and finish == "memory":
            task = self.scheduler.tasks.get(key)
            reads = tuple(each.key for each in task.dependencies) if task else ()
            for each in kwargs.get("startstops") or ():
                if each["action"] == "compute":
                    when = (each["start"], each["stop"])
                    self.spans.append(Span(key, kwargs["worker"], *when, reads))


def spans_so_far(dask_scheduler: Any) -> list[Span]:
    """On the scheduler: what was noted."""
    spans: list[Span] = dask_scheduler.plugins[Timings.name].spans
    return spans


async def timed_run(config: Config, store: BlockStore, path: Path) -> list[Span]:
    """Train, and say what the workers did."""
    async with connect(ClusterRequest(workers=WORKERS)) as client:
        plan, addresses = await plan_on(client, config, store, path)
        facts = await worker_facts(client)
        run = create_run(path, config, run_provenance(store, facts))
        await client.register_plugin(Timings())
        owners = at_addresses(plan, addresses)
        drop_pages(store)
        await Trainer(client, run, store, list(plan.layouts), owners, print_block).train()
        return await client.run_on_scheduler(spans_so_far)


def drop_pages(store: BlockStore) -> None:
    """Tell the system that nobody needs its pages of the shards."""
    for block in range(store.blocks):
        with open(shard_path(store.path, block), "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def shares(spans: list[Span], layer: int) -> dict[str, float]:
    """How the workers spent the time in which a layer (counted from 1) trained."""
    visits = [s for s in spans if s.kind.startswith(f"state-layer{layer}-tick")]
    first, last = min(s.start for s in visits), max(s.stop for s in visits)
    ends: dict[Any, list[float]] = defaultdict(list)
    for span in spans:
        ends[span.key].append(span.stop)  # a block may be read again later
    inside = sorted((s for s in spans if first <= s.start < last), key=lambda s: s.start)
    seconds = Counter[str]()
    workers = {s.worker for s in inside}
    for worker in workers:
        seconds += spent([s for s in inside if s.worker == worker], ends, first)
    whole = (last - first) * len(workers)
    found = {name: seconds[name] / whole for name in ("computing", "preprocessing", "reading")}
    found["waiting for data"] = found["reading"] + seconds["late"] / whole
    found["idle"] = 1 - found["computing"] - found["waiting for data"]
    return {"seconds": last - first} | found


def spent(spans: list[Span], ends: dict[Any, list[float]], first: float) -> Counter[str]:
    """Seconds of one worker, whose tasks follow each other, by what they went to."""
    seconds = Counter[str]()
    for span in spans:
        gap, took = max(0.0, span.start - first), span.stop - max(first, span.start)
        if gap and late_data(span, ends):
            seconds["late"] += gap
        seconds["reading" if span.kind.startswith(READS) else "computing"] += max(0.0, took)
        if span.kind.startswith("preprocessed"):
            seconds["preprocessing"] += max(0.0, took)
        first = max(first, span.stop)
    return seconds


def late_data(span: Span, ends: dict[Any, list[float]]) -> bool:
    """Whether the last of a task's inputs was a tile."""
    ready = {
        key: max((end for end in ends.get(key, ()) if end < span.stop), default=0.0)
        for key in span.reads
    }
    last = max(ready, key=ready.__getitem__, default="")
    kind = str(last[0] if isinstance(last, tuple) else last)
    return kind.startswith((*READS, "preprocessed"))


def measured(overrides: list[str], blocks: int, folder: Path) -> dict[str, Any]:
    """A run's shares, by layer."""
    config = load_config("demo", overrides)
    images = config.batching.data_block
    store = noise_store(folder, blocks * images, config.images.size, images)
    spans = asyncio.run(timed_run(config, store, folder / "run"))
    layers = [shares(spans, layer) for layer in range(1, len(config.layers) + 1)]
    found = {f"layer {number}": row for number, row in enumerate(layers, start=1)}
    found["all layers"] = mean(layers)
    return {
        name: {what: round(value, 4) for what, value in row.items()} for name, row in found.items()
    }


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Shares over several stretches of time."""
    seconds = [row["seconds"] for row in rows]
    names = [name for name in rows[0] if name != "seconds"]
    return {"seconds": sum(seconds)} | {
        name: float(np.average([row[name] for row in rows], weights=seconds)) for name in names
    }


def main(names: list[str]) -> None:
    """Print and record the figures."""
    path = RESULTS / "waiting.json"
    last = json.loads(path.read_text(encoding="utf-8"))["cases"] if names and path.exists() else {}
    for name in names or CASES:
        with tempfile.TemporaryDirectory(dir=os.environ.get("YFCCDASK_BENCHMARKS")) as folder:
            found = measured(*CASES[name], Path(folder))
        for layer, values in found.items():
            print(f"{name}, {layer}:", *(f"{what} {value}" for what, value in values.items()))
        last[name] = found | {"load": round(os.getloadavg()[0], 1)}
        print(record("waiting", {"cases": last}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
