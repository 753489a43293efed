"""LCN as a stage of its own: rectangles measure, c is added up over whole rows, rectangles divide.

A rectangle's planes (mean and sigma, one value per pixel for all maps) are a key of their own, so
what moves between workers on the way to c is a small part of the field, and v is never kept: the
rectangle that divides reads the field again. One rectangle that is the whole field is one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.geometry import Rectangle
from yfccdask.graph.pieces import Owners, array_from_tasks, field_layout, pieces_of
from yfccdask.numerics.contrast import (
    ContrastWindow,
    Planes,
    Span,
    divide_contrast,
    mean_sigma,
    measure_contrast,
    normalise_field,
    row_sums,
)
from yfccdask.numerics.fields import Pieces, joined

Tasks = dict[Any, Task]


def normalise_block(
    name: str,
    field: da.Array,
    window: ContrastWindow,
    floor: float,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    owners: Owners | None = None,
    stored: Any = None,
) -> da.Array:
    """The contrast-normalised field of a block, in rectangles.

    Parameters
    ----------
    name : str
    field : dask array (image, y, x, map)
    window : ContrastWindow
    floor : float
        Least divisor, in the field's units.
    rows, columns : tuple of int
        Output pixels per chunk, downwards and across; any cut gives the same bits.
    owners : mapping, optional
        The workers of the weight chunks, each of which makes the rectangle in its place.
    stored : dtype, optional
        Type of the result, the field's unless given.
    """
    whole, kind = field_layout(field).field, np.dtype(stored or field.dtype)
    chunks = ((field.shape[0],), rows, columns, (window.signs * whole.maps,))
    if len(rows) == len(columns) == 1:
        pieces, places = pieces_of(field, field_layout(field).whole)
        where = (places, field_layout(field).whole)
        key = (name, 0, 0, 0, 0)
        tasks = {key: Task(key, normalise, pieces, *where, window, floor, kind)}
        return array_from_tasks(name, tasks, [field], chunks, kind, _pins(tasks, owners))
    size, mean = (whole.height, whole.width), f"mean-sigma-{name}"
    tasks = _sum_tasks(name, len(rows), len(columns), sum(columns))
    for i, band in enumerate(_spans(rows)):
        for j, stripe in enumerate(_spans(columns)):
            read = Rectangle(*window.reads(band, size[0]), *window.reads(stripe, size[1]))
            kept = Rectangle(*window.kept(band, size[0]), *window.kept(stripe, size[1]))
            part, key = (f"contrast-{name}", i, j), (name, 0, i, j, 0)
            how = (read, window, size, band, stripe)
            tasks[part] = Task(part, measure, *pieces_of(field, read), *how)
            given = (*pieces_of(field, kept), kept, TaskRef(part), TaskRef((mean,)))
            tasks[key] = Task(key, divide, *given, floor, kind, window.signs)
    return array_from_tasks(name, tasks, [field], chunks, kind, _pins(tasks, owners))


def _pins(tasks: Tasks, owners: Owners | None) -> dict[Any, str]:
    """The worker of every task: that of the weight chunk in the same row and column of chunks.

    Keys end in a rectangle's row and column, or in a band's row, or are the mean's.
    """
    places = {key: (*key[-3:-1], 0) if len(key) == 5 else (*key[1:], 0, 0, 0)[:3] for key in tasks}
    return {key: owners[place] for key, place in places.items()} if owners else {}


def _spans(sizes: Sequence[int]) -> list[Span]:
    return list(pairwise(accumulate(sizes, initial=0)))


def _sum_tasks(name: str, bands: int, stripes: int, width: int) -> Tasks:
    """One task per band that adds sigma up along its rows, and one for the mean of all rows."""
    tasks, mean = Tasks(), (f"mean-sigma-{name}",)
    for i in range(bands):
        key = (f"row-sums-{name}", i)
        planes = [TaskRef((f"contrast-{name}", i, j)) for j in range(stripes)]
        tasks[key] = Task(key, add_rows, List(*planes))
    every = List(*(TaskRef(key) for key in tasks))
    tasks[mean] = Task(mean, add_sigma, every, width)
    return tasks


def normalise(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    window: ContrastWindow,
    floor: float,
    stored: np.dtype[Any],
) -> np.ndarray:
    """Task: the normalised field (image, y, x, map), all of it."""
    return normalise_field(Pieces(pieces, places, region), window, floor, stored=stored)


def measure(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    window: ContrastWindow,
    size: tuple[int, int],
    rows: Span,
    columns: Span,
) -> Planes:
    """Task: a rectangle's local mean and sigma."""
    return measure_contrast(Pieces(pieces, places, region), window, size, rows, columns)


def add_rows(planes: list[Planes]) -> np.ndarray:
    """Task: sums of sigma (image, row) along the rows of a band, from left to right."""
    return row_sums([each.sigma for each in planes])


def add_sigma(sums: list[np.ndarray], width: int) -> np.ndarray:
    """Task: c (image,) from all bands' row sums."""
    return mean_sigma(joined(sums, axis=1), width)


def divide(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    planes: Planes,
    c: np.ndarray,
    floor: float,
    stored: np.dtype[Any],
    signs: int,
) -> np.ndarray:
    """Task: a rectangle of the normalised field (image, y, x, map)."""
    return divide_contrast(Pieces(pieces, places, region), planes, c, floor, stored, signs)
