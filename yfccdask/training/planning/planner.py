"""``plan``: from a configuration, a number of workers and their memory to chunks and figures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from dask.utils import parse_bytes

from yfccdask.config import Config, load_config, network_geometry
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.errors import ConfigError, GeometryError
from yfccdask.geometry import LayerGeometry
from yfccdask.training.inputs import check_store
from yfccdask.training.pipeline.visits import unused_images
from yfccdask.training.planning.calibration import Calibration, calibrate, check_calibration
from yfccdask.training.planning.chunking import Choice, Request, best_cut, projected_peaks
from yfccdask.training.planning.counting import layer_memory, scratch_bytes
from yfccdask.training.planning.limits import refusals_of, suggestions_of, warnings_of
from yfccdask.training.planning.readings import alternative_readings
from yfccdask.training.planning.records import (
    DiskPlan,
    LayerPlan,
    NetworkPlan,
    RunPlan,
    Site,
    StorePlan,
    WorkRow,
)
from yfccdask.training.planning.timing import SCHEDULER_SECONDS, spans_of
from yfccdask.training.planning.traffic import moved_bytes, tasks_of

DAY = 86_400


def plan(
    config: Config | str | Path,
    data: BlockStore | str | Path | None = None,
    *,
    workers: int | None = None,
    memory: int | str | None = None,
    host_memory: int | str | None = None,
    images: int | None = None,
    calibration: Calibration | None = None,
) -> NetworkPlan:
    """The network's table from its configuration; with ``workers``, how a run lies on them.

    Parameters
    ----------
    config : Config, preset's name or path
    data : BlockStore or path, optional
        Also says how many of its images a pass uses; must fit the configuration.
    workers : int, optional
        Plan a run on so many single-threaded workers: the result is a `RunPlan`.
    memory : int or str, optional
        Bytes per worker, or a size such as ``"4GB"``; no limit where not given.
    host_memory : int or str, optional
        Bytes of the host beside every GPU, whose own ``memory`` is; no limit where not given.
    images : int, optional
        Images of one pass, where there is no store yet.
    calibration : Calibration, optional
        How fast the machine is; measured where not given, which takes a second or two.

    Returns
    -------
    NetworkPlan
        A `RunPlan` where ``workers`` is given. What it refuses is in its ``refusals``.

    Raises
    ------
    ConfigError
        If there is no worker, no whole mini-batch of images, or ``memory`` is no size.
    StoreError
        If the store does not fit the configuration.

    Examples
    --------
    >>> plan("paper").total("weights")
    15355871232
    """
    config = config if isinstance(config, Config) else load_config(config)
    store = None if data is None else _fitting_store(config, data)
    network = network_plan(config, store)
    if workers is None:
        return network
    if store is not None:
        images = store.images if images is None else images
    beside = _bytes(host_memory, "host memory")
    site = Site(workers, _bytes(memory), host_memory=beside)
    return run_plan(config, network, site, images, calibration)


def _fitting_store(config: Config, data: BlockStore | str | Path) -> BlockStore:
    store = open_store(data)
    check_store(config, store)
    return store


def _bytes(memory: int | str | None, name: str = "memory") -> int | None:
    try:
        size = None if memory is None else parse_bytes(memory)
    except ValueError:
        raise ConfigError(f"{name}: expected a size such as 4GB, found {memory!r}") from None
    if size is not None and size < 1:
        raise ConfigError(f"{name}: expected at least 1 byte for a worker, found {memory!r}")
    return size


def network_plan(config: Config, store: BlockStore | None = None) -> NetworkPlan:
    """The network's table, and what a store gives a pass."""
    itemsize = np.dtype(config.dtype).itemsize
    layers = tuple(
        _layer_plan(number, layer, itemsize)
        for number, layer in enumerate(network_geometry(config).layers, start=1)
    )
    found = None if store is None else _store_plan(config, store)
    return NetworkPlan(layers, found, alternative_readings(config))


def _layer_plan(number: int, layer: LayerGeometry, itemsize: int) -> LayerPlan:
    return LayerPlan(
        layer=number,
        kind="dense" if layer.dense else "local",
        input=str(layer.input),
        positions=layer.positions,
        grid=layer.grid,
        window=layer.window,
        stride=layer.stride,
        D=layer.inputs,
        K=layer.units,
        weights=layer.weights,
        weight_bytes=layer.weights * itemsize,
        state_bytes=2 * layer.parameters * itemsize,
        flop_per_image=layer.flop_per_image,
        output=str(layer.output),
        normalised=str(layer.normalised),
    )


