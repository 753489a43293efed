"""The images that excite every unit most, in one pass over a store; kept with the run.

``RUN/analysis/strongest/`` holds a Zarr group per layer beside its manifest. It is used again where
commit and store are the same. A pass that was killed goes on where it last saved its lists.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from distributed import Client, futures_of, wait

from yfccdask.analysis.network_pass import Network, open_network
from yfccdask.analysis.results import Result, new_result, read_result
from yfccdask.analysis.strongest_progress import Progress, load_progress, save_progress, whole_layer
from yfccdask.analysis.unit_statistics import UNITS, alive_units
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError, StoreError
from yfccdask.graph.strongest_graph import (
    block_outputs,
    block_summaries,
    cut_summary,
    merged_summaries,
)
from yfccdask.numerics.strongest import COUNT, Summary, mean_and_deviation
from yfccdask.training.clusters import ClusterRequest, connect, gather_chunks, same_cluster
from yfccdask.training.inputs import check_images
from yfccdask.training.start import run_blocking

COMMAND = "strongest"
SAMPLE_IMAGES = 100_000  # images that a pass looks at where no blocks are named
SAVE_SECONDS = 60.0  # between two writings of what a pass has found so far
Request = dict[str, Any]


def strongest_images(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    *,
    k: int = 5,
    layers: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    commit: Commit | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> dict[int, xr.Dataset]:
    """The k images that excite every unit of a run most.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
        Where to look for images; usually the one that the run was trained on.
    k : int
        Images per unit.
    layers : sequence of int, optional
        Counted from 1; all that the commit holds where not given.
    blocks : sequence of int, optional
        Blocks to look at; where not given, the first ones up to 100,000 images (a store's images
        are shuffled, so these are a fair sample).
    commit : Commit, optional
        The run's latest where not given.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`.

    Returns
    -------
    dict of int to Dataset
        Per layer, over (grid_y, grid_x, unit, rank): ``value`` (``s = alpha W x``, before LCN) and
        ``image`` (int64, row of the store), the largest first, of equal ones the smaller row
        first. Over (grid_y, grid_x, unit): ``mean`` and ``deviation`` (float64) of the unit's
        response over all images of the pass, and ``alive`` (bool, see `alive_units`).

    Raises
    ------
    RunError
        If there is no commit yet, or it holds no such layer.
    StoreError
        If the store's images are not the configuration's, or it has no such block.

    References
    ----------
    Ni et al. 2015, figure 5.
    """
    run, store = open_run(run), open_store(store)
    commit = commit or run.commit()
    request = _request(commit, store, k, layers, blocks)
    former = read_result(run, COMMAND, commit, store)
    if former is not None and _serves(former.parameters, request):
        return _load(former, request)
    check_images(run.config, store)
    if client is not None:
        cluster = same_cluster(client)
    with new_result(run, COMMAND, commit, store, request) as draft:
        what = (run, commit, store, request, draft.work)
        datasets = run_blocking(_session(*what, cluster or ClusterRequest()))
        for number, dataset in datasets.items():
            path = draft.folder / _layer_name(number)
            dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    return datasets


def stored_strongest_images(
    run: Run, commit: Commit | None = None, store: BlockStore | None = None
) -> dict[int, xr.Dataset]:
    """What a former pass over the run's latest (or another) commit found; empty where none did."""
    former = read_result(run, COMMAND, commit or run.commit(), store)
    return {} if former is None else _load(former, former.parameters)


def _request(
    commit: Commit,
    store: BlockStore,
    k: int,
    layers: Sequence[int] | None,
    blocks: Sequence[int] | None,
) -> Request:
    numbers = sorted(set(range(1, commit.layers + 1) if layers is None else layers))
    if k < 1:
        raise RunError(f"expected k of at least 1 image per unit, found {k}")
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= commit.layers:
        raise RunError(
            f"expected layers from 1 to {commit.layers} in {commit.path}, found {layers}"
        )
    wanted = _first_blocks(store) if blocks is None else sorted(set(blocks))
    images = sum(store.block_images(b) for b in wanted)
    if not images:
        raise StoreError(f"{store.path}: expected at least one block to look at, found {blocks}")
    return {"k": k, "layers": numbers, "blocks": wanted, "images": images}


def _first_blocks(store: BlockStore) -> list[int]:
    edges = np.cumsum([store.block_images(b) for b in range(store.blocks)])
    return list(range(max(1, int(np.searchsorted(edges, SAMPLE_IMAGES, side="right")))))


