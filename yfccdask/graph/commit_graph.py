"""Chunks to and from a commit's files: one writer per chunk, any layout to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.data.commits import chunk_slices, read_state, write_chunk
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph.pieces import array_from_tasks
from yfccdask.graph.state_chunks import Chunk, StateChunks, chunks_from_tasks, with_no_costs


def written_chunks(name: str, states: StateChunks, commit: Path, number: int) -> da.Array:
    """Write every chunk of a layer (counted from 0) into a commit in the making.

    Returns
    -------
    dask array (chunk,) of object
        Each chunk's files' digests, as `yfccdask.data.commits.write_chunk` gives them.
    """
    layout, tasks = states.layout, {}
    for position, index in enumerate(layout.indices()):
        key = (name, position)
        reference = TaskRef((states.name, *index))
        tasks[key] = Task(key, write, reference, commit, number, layout, index)
    chunks = ((1,) * len(tasks),)
    return array_from_tasks(name, tasks, [states], chunks, np.dtype(object))


def write(chunk: Chunk, commit: Path, number: int, layout: Layout, index: ChunkIndex) -> np.ndarray:
    """Task: write one chunk's files; their digests as an array of one object."""
    digests = np.empty(1, object)
    digests[0] = write_chunk(commit, number, layout, index, chunk.state)
    return digests


def loaded_chunks(name: str, commit: Path, number: int, layout: Layout, dtype: Any) -> StateChunks:
    """A layer's states (counted from 0) from a commit, in any layout."""
    tasks = {
        (name, *index): Task((name, *index), load, commit, number, layout, index)
        for index in layout.indices()
    }
    return chunks_from_tasks(name, layout, tasks, [], dtype)


def load(commit: Path, number: int, layout: Layout, index: ChunkIndex) -> Chunk:
    """Task: read one chunk of a layout."""
    where = chunk_slices(layout, index)
    return with_no_costs(read_state(commit, number, layout.layer, where))
