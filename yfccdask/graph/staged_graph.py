"""Fields on the workers' own disks between the passes of a layer: written once, read again."""

from __future__ import annotations

from collections.abc import Mapping

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.data.scratch import StoredPiece, load_piece, store_piece
from yfccdask.graph.pieces import Key, array_from_tasks
from yfccdask.graph.state_chunks import Scratch


def stored_field(name: str, field: da.Array, scratch: Scratch) -> da.Array:
    """Write every piece of a field to the disk of the worker that holds it.

    Returns
    -------
    dask array of object, one `StoredPiece` per piece, in the field's blocks
    """
    tasks = {}
    for index in np.ndindex(field.numblocks):
        key, place = (name, *index), f"{name}/{'-'.join(map(str, index))}"
        tasks[key] = Task(key, store, TaskRef((field.name, *index)), scratch, place)
    chunks = tuple((1,) * blocks for blocks in field.numblocks)
    return array_from_tasks(name, tasks, [field], chunks, np.dtype(object))


def store(piece: np.ndarray, scratch: Scratch, place: str) -> np.ndarray:
    """Task: write one piece; where it lies, as an array of one object."""
    stored = np.empty((1,) * piece.ndim, object)
    stored[(0,) * piece.ndim] = store_piece(scratch.folder, place, piece)
    return stored


def loaded_field(
    name: str, stored: da.Array, field: da.Array, workers: Mapping[Key, str]
) -> da.Array:
    """The field whose pieces were stored, read where they lie.

    Parameters
    ----------
    name : str
    stored : dask array of object
    field : dask array (image, y, x, map)
        The field that was stored; only its shape, chunks and type are used.
    workers : mapping
        The address of the worker of every key of ``stored``.
    """
    tasks, pins = {}, {}
    for index in np.ndindex(stored.numblocks):
        key = (name, *index)
        tasks[key] = Task(key, load, TaskRef((stored.name, *index)))
        pins[key] = workers[(stored.name, *index)]
    return array_from_tasks(name, tasks, [stored], field.chunks, field.dtype, pins)


def load(stored: np.ndarray) -> np.ndarray:
    """Task: read one piece."""
    piece: StoredPiece = stored.item()
    return load_piece(piece)
