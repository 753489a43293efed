"""The blocked cost and gradient on Dask arrays: what a visit fuses, for every position at once."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.errors import GeometryError
from yfccdask.geometry import LayerGeometry, Layout, Rectangle
from yfccdask.graph.pieces import array_from_tasks, pieces_of
from yfccdask.graph.visits import windows_of
from yfccdask.numerics import rica
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.local_visits import Windows, fill_inputs
from yfccdask.numerics.rica import Gradient


def cost_and_gradient(
    layer: LayerGeometry,
    weights: da.Array,
    alpha: da.Array,
    offset: da.Array,
    field: da.Array,
    *,
    sparsity: float,
    epsilon: float,
) -> tuple[da.Array, Gradient]:
    """The RICA cost of a mini-batch and its gradient, as blocked Dask arrays.

    Parameters
    ----------
    layer : LayerGeometry
        How windows lie in the field.
    weights : dask array (grid_y, grid_x, unit, input)
        Chunked over the grid only.
    alpha : dask array (grid_y, grid_x)
    offset : dask array (grid_y, grid_x, input)
        Both chunked like the weights.
    field : dask array (image, y, x, map)
        One mini-batch of the layer's input field, all images in one chunk.
    sparsity, epsilon : float

    Returns
    -------
    cost : dask array (grid_y, grid_x)
        Summed over the mini-batch.
    gradient : Gradient of dask arrays
        Shaped and chunked like weights, alpha and offset.

    Raises
    ------
    GeometryError
        If the weights are not the layer's, or are chunked over units or inputs.

    References
    ----------
    Ni et al. 2015, section 3.1. See `yfccdask.numerics.rica.cost_and_gradient`.
    """
    expected = (*layer.grid, layer.units, layer.inputs)
    if weights.shape != expected or weights.numblocks[2:] != (1, 1):
        raise GeometryError(
            f"expected weights {expected} with units and inputs in one chunk, found "
            f"{weights.shape} in chunks of {weights.chunksize}: rechunk over the grid only"
        )
    layout = Layout(layer, *weights.chunks[:2])
    name = f"gradient-{dask_token(weights, alpha, offset, field, sparsity, epsilon)}"
    whole = _gradient_tasks(name, layout, weights, alpha, offset, field, (sparsity, epsilon))
    shapes = {
        "cost": (weights.chunks[:2],),
        "weights": (weights.chunks,),
        "alpha": (weights.chunks[:2],),
        "offset": ((*weights.chunks[:2], (layer.inputs,)),),
    }
    dependencies = [weights, alpha, offset, field]
    cost, *parts = (
        _part(name, number, part, whole, dependencies, chunks[0], field.dtype)
        for number, (part, chunks) in enumerate(shapes.items())
    )
    return cost, Gradient(*parts)


def dask_token(*arguments: Any) -> str:
    """A name that these arguments, and only these, have."""
    return da.core.tokenize(*arguments)


def _gradient_tasks(
    name: str,
    layout: Layout,
    weights: da.Array,
    alpha: da.Array,
    offset: da.Array,
    field: da.Array,
    terms: tuple[float, float],
) -> dict[Any, Task]:
    tasks = {}
    for index in layout.indices():
        region, (i, j, _) = layout.region(index), index
        pieces, places = pieces_of(field, region)
        key = (name, i, j)
        tasks[key] = Task(
            key,
            chunk_gradient,
            TaskRef((weights.name, i, j, 0, 0)),
            TaskRef((alpha.name, i, j)),
            TaskRef((offset.name, i, j, 0)),
            pieces,
            places,
            region,
            windows_of(layout),
            *terms,
        )
    return tasks


def _part(
    whole: str,
    number: int,
    part: str,
    tasks: dict[Any, Task],
    dependencies: list[Any],
    chunks: tuple[tuple[int, ...], ...],
    dtype: Any,
) -> da.Array:
    name = f"{part}-{whole}"
    zeros = (0,) * (len(chunks) - 2)
    own = {
        (name, i, j, *zeros): Task((name, i, j, *zeros), take, TaskRef((whole, i, j)), number)
        for _, i, j in tasks
    }
    return array_from_tasks(name, {**tasks, **own}, dependencies, chunks, dtype)


def take(parts: tuple[np.ndarray, ...], number: int) -> np.ndarray:
    """Task: one of several results."""
    return parts[number]


def chunk_gradient(
    weights: np.ndarray,
    alpha: np.ndarray,
    offset: np.ndarray,
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    windows: Windows,
    sparsity: float,
    epsilon: float,
) -> tuple[np.ndarray, ...]:
    """Task: cost and gradient of one chunk of positions."""
    field, grid = Pieces(pieces, places, region), weights.shape[:2]
    patches = np.empty((*grid, field.images, weights.shape[3]), field.dtype)
    for index in np.ndindex(grid):
        fill_inputs(field.parts(windows.at(index)), slice(None), windows, 1.0, patches[index])
    flat = (part.reshape(-1, *part.shape[2:]) for part in (weights, alpha, offset, patches))
    cost, gradient = rica.cost_and_gradient(*flat, sparsity=sparsity, epsilon=epsilon)
    return tuple(part.reshape(*grid, *part.shape[1:]) for part in (cost, *gradient))
