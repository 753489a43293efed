"""A graph in slices, for a scheduler whose event loop is not to be held up by a big one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from dask._task_spec import GraphNode, TaskRef, convert_legacy_graph
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.order import order

from yfccdask.graph.pieces import Key

Tasks = dict[Key, GraphNode]


class Slice(NamedTuple):
    """Some tasks of a graph, and the keys of theirs that must be held until all slices are in."""

    graph: HighLevelGraph
    held: list[Key]


def slices_of(graph: HighLevelGraph, wanted: Collection[Key], most: int) -> list[Slice]:
    """Cut what ``wanted`` keys need of a graph into slices of at most ``most`` tasks each.

    A slice needs only what is in it or in those before it. The order is `dask.order`'s over the
    whole graph, so that slices are worked on as the one graph would be. What the cluster has
    already (a future in the graph) is in no slice.
    """
    tasks = needed_tasks(graph, wanted)
    if not tasks:
        return []
    places = _places(graph)
    ranks = order(tasks) if len(tasks) > most else dict.fromkeys(tasks, 0)
    ranked = sorted(tasks, key=ranks.__getitem__)
    number = {key: rank // most for rank, key in enumerate(ranked)}
    held = _held(tasks, number, set(wanted))
    return [
        Slice(_graph({key: tasks[key] for key in ranked[start : start + most]}, places), held[n])
        for n, start in enumerate(range(0, len(ranked), most))
    ]


def needed_tasks(graph: HighLevelGraph, wanted: Collection[Key]) -> Tasks:
    """The tasks that these keys need, themselves included, but for what the cluster has."""
    own = {key: task for key, task in graph.to_dict().items() if not isinstance(task, TaskRef)}
    whole, left, found = convert_legacy_graph(own), list(wanted), {}
    while left:
        key = left.pop()
        if key in whole and key not in found:
            found[key] = task = whole[key]
            left.extend(task.dependencies)
    return found


def _held(tasks: Tasks, number: dict[Key, int], wanted: set[Key]) -> list[list[Key]]:
    """By slice: the keys that are wanted, or read by a later slice."""
    held: list[dict[Key, None]] = [{} for _ in range(max(number.values()) + 1)]
    for key, task in tasks.items():
        if key in wanted:
            held[number[key]][key] = None
        for read in task.dependencies:
            if number.get(read, number[key]) < number[key]:
                held[number[read]][read] = None
    return [list(keys) for keys in held]


def _places(graph: HighLevelGraph) -> dict[Key, Any]:
    """The workers that tasks are pinned to."""
    places = {}
    for layer in graph.layers.values():
        place = (layer.annotations or {}).get("workers")
        if callable(place):
            places |= {key: place(key) for key in layer if place(key)}
    return places


def _graph(tasks: Tasks, places: dict[Key, Any]) -> HighLevelGraph:
    here = {key: places[key] for key in tasks if key in places}
    notes = {"annotations": {"workers": here.get}} if here else {}
    return HighLevelGraph({"slice": MaterializedLayer(dict(tasks), **notes)}, {"slice": set()})
