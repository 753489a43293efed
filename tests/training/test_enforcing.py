"""Training's settings where configuration comes too late: on clusters that run already."""

import asyncio
import math

import dask
from distributed import LocalCluster, Status
from distributed.spill import SpillBuffer

from yfccdask.training import enforcing
from yfccdask.training.dask_settings import SETTINGS_FILE, TRAINING_SETTINGS
from yfccdask.training.enforcing import in_force, keep_freed_memory

STEALING = "distributed.scheduler.work-stealing"
AS_SHIPPED = {
    STEALING: True,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.scheduler.idle-timeout": "1h",
    "distributed.worker.memory.target": 0.6,
    "distributed.worker.memory.spill": 0.7,
    "distributed.worker.memory.pause": 0.8,
    "distributed.comm.timeouts.connect": "30s",
}


def state_of(scheduler, workers):
    """What `in_force` is to change, and to put back."""
    managers = [worker.memory_manager for worker in workers]
    return {
        "steals": "stealing" in scheduler.periodic_callbacks,
        "timeouts": (scheduler.no_workers_timeout, scheduler.idle_timeout),
        "fractions": [(m.memory_target_fraction, m.memory_spill_fraction) for m in managers],
        "pauses": [m.memory_pause_fraction for m in managers],
        "spills above": [worker.data.n for worker in workers],
        "configured": dask.config.get(STEALING),
    }


async def states():
    """Before, while (with a worker that came later), and after."""
    quiet = {"processes": False, "n_workers": 1, "dashboard_address": None}
    async with LocalCluster(asynchronous=True, memory_limit="1GB", **quiet) as cluster:
        scheduler, first = cluster.scheduler, cluster.workers[0]
        assert isinstance(first.data, SpillBuffer)
        before = state_of(scheduler, [first])
        first.status = Status.paused
        async with in_force(scheduler):
            with dask.config.set(AS_SHIPPED):
                cluster.scale(2)
                await cluster
            during = state_of(scheduler, cluster.workers.values())
            status = first.status
        return before, during, state_of(scheduler, cluster.workers.values()), status


def test_a_cluster_started_otherwise_is_put_right_and_back_again():
    with dask.config.set(AS_SHIPPED):
        before, during, after, status = asyncio.run(states())
    assert before["steals"]
    assert before["timeouts"] == (None, 3600)
    assert during == {
        "steals": False,
        "timeouts": (60, None),
        "fractions": [(False, False)] * 2,
        "pauses": [False] * 2,
        "spills above": [math.inf] * 2,
        "configured": False,
    }
    assert status == Status.running
    both = ("fractions", "pauses", "spills above")
    assert after == before | {name: before[name] * 2 for name in both}


def test_dask_reads_the_file_that_is_shipped():
    read = dask.config.collect(paths=[str(SETTINGS_FILE)], env={})
    for name, value in TRAINING_SETTINGS.items():
        assert dask.config.get(name, config=read) == value
        assert name.startswith("distributed.nanny") or dask.config.get(name, "?") != "?", name


def test_only_what_a_nanny_set_is_undone(monkeypatch):
    told = []

    class Library:
        def __init__(self, name):
            self.name = name

        def mallopt(self, number, value):
            told.append((number, value))
            return 1

    monkeypatch.setattr(enforcing.ctypes, "CDLL", Library)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "")
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "")
    assert not keep_freed_memory()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert keep_freed_memory()
    assert told == [(-1, 1 << 30), (-3, 1 << 25)]
    assert not keep_freed_memory()  # it is in force already
