"""Many tasks of one function, a few per thread in flight, on a cluster or in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from dask._task_spec import Task
from dask.base import get_scheduler
from dask.system import CPU_COUNT
from dask.threaded import get as threaded_get
from distributed import Client, as_completed

Call = tuple[Any, ...]


def run_tasks(
    client: Client | None, name: str, function: Callable[..., Any], calls: Iterable[Call]
) -> Iterator[tuple[int, Any]]:
    """Run a function on many tuples of arguments; yield (number, result) as they come.

    At most a few tasks per thread are in flight.
    """
    prefix = f"{name}-{uuid.uuid4().hex}"
    if client is not None:
        yield from _run_through(client, prefix, function, calls)
        return
    get, numbered = get_scheduler() or threaded_get, enumerate(calls)
    while some := list(islice(numbered, 4 * CPU_COUNT)):
        tasks = [Task((prefix, number), function, *call) for number, call in some]
        results = get({task.key: task for task in tasks}, [task.key for task in tasks])
        yield from zip((number for number, _ in some), results, strict=True)


def _run_through(
    client: Client, prefix: str, function: Callable[..., Any], calls: Iterable[Call]
) -> Iterator[tuple[int, Any]]:
    """Keep at most twice as many tasks in flight as the workers have threads."""
    room = max(4, 2 * sum(client.nthreads().values()))
    numbered = enumerate(calls)
    flying: dict[Any, int] = {}

    def start() -> list[Any]:
        for number, call in islice(numbered, room - len(flying)):
            future = client.submit(function, *call, key=(prefix, number), pure=False)
            flying[future] = number
        return list(flying)

    try:
        ended = as_completed(start(), loop=client.loop, with_results=True)
        for future, result in ended:
            yield flying.pop(future), result
            known = set(flying)
            ended.update([fresh for fresh in start() if fresh not in known])
    finally:
        client.cancel(list(flying))
