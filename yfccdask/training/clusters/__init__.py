"""Where the work runs: an embedded cluster of cores or GPUs, or one that is there already."""

from yfccdask.training.clusters.connections import connect, same_cluster
from yfccdask.training.clusters.embedded import (
    TerminatedByOwner,
    embedded_cluster,
    embedded_options,
    hush_worker,
)
from yfccdask.training.clusters.requested import LOOPBACK, ClusterRequest, is_loopback
from yfccdask.training.clusters.submitting import (
    SLICE_TASKS,
    compute_chunks,
    computed,
    gather_chunks,
    started,
)
from yfccdask.training.dask_settings import TRAINING_SETTINGS

__all__ = [
    "LOOPBACK",
    "SLICE_TASKS",
    "TRAINING_SETTINGS",
    "ClusterRequest",
    "TerminatedByOwner",
    "compute_chunks",
    "computed",
    "connect",
    "embedded_cluster",
    "embedded_options",
    "gather_chunks",
    "hush_worker",
    "is_loopback",
    "same_cluster",
    "started",
]
