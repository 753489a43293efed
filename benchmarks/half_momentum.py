"""What a momentum in bfloat16 costs: ``python -m benchmarks.half_momentum``.

Trains 8 x 8 positions of 128 units on grey crops of the sample photographs, and a dense layer of 64
units on their codes, with ``arithmetic.momentum`` full, half, and full from another seed. Recorded
are each layer's objective over its last mini-batches, the share of layer 1's edges, and
how far the trained weights lie apart. The other seed says what differences mean nothing.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.edges import CONFIG, crops
from benchmarks.recording import record
from yfccdask.analysis.edge_share import edge_shares
from yfccdask.config import Config, load_config
from yfccdask.data import BlockStore
from yfccdask.data.runs import Run
from yfccdask.training.start import train

CROPS, PASSES = 16_000, 8
DENSE = "{kind: dense, units: 64, leaf: 2048, rate: 0.001}"
LOCAL = (
    "{kind: local, window: 16, stride: 4, units: 128, input_deviation: 0.1, rate: 0.005, "
    f"passes: {PASSES}, lcn: null}}"
)
LAST = 40  # mini-batches
MODES: dict[str, list[str]] = {
    "full": [],
    "half": ["arithmetic.momentum=half"],
    "full, another seed": ["seed=1"],
}


def configuration(overrides: list[str]) -> Config:
    """Both layers, as a mode has them."""
    return load_config(CONFIG, [f"layers=[{LOCAL}, {DENSE}]", *overrides])


def figures_of(run: Run) -> dict[str, Any]:
    """Objectives over the last mini-batches, and the share of edges."""
    objectives = {}
    for number in (1, 2):
        curves = run.curves(number).isel(mini_batch=slice(-LAST, None))
        objectives[f"layer {number}"] = float((curves.reconstruction + curves.sparsity).mean())
    return {"objective": objectives, "edges": edge_shares(run).trained.share}


def weights_of(run: Run, number: int) -> Any:
    """A layer's trained weights (…, input)."""
    return run.commit().layer(number).weights.values


def apart(one: Any, other: Any) -> float:
    """Normwise difference of two layers' weights."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def trained(store: BlockStore, folder: Path) -> dict[str, Run]:
    """A run per mode."""
    return {
        name: train(configuration(overrides), store, folder / f"run-{number}")
        for number, (name, overrides) in enumerate(MODES.items())
    }


def main() -> None:
    """Train, compare, print and record."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = crops(folder, load_config(CONFIG).images.size, 1, CROPS)
        runs = trained(store, folder)
        figures: dict[str, Any] = {name: figures_of(run) for name, run in runs.items()}
        for name in list(runs)[1:]:
            figures[name]["weights apart from full"] = {
                f"layer {n}": apart(weights_of(runs[name], n), weights_of(runs["full"], n))
                for n in (1, 2)
            }
        figures["crops"], figures["passes of layer 1"] = store.images, PASSES
    for name in runs:
        print(name, figures[name])
    print(record("half_momentum", figures))


if __name__ == "__main__":
    main()
