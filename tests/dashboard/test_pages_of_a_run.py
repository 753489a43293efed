"""What a scheduler shows of a run that it has trained: readings, jobs by name, metrics."""

import re
import urllib.request

import pytest
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from tests.conftest import threads_cluster
from yfccdask.config import load_config
from yfccdask.dashboard.live.dask_server import held_bytes
from yfccdask.dashboard.live.readings import Readings
from yfccdask.dashboard.live.task_names import OTHER, job_of
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

NO_LAYER = re.compile(r"^(clear_scratch|measured_speeds|sampled_filters|moments|forget)")


class Names(SchedulerPlugin):
    """The groups of all tasks, and by layer what workers held at most."""

    name = "names"

    def __init__(self, scheduler):
        self.scheduler, self.groups, self.held = scheduler, set(), {}

    def transition(self, key, start, finish, *args, **kwargs):
        task = self.scheduler.tasks.get(key)
        if task is None:
            return
        self.groups.add(task.group_key)
        if finish == "memory":
            for worker in self.scheduler.workers.values():
                self.held |= held_bytes(worker)


@pytest.mark.slow
def test_a_trained_run_is_seen_from_outside(tiny_store, tmp_path):
    config = load_config("tiny", ["pipeline.start=after_blocks", "pipeline.after_blocks=3"])
    with (
        threads_cluster() as cluster,
        Client(cluster.scheduler_address, set_as_default=False),
    ):
        names = Names(cluster.scheduler)
        cluster.scheduler.add_plugin(names)
        where = ClusterRequest(scheduler=cluster.scheduler_address)
        run = train(config, tiny_store, tmp_path / "run", cluster=where)
        readings = Readings(cluster.scheduler.plugins["yfccdask"], cluster.scheduler)
        reading = readings.current()
        assert readings.current() is reading
        base = cluster.dashboard_link.removesuffix("/status")
        with urllib.request.urlopen(f"{base}/metrics", timeout=30) as answer:
            metrics = answer.read().decode()

    unknown = [name for name in names.groups if job_of(name) == job_of("")]
    assert not [name for name in unknown if not NO_LAYER.match(name)]
    kinds = {(job.kind, job.layer) for job in map(job_of, names.groups)}
    assert {("train", 1), ("train", 2), ("train", 3), ("forward", 1), ("forward", 2)} <= kinds
    assert {1, 2, 3, OTHER} <= set(names.held)

    history = reading.history
    assert reading.run["state"] == "finished"
    assert [layer["mini_batches"] for layer in history["layers"]] == [24, 12, 12]
    curves = run.curves(layer=2)
    shown = history["layers"][1]["curves"]["sparsity"]["mean"]
    assert shown == pytest.approx(curves.sparsity.values.tolist())
    assert history["layers"][0]["next_started"] == 9
    assert [tick["number"] for tick in history["ticks"]] == list(range(10))
    assert all(tick["ended"] for tick in history["ticks"])
    assert history["filters"]["shape"] == (8, 8, 8, 3)
    assert len(history["filters"]["values"]) == 8 * 8 * 8 * 3

    assert 'dask_yfccdask_state{state="finished"} 1.0' in metrics
    assert 'dask_yfccdask_layer_blocks{layer="1"} 8.0' in metrics
    assert 'dask_yfccdask_layer_planned_blocks{layer="3"} 4.0' in metrics
    assert "dask_yfccdask_tick 10.0" in metrics
    assert "dask_yfccdask_commit 3.0" in metrics
    assert "dask_yfccdask_workers_lost_total 0.0" in metrics
