"""What a trained network, or the weights it began from, makes of a store's images.

Responses are ``s = alpha W x`` of every unit, before LCN: the code that the cost is about, signed,
in units that compare within a position. A layer's LCN is part of what the next layer reads.
Everything is built lazily; `each_block` computes block by block, with few under way at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import Task, TaskRef
from dask.array.core import concatenate3
from distributed import Client, futures_of, wait

from yfccdask.analysis.results import chosen_commit
from yfccdask.backend import to_host
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit, layer_path
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError, StoreError
from yfccdask.geometry import LayerGeometry
from yfccdask.graph import Forward, initial_chunks
from yfccdask.graph.commit_graph import loaded_chunks
from yfccdask.graph.pieces import array_from_tasks
from yfccdask.graph.strongest_graph import block_outputs
from yfccdask.training.inputs import Inputs, check_images, constant_array, session_token
from yfccdask.training.layouts import layouts_of

UNITS = ("grid_y", "grid_x", "unit")
Pooling = Literal["none", "rms"]


@dataclass(frozen=True)
class Network:
    """A network's layers over a store, as graphs: nothing is computed yet.

    ``initial`` says that its weights are those that training began from.
    """

    run: Run
    commit: Commit
    inputs: Inputs
    layers: tuple[Forward, ...]
    initial: bool

    @property
    def store(self) -> BlockStore:
        return self.inputs.store

    def fields(self, block: int) -> list[da.Array]:
        """Every layer's output field (image, y, x, map) for a block, before LCN."""
        name = f"pass-block{block}-{self.inputs.token}"
        rows = self.run.config.batching.mini_batch
        return block_outputs(name, self.inputs.preprocessed(block), self.layers, rows)

    def responses(
        self, block: int, layers: Sequence[int], pooling: Pooling = "none"
    ) -> dict[int, da.Array]:
        """The responses of some layers (counted from 1) to a block (image, grid_y, grid_x, unit).

        Chunked as the layers' weights are; all images of the block in one chunk. With ``pooling``
        of "rms" each position's root mean square over its units (image, grid_y, grid_x).
        """
        fields = self.fields(block)
        return {
            number: _unit_responses(fields[number - 1], self.layers[number - 1], pooling)
            for number in layers
        }


def open_network(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    *,
    layers: int | None = None,
    commit: Commit | None = None,
    initial: bool = False,
    client: Client | None = None,
    workers: int | None = None,
) -> Network:
    """A run's network over a store.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
        Of the configuration's image size, channels and dtype; its blocks may be of any size.
    layers : int, optional
        How many, from the image upwards; all that the commit holds where not given.
    commit : Commit, optional
        The latest where not given.
    initial : bool
        The random weights that training began from, in place of the trained ones: a baseline. The
        whitening and every layer's input scale stay the trained run's.
    client : distributed.Client, optional
        Where weights are read to and kept as long as the network is referred to. Without one they
        are read again in every computation.
    workers : int, optional
        To cut the layers for; the client's where not given.

    Raises
    ------
    RunError
        If there is no commit yet, or it holds fewer layers.
    StoreError
        If the store's images are not the configuration's.
    """
    run, store = open_run(run), open_store(store)
    commit = commit or chosen_commit(run)
    check_images(run.config, store)
    count = commit.layers if layers is None else layers
    _check_layer(commit, count)
    token, keep = session_token(), client.persist if client else lambda collection: collection
    white = run.whitening()
    filter_ = None if white is None else keep(constant_array(f"whitening-{token}", white))
    inputs = Inputs(run.config, store, filter_, token)
    if workers is None:
        workers = len(client.scheduler_info(n_workers=-1)["workers"]) if client else 1
    forward = [
        inputs.forward(number, keep(states), float(commit.state["scales"][number]))
        for number, states in enumerate(_states(run, commit, token, count, workers, initial))
    ]
    return Network(run, commit, inputs, tuple(forward), initial)


