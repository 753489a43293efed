"""A commit's network in one process, for what looks at few images."""

from __future__ import annotations

import psutil
from distributed import get_worker

from yfccdask.data.commit_reading import read_array
from yfccdask.data.commits import Commit, layer_path
from yfccdask.data.runs import Run
from yfccdask.data.stored_weights import StoredWeights
from yfccdask.errors import RunError
from yfccdask.numerics.whole_network import WholeLayer, WholeNetwork
from yfccdask.training.inputs import contrast_scale, contrast_window

MOST_OF_MEMORY = 0.5  # of what is available: weights that don't fit are read again when needed


def loaded_network(run: Run, commit: Commit, layers: int | None = None) -> WholeNetwork:
    """The first ``layers`` of a commit, or all that it holds.

    Weights are read when they are first needed. They stay in memory up to half of what is
    available; of a larger network the rest is read again, position by position, at every use.

    Raises
    ------
    RunError
        If there is no such layer.
    DamagedCommit
        If an array can't be opened; later, if a chunk can't be read.
    """
    count = commit.layers if layers is None else layers
    if not 1 <= count <= commit.layers:
        raise RunError(
            f"expected a layer from 1 to {commit.layers} in {commit.path}, found {count}"
        )
    scale = contrast_scale(run.config)
    white = run.whitening()
    share = _share_that_fits(run, count)
    parts = tuple(_layer(run, commit, number, share) for number in range(count))
    return WholeNetwork(scale.floor, scale.full, white, parts)


def _layer(run: Run, commit: Commit, number: int, share: float) -> WholeLayer:
    geometry, path = run.geometry.layers[number], layer_path(commit.path, number)
    window, floor = contrast_window(run.config, number)
    keep = int(share * geometry.weights * _item_bytes(run))
    return WholeLayer(
        StoredWeights(path, keep),
        read_array(path, "alpha", (slice(None),) * 2),
        float(commit.state["scales"][number]),
        geometry.window,
        geometry.tile,
        geometry.stride,
        window,
        floor,
    )


def _share_that_fits(run: Run, count: int) -> float:
    """How much of the first layers' weights may stay in memory, at most 1."""
    needed = _item_bytes(run) * sum(layer.weights for layer in run.geometry.layers[:count])
    return min(1.0, MOST_OF_MEMORY * _available() / needed)


def _item_bytes(run: Run) -> int:
    return 8 if run.config.dtype == "float64" else 4


def _available() -> float:
    """What is free here; on a worker, no more than may be its own."""
    free = float(psutil.virtual_memory().available)
    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:
        return free
    return min(free, limit or free)
