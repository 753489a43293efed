"""A layer's weights, offsets, alphas and momenta as one collection of immutable chunks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import DaskMethodsMixin
from dask.highlevelgraph import HighLevelGraph
from dask.threaded import get as threaded_get
from distributed import get_worker

from yfccdask.backend import to_host
from yfccdask.backend.device import library_for
from yfccdask.data.scratch import StoredState, kept_like, load_state, store_state
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph.pieces import Key, Owners, array_from_tasks, pinned_graph, pins_beside_chunks
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.bfloat16 import all_finite, is_bfloat16, widened
from yfccdask.numerics.device.streaming import Hosted, moved_to_host
from yfccdask.numerics.local_visits import State


class Chunk(NamedTuple):
    """One chunk as it lies in a worker's memory: its state, and the costs of its last visit.

    The state of a streamed chunk is a `StoredState`, whose arrays lie on the worker's own disk, or
    `Hosted`, whose arrays lie in the host's memory although visits happen on a device.
    """

    state: State | StoredState | Hosted
    costs: np.ndarray

    def opened(self) -> State:
        """The state's arrays, read from disk or waited for where that takes it."""
        return load_state(self.state)

    def visited(self) -> State | Hosted:
        """The state as a visit wants it: a hosted one goes through the device group by group."""
        return self.state if isinstance(self.state, Hosted) else self.opened()

    def followed_by(self, state: State | Hosted, costs: np.ndarray, place: str) -> Chunk:
        """The chunk's next version, which lies where this one does: in memory, or at ``place``."""
        return Chunk(kept_like(self.state, state, place), costs)


class Scratch(NamedTuple):
    """Where workers put what doesn't stay in memory: ``root``, or each worker's own folder."""

    root: str | None
    session: str

    @property
    def folder(self) -> str:
        """On a worker: the session's folder there."""
        return str(Path(self.root or get_worker().local_directory) / f"yfccdask-{self.session}")


def with_no_costs(state: State) -> Chunk:
    """A chunk that has not been visited yet."""
    return Chunk(state, np.zeros((0, *state.alpha.shape, 2)))


def chunks_at_rest(name: str, states: StateChunks) -> StateChunks:
    """A layer that has finished: the same chunks without the momenta of their weights."""
    tasks = {}
    for index in states.layout.indices():
        key = (name, *index)
        tasks[key] = Task(key, rest, TaskRef((states.name, *index)), place_of(name, index))
    return chunks_from_tasks(name, states.layout, tasks, [states], states.dtype)


def rest(chunk: Chunk, place: str) -> Chunk:
    """Task: a chunk that isn't visited any more, at ``place`` if it lies on disk."""
    return chunk.followed_by(chunk.visited().at_rest(), chunk.costs, place)


def place_of(name: str, index: tuple[int, int, int]) -> str:
    """Where the chunk of a collection lies in its session's folder, if it lies on disk."""
    return f"{name}/{'-'.join(map(str, index))}"


def on_disk(scratch: Scratch, place: str, make: Callable[..., Chunk], *arguments: Any) -> Chunk:
    """Task: make a chunk and put it on the worker's disk."""
    state, costs = make(*arguments)
    return Chunk(store_state(scratch.folder, place, state), costs)


