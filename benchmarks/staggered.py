"""A staggered run against the sequential one: ``python -m benchmarks.staggered [part ...]``.

1. Wall time: the same three layers on the same two workers, once layer after layer, and staggered
   with the copies renewed at every block or every eighth; alternating, medians of three. Beside it,
   the share of time in which the workers compute: their processor seconds, and the seconds in
   which they execute tasks, of all workers' time.
2. Commits: what they cost of two minutes of a run that wants one every five seconds and may spend
   `checkpoints.most_share` on them. The commit of a stop is not weighed; nor is the first, whose
   cost nobody knows yet.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from distributed import Client, LocalCluster

from benchmarks.recording import RESULTS, record
from benchmarks.watched_run import noise_store
from yfccdask import train
from yfccdask.config import Config, parse_config
from yfccdask.data import BlockStore
from yfccdask.data.events import Event
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import Stopped
from yfccdask.training.clusters import TRAINING_SETTINGS, ClusterRequest, embedded_options
from yfccdask.training.control.live import LiveRun
from yfccdask.training.loop import OnEvent

WORKERS, REPETITIONS = 2, 3
IMAGES, BATCH, SIZE = 240, 48, 96
BLOCKS, AFTER = 6, 2  # a pass, and how far a layer is ahead of the one above it
COMMIT_SECONDS = 120.0  # of the run whose commits are timed
FIRST = {"kind": "local", "window": 16, "stride": 4, "units": 96, "lcn": {"window": 5}}
LAYERS: list[dict[str, Any]] = [
    FIRST,
    {**FIRST, "window": 12},
    {"kind": "dense", "units": 1024, "sparsity": 0.01, "rate": 1e-5},
]
STAGGERED = {"start": "after_blocks", "after_blocks": AFTER}
MODES: dict[str, dict[str, Any]] = {
    "sequential": {},
    "staggered": STAGGERED,
    "staggered, copies every 8": {**STAGGERED, "sync_every": 8},
}
COMMITS = {"every_seconds": 5.0}
Figures = dict[str, Any]


def config_of(
    pipeline: Figures, checkpoints: Figures | None = None, layers: list[Figures] = LAYERS
) -> Config:
    """The network in a mode, or another one."""
    tree = {
        "images": {"size": SIZE},
        "batching": {"data_block": IMAGES, "mini_batch": BATCH},
        "preprocessing": {"whitening": {"patch": 9, "samples": 5000}},
        "layers": layers,
        "pipeline": pipeline,
        "checkpoints": checkpoints or {},
    }
    return parse_config(tree, "benchmark")


def executed_seconds(dask_worker: Any) -> float:
    """On a worker: seconds for which it executed tasks so far."""
    totals = dask_worker.digests_total.items()
    return float(
        sum(
            seconds
            for name, seconds in totals
            if isinstance(name, tuple) and name[0] == "execute" and name[-1] == "seconds"
        )
    )


class Meter:
    """What the workers did from a run's start to its end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        self.readings: list[Figures] = []

    def on_event(self, event: Event) -> None:
        """Read at the start, and at the end."""
        if event["event"] in ("start", "end"):
            self.readings.append(self.read() | {"clock": event["time"]})

    def read(self) -> Figures:
        """Processor seconds and seconds of execution of all workers so far."""
        times = [worker.cpu_times() for worker in self.workers]
        return {
            "processor": sum(each.user + each.system for each in times),
            "executing": sum(self.client.run(executed_seconds).values()),
        }

    def shares(self) -> Figures:
        """The run's seconds, and what of all workers' time they were busy."""
        first, last = self.readings
        used = {name: last[name] - first[name] for name in first}
        whole = used["clock"] * len(self.workers)
        return {
            "seconds": used["clock"],
            "processor_seconds": used["processor"],
            "processor_share": used["processor"] / whole,
            "executing_share": used["executing"] / whole,
        }


def trained(client: Client, config: Config, store: BlockStore, path: Path) -> tuple[Run, Figures]:
    """Train through the controller; the run, and the workers' shares."""
    meter = Meter(client)
    run = train(config, store, path, client=client, on_event=meter.on_event)
    visits = sum(event["images"] for event in run.events("block"))
    shares = meter.shares()
    load = os.getloadavg()[0]
    return run, shares | {"images_per_second": visits / shares["seconds"], "load": load}


