"""A graph in slices is the graph."""

from __future__ import annotations

import asyncio

import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Alias, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph
from dask.threaded import get
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from yfccdask.graph.pieces import pinned_graph
from yfccdask.graph.slices import needed_tasks, slices_of
from yfccdask.training import clusters


def total(number: int, *read: int) -> int:
    return number + sum(read)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[HighLevelGraph, list[tuple[str, int]]]:
    """A random acyclic graph, and the keys that are wanted of it."""
    count = draw(st.integers(1, 40))
    tasks = {}
    for n in range(count):
        below = draw(st.sets(st.integers(0, n - 1), max_size=4)) if n else set()
        reads = [TaskRef(("x", each)) for each in sorted(below)]
        tasks["x", n] = Task(("x", n), total, n, *reads)
    wanted = draw(st.sets(st.integers(0, count - 1), min_size=1))
    return HighLevelGraph.from_collections("x", tasks), [("x", n) for n in sorted(wanted)]


@given(graphs(), st.integers(1, 12))
def test_slices_hold_every_needed_task_once_and_no_more_than_asked(case, most):
    graph, wanted = case
    slices = slices_of(graph, wanted, most)
    keys = [key for part in slices for key in part.graph.to_dict()]
    assert sorted(keys) == sorted(needed_tasks(graph, wanted))
    assert all(len(part.graph.to_dict()) <= most for part in slices)
    assert len(slices) == -(-len(keys) // most)


@given(graphs(), st.integers(1, 12))
def test_slices_one_after_the_other_give_what_the_graph_gives(case, most):
    graph, wanted = case
    known: dict[tuple[str, int], int] = {}
    for part in slices_of(graph, wanted, most):
        tasks = {**part.graph.to_dict(), **{key: Task(key, int, v) for key, v in known.items()}}
        known |= dict(zip(part.held, get(tasks, part.held), strict=True))
    assert [known[key] for key in wanted] == list(get(graph.to_dict(), wanted))


@given(graphs(), st.integers(1, 12))
def test_every_task_of_a_slice_is_needed_by_a_key_that_is_held(case, most):
    graph, wanted = case
    for part in slices_of(graph, wanted, most):
        assert set(needed_tasks(part.graph, part.held)) == set(part.graph.to_dict())


def test_pins_stay_with_their_tasks():
    tasks = {("x", n): Task(("x", n), total, n) for n in range(6)}
    graph = pinned_graph("x", tasks, [], {("x", 4): "tcp://there"})
    for part in slices_of(graph, list(tasks), 2):
        for layer in part.graph.layers.values():
            place = (layer.annotations or {"workers": {}.get})["workers"]
            for key in layer:
                assert place(key) == (["tcp://there"] if key == ("x", 4) else None)


def test_what_the_cluster_has_is_in_no_slice():
    tasks = {"a": TaskRef("a"), "b": Task("b", total, 1, TaskRef("a")), "c": Alias("c", "b")}
    graph = HighLevelGraph.from_collections("x", tasks)
    (part,) = slices_of(graph, ["a", "c"], 10)
    assert sorted(part.graph.to_dict()) == ["b", "c"]
    assert part.held == ["c"]
    assert slices_of(graph, ["a"], 10) == []


async def in_slices() -> tuple[np.ndarray, set[str], set[str]]:
    """Start an array that reads one that was started; its values, and whose keys are held."""
    options = {"processes": False, "asynchronous": True, "dashboard_address": ":0"}
    async with (
        LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster,
        Client(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        first = await clusters.started(client, da.ones((8, 8), chunks=2, name="ones") + 1)
        product = first @ first.T
        both = await clusters.started(client, product, product.sum(axis=0))
        parts = [await clusters.gather_chunks(client, each) for each in both]
        await clusters.computed(client, *both)
        names = {key[0] for key in client.futures}
        return np.concatenate(parts[1]), names, {first.name, *(each.name for each in both)}


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_a_collection_started_in_slices_has_its_values_and_holds_only_itself(most, monkeypatch):
    monkeypatch.setattr(clusters.submitting, "SLICE_TASKS", most)
    values, held, wanted = asyncio.run(in_slices())
    np.testing.assert_array_equal(values, np.full(8, 8 * 8 * 4.0))
    assert held == wanted
