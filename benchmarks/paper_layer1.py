"""The paper's true layer 1 on this machine: ``python -m benchmarks.paper_layer1 [blocks]``.

5,184 positions, 1.53 G weights and as many momenta, blocks of 960 images of 300 x 300: at least two
whole data blocks through the real training loop, with whitening, a commit at the end, two workers.
The first block also pays for the weights and for compiling; the figures are of those after it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.recording import record
from benchmarks.watched_run import noise_store, watched_run
from yfccdask.config import load_config
from yfccdask.training.clusters import ClusterRequest

IMAGES = 960


def main(blocks: int = 2) -> None:
    """Train, print and record."""
    paper = load_config("paper")
    config = paper.model_copy(update={"layers": paper.layers[:1]})
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(dir=os.environ.get("YFCCDASK_BENCHMARKS")) as folder:
        store = noise_store(Path(folder), blocks * IMAGES, config.images.size, IMAGES)
        whole = watched_run(config, store, Path(folder) / "run", ClusterRequest(workers=workers))
        seconds = float(np.median(whole.block_seconds(1)))
        layer = whole.run.geometry.layers[0]
        commit = next(each for each in whole.run.events("commit"))
        figures = {
            "weights": layer.weights,
            "workers": workers,
            "blocks": blocks,
            "seconds_per_block": round(seconds, 2),
            "planned_seconds_per_block": round(whole.plan.rows[0].seconds, 2),
            "images_per_second": round(IMAGES / seconds, 2),
            "of_sgemm": round(layer.flop_per_image * IMAGES / seconds / whole.sgemm_rate, 3),
            "commit_seconds": commit["seconds"],
            "memory_per_worker": whole.memory(),
        }
    for name, value in figures.items():
        print(f"{name:28} {value}")
    print(record("paper_layer1", figures))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
