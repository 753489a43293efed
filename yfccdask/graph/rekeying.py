"""Chunks under new keys that remember nothing: what bounds the lineage of a long run.

A task that Dask has run is remembered for as long as something depends on it, so a state that
depends on the state before it grows the scheduler by every visit ever made. Re-keying cuts that: a
task without dependencies takes the chunk out of the memory of the worker that holds it, and the old
key is let go once that has happened. A chunk that is lost after that can't be computed again; it
comes back from the last commit.
"""

from __future__ import annotations

from typing import Any

from dask._task_spec import Task
from distributed import get_worker

from yfccdask.errors import LostChunk
from yfccdask.graph.pieces import Key, pinned_graph
from yfccdask.graph.state_chunks import Chunk, StateChunks


def held_chunks(name: str, states: StateChunks) -> StateChunks:
    """The same chunks, in the same places, under the keys of ``name`` and without a past.

    Parameters
    ----------
    name : str
    states : StateChunks
        Computed, pinned to owners, and referred to until the new chunks are computed as well.
    """
    if not states.owners:
        raise ValueError("expected chunks that are pinned to workers, found none that are")
    tasks: dict[Key, Task] = {}
    pins: dict[Key, str] = {}
    for index in states.layout.indices():
        key = (name, *index)
        tasks[key] = Task(key, held, [states.name, *index])
        pins[key] = states.owners[index]
    graph = pinned_graph(name, tasks, [], pins)
    return states.renamed(graph, name)


def held(parts: list[Any]) -> Chunk:
    """Task: a chunk that lies in this worker's memory, by the parts of its key."""
    worker = get_worker()
    try:
        return worker.data[tuple(parts)]
    except KeyError:
        raise LostChunk(
            f"{worker.address}: expected the chunk {tuple(parts)} in memory, found it gone: its "
            "worker was lost; the run goes on from its last commit"
        ) from None
