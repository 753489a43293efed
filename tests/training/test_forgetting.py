"""The scheduler forgets what led to released chunks a portion at a time."""

from __future__ import annotations

import asyncio

import dask.array as da
from distributed import Client, LocalCluster, futures_of

from tests.conftest import threads_cluster
from yfccdask.config import load_config
from yfccdask.training import clusters
from yfccdask.training.lineage import Lineage
from yfccdask.training.start import train

OPTIONS = {"processes": False, "asynchronous": True, "dashboard_address": ":0"}
STEPS, CHUNKS, MOST = 12, 4, 5


async def forgetting(cut: bool) -> tuple[int, list[int]]:
    """A chain of steps, then all let go: tasks remembered before, and forgotten at each go."""
    async with (
        LocalCluster(n_workers=1, threads_per_worker=1, **OPTIONS) as cluster,
        Client(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        scheduler, lineage = cluster.scheduler, Lineage(client)
        state = await clusters.started(client, da.ones(8, chunks=2, name="state0"), lineage=lineage)
        for _ in range(STEPS):
            state = await clusters.started(client, state * 2 + 1, lineage=lineage)
        await clusters.computed(client, state)
        goes, remembered = watched_goes(scheduler), len(scheduler.tasks)
        if not cut:
            lineage.portions.clear()
        await lineage.forget(futures_of(state))
        while scheduler.tasks:
            await asyncio.sleep(0.01)
        return remembered, goes


def watched_goes(scheduler) -> list[int]:
    """How many tasks each call of the scheduler's transitions forgets, from now on."""
    goes, original = [], scheduler.transitions

    def transitions(*arguments, **options):
        before = set(scheduler.tasks)
        original(*arguments, **options)
        goes.append(len(before - set(scheduler.tasks)))

    scheduler.transitions = transitions
    return goes


def test_all_is_forgotten_and_never_more_than_a_slice_at_a_go(monkeypatch):
    monkeypatch.setattr(clusters.submitting, "SLICE_TASKS", MOST)
    remembered, goes = asyncio.run(forgetting(cut=True))
    assert remembered > STEPS * CHUNKS
    assert sum(goes) == remembered
    assert max(goes) <= MOST


def test_without_cuts_a_chain_is_forgotten_at_one_go(monkeypatch):
    monkeypatch.setattr(clusters.submitting, "SLICE_TASKS", MOST)
    remembered, goes = asyncio.run(forgetting(cut=False))
    assert sum(goes) == remembered
    assert max(goes) > MOST


def test_a_staggered_run_is_forgotten_in_portions(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters.submitting, "SLICE_TASKS", 40)
    staggered = "pipeline={start: after_blocks, after_blocks: 2}"
    config = load_config("tiny", ["engine.chunk=[2, 2]", "engine.chunk_leaves=1", staggered])
    with threads_cluster(2) as cluster, Client(cluster, set_as_default=False) as client:
        goes = watched_goes(cluster.scheduler)
        train(config, tiny_store, tmp_path / "run", client=client)
        assert sum(goes) > 500
        assert max(goes) < 2 * 40  # with the few that were held before the slices
