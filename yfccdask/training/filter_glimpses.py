"""A few first-layer filters of one position, as they are now: small, and made by their worker."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
from distributed import Client, futures_of

from yfccdask.backend import to_host
from yfccdask.data.scratch import load_state
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph import StateChunks
from yfccdask.graph.state_chunks import Chunk

MOST_VALUES, MOST_FILTERS = 1 << 17, 96
WAIT_SECONDS = 2.0  # nothing trains meanwhile; it takes milliseconds where all is well
FIRST = 1_000  # a priority: before anything else on its worker
logger = logging.getLogger("yfccdask.glimpses")


async def first_filters(client: Client, states: StateChunks) -> dict[str, Any] | None:
    """Filters of the position in the middle of the first layer's grid.

    Returns
    -------
    dict or None
        ``position`` (grid_y, grid_x); ``shape`` (filter, y, x, channel); ``values``: bytes of int8,
        127 for each filter's largest weight. None for a dense layer, and where a worker doesn't
        answer in time: who trains learns of lost workers in another way.
    """
    layer = states.layout.layer
    if layer.dense:
        return None
    try:
        values = await asyncio.wait_for(_sampled(client, states), WAIT_SECONDS)
    except Exception as error:  # a picture is nothing that a run may end for
        logger.debug("no filters: %r", error)
        return None
    shape = (len(values), *layer.window, layer.input.maps)
    return {"position": list(middle(layer.grid)), "shape": shape, "values": values.tobytes()}


async def _sampled(client: Client, states: StateChunks) -> np.ndarray:
    index, place = chunk_of(states.layout, middle(states.layout.layer.grid))
    chunks = {future.key: future for future in futures_of(states)}
    options: dict[str, Any] = {"pure": False, "priority": FIRST, "retries": 0}
    if states.owners:
        options["workers"] = [states.owners[index]]
    count = shown_filters(states.layout)
    sample = client.submit(sampled_filters, chunks[(states.name, *index)], place, count, **options)
    return np.asarray(await sample)


def middle(grid: tuple[int, int]) -> tuple[int, int]:
    """The position in the middle of a grid."""
    return grid[0] // 2, grid[1] // 2


def chunk_of(layout: Layout, position: tuple[int, int]) -> tuple[ChunkIndex, tuple[int, int]]:
    """The chunk of a local layer that holds a position, and where in it.

    Examples
    --------
    >>> from yfccdask.config import load_config, network_geometry
    >>> from yfccdask.geometry import layer_layout
    >>> layer = network_geometry(load_config("tiny")).layers[0]
    >>> chunk_of(layer_layout(layer, chunk=(2, 3)), (2, 1))
    ((1, 0, 0), (0, 1))
    """
    for index in layout.indices():
        held = layout.positions(*index[:2])
        if held.top <= position[0] < held.bottom and held.left <= position[1] < held.right:
            return index, (position[0] - held.top, position[1] - held.left)
    raise AssertionError(f"expected position {position} in a grid of {layout.layer.grid}")


def shown_filters(layout: Layout) -> int:
    """How many filters a glimpse holds."""
    layer = layout.layer
    return max(1, min(layer.units, MOST_FILTERS, MOST_VALUES // layer.inputs))


def sampled_filters(chunk: Chunk, place: tuple[int, int], count: int) -> np.ndarray:
    """Task: a position's first filters (filter, input) as int8, each by its own largest weight."""
    weights = load_state(chunk.state, ("weights",)).weights[(*place, slice(count))]
    weights = to_host(weights).astype(np.float64)
    largest = np.abs(weights).max(axis=1, keepdims=True)
    scaled = np.divide(127 * weights, largest, out=np.zeros_like(weights), where=largest > 0)
    return np.rint(scaled).astype(np.int8)
