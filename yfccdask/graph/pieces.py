"""Small helpers of the graph builders: references to chunks, arrays from tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from yfccdask.geometry import ChunkIndex, FieldLayout, Rectangle

Key = tuple[Any, ...]
Owners = Mapping[ChunkIndex, str]  # the address of the worker that holds each weight chunk


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
    pins: Mapping[Key, str] | None = None,
) -> da.Array:
    """A Dask array whose chunks are the given tasks, with a NumPy meta.

    A task that reads a weight chunk is pinned to the worker that holds it; ``pins`` (key: address)
    adds to that.
    """
    places = {**pins_beside_chunks(tasks, dependencies), **(pins or {})}
    graph = pinned_graph(name, tasks, dependencies, places)
    meta = np.empty((0,) * len(chunks), dtype)
    return da.Array(graph, name, chunks=chunks, meta=meta)


def pinned(array: da.Array, pins: Mapping[Key, str]) -> da.Array:
    """The same array, its own tasks pinned to workers (key: address)."""
    if not pins:
        return array
    graph = array.dask
    layers = {**graph.layers, array.name: _pinned_layer(graph.layers[array.name], pins)}
    whole = HighLevelGraph(layers, graph.dependencies)
    return da.Array(whole, array.name, chunks=array.chunks, meta=array._meta)


def _pinned_layer(layer: Mapping[Key, Any], pins: Mapping[Key, str]) -> MaterializedLayer:
    addresses = {key: [address] for key, address in pins.items()}
    return MaterializedLayer(dict(layer), annotations={"workers": addresses.get})


def pins_beside_chunks(tasks: Mapping[Key, Task], dependencies: list[Any]) -> dict[Key, str]:
    """Where the tasks that read a weight chunk have to run, if their chunks are pinned."""
    owned = {each.name: each.owners for each in dependencies if getattr(each, "owners", None)}
    pins = {}
    for key, task in tasks.items() if owned else ():
        for read in task.dependencies:
            if read[0] in owned:
                pins[key] = owned[read[0]][read[1:]]
    return pins


def pinned_graph(
    name: str,
    tasks: Mapping[Key, Task],
    dependencies: list[Any],
    pins: Mapping[Key, str],
) -> HighLevelGraph:
    """A graph of one new layer whose tasks run where ``pins`` (key: address) says, or never."""
    graph = HighLevelGraph.from_collections(name, dict(tasks), dependencies=dependencies)
    if pins:
        graph.layers[name] = _pinned_layer(graph.layers[name], pins)
    return graph
