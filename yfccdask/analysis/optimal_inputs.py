"""``optimal``: the input of unit norm that excites a unit most, found by gradient ascent.

An input is what a unit looks at after contrast normalisation, with a root mean square of 1 there
and nothing around it. It goes through whitening, filters and LCN as a photograph does. Photographs
are compared at equal norm: contrast normalised, cut out, and scaled to the same root mean square.

Whitening makes fine detail stronger, so an optimum of unit norm before whitening is mostly fine
detail. With the norm taken after whitening, a first-layer unit's optimum is its filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from distributed import Client

from yfccdask.analysis.edge_share import spread_positions
from yfccdask.analysis.loaded_networks import loaded_network
from yfccdask.analysis.pictures import filter_pictures, mosaic, unit_window
from yfccdask.analysis.results import Result, chosen_commit, new_result, read_result
from yfccdask.analysis.strongest_pass import stored_strongest_images
from yfccdask.analysis.unit_statistics import telling_units
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError
from yfccdask.geometry import Rectangle
from yfccdask.numerics.input_ascent import Unit, ascend, on_sphere, responses_at, seeded_starts
from yfccdask.numerics.whole_network import WholeNetwork, contrast_of, whitened
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.inputs import check_images
from yfccdask.training.start import with_client

COMMAND = "optimal"
UNITS_SHOWN, STARTS, STEPS = 16, 2, 120
UNITS_AT_ONCE = 8  # in one task
DIMENSIONS = ("choice", "y", "x", "channel")
Norm = Literal["image", "whitened"]


class _Job(NamedTuple):
    """Some units of a layer (counted from 1), and the photographs to compare them with."""

    run: Run
    commit: Commit
    layer: int
    units: tuple[Unit, ...]
    photos: tuple[tuple[int, ...], ...]  # rows of the store, per unit
    store: BlockStore | None
    starts: int
    steps: int
    seed: int
    norm: Norm


class _Found(NamedTuple):
    """Per unit: its optimum, its response to it, and to the best photograph (NaN without)."""

    inputs: np.ndarray
    responses: np.ndarray
    photos: np.ndarray


def optimal(
    run: Run | str | Path,
    *,
    layers: Sequence[int] | None = None,
    units: int = UNITS_SHOWN,
    store: BlockStore | str | Path | None = None,
    checkpoint: int | None = None,
    starts: int = STARTS,
    steps: int = STEPS,
    seed: int = 0,
    norm: Norm = "image",
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> dict[int, xr.Dataset]:
    """The inputs that excite some units of every layer most; kept in ``RUN/analysis/optimal``.

    Parameters
    ----------
    run : Run or path
    layers : sequence of int, optional
        Counted from 1; all that the commit holds where not given.
    units : int
        Per layer. After a pass for the strongest images the more telling ones (see
        `yfccdask.analysis.unit_statistics.telling_units`), else evenly spread.
    store : BlockStore or path, optional
        Where the strongest images of a former `strongest_images` or `stimuli` are read, to compare
        with.
    checkpoint : int, optional
        The number of a commit; the latest where not given.
    starts, steps : int
        Random inputs to climb from, of which the best is kept, and most steps of each.
    seed : int
        Of the random inputs.
    norm : str
        What has unit norm: the "image" after contrast normalisation, or the "whitened" one, which
        is what the first layer reads.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute. Workers read weights position by position; what doesn't fit in half of
        a worker's memory is read again at every step.

    Returns
    -------
    dict of int to Dataset
        Per layer, over ``choice`` (coordinates grid_y, grid_x, unit): ``input`` (choice, y, x,
        channel), float32, 0 outside what the unit sees; ``response`` to it, and ``photo_response``,
        the largest that a photograph of equal norm gets (NaN where none was looked at).

    Raises
    ------
    RunError
        If there is no commit or no such layer.
    StoreError
        If the store's images are not the run's.

    References
    ----------
    Le et al. 2012, section 4.3; the norm over what a unit sees is this project's reading.
    """
    run = open_run(run)
    commit = chosen_commit(run, checkpoint)
    numbers = sorted(set(range(1, commit.layers + 1) if layers is None else layers))
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= commit.layers or units < 1:
        raise RunError(
            f"expected layers from 1 to {commit.layers} in {commit.path} and at least 1 unit, "
            f"found {layers} and {units}"
        )
    opened = None if store is None else open_store(store)
    if opened is not None:
        check_images(run.config, opened)
    jobs = _jobs(run, commit, opened, numbers, units, (starts, steps, seed, norm))
    asked = {"layers": numbers, "units": units, "starts": starts, "steps": steps, "seed": seed}
    asked |= {"norm": norm}
    with new_result(run, COMMAND, commit, opened, asked) as draft:
        if client is None:
            found: list[_Found] = with_client(cluster or ClusterRequest(), _climb_all, jobs)
        else:
            found = _climb_all(jobs, client=client)
        datasets = {number: _dataset(jobs, found, number) for number in numbers}
        for number, dataset in datasets.items():
            path = draft.folder / _layer_name(number)
            dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
            picture = mosaic(unit_pictures(run, number, dataset), zoom=2, gap=4)
            picture.save(draft.folder / f"layer-{number}.png")
    return datasets


def stored_optima(run: Run) -> tuple[Result, dict[int, xr.Dataset]] | None:
    """What `optimal` has left with a run, of whichever commit; None where it has nothing."""
    result = read_result(run, COMMAND)
    if result is None:
        return None
    datasets = {}
    for number in result.parameters["layers"]:
        with xr.open_zarr(result.path / _layer_name(number), consolidated=False) as dataset:
            datasets[number] = dataset.load()
    return result, datasets


def unit_pictures(run: Run, layer: int, dataset: xr.Dataset) -> np.ndarray:
    """A layer's optima as pictures (choice, y, x, 3 or 1) of uint8, each cut to what it shows.

    Mid grey is 0; each is scaled to its own largest value.
    """
    cut = []
    for choice in range(dataset.sizes["choice"]):
        window = seen_region(run, layer, unit_of(dataset, choice), dataset.attrs["norm"])
        cut.append(dataset["input"].values[choice][window.slices])
    height, width = (max(part.shape[axis] for part in cut) for axis in (0, 1))
    padded = [
        np.pad(part, ((0, height - len(part)), (0, width - part.shape[1]), (0, 0))) for part in cut
    ]
    return np.asarray(filter_pictures(np.stack(padded)))


def unit_of(dataset: xr.Dataset, choice: int) -> Unit:
    """The grid_y, grid_x and unit of a choice."""
    y, x, unit = (int(dataset[name].values[choice]) for name in ("grid_y", "grid_x", "unit"))
    return y, x, unit


def seen_region(run: Run, layer: int, unit: Unit, norm: Norm = "image") -> Rectangle:
    """The pixels that a unit (layer counted from 1) looks at, before whitening or after it.

    What LCN adds around them only divides.
    """
    images = run.config.images
    white = run.config.preprocessing.whitening if norm == "image" else None
    whole = Rectangle(0, images.size, 0, images.size)
    if run.geometry.layers[layer - 1].dense:
        return whole
    window = unit_window(run.geometry, layer - 1, unit[:2])
    return window.grown(0 if white is None else white.patch // 2, whole)


def _layer_name(number: int) -> str:
    return f"layer-{number}.zarr"


def _jobs(
    run: Run,
    commit: Commit,
    store: BlockStore | None,
    layers: Sequence[int],
    count: int,
    how: tuple[int, int, int, Norm],
) -> list[_Job]:
    strongest = stored_strongest_images(run, commit, store)
    jobs = []
    for number in layers:
        ranked = strongest.get(number)
        units = _chosen_units(run, number, count, ranked)
        for start in range(0, len(units), UNITS_AT_ONCE):
            some = tuple(units[start : start + UNITS_AT_ONCE])
            rows = _known_rows(None if store is None else ranked, some)
            jobs.append(_Job(run, commit, number, some, rows, store, *how))
    return jobs


def _known_rows(ranked: xr.Dataset | None, units: Sequence[Unit]) -> tuple[tuple[int, ...], ...]:
    """The rows of every unit's strongest images, none where no pass knows them."""
    if ranked is None:
        return ((),) * len(units)
    return tuple(tuple(ranked["image"].values[unit].tolist()) for unit in units)


