"""Rows of the paper's true layer 2: ``python -m benchmarks.paper_layer2 [rows] [blocks]``.

Each row is 62 positions of 384 x 6,144 weights. A band of the layer's input field lies on the
workers; blocks of 960 images go through `train_block` on Dask, state after state, two workers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

from benchmarks.plan_memory import high_water, reset_high_water
from benchmarks.recording import record
from benchmarks.watched_run import peak_rate
from yfccdask.config import load_config, network_geometry
from yfccdask.geometry import Field, LayerGeometry, local_layer
from yfccdask.geometry.cuts import assign, even_layout
from yfccdask.graph import StateChunks, initial_chunks, train_block
from yfccdask.training.clusters import ClusterRequest, computed, connect, started
from yfccdask.training.pipeline.visits import Visit, objective_of, rates_of

IMAGES, BATCHES = 960, 5


def band_of(rows: int) -> LayerGeometry:
    """The paper's layer 2 over a band of its input, ``rows`` rows of positions high."""
    whole = network_geometry(load_config("paper")).layers[1]
    height = (rows - 1) * whole.stride + whole.window[0]
    return local_layer(
        Field(height, whole.input.width, whole.input.maps),
        window=whole.window[0],
        stride=whole.stride,
        units=whole.units,
        tile=whole.tile,
    )


def noise_field(layer: LayerGeometry, bands: int) -> da.Array:
    """An input field of one block in bands, of unit deviation."""
    field = layer.input
    rows = -(-field.height // bands)
    shape = (IMAGES, field.height, field.width, field.maps)
    chunks = (IMAGES, rows, field.width, field.maps)
    return da.random.default_rng(0).standard_normal(shape, dtype=np.float32, chunks=chunks)


async def train_blocks(client: Client, layer: LayerGeometry, blocks: int) -> list[float]:
    """Seconds of every block, one after another."""
    settings = load_config("paper").layers[1]
    addresses = sorted((await client.scheduler.identity())["workers"])
    layout = even_layout(layer, 2 * len(addresses), 4)
    owners = {index: addresses[n] for index, n in assign(layout, len(addresses)).items()}
    how = {"seed": 0, "layer": 1, "alpha": 1.0, "dtype": np.float32, "owners": owners}
    states: StateChunks = await started(client, initial_chunks("start", layout, **how))
    field = await started(client, noise_field(layer, len(addresses)))
    await computed(client, states, field)
    visit, seconds = Visit(1, 0, 0, BATCHES, 0, 1000), []
    for number in range(blocks):
        given = (objective_of(settings), rates_of(settings, layer, visit), IMAGES)
        start = time.monotonic()
        scale = settings.input_deviation
        states = await started(client, train_block(f"block{number}", states, field, scale, *given))
        await computed(client, states)
        seconds.append(time.monotonic() - start)
    return seconds


async def measured(rows: int, blocks: int, workers: int) -> dict[str, Any]:
    """The figures of ``blocks`` blocks."""
    layer = band_of(rows)
    async with connect(ClusterRequest(workers=workers)) as client:
        rate = await peak_rate(client)
        await client.run(reset_high_water)
        seconds = await train_blocks(client, layer, blocks)
        marks = await high_water(client, sorted((await client.scheduler.identity())["workers"]))
    best = min(seconds[1:])
    return {
        "rows": rows,
        "weights": layer.weights,
        "workers": workers,
        "seconds_per_block": [round(each, 2) for each in seconds],
        "of_sgemm": round(layer.flop_per_image * IMAGES / best / rate, 3),
        "images_per_second_and_row": round(IMAGES / best * rows, 2),
        "state_GB": round(2 * layer.parameters * 4 / 1e9, 3),
        "high_water_GB": [round(mark / 1e9, 3) for mark in marks],
    }


def main(rows: int = 2, blocks: int = 4) -> None:
    """Train, print and record."""
    figures = asyncio.run(measured(rows, blocks, os.cpu_count() or 1))
    for name, value in figures.items():
        print(f"{name:28} {value}")
    print(record("paper_layer2", figures))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
