"""The images that excite every unit most, in one pass over a store; kept with the run.

``RUN/analysis/strongest/`` holds a Zarr group per layer and ``manifest.json``, which names the
commit and the store that they are of. It is whole or absent, and used again where both match.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from distributed import Client, futures_of, wait
from scipy.stats import norm

from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit, layer_path
from yfccdask.data.durable import publish, write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError, StoreError
from yfccdask.geometry import Layout
from yfccdask.graph import Forward
from yfccdask.graph.commit_graph import loaded_chunks
from yfccdask.graph.strongest_graph import block_outputs, block_summaries, merged_summaries
from yfccdask.numerics.strongest import COUNT, Summary, mean_and_deviation
from yfccdask.training.clusters import ClusterRequest, connect, gather_chunks, same_cluster
from yfccdask.training.inputs import Inputs, check_store, constant_array, session_token
from yfccdask.training.layouts import layouts_of
from yfccdask.training.start import run_blocking

FORMAT, VERSION = "yfccdask-strongest", 1
SAMPLE_IMAGES = 100_000  # images that a pass looks at where no blocks are named
ALIVE_SHARE = 0.01  # of the median unit's deviation
UNITS = ("grid_y", "grid_x", "unit")
Request = dict[str, Any]


def strongest_images(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    *,
    k: int = 5,
    layers: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> dict[int, xr.Dataset]:
    """The k images that excite every unit of a run's latest commit most.

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
    run = open_run(run)
    store = open_store(store)
    request = _request(run, store, k, layers, blocks)
    if _serves(_stored_request(run), request):
        return _load(run, request)
    check_store(run.config, store)
    if client is not None:
        cluster = same_cluster(client)
    datasets = run_blocking(_session(run, store, request, cluster or ClusterRequest()))
    _save(run, request, datasets)
    return datasets


def stored_strongest_images(run: Run) -> dict[int, xr.Dataset]:
    """What a former pass over the run's latest commit has found; empty where there was none."""
    stored = _stored_request(run)
    if stored.get("commit_sha256") != _commit_digest(run.commit()):
        return {}
    return _load(run, stored)


def alive_units(deviation: xr.DataArray) -> xr.DataArray:
    """Which units of a layer respond to what they see.

    A unit is alive if its responses over the pass are not all the same, and their deviation is
    more than 1 % of the median unit's deviation in that layer.
    """
    return (deviation > ALIVE_SHARE * float(deviation.median())) & (deviation > 0)


def selectivity(dataset: xr.Dataset) -> xr.DataArray:
    """How far every unit's strongest responses stand out, (grid_y, grid_x, unit).

    The mean of its strongest values less its mean response, in its own deviations; minus infinity
    for a unit that is not alive.
    """
    spread = dataset["deviation"].where(dataset["alive"], np.inf)
    score = (dataset["value"].mean("rank") - dataset["mean"]) / spread
    return score.where(dataset["alive"], -np.inf).transpose(*UNITS)


def chance_selectivity(images: int, k: int) -> float:
    """The selectivity of a unit whose responses follow a bell curve (Blom's approximation)."""
    ranks = np.arange(1, min(k, images) + 1)
    return float(norm.isf((ranks - 0.375) / (images + 0.25)).mean())