def _chosen_units(run: Run, layer: int, count: int, ranked: xr.Dataset | None) -> list[Unit]:
    """The more telling units where a pass knows them, else some at even steps over the grid."""
    telling = [] if ranked is None else telling_units(ranked, count)
    if telling:
        return telling
    geometry = run.geometry.layers[layer - 1]
    cells = spread_positions(geometry.grid, count)
    each = min(geometry.units, -(-count // len(cells)))
    steps = np.linspace(0, geometry.units - 1, each).round().astype(int)
    units = [(*cell, int(unit)) for cell in cells for unit in np.unique(steps)]
    return units[:count]


def _climb_all(jobs: Sequence[_Job], *, client: Client) -> list[_Found]:
    """One task per job. All of a worker read through one network, and share what it keeps."""
    run, commit, top = jobs[0].run, jobs[0].commit, max(job.layer for job in jobs)
    network = client.submit(loaded_network, run, commit, top, pure=False)
    futures = [client.submit(climb, job, network, pure=False) for job in jobs]
    found: list[_Found] = client.gather(futures)
    return found


def climb(job: _Job, network: WholeNetwork) -> _Found:
    """Task: the optima of a job's units, and how they do beside photographs."""
    network = network._replace(layers=network.layers[: job.layer])
    windows, from_image = _windows(job), network
    if job.norm == "whitened":
        network = network._replace(whitening=None)
    best: _Found | None = None
    for number in range(job.starts):
        noise = _noise(job, number, network)
        start = seeded_starts(network, job.units, noise, windows)
        inputs, responses = ascend(network, job.units, start, windows, job.steps)
        if best is not None:
            better = responses > best.responses
            inputs = np.where(better[:, None, None, None], inputs, best.inputs)
            responses = np.maximum(responses, best.responses)
        best = _Found(inputs, responses, np.full(len(job.units), np.nan))
    assert best is not None
    return best._replace(photos=_photo_responses(job, from_image, network, windows))


def _windows(job: _Job) -> np.ndarray:
    size = job.run.config.images.size
    windows = np.zeros((len(job.units), size, size, 1), bool)
    for window, unit in zip(windows, job.units, strict=True):
        window[seen_region(job.run, job.layer, unit, job.norm).slices] = True
    return windows


def _noise(job: _Job, number: int, network: WholeNetwork) -> np.ndarray:
    """Random inputs (unit, y, x, channel): a unit's own, whichever others it is with."""
    size, channels = job.run.config.images.size, job.run.config.images.channels
    images = [
        np.random.default_rng([job.seed, number, job.layer, *unit]).normal(
            size=(size, size, channels)
        )
        for unit in job.units
    ]
    return np.stack(images).astype(network.dtype)


def _photo_responses(
    job: _Job, from_image: WholeNetwork, network: WholeNetwork, windows: np.ndarray
) -> np.ndarray:
    """The largest response of every unit to its photographs at equal norm, (unit,)."""
    found = np.full(len(job.units), np.nan)
    for number, rows in enumerate(job.photos):
        if rows and job.store is not None:
            images = contrast_of(from_image, job.store.read(rows))
            if job.norm == "whitened":
                images = whitened(from_image, images)
            alone = on_sphere(images, np.repeat(windows[number : number + 1], len(rows), axis=0))
            values = responses_at(network, [job.units[number]] * len(rows), alone)
            found[number] = values.max()
    return found


def _dataset(jobs: Sequence[_Job], found: Sequence[_Found], layer: int) -> xr.Dataset:
    own = [(job, part) for job, part in zip(jobs, found, strict=True) if job.layer == layer]
    units = np.array([unit for job, _ in own for unit in job.units]).reshape(-1, 3)
    coordinates = {
        name: ("choice", units[:, axis]) for axis, name in enumerate(("grid_y", "grid_x", "unit"))
    }
    parts = [np.concatenate([part[place] for _, part in own]) for place in range(3)]
    return xr.Dataset(
        {
            "input": (DIMENSIONS, parts[0].astype(np.float32)),
            "response": ("choice", parts[1].astype(np.float64)),
            "photo_response": ("choice", parts[2]),
        },
        coords=coordinates,
        attrs={"layer": layer, "commit": own[0][0].commit.number, "norm": own[0][0].norm},
    )
