"""Graphs to a cluster in slices, and chunks back in the order of their indices."""

from __future__ import annotations

import asyncio
from typing import Any

import dask.array as da
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from distributed import Client, Future, futures_of, wait

from yfccdask.graph.slices import slices_of
from yfccdask.training.lineage import Lineage

SLICE_TASKS = 250  # which take the scheduler some 30 ms


async def started(
    client: Client, *collections: Any, priority: int = 0, lineage: Lineage | None = None
) -> Any:
    """Persist collections as they are built: optimizing a graph would lose its tasks' places.

    The graph goes to the scheduler in slices, prepared in threads: a big one in one piece would
    hold up the scheduler's event loop. Tasks of a higher ``priority`` go first on their workers.
    ``lineage`` is told where what was submitted can be cut.
    """
    keys = [list(flatten(each.__dask_keys__())) for each in collections]
    wanted = {key for each in keys for key in each}
    graph = HighLevelGraph.merge(*(each.__dask_graph__() for each in collections))
    futures = {key: graph[key] for key in wanted if isinstance(graph[key], Future)}
    options = {"sync": False, "priority": priority, "fifo_timeout": 0}
    for part, held in await asyncio.to_thread(slices_of, graph, wanted, SLICE_TASKS):
        given = await asyncio.to_thread(client.get, part, held, **options)
        futures |= zip(held, given, strict=True)
        if lineage is not None:
            lineage.portions.append(held)
    persisted = [_rebuilt(*pair, futures) for pair in zip(collections, keys, strict=True)]
    for key in futures.keys() - wanted:
        futures[key].release()
    return persisted[0] if len(collections) == 1 else persisted


def _rebuilt(collection: Any, keys: list[Any], futures: dict[Any, Future]) -> Any:
    rebuild, arguments = collection.__dask_postpersist__()
    return rebuild({key: futures[key] for key in keys}, *arguments)


async def compute_chunks(client: Client, array: da.Array) -> list[Any]:
    """All chunks of an array that is only a graph yet, in the order of their indices."""
    return await gather_chunks(client, await started(client, array))


async def gather_chunks(client: Client, array: da.Array) -> list[Any]:
    """All chunks of a persisted array, in the order of their indices."""
    futures = {future.key: future for future in futures_of(array)}
    keys = list(flatten(array.__dask_keys__()))
    return list(await client.gather([futures[key] for key in keys]))


async def computed(client: Client, *collections: Any) -> None:
    """Wait until persisted collections are computed; raises what the first failed task raised."""
    futures = futures_of(collections)
    with client.as_current():
        await wait(futures)
    for future in futures:
        if future.status != "finished":
            await future
