"""What the memory hierarchies cost: ``python -m benchmarks.hierarchies [part ...]``.

1. Weights streamed from disk: a layer whose weights and momenta exceed the memory of all workers
   together, against the same layer on workers with enough memory. The digests must be equal.
2. Fields staged between passes: a second layer that sees its images three times, its input computed
   again, kept in memory, or read from disk. The digests must be equal.

Files go through the system's page cache: on a machine whose memory is full they cost more.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import RESULTS, record
from benchmarks.watched_run import WatchedRun, noise_store, watched_run
from yfccdask.config import Config, parse_config
from yfccdask.training.clusters import ClusterRequest

LOCAL = {"kind": "local", "window": 16, "stride": 4, "units": 384, "lcn": {"window": 5}}
SECOND = {**LOCAL, "units": 96, "passes": 3, "stride": 10}
FEW = {"data_block": 960, "mini_batch": 192}


def config_of(size: int, layers: list[dict[str, Any]], engine: dict[str, Any]) -> Config:
    """A network over images of ``size`` pixels."""
    tree = {"images": {"size": size}, "batching": FEW, "layers": layers, "engine": engine}
    return parse_config(tree, "benchmark")


def streamed(folder: Path) -> dict[str, Any]:
    """Seconds per block with weights in memory and on disk, and what memory each was given."""
    store = noise_store(folder, 4 * 960, 132, 960)
    small = {"chunk": [1, 30], "blocks_in_flight": 1}
    given = {"memory": ("8GB", small), "disk": ("1GB", {**small, "weights": "disk"})}
    found: dict[str, WatchedRun] = {}
    for name, (memory, engine) in given.items():
        cluster = ClusterRequest(workers=2, memory=memory)
        config = config_of(132, [LOCAL], engine)
        found[name] = watched_run(config, store, folder / f"weights-{name}", cluster)
    layer = found["disk"].run.geometry.layers[0]
    return {
        "state_GB": round(8 * layer.parameters / 1e9, 2),
        "workers_memory_GB": {name: f"2 x {memory}" for name, (memory, _) in given.items()},
        **_compared(found, 1, "memory"),
    }


def staged(folder: Path) -> dict[str, Any]:
    """Seconds per block of a second layer on its later passes, by where its input comes from."""
    store = noise_store(folder, 4 * 960, 96, 960)
    found = {}
    for mode in ("recompute", "memory", "disk"):
        config = config_of(96, [{**LOCAL, "units": 96}, SECOND], {"stage_fields": mode})
        cluster = ClusterRequest(workers=2)
        found[mode] = watched_run(config, store, folder / f"fields-{mode}", cluster)
    return _compared(found, 2, "recompute", first=store.blocks)


def _compared(
    found: dict[str, WatchedRun], layer: int, base: str, first: int = 1
) -> dict[str, Any]:
    seconds = {
        name: float(np.median(run.block_seconds(layer)[first:])) for name, run in found.items()
    }
    digests = {run.digest for run in found.values()}
    if len(digests) != 1:
        raise RuntimeError(f"expected one digest, found {digests}")
    return {
        "seconds_per_block": {name: round(each, 2) for name, each in seconds.items()},
        f"of_{base}": {name: round(each / seconds[base], 3) for name, each in seconds.items()},
        "memory_per_worker": {name: run.memory() for name, run in found.items()},
        "digests_equal": True,
    }


PARTS = {"streamed_weights": streamed, "staged_fields": staged}


def main(*names: str) -> None:
    """Train, print and record; with names, only those parts, beside what is recorded of others."""
    recorded = RESULTS / "hierarchies.json"
    figures = json.loads(recorded.read_text()) if names and recorded.exists() else {}
    for name in names or PARTS:
        work = PARTS[name]
        with tempfile.TemporaryDirectory(dir=os.environ.get("YFCCDASK_BENCHMARKS")) as folder:
            figures[name] = work(Path(folder))
        for key, value in figures[name].items():
            print(f"{name}: {key}: {value}")
    print(record("hierarchies", figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