def activations(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    layer: int | None = None,
    *,
    commit: Commit | None = None,
    blocks: Sequence[int] | None = None,
    initial: bool = False,
    client: Client | None = None,
) -> xr.DataArray:
    """The responses of a layer's units to a store's images, lazily.

    Parameters
    ----------
    run, store, commit, initial, client
        As for `open_network`.
    layer : int, optional
        Counted from 1; the top one where not given.
    blocks : sequence of int, optional
        In the order that is wanted; all where not given.

    Returns
    -------
    DataArray (image, grid_y, grid_x, unit)
        ``s = alpha W x`` before LCN, in the run's dtype (float32), one chunk of images per block.
        The coordinate ``image`` (int64) is the row of the store. Computing all of it at once needs
        room for all of it; `each_block` goes block by block.

    Examples
    --------
    >>> activations("run-1", "blocks").max("image").compute()  # doctest: +SKIP
    """
    run = open_run(run)
    commit = commit or chosen_commit(run)
    number = commit.layers if layer is None else layer
    _check_layer(commit, number)
    options: dict[str, Any] = {"commit": commit, "initial": initial, "client": client}
    network = open_network(run, store, layers=number, **options)
    wanted = chosen_blocks(network.store, blocks)
    parts = [network.responses(block, [number])[number] for block in wanted]
    return xr.DataArray(
        da.concatenate(parts),
        dims=("image", *UNITS),
        coords={"image": np.concatenate([block_rows(network.store, b) for b in wanted])},
        name=f"layer_{number}",
        attrs=response_attributes(network, number),
    )


def each_block(
    client: Client,
    build: Callable[[int], Any],
    blocks: Sequence[int],
    in_flight: int = 2,
) -> Iterator[tuple[int, Any]]:
    """Compute what ``build`` makes of every block, in order, few at once.

    Parameters
    ----------
    client : distributed.Client
    build : callable
        From a block's number to a Dask array, or a list of them.
    blocks : sequence of int
    in_flight : int
        Blocks whose tasks may be under way while the caller works on one.

    Yields
    ------
    (int, array or list of them)
        Block, and its arrays with all chunks computed on the cluster: `fetched` brings one here.
        The cluster forgets them when the caller does.
    """
    under_way: deque[tuple[int, Any]] = deque()
    todo = deque(blocks)
    while todo or under_way:
        while todo and len(under_way) <= in_flight:
            block = todo.popleft()
            # optimize_graph=False: weights that lie on the cluster must stay one key each
            under_way.append((block, client.persist(build(block), optimize_graph=False)))
        block, persisted = under_way.popleft()
        yield block, finished(client, persisted)


def fetched(client: Client, array: da.Array) -> np.ndarray:
    """An array whose chunks are computed on the cluster, brought here as a whole."""
    found = client.gather({future.key: future for future in futures_of(array)})

    def values(keys: Any) -> Any:
        return [values(each) for each in keys] if isinstance(keys, list) else found[keys]

    return np.asarray(concatenate3(values(array.__dask_keys__())))


def finished(client: Client, persisted: Any) -> Any:
    """The same collection when it is computed; what went wrong there is raised now."""
    futures = futures_of(persisted)
    with client.as_current():
        wait(futures)
    for future in futures:
        if future.status != "finished":
            future.result()
    return persisted


def chosen_blocks(store: BlockStore, blocks: Sequence[int] | None = None) -> list[int]:
    """The blocks that were asked for, or all, but empty ones.

    Raises
    ------
    StoreError
        If there is no such block, or none with an image.
    """
    wanted = list(range(store.blocks)) if blocks is None else list(blocks)
    filled = [block for block in wanted if store.block_images(block)]
    if not filled:
        raise StoreError(f"{store.path}: expected at least one image to look at, found none")
    return filled


def block_rows(store: BlockStore, block: int) -> np.ndarray:
    """The store's rows of a block's images, int64 (image,)."""
    return block * store.block_size + np.arange(store.block_images(block), dtype=np.int64)


def response_attributes(network: Network, layer: int) -> dict[str, Any]:
    """What a layer's responses are, for the attributes of an array."""
    return {
        "long_name": f"response of layer {layer}'s units, s = alpha W x, before LCN",
        "units": "1",
        "layer": layer,
        "run": str(network.run.path),
        "commit": network.commit.number,
        "store_digest": network.store.digest,
        "weights": "initial" if network.initial else "trained",
    }


def _states(
    run: Run, commit: Commit, token: str, count: int, workers: int, initial: bool
) -> Iterator[Any]:
    """The states of the first ``count`` layers, as graphs."""
    for number, layout in enumerate(layouts_of(run, max(1, workers))[:count]):
        if initial:
            alpha, seed = run.config.layers[number].alpha, run.config.seed
            how: dict[str, Any] = {"seed": seed, "layer": number, "alpha": alpha}
            how |= {"dtype": run.config.dtype}
            yield initial_chunks(f"initial-layer{number + 1}-{token}", layout, **how)
        else:
            group = layer_path(commit.path.resolve(), number)
            name = f"learned-layer{number + 1}-{token}"
            yield loaded_chunks(name, group, layout, run.config.dtype)


