"""Small helpers of the graph builders: references to chunks, arrays from tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from yfccdask.geometry import FieldLayout, Rectangle

Key = tuple[Any, ...]


def field_layout(field: da.Array) -> FieldLayout:
    """How a field (image, y, x, map) is chunked in space.

    Raises
    ------
    ValueError
        If images or maps are in more than one chunk.
    """
    images, rows, columns, maps = field.chunks
    if len(images) != 1 or len(maps) != 1:
        raise ValueError(f"expected all images and all maps in one chunk, found {field.chunks}")
    return FieldLayout(rows, columns, maps[0])


def pieces_of(field: da.Array, region: Rectangle) -> tuple[List, tuple[Rectangle, ...]]:
    """References to the chunks of a field that ``region`` touches, and where they lie."""
    touched = field_layout(field).touching(region)
    references = [TaskRef((field.name, 0, *index, 0)) for index, _ in touched]
    return List(*references), tuple(place for _, place in touched)


def array_from_tasks(
    name: str,
    tasks: Mapping[Key, Task],
    dependencies: list[Any],
    chunks: tuple[tuple[int, ...], ...],
    dtype: Any,
) -> da.Array:
    """A Dask array whose chunks are the given tasks, with a NumPy meta."""
    graph = HighLevelGraph.from_collections(name, dict(tasks), dependencies=dependencies)
    meta = np.empty((0,) * len(chunks), dtype)
    return da.Array(graph, name, chunks=chunks, meta=meta)
