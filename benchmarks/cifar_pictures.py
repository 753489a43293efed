"""What the network has learned on CIFAR-10, as pictures for docs/what-it-learns.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yfccdask.analysis.edge_share import initial_filters, spread_positions, trained_filters
from yfccdask.analysis.pictures import filter_pictures, mosaic
from yfccdask.data.runs import Run

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
POSITIONS, SHOWN = 3, 48  # of the first layer; filters of each


def draw(runs: Sequence[Run]) -> None:
    """The first run's filters, trained and as they began."""
    run = runs[0]
    cells = spread_positions(run.geometry.layers[0].grid, POSITIONS)
    trained = [trained_filters(run, run.commit(), cell, SHOWN) for cell in cells]
    initial = [initial_filters(run, cell, SHOWN) for cell in cells]
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, filters in {"filters": trained, "initial": initial}.items():
        picture = mosaic(filter_pictures(np.concatenate(filters)), columns=SHOWN // 2, zoom=4)
        picture.save(PICTURES / f"cifar-{name}.png")
