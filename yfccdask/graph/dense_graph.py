"""A dense layer in several chunks: three phases per chunk and mini-batch, three sums up one tree.

What goes into a sum is a key of its own, so that residuals and weights stay with their chunk.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.data.scratch import StoredState, kept_like, load_state
from yfccdask.geometry import Layout, Rectangle
from yfccdask.graph.pieces import pieces_of
from yfccdask.graph.state_chunks import Chunk, StateChunks, place_of
from yfccdask.numerics import dense_visits
from yfccdask.numerics.dense_visits import Descent, Head, Inputs, Leaves, Operands, Sums
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.local_visits import Objective, Rates, State

Tasks = dict[Any, Task]


def leaves_of(layout: Layout, k: int) -> Leaves:
    """Chunk k's leaves as the kernels want them."""
    return Leaves(*layout.leaves_of(k), sum(layout.leaves), layout.layer.leaf)


def inputs_of(layout: Layout, k: int, field: da.Array, scale: float) -> tuple[Any, ...]:
    """What chunk k's tasks need to read its inputs: pieces of the field, and how they lie."""
    region = layout.region((0, 0, k))
    row = layout.layer.input.width * layout.layer.input.maps
    first = layout.inputs_of(k)[0] - region.top * row
    return (*pieces_of(field, region), region, first, scale)


def inputs_from(
    pieces: list[np.ndarray],
    places: tuple[Rectangle, ...],
    region: Rectangle,
    first: int,
    scale: float,
) -> Inputs:
    """A chunk's inputs, from what `inputs_of` referred to."""
    return Inputs(Pieces(pieces, places, region).contiguous(), first, scale)


def dense_train_tasks(
    name: str,
    states: StateChunks,
    field: da.Array,
    scale: float,
    objective: Objective,
    rates: tuple[Rates, ...],
    images: int,
    precision: str = "fp32",
) -> Tasks:
    """All tasks of a block's visit; the last ones are keyed as the new chunks."""
    layout, size, tasks = states.layout, images // len(rates), Tasks()
    inputs = [inputs_of(layout, k, field, scale) for k in range(len(layout.leaves))]
    before: list[Any] = [(states.name, 0, 0, k) for k in range(len(layout.leaves))]
    row_scales, costs = None, []
    for step, rate in enumerate(rates):
        batch = _MiniBatch(name, step, slice(step * size, (step + 1) * size), layout, precision)
        tasks |= batch.chunk_tasks(before, inputs, objective.momentum, rate)
        tasks |= batch.sum_tasks(before, row_scales, objective, states.dtype)
        before = [batch.key("descend", k) for k in range(len(layout.leaves))]
        row_scales = TaskRef(batch.key("scale"))
        costs.append(TaskRef(batch.key("descent")))
    for k, last in enumerate(before):
        new = (name, 0, 0, k)
        given = (TaskRef(last), row_scales, List(*costs), size, place_of(name, new[1:]))
        tasks[new] = Task(new, finish, *given)
    return tasks


class _MiniBatch(NamedTuple):
    """The tasks of one mini-batch: three phases per chunk, and the sums between them."""

    name: str
    step: int
    images: slice
    layout: Layout
    precision: str

    def key(self, part: str, k: int = 0) -> Any:
        return (f"{part}-{self.name}", self.step, k)

    def each(self, part: str) -> List:
        """References to a part's tasks of all chunks."""
        return List(*(TaskRef(self.key(part, k)) for k in range(len(self.layout.leaves))))

    def chunk_tasks(
        self, before: list[Any], inputs: list[tuple[Any, ...]], momentum: float, rate: Rates
    ) -> Tasks:
        """``before`` are the keys of the chunks' states, ``inputs`` as from `inputs_of`."""
        tasks = {}
        head, descent = TaskRef(self.key("head")), TaskRef(self.key("descent"))
        for k, state in enumerate(before):
            leaves = leaves_of(self.layout, k)
            given = (TaskRef(state), leaves, self.images, self.precision, *inputs[k])
            first, second, third = (self.key(part, k) for part in ("code", "residual", "descend"))
            tasks[first] = Task(first, code, *given)
            tasks[second] = Task(second, residual, head, *given)
            place = place_of(f"steps-{self.name}", (0, self.step, k))
            how = (leaves, momentum, rate, self.precision, place)
            tasks[third] = Task(third, descend, TaskRef(state), TaskRef(second), descent, *how)
            for part, of, number in (("errors", second, 2), ("squares", third, 1)):
                key = self.key(part, k)
                tasks[key] = Task(key, take, TaskRef(of), number)
        return tasks

    def sum_tasks(
        self, before: list[Any], row_scales: TaskRef | None, objective: Objective, dtype: Any
    ) -> Tasks:
        """``row_scales`` refers to what the rows are still to be multiplied by."""
        total, first = sum(self.layout.leaves), TaskRef(before[0])
        top, down, scale = (self.key(part) for part in ("head", "descent", "scale"))
        return {
            top: Task(top, head, self.each("code"), first, row_scales, objective, total),
            down: Task(down, descent, self.each("errors"), TaskRef(top), total),
            scale: Task(scale, row_scale, self.each("squares"), total, dtype),
        }


