"""LCN as a stage of its own: bands subtract, c is added up over all rows, bands divide."""

from __future__ import annotations

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.geometry import Rectangle
from yfccdask.graph.pieces import array_from_tasks, field_layout, pieces_of
from yfccdask.numerics.contrast import (
    ContrastWindow,
    divide_contrast,
    mean_sigma,
    subtract_mean,
)
from yfccdask.numerics.fields import stitch

Band = tuple[np.ndarray, np.ndarray, np.ndarray]


def normalise_block(
    name: str, field: da.Array, window: ContrastWindow, floor: float, bands: tuple[int, ...]
) -> da.Array:
    """The contrast-normalised field of a block, in bands of whole rows.

    Parameters
    ----------
    name : str
    field : dask array (image, y, x, map)
    window : ContrastWindow
    floor : float
        Least divisor, in the field's units.
    bands : tuple of int
        Output rows per chunk; any cut gives the same bits.
    """
    whole = field_layout(field).field
    columns = window.centres(whole.width)[1]
    width, tasks, top = columns[1] - columns[0], {}, 0
    parts, mean = f"subtract-{name}", (f"mean-sigma-{name}",)
    for i, rows in enumerate(bands):
        band = (top, top + rows)
        low, high = window.rows_read(*band, whole.height)
        region = Rectangle(low, high, 0, whole.width)
        pieces, places = pieces_of(field, region)
        part, key = (parts, i), (name, 0, i, 0, 0)
        where = (places, region, window, whole.height, band)
        tasks[part] = Task(part, subtract, pieces, *where)
        tasks[key] = Task(key, divide, TaskRef(part), TaskRef(mean), floor)
        top += rows
    every = List(*(TaskRef((parts, i)) for i in range(len(bands))))
    tasks[mean] = Task(mean, add_sigma, every, width)
    chunks = ((field.shape[0],), bands, (width,), (whole.maps,))
    return array_from_tasks(name, tasks, [field], chunks, field.dtype)


def subtract(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    window: ContrastWindow,
    height: int,
    rows: tuple[int, int],
) -> Band:
    """Task: a band less its local mean, its sigma, and sigma's row sums."""
    return subtract_mean(stitch(pieces, places, region), window, height, rows)


def add_sigma(bands: list[Band], width: int) -> np.ndarray:
    """Task: c (image,) from all bands' row sums."""
    return mean_sigma(np.concatenate([band[2] for band in bands], axis=1), width)


def divide(band: Band, c: np.ndarray, floor: float) -> np.ndarray:
    """Task: a band of the normalised field (image, y, x, map)."""
    return divide_contrast(band[0], band[1], c, floor)