def _check_layer(commit: Commit, number: int) -> None:
    if not 1 <= number <= commit.layers:
        raise RunError(
            f"expected a layer from 1 to {commit.layers} in {commit.path}, found {number}"
        )


def _unit_responses(field: da.Array, layer: Forward, pooling: Pooling) -> da.Array:
    """A field of tiles (image, y, x, map) as (image, grid_y, grid_x, unit), chunk by chunk."""
    layout, pooled = layer.states.layout, pooling == "rms"
    name = f"{'pooled' if pooled else 'units'}-{field.name}"
    task, last = (rms_of_tiles, ()) if pooled else (units_of_tiles, (0,))
    tasks = {}
    for i, j in np.ndindex(len(layout.rows), len(layout.columns)):
        reference, key = TaskRef((field.name, 0, i, j, 0)), (name, 0, i, j, *last)
        tasks[key] = Task(key, task, reference, layout.layer.tile)
    units = () if pooled else ((layout.layer.units,),)
    chunks = (field.chunks[0], layout.rows, layout.columns, *units)
    return array_from_tasks(name, tasks, [field], chunks, field.dtype)


def units_of_tiles(field: Any, tile: tuple[int, int]) -> np.ndarray:
    """Task: tiles (image, y, x, map) as units of positions (image, grid_y, grid_x, unit).

    >>> units_of_tiles(np.arange(8).reshape(1, 2, 4, 1), (2, 2)).tolist()
    [[[[0, 1, 4, 5], [2, 3, 6, 7]]]]
    """
    values, (height, width) = to_host(field), tile
    images, rows, columns, maps = values.shape
    parts = values.reshape(images, rows // height, height, columns // width, width, maps)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(
        images, rows // height, columns // width, height * width * maps
    )


def chosen_responses(responses: da.Array, images: np.ndarray, units: np.ndarray) -> list[da.Array]:
    """Some units' responses to some images, picked where they were computed.

    Parameters
    ----------
    responses : dask array (image, grid_y, grid_x, unit)
        Of one block, as `Network.responses` gives them.
    images : int array (image,)
        Within the block.
    units : int array (chosen,)
        Counted over (grid_y, grid_x, unit), ascending.

    Returns
    -------
    list of dask arrays (image, chosen)
        In the order of `chosen_places`, which says where each chunk's belong.
    """
    parts = []
    for (i, j), (_, within) in chosen_places(responses.chunks, units).items():
        name, reference = f"chosen-{i}-{j}-{responses.name}", (responses.name, 0, i, j, 0)
        tasks = {(name, 0, 0): Task((name, 0, 0), picked, TaskRef(reference), images, within)}
        chunks = ((len(images),), (len(within),))
        parts.append(array_from_tasks(name, tasks, [responses], chunks, responses.dtype))
    return parts


def chosen_places(
    chunks: tuple[tuple[int, ...], ...], units: np.ndarray
) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Which of some units (ascending) lie in each chunk of responses, and where within it.

    Per chunk (row, column) with any: their numbers among ``units``, and their places counted over
    the chunk's (grid_y, grid_x, unit).
    """
    _, rows, columns, (count,) = chunks
    y, x, unit = np.unravel_index(units, (sum(rows), sum(columns), count))
    found = {}
    for i, top in enumerate(np.cumsum(rows) - rows):
        for j, left in enumerate(np.cumsum(columns) - columns):
            row, column = y - top, x - left
            inside = (row >= 0) & (row < rows[i]) & (column >= 0) & (column < columns[j])
            if inside.any():
                within = (row * columns[j] + column) * count + unit
                found[i, j] = np.flatnonzero(inside), within[inside]
    return found


def picked(values: np.ndarray, images: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Task: some images and units (image, unit) of a chunk (image, grid_y, grid_x, unit)."""
    return values[images].reshape(len(images), -1)[:, within]


def rms_of_tiles(field: Any, tile: tuple[int, int]) -> np.ndarray:
    """Task: each position's root mean square over its units (image, grid_y, grid_x)."""
    return np.sqrt(np.square(units_of_tiles(field, tile)).mean(axis=-1))


def units_per_image(layer: LayerGeometry) -> int:
    """Responses of a layer to one image."""
    return layer.positions * layer.units