def _store_plan(config: Config, store: BlockStore) -> StorePlan:
    images = [store.block_images(b) for b in range(store.blocks)]
    size = config.batching.mini_batch
    return StorePlan(
        str(store.path),
        sum(images),
        len(images),
        sum(count // size for count in images),
        unused_images(images, size),
    )


def run_plan(
    config: Config,
    network: NetworkPlan,
    site: Site,
    images: int | None = None,
    calibration: Calibration | None = None,
) -> RunPlan:
    """How a run lies on a site: chunks, workers, memory, time, disk, and what is refused."""
    _check_numbers(config, site, images)
    if calibration is None:
        calibration = calibrate(config)
    check_calibration(calibration, config)
    given = (images, calibration, site.threads, site.host_memory)
    request = Request(config, site.workers, site.memory, *given)
    choice = best_cut(request)
    seconds, share = _whole_run(request, choice)
    disk = _disk_plan(request, choice, network)
    refusals = tuple(refusals_of(request, choice, site, disk))
    return RunPlan(
        layers=network.layers,
        store=network.store,
        readings=network.readings,
        site=site,
        images=images,
        layouts=list(choice.cut.layouts),
        owners=list(choice.cut.owners),
        hosted=[choice.cut.hosted_of(layer) for layer in choice.cut.layers],
        rows=tuple(work_rows(request, choice)),
        idle=calibration.idle_bytes,
        peaks=tuple(projected_peaks(request, choice.cut)),
        host_peak=choice.host_peak,
        seconds=choice.seconds,
        days=None if seconds is None else seconds / DAY,
        scheduler_share=share,
        disk=disk,
        refusals=refusals,
        warnings=tuple(warnings_of(share, calibration, choice.cut)),
        suggestions=tuple(suggestions_of(request, choice)) if refusals else (),
    )


def _check_numbers(config: Config, site: Site, images: int | None) -> None:
    if site.workers < 1:
        raise GeometryError(
            f"workers: expected at least 1 worker, found {site.workers}: name a larger --workers"
        )
    least = config.batching.mini_batch
    if images is not None and images < least:
        raise ConfigError(
            f"images: expected at least one mini-batch of {least}, found {images}: plan for more "
            "images, or use a smaller batching.mini_batch"
        )


def work_rows(request: Request, choice: Choice) -> list[WorkRow]:
    """Every layer on every worker."""
    rows = []
    for layer in choice.cut.layers:
        memory = layer_memory(choice.cut, layer, request.images)
        columns = zip(
            map(len, choice.cut.per_worker(layer)),
            memory.weights,
            memory.optimiser,
            memory.copies,
            memory.fields,
            memory.staged,
            memory.temporaries,
            memory.slots,
            memory.hosted,
            scratch_bytes(choice.cut, layer, request.images),
            moved_bytes(choice.cut, layer),
            tasks_of(choice.cut, layer),
            choice.times[layer].whole(),
            strict=True,
        )
        rows += [WorkRow(layer + 1, worker, *values) for worker, values in enumerate(columns)]
    return rows


def _whole_run(request: Request, choice: Choice) -> tuple[float | None, float]:
    """Seconds of all passes where the images are known, and the scheduler's share of them."""
    blocks = 1 if request.images is None else math.ceil(request.images / choice.cut.images)
    spans = spans_of(choice.cut, choice.times, blocks)
    seconds = sum((span.stop - span.first) * span.seconds for span in spans)
    tasks = sum((span.stop - span.first) * span.tasks for span in spans)
    share = tasks * SCHEDULER_SECONDS / seconds if seconds else 0.0
    return (None if request.images is None else seconds), share


def _disk_plan(request: Request, choice: Choice, network: NetworkPlan) -> DiskPlan:
    config, images = request.config, request.images
    scratch = sum(sum(scratch_bytes(choice.cut, n, images)) for n in choice.cut.layers)
    checkpoints = (config.checkpoints.keep + 1) * network.total("state_bytes")
    if images is None:
        return DiskPlan(None, checkpoints, scratch, None)
    pixels = config.images.size**2 * config.images.channels
    stored = images * pixels * np.dtype(config.images.dtype).itemsize
    top = request.network.layers[-1]
    codes = images * top.output.size * np.dtype(np.float32).itemsize
    return DiskPlan(stored, checkpoints, scratch, codes)
