"""A commit's network in this process' memory, for what looks at few images."""

from __future__ import annotations

import psutil

from yfccdask.data.commit_reading import read_array
from yfccdask.data.commits import Commit, layer_path
from yfccdask.data.runs import Run
from yfccdask.errors import RunError
from yfccdask.numerics.whole_network import WholeLayer, WholeNetwork
from yfccdask.training.inputs import contrast_scale, contrast_window

MOST_OF_MEMORY = 0.5  # of what is available


def loaded_network(run: Run, commit: Commit, layers: int | None = None) -> WholeNetwork:
    """The first ``layers`` of a commit, or all that it holds.

    Raises
    ------
    RunError
        If there is no such layer, or the weights take more than half of the available memory.
    DamagedCommit
        If a chunk can't be read.
    """
    count = commit.layers if layers is None else layers
    if not 1 <= count <= commit.layers:
        raise RunError(
            f"expected a layer from 1 to {commit.layers} in {commit.path}, found {count}"
        )
    _refuse_large(run, count)
    scale = contrast_scale(run.config)
    white = run.whitening()
    parts = tuple(_layer(run, commit, number) for number in range(count))
    return WholeNetwork(scale.floor, scale.full, white, parts)


def _layer(run: Run, commit: Commit, number: int) -> WholeLayer:
    geometry, path = run.geometry.layers[number], layer_path(commit.path, number)
    window, floor = contrast_window(run.config, number)
    return WholeLayer(
        read_array(path, "weights", (slice(None),) * 4),
        read_array(path, "alpha", (slice(None),) * 2),
        float(commit.state["scales"][number]),
        geometry.window,
        geometry.tile,
        geometry.stride,
        window,
        floor,
    )


def _refuse_large(run: Run, count: int) -> None:
    size = 8 if run.config.dtype == "float64" else 4
    needed = size * sum(layer.weights for layer in run.geometry.layers[:count])
    limit = MOST_OF_MEMORY * psutil.virtual_memory().available
    if needed > limit:
        raise RunError(
            f"{run.path}: expected weights of at most {limit:,.0f} bytes to hold in memory (half "
            f"of what is available), found {needed:,} in layers 1 to {count}: look at a lower "
            "layer, or use `yfccdask encode`, which goes through them in chunks"
        )