def compared(client: Client, folder: Path) -> Figures:
    """Every mode, alternating; medians, and ratios to the sequential run."""
    store = noise_store(folder, BLOCKS * IMAGES, SIZE, IMAGES)
    trained(client, config_of({}), store, folder / "warm-up")
    found: dict[str, list[Figures]] = {mode: [] for mode in MODES}
    for number in range(REPETITIONS):
        modes = list(MODES.items())
        for mode, pipeline in modes if number % 2 == 0 else reversed(modes):
            path = folder / f"{mode}-{number}"
            _, figures = trained(client, config_of(pipeline), store, path)
            found[mode].append(figures)
            print(f"{time.strftime('%X')} {mode}: {_rounded(figures)}", flush=True)
    medians = {mode: _medians(each) for mode, each in found.items()}
    base = medians["sequential"]
    ratios = {
        name: {mode: round(row[name] / base[name], 3) for mode, row in medians.items()}
        for name in ("seconds", "processor_seconds")
    }
    rounded = {mode: [_rounded(each) for each in rows] for mode, rows in found.items()}
    return {"of_sequential": ratios, "medians": medians, "repetitions": rounded}


def _medians(rows: list[Figures]) -> Figures:
    return _rounded({name: float(np.median([row[name] for row in rows])) for name in rows[0]})


def _rounded(row: Figures) -> Figures:
    return {name: round(value, 3) for name, value in row.items()}


def stopped_after(client: Client, seconds: float) -> OnEvent:
    """Follow a run, and stop it when its session has lasted so long."""
    began: list[float] = []

    def on_event(event: Event) -> None:
        if event["event"] == "start":
            began.append(event["time"])
        elif event["event"] == "block" and began and event["time"] > began[0] + seconds:
            began.clear()
            LiveRun(client).stop()

    return on_event


def committed(client: Client, folder: Path) -> Figures:
    """What commits cost of a run that wants many, and is stopped after two minutes."""
    store, path = noise_store(folder, BLOCKS * IMAGES, SIZE, IMAGES), folder / "commits"
    config = config_of({}, COMMITS, [{**FIRST, "stride": 8, "passes": 10_000}])
    with suppress(Stopped):
        train(config, store, path, client=client, on_event=stopped_after(client, COMMIT_SECONDS))
    return commit_figures(open_run(path))


def commit_figures(run: Run) -> Figures:
    """The commits' share of a session: all of them, and without the last, which nobody weighs."""
    bound = run.config.checkpoints.most_share or 1.0
    (start,), (end,), commits = run.events("start"), run.events("end"), run.events("commit")
    costs, last = [event["seconds"] for event in commits], commits[-1]
    before = sum(costs[:-1]) / (last["time"] - last["seconds"] - start["time"])
    return {
        "seconds": round(end["time"] - start["time"], 1),
        "load": round(os.getloadavg()[0], 2),
        "blocks": len(run.events("block")),
        "bytes": run.commit().bytes,
        "seconds_of_each": costs,
        "between": np.diff([start["time"], *(event["time"] for event in commits)])
        .round(1)
        .tolist(),
        "from_the_block_before": [_from_last_block(run, event) for event in commits],
        "most_share": bound,
        "commit_share": round(end["commit_share"], 4),
        "commit_share_before_the_last": round(before, 4),
        "of_bound": round(before / bound, 3),
    }


def _from_last_block(run: Run, commit: Event) -> float:
    """Seconds from the last block before a commit to its end: new keys, and the commit."""
    before = [e["time"] for e in run.events("block") if e["time"] < commit["time"]]
    return round(commit["time"] - max(before), 3)


PARTS = {"wall_time": compared, "commits": committed}


def main(*names: str) -> None:
    """Train, print and record; with names, only those parts, beside what is recorded of others."""
    recorded = RESULTS / "staggered.json"
    figures = json.loads(recorded.read_text()) if names and recorded.exists() else {}
    options = embedded_options(ClusterRequest(workers=WORKERS))
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("YFCCDASK_BENCHMARKS")) as folder,
        dask.config.set(TRAINING_SETTINGS),
        LocalCluster(**options) as cluster,
        Client(cluster) as client,
    ):
        for name in names or PARTS:
            place = Path(folder, name)
            place.mkdir()
            figures[name] = PARTS[name](client, place)
            print(json.dumps({name: figures[name]}, indent=1), flush=True)
    print(record("staggered", figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
