"""A block's visit of a layer: one pure task per weight chunk, and the forward pass likewise.

A task is given the few chunks of the field that its windows touch, reads its windows where they
lie, and returns fresh chunks. A dense layer in one chunk is visited by one task too; in several
chunks every mini-batch takes three tasks per chunk and three sums up one tree
(`yfccdask.graph.dense_graph`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.geometry import Layout, Rectangle
from yfccdask.graph.dense_graph import dense_forward_tasks, dense_train_tasks
from yfccdask.graph.pieces import array_from_tasks, pieces_of
from yfccdask.graph.state_chunks import Chunk, StateChunks, chunks_from_tasks, place_of
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.local_visits import Objective, Rates, State, Windows


def train_block(
    name: str,
    states: StateChunks,
    field: da.Array,
    scale: float,
    objective: Objective,
    rates: tuple[Rates, ...],
    images: int,
    precision: str = "fp32",
) -> StateChunks:
    """A layer's states after training on the first ``images`` of a block.

    Parameters
    ----------
    name : str
        Of the new collection; unique per run, layer, pass and block.
    states : StateChunks
    field : dask array (image, y, x, map)
        The layer's input field for the block.
    scale : float
        What brings the field to the layer's set deviation.
    objective : Objective
    rates : tuple of Rates
        One per whole mini-batch.
    images : int
        Images in the whole mini-batches.
    precision : "fp32", "tf32" or "bf16"
        Of the matrix products where chunks lie on a GPU.
    """
    layout = states.layout
    if layout.layer.dense and len(layout.leaves) > 1:
        how_to = (scale, objective, rates, images, precision)
        tasks = dense_train_tasks(name, states, field, *how_to)
        return chunks_from_tasks(name, layout, tasks, [states, field], states.dtype)
    train = dense_visits.train_dense_visit if layout.layer.dense else local_visits.train_visit
    how = layout.layer.leaf if layout.layer.dense else windows_of(layout)
    tasks = {}
    for index in layout.indices():
        region = layout.region(index)
        pieces, places = pieces_of(field, region)
        chunk, key = TaskRef((states.name, *index)), (name, *index)
        where = (places, region, images)
        how_to = (scale, how, objective, rates, precision, place_of(name, index))
        tasks[key] = Task(key, visit, train, chunk, pieces, *where, *how_to)
    return chunks_from_tasks(name, layout, tasks, [states, field], states.dtype)


def windows_of(layout: Layout) -> Windows:
    """A layer's windows as its kernels want them."""
    return Windows(layout.layer.window, layout.layer.stride)


def visit(
    train: Callable[..., tuple[State, np.ndarray]],
    chunk: Chunk,
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    images: int,
    scale: float,
    how: Windows | int,
    objective: Objective,
    rates: tuple[Rates, ...],
    precision: str,
    place: str,
) -> Chunk:
    """Task: train a chunk on a block by `train_visit` or `train_dense_visit`.

    ``how`` is the layer's windows, or the inputs per leaf of a dense layer in one chunk; ``place``
    is where the new chunk goes if this one lies on disk.
    """
    field = Pieces(pieces, places, region).first(images)
    trained = train(chunk.visited(), field, scale, how, objective, rates, precision)
    return chunk.followed_by(*trained, place)


def forward_block(
    name: str,
    states: StateChunks,
    field: da.Array,
    scale: float,
    rows: int,
    precision: str = "fp32",
    stored: Any = None,
) -> da.Array:
    """A layer's output field for a block: ``s = alpha W x`` as tiles, before LCN.

    Parameters
    ----------
    name : str
    states : StateChunks
    field : dask array (image, y, x, map)
    scale : float
    rows : int
        Images per BLAS call, the mini-batch.
    precision : "fp32", "tf32" or "bf16"
        Of the matrix products where chunks lie on a GPU.
    stored : dtype, optional
        Type of a local layer's field, the states' unless given.

    Returns
    -------
    dask array (image, y, x, map)
    """
    layout, images = states.layout, field.shape[0]
    output = layout.output
    chunks = ((images,), output.rows, output.columns, (output.maps,))
    if layout.layer.dense:
        tasks = dense_forward_tasks(name, states, field, scale, rows, precision)
        return array_from_tasks(name, tasks, [states, field], chunks, states.dtype)
    tasks, kind = {}, np.dtype(stored or states.dtype)
    for index in layout.indices():
        region = layout.region(index)
        pieces, places = pieces_of(field, region)
        reference, key = TaskRef((states.name, *index)), (name, 0, *index[:2], 0)
        how = (scale, windows_of(layout), layout.layer.tile, rows, precision, kind)
        tasks[key] = Task(key, forward_local, reference, pieces, places, region, *how)
    return array_from_tasks(name, tasks, [states, field], chunks, kind)


def forward_local(
    chunk: Chunk,
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    scale: float,
    windows: Windows,
    tile: tuple[int, int],
    rows: int,
    precision: str,
    stored: np.dtype[Any],
) -> np.ndarray:
    """Task: a chunk's part of the output field (image, y, x, map)."""
    field, how = Pieces(pieces, places, region), (windows, tile, rows, precision, stored)
    return local_visits.forward_visit(chunk.visited(), field, scale, *how)
