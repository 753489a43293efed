"""Which units respond at all, which pick something out, and which of them to show."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import norm

ALIVE_SHARE = 0.01  # of the median unit's deviation
UNITS = ("grid_y", "grid_x", "unit")


def alive_units(deviation: xr.DataArray) -> xr.DataArray:
    """Which units of a layer respond to what they see.

    A unit is alive if its responses over the pass are not all the same, and their deviation is
    more than 1 % of the median unit's deviation in that layer.
    """
    return (deviation > ALIVE_SHARE * float(deviation.median())) & (deviation > 0)


def selectivity(dataset: xr.Dataset) -> xr.DataArray:
    """How far every unit's strongest responses stand out, (grid_y, grid_x, unit).

    The mean of its strongest values less its mean response, in its own deviations; minus infinity
    for a unit that is not alive.
    """
    spread = dataset["deviation"].where(dataset["alive"], np.inf)
    score = (dataset["value"].mean("rank") - dataset["mean"]) / spread
    return score.where(dataset["alive"], -np.inf).transpose(*UNITS)


def chance_selectivity(images: int, k: int) -> float:
    """The selectivity of a unit whose responses follow a bell curve (Blom's approximation)."""
    ranks = np.arange(1, min(k, images) + 1)
    return float(norm.isf((ranks - 0.375) / (images + 0.25)).mean())


def telling_units(dataset: xr.Dataset, count: int) -> list[tuple[int, int, int]]:
    """Units to show, (grid_y, grid_x, unit): from the more selective half, spread over positions.

    As many positions as are wanted are taken evenly over the grid, and of each the living units at
    even steps through the more selective half: one unit is the one at the upper quartile. The very
    first are left out, since those are caught on a single photograph more often than not.
    """
    score = selectivity(dataset).values
    (height, width), units = score.shape[:2], score.shape[2]
    cells = np.unique(np.linspace(0, height * width - 1, count).round().astype(int))
    each = min(units, -(-count // len(cells)))
    chosen = []
    for cell in cells:
        ranked = np.argsort(-score[divmod(cell, width)], kind="stable")
        living = int(np.isfinite(score[divmod(cell, width)]).sum())
        steps = (np.arange(each) + 0.5) * living / (2 * each)
        ranks = np.arange(living) if living <= each else np.unique(steps.astype(int))
        chosen += [(*divmod(int(cell), width), int(unit)) for unit in ranked[ranks]]
    return sorted(chosen[:count])
