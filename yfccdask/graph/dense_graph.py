"""A dense layer in several chunks: three tasks per chunk and mini-batch, three sums up one tree."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    layout, size = states.layout, images // len(rates)
    tasks = input_tasks(f"inputs-{name}", states, field, scale, images)
    before: list[Any] = [(states.name, 0, 0, k) for k in range(len(layout.leaves))]
    row_scales, costs = None, []
    for step, rate in enumerate(rates):
        batch = _MiniBatch(name, step, slice(step * size, (step + 1) * size), layout)
        tasks |= batch.chunk_tasks(before, objective.momentum, rate)
        tasks |= batch.sum_tasks(before, row_scales, objective, states.dtype)
        before = [batch.key("descend", k) for k in range(len(layout.leaves))]
        row_scales = TaskRef(batch.key("scale"))
        costs.append(TaskRef(batch.key("descent")))
    for k, last in enumerate(before):
        new = (name, 0, 0, k)
        tasks[new] = Task(new, finish, TaskRef(last), row_scales, List(*costs), size)
    return tasks


class _MiniBatch(NamedTuple):
    """The tasks of one mini-batch: three phases per chunk, and the sums between them."""

    name: str
    step: int
    images: slice
    layout: Layout

    def key(self, part: str, k: int = 0) -> Any:
        return (f"{part}-{self.name}", self.step, k)

    def each(self, part: str) -> List:
        """References to a part's tasks of all chunks."""
        return List(*(TaskRef(self.key(part, k)) for k in range(len(self.layout.leaves))))

    def chunk_tasks(self, before: list[Any], momentum: float, rate: Rates) -> Tasks:
        """``before`` are the keys of the chunks' states."""
        tasks = {}
        head, descent = TaskRef(self.key("head")), TaskRef(self.key("descent"))
        for k, state in enumerate(before):
            inputs = TaskRef((f"inputs-{self.name}", k))
            given = (TaskRef(state), inputs, self.images, leaves_of(self.layout, k))
            first, second, third = (self.key(part, k) for part in ("code", "residual", "descend"))
            tasks[first] = Task(first, code, *given)
            tasks[second] = Task(second, residual, *given, head)
            tasks[third] = Task(third, descend, *given, TaskRef(second), descent, momentum, rate)
        return tasks

    def sum_tasks(
        self, before: list[Any], row_scales: TaskRef | None, objective: Objective, dtype: Any
    ) -> Tasks:
        """``row_scales`` refers to what the rows are still to be multiplied by."""
        total, first = sum(self.layout.leaves), TaskRef(before[0])
        top, down, scale = (self.key(part) for part in ("head", "descent", "scale"))
        return {
            top: Task(top, head, self.each("code"), first, row_scales, objective, total),
            down: Task(down, descent, self.each("residual"), TaskRef(top), total),
            scale: Task(scale, row_scale, self.each("descend"), total, dtype),
        }


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
