"""How many first-layer units have become edges, beside the weights that they began as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.data.commits import Commit, layer_path
from yfccdask.data.runs import Run, open_run
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics.counter_random import initial_weights
from yfccdask.numerics.filter_shape import edges, localisation, orientation, principal_plane

MOST_POSITIONS, MOST_UNITS = 64, 512  # looked at; more would only take longer


@dataclass(frozen=True)
class EdgeShare:
    """How much a set of filters looks like edges.

    Attributes
    ----------
    share : float
        Filters that are edges: more than 60 % of the energy in one window of 8 x 8 pixels *and*
        more than 60 % of the spectrum within 22.5 degrees of one orientation.
    localisation, orientation : float
        The median filter's two shares.
    units : int
        Filters that were looked at.
    """

    share: float
    localisation: float
    orientation: float
    units: int


@dataclass(frozen=True)
class EdgeShares:
    """The same positions' filters after training and before it."""

    trained: EdgeShare
    initial: EdgeShare
    positions: tuple[tuple[int, int], ...]


def edge_shares(
    run: Run | str | Path,
    *,
    commit: Commit | None = None,
    positions: int = MOST_POSITIONS,
) -> EdgeShares:
    """The share of edges among a run's first-layer units, trained and initial.

    Parameters
    ----------
    run : Run or path
    commit : Commit, optional
        The latest where not given.
    positions : int
        Most positions to look at; they are spread evenly over the grid.

    Raises
    ------
    RunError
        If the run has no commit yet.
    """
    run = open_run(run)
    commit = commit or run.commit()
    cells = spread_positions(run.geometry.layers[0].grid, positions)
    return EdgeShares(
        _share([trained_filters(run, commit, cell, MOST_UNITS) for cell in cells]),
        _share([initial_filters(run, cell, MOST_UNITS) for cell in cells]),
        tuple(cells),
    )


def spread_positions(grid: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """At most ``count`` positions, evenly over the grid, row by row."""
    last = grid[0] * grid[1] - 1
    numbers = np.unique(np.linspace(0, last, min(count, last + 1)).round().astype(int))
    return [(int(y), int(x)) for y, x in (divmod(number, grid[1]) for number in numbers)]


def trained_filters(
    run: Run, commit: Commit, position: tuple[int, int], units: int | None = None
) -> np.ndarray:
    """One position's first-layer weights, all or the first ``units``: (unit, y, x, channel)."""
    group: Any = zarr.open_group(layer_path(commit.path, 0), mode="r")
    weights = group["weights"][(*position, slice(units))]
    return _as_filters(weights, run.geometry.layers[0])


def initial_filters(run: Run, position: tuple[int, int], units: int | None = None) -> np.ndarray:
    """What one position's first-layer weights were before training: (unit, y, x, channel)."""
    layer = run.geometry.layers[0]
    number = position[0] * layer.grid[1] + position[1]
    count = layer.units if units is None else min(units, layer.units)
    dtype = np.dtype(run.config.dtype)
    weights = initial_weights(run.config.seed, 0, number, count, layer.inputs, dtype)
    return _as_filters(weights, layer)


def _as_filters(weights: np.ndarray, layer: LayerGeometry) -> np.ndarray:
    return weights.reshape(len(weights), *layer.window, layer.input.maps)


def _share(filters: list[np.ndarray]) -> EdgeShare:
    planes = [principal_plane(part) for part in filters]
    local = np.concatenate([localisation(part) for part in planes])
    oriented = np.concatenate([orientation(part)[0] for part in planes])
    are_edges = np.concatenate([edges(part) for part in filters])
    return EdgeShare(
        share=float(are_edges.mean()),
        localisation=float(np.median(local)),
        orientation=float(np.median(oriented)),
        units=len(are_edges),
    )
