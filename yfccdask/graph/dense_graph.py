"""A dense layer in several chunks: three tasks per chunk and mini-batch, three sums up one tree."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.geometry import Layout, Rectangle
from yfccdask.graph.pieces import pieces_of
from yfccdask.graph.state_chunks import Chunk, StateChunks
from yfccdask.numerics import dense_visits
from yfccdask.numerics.dense_visits import Descent, Head, Leaves, Sums
from yfccdask.numerics.fields import stitch
from yfccdask.numerics.local_visits import Objective, Rates, State

Tasks = dict[Any, Task]


def leaves_of(layout: Layout, k: int) -> Leaves:
    """Chunk k's leaves as the kernels want them."""
    return Leaves(*layout.leaves_of(k), sum(layout.leaves), layout.layer.leaf)


def input_tasks(
    name: str, states: StateChunks, field: da.Array, scale: float, images: int
) -> Tasks:
    """One task per chunk that lays its part of the field out as (image, input), scaled."""
    layout, tasks = states.layout, {}
    for k in range(len(layout.leaves)):
        region = layout.region((0, 0, k))
        pieces, places = pieces_of(field, region)
        row = layout.layer.input.width * layout.layer.input.maps
        start, stop = (edge - region.top * row for edge in layout.inputs_of(k))
        key = (name, k)
        tasks[key] = Task(
            key, take_inputs, pieces, places, region, images, (start, stop), scale, states.dtype
        )
    return tasks


def take_inputs(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    images: int,
    inputs: tuple[int, int],
    scale: float,
    dtype: Any,
) -> np.ndarray:
    """Task: a chunk's inputs (image, input) of a block."""
    field = stitch(pieces, places, region)[:images]
    return dense_visits.flatten(field.reshape(len(field), -1)[:, slice(*inputs)], scale, dtype)


def dense_train_tasks(
    name: str,
    states: StateChunks,
    field: da.Array,
    scale: float,
    objective: Objective,
    rates: tuple[Rates, ...],
    images: int,
) -> Tasks:
    """All tasks of a block's visit; the last ones are keyed as the new chunks."""
    layout = states.layout
    inputs, total = f"inputs-{name}", sum(layout.leaves)
    tasks = input_tasks(inputs, states, field, scale, images)
    chunks = range(len(layout.leaves))
    size = images // len(rates)
    before: list[Any] = [(states.name, 0, 0, k) for k in chunks]
    scales, costs = None, []
    for step, rate in enumerate(rates):
        batch = slice(step * size, (step + 1) * size)

        def key(part: str, k: int = 0, step: int = step) -> Any:
            return (f"{part}-{name}", step, k)

        def each(part: str) -> List:
            return List(*(TaskRef(key(part, k)) for k in chunks))

        for k in chunks:
            arguments = (TaskRef(before[k]), TaskRef((inputs, k)), batch, leaves_of(layout, k))
            tasks[key("code", k)] = Task(key("code", k), code, *arguments)
            tasks[key("residual", k)] = Task(
                key("residual", k), residual, *arguments, TaskRef(key("head"))
            )
            tasks[key("descend", k)] = Task(
                key("descend", k),
                descend,
                *arguments,
                TaskRef(key("residual", k)),
                TaskRef(key("descent")),
                objective.momentum,
                rate,
            )
        first = TaskRef(before[0])
        tasks[key("head")] = Task(key("head"), head, each("code"), first, scales, objective, total)
        tasks[key("descent")] = Task(
            key("descent"), descent, each("residual"), TaskRef(key("head")), total
        )
        tasks[key("scale")] = Task(key("scale"), row_scale, each("descend"), total, states.dtype)
        before = [key("descend", k) for k in chunks]
        scales = TaskRef(key("scale"))
        costs.append(TaskRef(key("descent")))
    for k in chunks:
        new = (name, 0, 0, k)
        tasks[new] = Task(new, finish, TaskRef(before[k]), scales, List(*costs), size)
    return tasks


def _state(chunk: Any) -> State:
    """The state in a chunk, whether of the visit before or of the mini-batch before."""
    return chunk.state if isinstance(chunk, Chunk) else chunk[0]