async def _session(
    run: Run,
    commit: Commit,
    store: BlockStore,
    request: Request,
    work: Path,
    cluster: ClusterRequest,
) -> dict[int, xr.Dataset]:
    async with connect(cluster) as client:
        info = await client.scheduler.identity()
        how: dict[str, Any] = {"commit": commit, "client": client, "workers": len(info["workers"])}
        network = open_network(run, store, layers=request["layers"][-1], **how)
        progress = await _one_pass(client, network, request, work)
    return {
        number: _dataset(summary, request, commit.number)
        for number, summary in progress.summaries.items()
    }


async def _one_pass(client: Client, network: Network, request: Request, work: Path) -> Progress:
    """Every wanted layer's summary over all blocks, merged block after block."""
    start, blocks = load_progress(work), request["blocks"]
    total = _cut_again(network, start)
    under_way: deque[list[da.Array]] = deque()
    saved = time.monotonic()
    for done, block in enumerate(blocks[start.done :], start.done + 1):
        total = _merged_with(network, total, request, block)
        persisted = client.persist(list(total.values()), optimize_graph=False)
        total = dict(zip(total, persisted, strict=True))
        under_way.append(persisted)
        if len(under_way) >= network.run.config.engine.blocks_in_flight:
            await _finished(client, under_way.popleft())
        if time.monotonic() - saved > SAVE_SECONDS:
            await asyncio.to_thread(save_progress, work, await _so_far(client, total, done))
            saved = time.monotonic()
    return await _so_far(client, total, len(blocks)) if start.done < len(blocks) else start


def _cut_again(network: Network, progress: Progress) -> dict[int, da.Array]:
    """What a former session found, cut as this one's layers are."""
    return {
        number: cut_summary(
            f"strongest-so-far-layer{number}-{network.inputs.token}",
            summary,
            network.layers[number - 1].states.layout,
        )
        for number, summary in progress.summaries.items()
    }


def _merged_with(
    network: Network, total: dict[int, da.Array], request: Request, block: int
) -> dict[int, da.Array]:
    """All layers' summaries with those of one more block."""
    new = _block_summaries(network, request, block)
    for number, summary in new.items():
        parts = [total[number], summary] if total else [summary]
        name = f"strongest-to-block{block}-layer{number}-{network.inputs.token}"
        new[number] = merged_summaries(name, parts, request["k"])
    return new


def _block_summaries(network: Network, request: Request, block: int) -> dict[int, da.Array]:
    inputs, layers = network.inputs, network.layers
    name, rows = f"strongest-block{block}-{inputs.token}", inputs.config.batching.mini_batch
    outputs = block_outputs(name, inputs.preprocessed(block), layers, rows)
    first = block * inputs.store.block_size
    return {
        number: block_summaries(
            f"{name}-layer{number}",
            outputs[number - 1],
            layers[number - 1].states.layout,
            first,
            request["k"],
        )
        for number in request["layers"]
    }


async def _finished(client: Client, parts: list[da.Array]) -> None:
    """Wait for a block; what went wrong there is raised now, not at the end."""
    futures = futures_of(parts)
    with client.as_current():
        await wait(futures)
    for future in futures:
        if future.status == "error":
            await future


async def _so_far(client: Client, total: dict[int, da.Array], done: int) -> Progress:
    """The summaries of the first ``done`` blocks, brought here, each layer as a whole."""
    found = {}
    for number, summaries in total.items():
        parts, (rows, columns) = await gather_chunks(client, summaries), summaries.numblocks
        found[number] = whole_layer(
            [parts[row * columns : (row + 1) * columns] for row in range(rows)]
        )
    return Progress(done, found)


def _dataset(summary: Summary, request: Request, commit: int) -> xr.Dataset:
    """A layer's summary as a dataset over (grid_y, grid_x, unit, rank)."""
    (value, image), moments = summary.strongest, summary.moments
    mean, deviation = mean_and_deviation(moments, value[..., 0])
    dataset = xr.Dataset(
        {
            "value": ((*UNITS, "rank"), value),
            "image": ((*UNITS, "rank"), image),
            "mean": (UNITS, mean),
            "deviation": (UNITS, deviation),
        },
        attrs={"images": int(moments[..., COUNT].max()), "commit": commit},
    )
    return dataset.assign(alive=alive_units(dataset["deviation"]))


def _layer_name(number: int) -> str:
    return f"layer-{number}.zarr"


def _serves(stored: Request, wanted: Request) -> bool:
    """Whether a former pass holds all that is wanted: longer lists and more layers are fine."""
    longer = stored["k"] >= wanted["k"] and set(wanted["layers"]) <= set(stored["layers"])
    return longer and bool(stored["blocks"] == wanted["blocks"])


def _load(result: Result, request: Request) -> dict[int, xr.Dataset]:
    found = {}
    for number in request["layers"]:
        with xr.open_zarr(result.path / _layer_name(number), consolidated=False) as dataset:
            found[number] = dataset.isel(rank=slice(request["k"])).load()
    return found