def _state(chunk: Any, parts: tuple[str, ...] = State._fields) -> State:
    """The state in a chunk, whether of the visit before or of the mini-batch before."""
    return load_state(chunk[0], parts)


def code(chunk: Any, leaves: Leaves, images: slice, precision: str, *inputs: Any) -> Sums:
    """Task: phase 1 of a chunk's mini-batch."""
    state = _state(chunk, ("weights",))
    return dense_visits.code_sums(state, inputs_from(*inputs), images, leaves, precision)


def head(
    sums: list[Sums], chunk: Any, scale: np.ndarray | None, objective: Objective, total: int
) -> Head:
    """Task: the code from all chunks' sums."""
    state = _state(chunk, ("alpha",))
    return dense_visits.make_head(dense_visits.total_of(sums, total), state, scale, objective)


def residual(
    head: Head, chunk: Any, leaves: Leaves, images: slice, precision: str, *inputs: Any
) -> tuple[Operands, np.ndarray, Sums]:
    """Task: phase 2 of a chunk's mini-batch."""
    state = _state(chunk, ("weights", "offset"))
    given = (state, inputs_from(*inputs), images, head, leaves)
    return dense_visits.residual_sums(*given, precision=precision)


def take(parts: tuple[Any, ...], number: int) -> Any:
    """Task: one of several results."""
    return parts[number]


def descent(sums: list[Sums], head: Head, total: int) -> tuple[Descent, tuple[float, float]]:
    """Task: the code's gradient from all chunks' sums, and the cost's two terms."""
    return dense_visits.make_descent(sums, head, total)


def descend(
    chunk: Any,
    residual: tuple[Operands, np.ndarray, Sums],
    descent: tuple[Descent, tuple[float, float]],
    leaves: Leaves,
    momentum: float,
    rate: Rates,
    precision: str,
    place: str,
) -> tuple[State | StoredState, Sums]:
    """Task: phase 3 of a chunk's mini-batch, on a fresh copy that lies where the old one does."""
    state, how = _state(chunk).copied(), (leaves, momentum, rate, precision)
    squares = dense_visits.descend_chunk(state, *residual[:2], descent[0], *how)
    return kept_like(chunk[0], state, place), squares


def row_scale(squares: list[Sums], total: int, dtype: Any) -> np.ndarray:
    """Task: the rows' scale from all chunks' squares."""
    return dense_visits.row_scale(dense_visits.total_of(squares, total), dtype)


def finish(
    chunk: Any,
    scale: np.ndarray,
    costs: list[tuple[Descent, tuple[float, float]]],
    images: int,
    place: str,
) -> Chunk:
    """Task: rows of unit norm again, and the costs of all mini-batches."""
    state = dense_visits.finish(_state(chunk), scale)
    terms = dense_visits.costs_of_steps([cost for _, cost in costs], images, state.weights)
    return Chunk(kept_like(chunk[0], state, place), terms)


def dense_forward_tasks(
    name: str,
    states: StateChunks,
    field: da.Array,
    scale: float,
    rows: int,
    precision: str = "fp32",
) -> Tasks:
    """The forward pass: every chunk's sums, and the code of the whole block."""
    layout, tasks, sums = states.layout, Tasks(), []
    for k in range(len(layout.leaves)):
        key = (f"code-{name}", k)
        chunk, inputs = TaskRef((states.name, 0, 0, k)), inputs_of(layout, k, field, scale)
        how = (leaves_of(layout, k), rows, precision)
        tasks[key] = Task(key, forward_sums, chunk, *how, *inputs)
        sums.append(TaskRef(key))
    key = (name, 0, 0, 0, 0)
    first = TaskRef((states.name, 0, 0, 0))
    tasks[key] = Task(key, forward_code, List(*sums), first, sum(layout.leaves))
    return tasks


def forward_sums(chunk: Chunk, leaves: Leaves, rows: int, precision: str, *inputs: Any) -> Sums:
    """Task: ``W x`` over a chunk's leaves for a whole block."""
    state = _state(chunk, ("weights",))
    return dense_visits.forward_sums(state, inputs_from(*inputs), leaves, rows, precision)


def forward_code(sums: list[Sums], chunk: Chunk, total: int) -> np.ndarray:
    """Task: the code as a field of one pixel (image, 1, 1, unit)."""
    z = dense_visits.total_of(sums, total)
    return (_state(chunk, ("alpha",)).alpha[0, 0] * z)[:, None, None, :]