class StateChunks(DaskMethodsMixin):
    """A Dask collection of `Chunk`, one per chunk of a `Layout`.

    Rebinding a name to a newer collection is all that "updating the weights" means; an older one
    that is still referred to keeps its values. ``owners`` are the addresses of the workers that
    chunks are pinned to, None where Dask may choose; ``version`` is the name they were made under.
    """

    __dask_scheduler__ = staticmethod(threaded_get)
    __dask_optimize__ = None

    def __init__(
        self,
        graph: HighLevelGraph,
        name: str,
        layout: Layout,
        dtype: Any,
        owners: Owners | None = None,
        version: str | None = None,
    ) -> None:
        self.graph, self.name, self.layout, self.dtype = graph, name, layout, np.dtype(dtype)
        self.owners, self.version = owners, version or name

    def __dask_graph__(self) -> HighLevelGraph:
        return self.graph

    def __dask_keys__(self) -> list[Any]:
        return [(self.name, *index) for index in self.layout.indices()]

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self.name,)

    def __dask_tokenize__(self) -> str:
        return self.name

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return list, ()

    def __dask_postpersist__(self) -> tuple[Callable[..., StateChunks], tuple[()]]:
        return self._rebuild, ()

    def _rebuild(self, graph: Mapping[Any, Any], rename: Any = None) -> StateChunks:
        layer = HighLevelGraph.from_collections(self.name, dict(graph), dependencies=())
        return self.renamed(layer, self.name)

    def renamed(self, graph: HighLevelGraph, name: str) -> StateChunks:
        """The same version of the chunks as the keys of another graph."""
        return StateChunks(graph, name, self.layout, self.dtype, self.owners, self.version)

    def __repr__(self) -> str:
        return f"<StateChunks {self.name}: {len(self.__dask_keys__())} chunks>"

    @property
    def weights(self) -> da.Array:
        """W, dims (grid_y, grid_x, unit, input)."""
        return self.part("weights")

    def part(self, field: str) -> da.Array:
        """One of the six arrays of `State`, as a Dask array over the same chunks."""
        layer, layout = self.layout.layer, self.layout
        grid = (layout.rows, layout.columns)
        units = ((layer.units,),) if field.startswith("weights") else ()
        inputs = () if field.startswith("alpha") else (layout.inputs,)
        name = f"{field}-{self.name}"
        keep = [index for index in layout.indices() if inputs or index[2] == 0]
        tasks = {
            (key := (name, *index[:2], *(0 for _ in units), *index[2 : 2 + len(inputs)])): Task(
                key, take_part, TaskRef((self.name, *index)), field
            )
            for index in keep
        }
        return array_from_tasks(name, tasks, [self], (*grid, *units, *inputs), self.dtype)

    def finite(self) -> da.Array:
        """Whether every value of each chunk is finite, (chunk,) of bool."""
        name, tasks = f"finite-{self.name}", {}
        for number, index in enumerate(self.layout.indices()):
            tasks[(name, number)] = Task((name, number), is_finite, TaskRef((self.name, *index)))
        return array_from_tasks(name, tasks, [self], ((1,) * len(tasks),), np.bool_)

    def costs(self) -> da.Array:
        """Costs of the last visit (mini_batch, grid_y, grid_x, 2); mini-batches of unknown number.

        A dense layer's chunks carry the same costs; the first one's are taken.
        """
        layout, name = self.layout, f"costs-{self.name}"
        tasks = {
            (key := (name, 0, *index[:2], 0)): Task(key, take_costs, TaskRef((self.name, *index)))
            for index in layout.indices()
            if index[2] == 0
        }
        chunks = ((np.nan,), layout.rows, layout.columns, (2,))
        return array_from_tasks(name, tasks, [self], chunks, np.float64)


def take_part(chunk: Chunk, field: str) -> np.ndarray:
    """Task: one array out of a chunk's state, on the host."""
    values = to_host(getattr(chunk.opened(), field))
    return widened(values) if is_bfloat16(values) else values


def take_costs(chunk: Chunk) -> np.ndarray:
    """Task: the costs of a chunk's last visit, on the host: a GPU is waited for only here."""
    return to_host(chunk.costs)


def is_finite(chunk: Chunk) -> np.ndarray:
    """Task: whether a chunk's state is finite, (1,)."""
    return np.array([all(map(all_finite, chunk.opened()))])


def chunks_from_tasks(
    name: str,
    layout: Layout,
    tasks: Mapping[Any, Task],
    dependencies: list[Any],
    dtype: Any,
    owners: Owners | None = None,
) -> StateChunks:
    """A collection from one task per chunk, keyed ``(name, grid row, grid column, input)``.

    Without ``owners``, chunks stay with the owners of the states among the dependencies.
    """
    found = [each.owners for each in dependencies if getattr(each, "owners", None)]
    owners = owners or next(iter(found), None)
    pins = pins_beside_chunks(tasks, dependencies)
    if owners:
        pins |= {key: place for key in tasks if (place := _place(key, name, layout, owners))}
    graph = pinned_graph(name, tasks, dependencies, pins)
    return StateChunks(graph, name, layout, dtype, owners)


def _place(key: Key, name: str, layout: Layout, owners: Owners) -> str | None:
    """The owner of a new chunk, or of the chunk that a dense layer's task is about."""
    if key[0] == name:
        return owners[key[1:]]
    return owners.get((0, 0, key[-1])) if layout.layer.dense else None


