"""A cluster of one's own on this machine: a worker per core, or one per GPU."""

from __future__ import annotations

import logging
import os
import signal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import dask
from distributed import LocalCluster, Worker, WorkerPlugin
from distributed.comm.addressing import unparse_host_port

from yfccdask.backend import count_devices
from yfccdask.errors import ClusterError
from yfccdask.training.clusters.requested import LOOPBACK, ClusterRequest

FOR_GPUS = ("dask_cuda", "cupy", "rmm")


def embedded_cluster(request: ClusterRequest) -> LocalCluster:
    """The cluster that was asked for, asynchronous and not yet started.

    Where GPUs were asked for and can't be had it is refused: there is no falling back to cores,
    which have other bits and take days instead of hours.

    Raises
    ------
    ClusterError
        Where a GPU, what drives it, or the protocol is missing.
    """
    if request.protocol == "ucxx" and find_spec("distributed_ucxx") is None:
        raise ClusterError(
            "expected distributed-ucxx for the protocol ucxx, found none: install "
            "distributed-ucxx-cu12 (or -cu13), or leave --protocol away"
        )
    if request.device == "gpu" and request.processes:  # threads of this process share its GPU
        options = cuda_options(request, gpus_for(request))
        return cuda_cluster_class()(asynchronous=True, **options)
    return LocalCluster(asynchronous=True, **embedded_options(request))


def gpus_for(request: ClusterRequest) -> int:
    """How many of this machine's GPUs the cluster is to have, a worker each.

    Raises
    ------
    ClusterError
        If there is none, or fewer than workers that were asked for, or what drives them is missing.
    """
    found = count_devices()
    if not found:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise ClusterError(
            "expected a GPU of NVIDIA's that its driver lists (`nvidia-smi`), found none with "
            f"CUDA_VISIBLE_DEVICES {'unset' if visible is None else repr(visible)}: see to the "
            "driver, or train on cores with --device cpu"
        )
    if missing := [name for name in FOR_GPUS if find_spec(name) is None]:
        raise ClusterError(
            f"expected {', '.join(FOR_GPUS)} for {found} GPUs, found no {', '.join(missing)}: "
            "pip install 'yfccdask[cuda12]' (or cuda13, as the driver is)"
        )
    if (request.workers or 1) > found:
        raise ClusterError(
            f"expected at most {found} workers, one per GPU, found {request.workers} asked for: "
            "leave --workers away"
        )
    return request.workers or found


def cuda_cluster_class() -> type[LocalCluster]:
    """dask-cuda's cluster, which is imported where there is a GPU only."""
    return cast("type[LocalCluster]", import_module("dask_cuda").LocalCUDACluster)


def cuda_options(request: ClusterRequest, number: int) -> dict[str, Any]:
    """Arguments of the `LocalCUDACluster` that was asked for, with so many GPUs.

    What a worker holds stays where it is: dask-cuda's own spilling is slow, holds up the worker,
    and doesn't see what tasks have allocated. CuPy allocates from RMM's pool only if told to.
    """
    options = embedded_options(request) | {"n_workers": number, "data": dict}
    del options["processes"]
    options["device_memory_limit"] = 0
    if request.pool is not None:
        options["rmm_pool_size"] = request.pool
        options["rmm_allocator_external_lib_list"] = ["cupy"]
    return options


class TerminatedByOwner(WorkerPlugin):
    """Embedded workers outlive signals that go to a whole job: their owner commits first.

    They end with their owner, however it ends.
    """

    name = "yfccdask-terminated-by-owner"

    def setup(self, worker: Worker) -> None:
        """On a worker, in its main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)


def embedded_options(request: ClusterRequest) -> dict[str, Any]:
    """Arguments of the `LocalCluster` that was asked for.

    Dashboards know neither TLS nor passwords, so they stay on loopback unless ``insecure``.
    """
    host = request.host or LOOPBACK
    options = {
        "n_workers": request.workers or dask.system.CPU_COUNT,
        "threads_per_worker": 1,
        "processes": request.processes,
        "memory_limit": request.memory or "auto",
        "host": host,
        "protocol": request.protocol or ("tls" if request.encrypted else "tcp"),
        "security": request.transport,
        "dashboard_address": unparse_host_port(host if request.insecure else LOOPBACK, 0),
        "silence_logs": logging.WARNING,
    }
    if not (request.loopback or request.insecure):
        options["worker_dashboard_address"] = unparse_host_port(LOOPBACK, 0)
    return options


def hush_worker() -> None:
    """On a worker whose work is over: taking the cluster down is no news.

    A heartbeat under way when the scheduler closes would be logged as an error, with a traceback.
    """
    for name in ("distributed.worker", "distributed.core", "distributed.nanny"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
