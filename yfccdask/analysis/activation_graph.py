"""A block's activations as tasks that write them, each part where it was computed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import dask
import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef

from yfccdask.analysis.activation_files import Labels, Writer, write_part
from yfccdask.graph.pieces import array_from_tasks


def written_parts(responses: da.Array, writer: Writer, labels: Labels) -> da.Array:
    """Write a block's responses, cut into the writer's parts, when computed.

    Parameters
    ----------
    responses : dask array (image, grid_y, grid_x[, unit])
        Of one block, chunked anyhow: pieces of a part are brought to the worker that writes it.
    writer : Writer
    labels : Labels
        The block's.

    Returns
    -------
    dask array of int64, a chunk of one value per part
        Bytes written.
    """
    with dask.config.set({"array.rechunk.method": "tasks"}):
        parts = responses.rechunk(writer.parts)  # type: ignore[no-untyped-call]
    name, tasks = f"written-{responses.name}", {}
    for index, (images, *place) in _places(parts.chunks):
        key, reference = (name, *index), TaskRef((parts.name, *index))
        tasks[key] = Task(key, write_part, reference, writer, labels.part(images), tuple(place))
    chunks = tuple((1,) * count for count in parts.numblocks)
    return array_from_tasks(name, tasks, [parts], chunks, np.dtype(np.int64))


def _places(
    chunks: tuple[tuple[int, ...], ...],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Every chunk's index, and where it lies."""
    edges = [np.cumsum([0, *sizes]).tolist() for sizes in chunks]
    spans = [[slice(*pair) for pair in pairwise(edge)] for edge in edges]
    for index in np.ndindex(*map(len, spans)):
        yield index, tuple(span[at] for span, at in zip(spans, index, strict=True))