def initial_chunks(
    name: str,
    layout: Layout,
    *,
    seed: int,
    layer: int,
    alpha: float,
    dtype: Any,
    owners: Owners | None = None,
    scratch: Scratch | None = None,
    device: str = "cpu",
    momentum: str = "full",
    hosted: Collection[ChunkIndex] = (),
) -> StateChunks:
    """The state before training: the same bits for every layout, and made on any ``device``.

    With ``scratch``, chunks are put on their workers' disks as they are made. ``momentum`` is how
    that of the weights is stored, ``full`` or ``half``. The chunks ``hosted`` are made on the
    device and moved to the host's memory.

    Rows of a dense layer are normalised over all inputs, so its chunks first add up their
    integers' squares, which is exact in any order.
    """
    tasks: dict[Any, Task] = {}
    squares = f"squares-{name}"
    for index in layout.indices():
        key = (name, *index)
        if not layout.layer.dense:
            numbers = position_numbers(layout, index)
            arguments = (seed, layer, numbers, layout.layer.units, layout.layer.inputs)
            tasks[key] = Task(key, make_local, *arguments, alpha, dtype, device, momentum)
            continue
        part = (squares, index[2])
        where = (seed, layer, layout.layer.units, layout.inputs_of(index[2]))
        tasks[part] = Task(part, make_squares, *where, device)
        others = [TaskRef((squares, k)) for k in range(len(layout.leaves))]
        tasks[key] = Task(key, make_dense, *where, alpha, dtype, device, momentum, *others)
    if scratch:
        tasks = {
            key: put_on_disk(task, scratch) if key[0] == name else task
            for key, task in tasks.items()
        }
    tasks |= {key: put_on_host(tasks[key], device) for index in hosted if (key := (name, *index))}
    return chunks_from_tasks(name, layout, tasks, [], dtype, owners)


def put_on_host(task: Task, device: str) -> Task:
    """A task that makes a chunk, made to move it to the host's memory, for visits on a device."""
    return Task(task.key, on_host, device, task.func, *task.args, **task.kwargs)


def on_host(device: str, make: Callable[..., Chunk], *arguments: Any) -> Chunk:
    """Task: make a chunk, and move it to page-locked memory of the host."""
    state, costs = make(*arguments)
    return Chunk(moved_to_host(library_for(device), state), costs)


def put_on_disk(task: Task, scratch: Scratch) -> Task:
    """A task that makes a chunk, made to put it on disk."""
    key: Any = task.key
    place = place_of(key[0], key[1:])
    return Task(key, on_disk, scratch, place, task.func, *task.args, **task.kwargs)


def position_numbers(layout: Layout, index: tuple[int, int, int]) -> np.ndarray:
    """The numbers of a chunk's positions, row by row over the whole grid, (grid_y, grid_x)."""
    rows, columns = layout.positions(*index[:2]).slices
    whole = np.arange(layout.layer.positions).reshape(layout.layer.grid)
    return whole[rows, columns]


def make_local(
    seed: int,
    layer: int,
    numbers: np.ndarray,
    units: int,
    inputs: int,
    alpha: float,
    dtype: Any,
    device: str,
    momentum: str = "full",
) -> Chunk:
    """Task: the initial chunk of a local layer."""
    given = (seed, layer, numbers, units, inputs, alpha, dtype, device, momentum)
    return with_no_costs(local_visits.initial_state(*given))


def make_squares(
    seed: int, layer: int, units: int, inputs: tuple[int, int], device: str
) -> np.ndarray:
    """Task: the squares of a dense chunk's rows, as integers."""
    return dense_visits.initial_squares(seed, layer, units, inputs, device)


def make_dense(
    seed: int,
    layer: int,
    units: int,
    inputs: tuple[int, int],
    alpha: float,
    dtype: Any,
    device: str,
    momentum: str,
    *squares: np.ndarray,
) -> Chunk:
    """Task: the initial chunk of a dense layer, from all chunks' squares."""
    given = (seed, layer, units, inputs, sum(squares), dtype, device)
    weights = dense_visits.initial_columns(*given)
    return with_no_costs(local_visits.fresh_state(weights, alpha, momentum))