def code(chunk: Any, x: np.ndarray, batch: slice, leaves: Leaves) -> Sums:
    """Task: phase 1 of a chunk's mini-batch."""
    return dense_visits.code_sums(_state(chunk), x[batch], leaves)


def head(
    sums: list[Sums], chunk: Any, scale: np.ndarray | None, objective: Objective, total: int
) -> Head:
    """Task: the code from all chunks' sums."""
    state = _state(chunk)
    z = dense_visits.total_of(sums, total)
    if scale is None:
        scale = np.ones(z.shape[1], z.dtype)
    return dense_visits.make_head(z, float(state.alpha[0, 0]), scale, objective)


def residual(
    chunk: Any, x: np.ndarray, batch: slice, leaves: Leaves, head: Head
) -> tuple[np.ndarray, np.ndarray, Sums]:
    """Task: phase 2 of a chunk's mini-batch."""
    return dense_visits.residual_sums(_state(chunk), x[batch], head, leaves)


def descent(
    residuals: list[tuple[np.ndarray, np.ndarray, Sums]], head: Head, total: int
) -> tuple[Descent, tuple[float, float]]:
    """Task: the code's gradient from all chunks' sums, and the cost's two terms."""
    return dense_visits.make_descent([part[2] for part in residuals], head, total)


def descend(
    chunk: Any,
    x: np.ndarray,
    batch: slice,
    leaves: Leaves,
    residual: tuple[np.ndarray, np.ndarray, Sums],
    descent: tuple[Descent, tuple[float, float]],
    momentum: float,
    rate: Rates,
) -> tuple[State, Sums]:
    """Task: phase 3 of a chunk's mini-batch, on a fresh copy."""
    state = State(*(np.array(part) for part in _state(chunk)))
    r, by_offset, _ = residual
    squares = dense_visits.descend_chunk(
        state, x[batch], r, by_offset, descent[0], leaves, momentum, rate
    )
    return state, squares


def row_scale(chunks: list[tuple[State, Sums]], total: int, dtype: Any) -> np.ndarray:
    """Task: the rows' scale from all chunks' squares."""
    squares = dense_visits.total_of([sums for _, sums in chunks], total)
    return dense_visits.row_scale(squares, dtype)


def finish(
    chunk: tuple[State, Sums],
    scale: np.ndarray,
    costs: list[tuple[Descent, tuple[float, float]]],
    images: int,
) -> Chunk:
    """Task: rows of unit norm again, and the costs of all mini-batches."""
    terms = np.array([cost for _, cost in costs])[:, None, None, :]
    return Chunk(dense_visits.finish(chunk[0], scale), terms / max(images, 1))


def dense_forward_tasks(
    name: str, states: StateChunks, field: da.Array, scale: float, rows: int
) -> Tasks:
    """The forward pass: every chunk's sums, and the code of the whole block."""
    layout, inputs = states.layout, f"inputs-{name}"
    tasks = input_tasks(inputs, states, field, scale, field.shape[0])
    sums = []
    for k in range(len(layout.leaves)):
        key = (f"code-{name}", k)
        chunk, x = TaskRef((states.name, 0, 0, k)), TaskRef((inputs, k))
        tasks[key] = Task(key, forward_sums, chunk, x, leaves_of(layout, k), rows)
        sums.append(TaskRef(key))
    key = (name, 0, 0, 0, 0)
    first = TaskRef((states.name, 0, 0, 0))
    tasks[key] = Task(key, forward_code, List(*sums), first, sum(layout.leaves))
    return tasks


def forward_sums(chunk: Chunk, x: np.ndarray, leaves: Leaves, rows: int) -> Sums:
    """Task: ``W x`` over a chunk's leaves for a whole block."""
    return dense_visits.forward_sums(chunk.state, x, leaves, rows)


def forward_code(sums: list[Sums], chunk: Chunk, total: int) -> np.ndarray:
    """Task: the code as a field of one pixel (image, 1, 1, unit)."""
    z = dense_visits.total_of(sums, total)
    return (chunk.state.alpha[0, 0] * z)[:, None, None, :]
