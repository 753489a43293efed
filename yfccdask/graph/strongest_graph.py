"""Every layer's output for a block, summarised per unit and merged over blocks in fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.backend import to_host
from yfccdask.geometry import Layout
from yfccdask.geometry.leaves import split
from yfccdask.graph.network_graph import Forward, normalised_output
from yfccdask.graph.pieces import array_from_tasks
from yfccdask.graph.visits import forward_block
from yfccdask.numerics import strongest
from yfccdask.numerics.strongest import Strongest, Summary


def block_outputs(
    name: str, preprocessed: da.Array, layers: Sequence[Forward], rows: int
) -> list[da.Array]:
    """Every layer's output field for a block, ``s = alpha W x``, before LCN.

    Parameters
    ----------
    name : str
        Unique per session and block.
    preprocessed : dask array (image, y, x, channel)
    layers : sequence of Forward
        From the image upwards.
    rows : int
        Images per BLAS call, the mini-batch.

    Returns
    -------
    list of dask arrays (image, y, x, map)
        They share keys with the normalised fields between them, so nothing is computed twice.
    """
    field, outputs = preprocessed, []
    for number, layer in enumerate(layers):
        own = f"{name}-layer{number + 1}"
        outputs.append(forward_block(f"forward-{own}", layer.states, field, layer.scale, rows))
        if number + 1 < len(layers):
            field = normalised_output(own, layer, field, rows)
    return outputs


def block_summaries(
    name: str, output: da.Array, layout: Layout, first_image: int, k: int
) -> da.Array:
    """Every chunk of a layer's output field summarised over the images of a block.

    Parameters
    ----------
    name : str
    output : dask array (image, y, x, map)
        Chunked as the layer's weights are.
    layout : Layout
    first_image : int
        The store's row of the block's first image.
    k : int

    Returns
    -------
    dask array (grid_y, grid_x)
        Each chunk is a `yfccdask.numerics.strongest.Summary`: gather futures, don't compute.
    """
    tasks = {}
    for i, j in _cells(layout):
        reference = TaskRef((output.name, 0, i, j, 0))
        how = (layout.layer.tile, first_image, k)
        tasks[name, i, j] = Task((name, i, j), summarise, reference, *how)
    return _summaries(name, tasks, [output], (layout.rows, layout.columns))


def merged_summaries(name: str, parts: Sequence[da.Array], k: int) -> da.Array:
    """Summaries of several sets of images as one, up a tree that their number alone decides.

    Parameters
    ----------
    name : str
    parts : sequence of dask arrays (grid_y, grid_x)
        As `block_summaries` gives them, chunked alike, over images that are not shared.
    k : int
    """
    if len(parts) == 1:
        return parts[0]
    tasks: dict[Any, Task] = {}
    rows, columns = parts[0].numblocks
    for i, j in np.ndindex(rows, columns):
        _merge_tasks(tasks, name, parts, (0, len(parts)), (i, j), k)
    return _summaries(name, tasks, list(parts), parts[0].chunks)


def cut_summary(name: str, summary: Summary, layout: Layout) -> da.Array:
    """A whole layer's summary as chunks of a layout, as `block_summaries` gives them."""
    tasks = {}
    for i, j in _cells(layout):
        rows, columns = layout.positions(i, j).slices
        (values, images), moments = summary.strongest, summary.moments
        parts = [part[rows, columns] for part in (values, images, moments)]
        tasks[name, i, j] = Task((name, i, j), as_summary, *parts)
    return _summaries(name, tasks, [], (layout.rows, layout.columns))


def as_summary(values: np.ndarray, images: np.ndarray, moments: np.ndarray) -> Summary:
    """Task: a chunk's summary out of its arrays."""
    return Summary(Strongest(values, images), moments)


def _merge_tasks(
    tasks: dict[Any, Task],
    name: str,
    parts: Sequence[da.Array],
    node: tuple[int, int],
    index: tuple[int, int],
    k: int,
) -> TaskRef:
    start, stop = node
    if stop - start == 1:
        return TaskRef((parts[start].name, *index))
    middle = split(start, stop)
    left, right = (
        _merge_tasks(tasks, name, parts, half, index, k)
        for half in ((start, middle), (middle, stop))
    )
    whole = node == (0, len(parts))
    key = (name, *index) if whole else (f"merge-{name}", *node, *index)
    tasks[key] = Task(key, strongest.merge, left, right, k)
    return TaskRef(key)


def summarise(field: Any, tile: tuple[int, int], first_image: int, k: int) -> Summary:
    """Task: summarise one chunk of an output field."""
    return strongest.summarise(to_host(field), tile, first_image, k)


def _cells(layout: Layout) -> np.ndindex:
    return np.ndindex(len(layout.rows), len(layout.columns))


def _summaries(
    name: str, tasks: dict[Any, Task], dependencies: list[Any], chunks: tuple[Any, ...]
) -> da.Array:
    return array_from_tasks(name, tasks, dependencies, chunks, np.dtype(object))
