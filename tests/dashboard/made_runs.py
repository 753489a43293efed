"""Runs for pages to show: small ones that train for a while, or fail."""

from __future__ import annotations

from contextlib import contextmanager

from distributed import Client

from tests.training.processes import running_cluster
from yfccdask import train
from yfccdask.config import load_config
from yfccdask.training.clusters import ClusterRequest

LONG = ("pipeline.start=after_blocks", "pipeline.after_blocks=3", "layers.0.passes=400")
QUIET = ("preprocessing.whitening=null",)
FAILING = (*QUIET, "layers.0.rate=1000", "layers.0.alpha_rate=1000")


@contextmanager
def watched_cluster(folder):
    """A scheduler with the controller and two workers, as processes; yields (client, address)."""
    with (
        running_cluster(folder) as (file, _),
        Client(scheduler_file=str(file), set_as_default=False) as client,
    ):
        yield client, client.dashboard_link.removesuffix("/status")


def begun(client, store, path, settings=LONG):
    """Start a run, and leave it alone."""
    cluster = ClusterRequest(scheduler=client.scheduler.address)
    return train(load_config("tiny", list(settings)), store, path, cluster=cluster, follow=False)
