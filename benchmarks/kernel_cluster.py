"""Visits through Dask: two workers at once, and what a block costs beyond its kernels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, futures_of, wait

from benchmarks.kernel_cases import (
    MINI_BATCH,
    MINI_BATCHES,
    OBJECTIVE,
    RATES,
    SCALE,
    sgemm_rate,
    touch_memory,
)
from yfccdask.geometry import Field, LayerGeometry, Layout, local_layer
from yfccdask.graph import initial_chunks, train_block
from yfccdask.graph.state_chunks import StateChunks
from yfccdask.numerics.local_visits import Windows, train_visit
from yfccdask.training.clusters import TRAINING_SETTINGS, hush_worker

BLOCKS, TIMES = 4, 3
IMAGES = MINI_BATCH * MINI_BATCHES
NAMES = count()


@contextmanager
def workers(number: int) -> Iterator[Client]:
    """A client of workers with one thread each, as training has them."""
    with (
        dask.config.set(TRAINING_SETTINGS),
        LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=True) as client,
    ):
        client.run(touch_memory, 2e9)
        try:
            yield client
        finally:
            client.run(hush_worker)


def persisted(client: Client, layer: LayerGeometry, chunks: int) -> tuple[StateChunks, da.Array]:
    """A layer cut into one band of rows per worker, and a block's field in one piece."""
    addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    rows, columns = layer.grid
    layout = Layout(layer, (rows // chunks,) * chunks, (columns,))
    owners = {index: addresses[i] for i, index in enumerate(layout.indices())}
    field = da.random.default_rng(0).standard_normal(
        (IMAGES, layer.input.height, layer.input.width, layer.input.maps), dtype="f4", chunks=-1
    )
    states = initial_chunks(
        f"start-{next(NAMES)}", layout, seed=0, layer=0, alpha=1.0, dtype="f4", owners=owners
    )
    return states.persist(), field.persist()


def blocks_through_dask(states: StateChunks, field: da.Array) -> float:
    """Seconds for a chain of blocks, each of which trains what the one before left."""
    start = time.perf_counter()
    for _ in range(BLOCKS):
        name = f"block-{next(NAMES)}"
        states = train_block(name, states, field, SCALE, OBJECTIVE, RATES, IMAGES)
    wait(states.persist())
    return time.perf_counter() - start


def bare_blocks(chunk: Any, field: np.ndarray, windows: Windows) -> float:
    """On a worker: seconds for the same chain, by calls of the kernel."""
    start, state = time.perf_counter(), chunk.state
    for _ in range(BLOCKS):
        state, _ = train_visit(state, field, SCALE, windows, OBJECTIVE, RATES)
    return time.perf_counter() - start


def cost_beyond_kernels(layer: LayerGeometry) -> dict[str, float]:
    """A block through Dask as a ratio to the bare kernels, on one worker and the same arrays."""
    with workers(1) as client:
        states, field = persisted(client, layer, 1)
        wait([states, field])
        windows = Windows(layer.window, layer.stride)
        chunk, piece = (futures_of(each)[0] for each in (states, field))
        dasks, bares = [], []
        for _ in range(TIMES + 1):  # the first one warms up
            dasks.append(blocks_through_dask(states, field))
            bares.append(client.submit(bare_blocks, chunk, piece, windows, pure=False).result())
    through, bare = min(dasks[1:]) / BLOCKS, min(bares[1:]) / BLOCKS
    return {"seconds": bare, "through_dask": through, "ratio": through / bare}


def two_workers(layer: LayerGeometry) -> dict[str, float]:
    """The shares of two cores' sgemm peak that two workers reach, each with a chunk of its own.

    By the workers' process CPU time, all that Dask does in them included, and by wall time.
    """
    doubled = local_layer(
        _doubled(layer), window=layer.window[0], stride=layer.stride, units=layer.units
    )
    flop, seconds, walls = doubled.flop_per_image * IMAGES * BLOCKS, [], []
    with workers(2) as client:
        states, field = persisted(client, doubled, 2)
        peak = max(sum(client.run(sgemm_rate).values()) for _ in range(TIMES))
        for _ in range(TIMES + 1):
            before = sum(client.run(time.process_time).values())
            walls.append(blocks_through_dask(states, field))
            seconds.append((sum(client.run(time.process_time).values()) - before) / 2)
    shares = (flop / min(each[1:]) / peak for each in (seconds, walls))
    return dict(zip(("by CPU time", "by wall time"), shares, strict=True))


def _doubled(layer: LayerGeometry) -> Field:
    """A field with twice as many positions downwards."""
    more = layer.grid[0] * layer.stride
    return Field(layer.input.height + more, layer.input.width, layer.input.maps)