def telling_units(dataset: xr.Dataset, count: int) -> list[tuple[int, int, int]]:
    """Units to show, (grid_y, grid_x, unit): from the more selective half, spread over positions.

    As many positions as are wanted are taken evenly over the grid, and of each the living units at
    even steps through the more selective half: one unit is the one at the upper quartile. The very
    first are left out, since those are caught on a single photograph more often than not.
    """
    score = selectivity(dataset).values
    (height, width), units = score.shape[:2], score.shape[2]
    cells = np.unique(np.linspace(0, height * width - 1, count).round().astype(int))
    each = min(units, -(-count // len(cells)))
    chosen = []
    for cell in cells:
        ranked = np.argsort(-score[divmod(cell, width)], kind="stable")
        living = int(np.isfinite(score[divmod(cell, width)]).sum())
        steps = (np.arange(each) + 0.5) * living / (2 * each)
        ranks = np.arange(living) if living <= each else np.unique(steps.astype(int))
        chosen += [(*divmod(int(cell), width), int(unit)) for unit in ranked[ranks]]
    return sorted(chosen[:count])


def _request(
    run: Run,
    store: BlockStore,
    k: int,
    layers: Sequence[int] | None,
    blocks: Sequence[int] | None,
) -> Request:
    commit = run.commit()
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
    return {
        "commit": commit.number,
        "commit_sha256": _commit_digest(commit),
        "store": store.digest,
        "k": k,
        "layers": numbers,
        "blocks": wanted,
        "images": images,
    }


def _first_blocks(store: BlockStore) -> list[int]:
    edges = np.cumsum([store.block_images(b) for b in range(store.blocks)])
    return list(range(max(1, int(np.searchsorted(edges, SAMPLE_IMAGES, side="right")))))


def _commit_digest(commit: Commit) -> str:
    return hashlib.sha256((commit.path / "manifest.json").read_bytes()).hexdigest()


async def _session(
    run: Run, store: BlockStore, request: Request, cluster: ClusterRequest
) -> dict[int, xr.Dataset]:
    async with connect(cluster) as client:
        info = await client.scheduler.identity()
        layouts = layouts_of(run, max(1, len(info["workers"])))
        inputs, layers = _trained_network(client, run, store, layouts[: request["layers"][-1]])
        summaries = await _one_pass(client, inputs, layers, request)
        return {
            number: _dataset(layouts[number - 1], await _gathered(client, summary), request)
            for number, summary in summaries.items()
        }


def _trained_network(
    client: Client, run: Run, store: BlockStore, layouts: list[Layout]
) -> tuple[Inputs, list[Forward]]:
    """The run's preprocessing and its trained layers, on the cluster."""
    commit, token, white = run.commit(), session_token(), run.whitening()
    if white is not None:
        white = client.persist(constant_array(f"whitening-{token}", white))
    inputs = Inputs(run.config, store, white, token)
    layers = []
    for number, layout in enumerate(layouts):
        name = f"learned-layer{number + 1}-{token}"
        group = layer_path(commit.path.resolve(), number)
        states = loaded_chunks(name, group, layout, run.config.dtype)
        scale = float(commit.state["scales"][number])
        layers.append(inputs.forward(number, client.persist(states), scale))
    return inputs, layers


async def _one_pass(
    client: Client, inputs: Inputs, layers: list[Forward], request: Request
) -> dict[int, da.Array]:
    """Every wanted layer's summary over all blocks, merged block after block."""
    total: dict[int, da.Array] = {}
    under_way: deque[list[da.Array]] = deque()
    for block in request["blocks"]:
        new = _block_summaries(inputs, layers, request, block)
        for number, summary in new.items():
            parts = [total[number], summary] if total else [summary]
            name = f"strongest-to-block{block}-layer{number}-{inputs.token}"
            new[number] = merged_summaries(name, parts, request["k"])
        persisted = client.persist(list(new.values()), optimize_graph=False)
        total = dict(zip(new, persisted, strict=True))
        under_way.append(persisted)
        if len(under_way) >= inputs.config.engine.blocks_in_flight:
            await _finished(client, under_way.popleft())
    return total


def _block_summaries(
    inputs: Inputs, layers: list[Forward], request: Request, block: int
) -> dict[int, da.Array]:
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


async def _gathered(client: Client, summaries: da.Array) -> list[list[Summary]]:
    rows, columns = summaries.numblocks
    parts = await gather_chunks(client, summaries)
    return [parts[row * columns : (row + 1) * columns] for row in range(rows)]


def _dataset(layout: Layout, parts: list[list[Summary]], request: Request) -> xr.Dataset:
    """All chunks' summaries as one dataset over (grid_y, grid_x, unit, rank)."""

    def whole(pick: Any) -> np.ndarray:
        lines = [np.concatenate([pick(part) for part in line], axis=1) for line in parts]
        return np.concatenate(lines)

    value = whole(lambda part: part.strongest.values)
    image = whole(lambda part: part.strongest.images)
    moments = whole(lambda part: part.moments)
    mean, deviation = mean_and_deviation(moments, value[..., 0])
    dataset = xr.Dataset(
        {
            "value": ((*UNITS, "rank"), value),
            "image": ((*UNITS, "rank"), image),
            "mean": (UNITS, mean),
            "deviation": (UNITS, deviation),
        },
        attrs={"images": int(moments[..., COUNT].max()), "commit": request["commit"]},
    )
    assert value.shape[:3] == (*layout.layer.grid, layout.layer.units)
    return dataset.assign(alive=alive_units(dataset["deviation"]))


def _folder(run: Run) -> Path:
    return run.analysis / "strongest"


def _stored_request(run: Run) -> Request:
    """What a former pass was asked for; empty where there is none that can be read."""
    try:
        stored = json.loads((_folder(run) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return stored if (stored.get("format"), stored.get("version")) == (FORMAT, VERSION) else {}


def _serves(stored: Request, wanted: Request) -> bool:
    """Whether a former pass holds all that is wanted: longer lists and more layers are fine."""
    if not stored:
        return False
    same = all(stored[key] == wanted[key] for key in ("commit_sha256", "store", "blocks"))
    return same and stored["k"] >= wanted["k"] and set(wanted["layers"]) <= set(stored["layers"])


def _load(run: Run, request: Request) -> dict[int, xr.Dataset]:
    found = {}
    for number in request.get("layers", ()):
        path = _folder(run) / f"layer-{number}.zarr"
        with xr.open_zarr(path, consolidated=False) as dataset:
            found[number] = dataset.isel(rank=slice(request["k"])).load()
    return found


def _save(run: Run, request: Request, datasets: dict[int, xr.Dataset]) -> None:
    """Put a pass in the place of the former one; a kill between the two leaves none."""
    final = _folder(run)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, dataset in datasets.items():
        dataset.to_zarr(partial / f"layer-{number}.zarr", zarr_format=3, consolidated=False)
    manifest = {"format": FORMAT, "version": VERSION, **request}
    write_text(partial / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    (final / "manifest.json").unlink(missing_ok=True)  # from here on the former pass is none
    shutil.rmtree(final, ignore_errors=True)
    publish(partial, final)
