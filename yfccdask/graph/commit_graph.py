"""Chunks to and from a commit's files: one writer per chunk, any layout to read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.backend import to_host
from yfccdask.backend.device import library_for
from yfccdask.data.commit_reading import read_state
from yfccdask.data.commit_writing import write_chunk
from yfccdask.data.commits import chunk_slices
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph.pieces import Owners, array_from_tasks
from yfccdask.graph.state_chunks import (
    Chunk,
    Scratch,
    StateChunks,
    chunks_from_tasks,
    put_on_disk,
    put_on_host,
    with_no_costs,
)
from yfccdask.numerics.states import State


def written_chunks(name: str, states: StateChunks, group: Path) -> da.Array:
    """Write every chunk of a layer into its group of a commit in the making.

    Returns
    -------
    dask array (chunk,) of object
        Each chunk's files' digests, as `yfccdask.data.commit_writing.write_chunk` gives them.
    """
    layout, tasks = states.layout, {}
    for position, index in enumerate(layout.indices()):
        key = (name, position)
        reference = TaskRef((states.name, *index))
        tasks[key] = Task(key, write, reference, group, layout, index)
    chunks = ((1,) * len(tasks),)
    return array_from_tasks(name, tasks, [states], chunks, np.dtype(object))


def write(chunk: Chunk, group: Path, layout: Layout, index: ChunkIndex) -> np.ndarray:
    """Task: write one chunk's files; their digests as an array of one object."""
    digests = np.empty(1, object)
    state = State(*map(to_host, chunk.opened())).whole()
    digests[0] = write_chunk(group, layout, index, state)
    return digests


def loaded_chunks(
    name: str,
    group: Path,
    layout: Layout,
    dtype: Any,
    owners: Owners | None = None,
    scratch: Scratch | None = None,
    device: str = "cpu",
    at_rest: bool = False,
    momentum: str = "full",
    hosted: Collection[ChunkIndex] = (),
) -> StateChunks:
    """A layer's states from its group in a commit, in any layout, on ``device`` or on scratch.

    ``at_rest`` says that it has finished; ``momentum`` how that of the weights is stored;
    the chunks ``hosted`` stay in the host's memory.
    """
    tasks = {
        (name, *index): Task((name, *index), load, group, layout, index, device, at_rest, momentum)
        for index in layout.indices()
    }
    if scratch:
        tasks = {key: put_on_disk(task, scratch) for key, task in tasks.items()}
    for index in hosted:
        on_host = (group, layout, index, "cpu", at_rest, momentum)
        tasks[name, *index] = put_on_host(Task((name, *index), load, *on_host), device)
    return chunks_from_tasks(name, layout, tasks, [], dtype, owners)


def load(
    group: Path,
    layout: Layout,
    index: ChunkIndex,
    device: str,
    at_rest: bool = False,
    momentum: str = "full",
) -> Chunk:
    """Task: read one chunk of a layout."""
    state = read_state(group, layout.layer, chunk_slices(layout, index))
    state = state if at_rest else state.stored(momentum)
    state = State(*map(library_for(device).upload, state))
    return with_no_costs(state.at_rest() if at_rest else state)
