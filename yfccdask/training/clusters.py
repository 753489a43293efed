"""Where the work runs: an embedded local cluster, or a scheduler that is there already."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import dask
import dask.array as da
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from distributed import (
    Client,
    Future,
    LocalCluster,
    Security,
    Worker,
    WorkerPlugin,
    futures_of,
    wait,
)
from distributed.comm.addressing import unparse_host_port

from yfccdask.errors import ClusterError
from yfccdask.graph.slices import slices_of
from yfccdask.training.lineage import Lineage

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT = "20s"  # for a scheduler that should be there
SLICE_TASKS = 250  # which take the scheduler some 30 ms
TRAINING_SETTINGS = {
    "distributed.scheduler.work-stealing": False,  # a moved chunk is a moved model
    "distributed.scheduler.no-workers-timeout": "60s",  # a chunk's worker is gone for good
    "distributed.admin.low-level-log-length": 100,  # messages are kept whole, with their graphs
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,  # the plan bounds memory; a paused worker hangs pins
    "distributed.comm.timeouts.connect": "60s",
    # Dask trims freed memory at once by default, which also switches glibc's own adjustment off:
    # every buffer over 128 kB is then mapped and faulted in again at each use.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}


@dataclass(frozen=True)
class ClusterRequest:
    """What was asked for: an address or a scheduler file, or workers of one's own.

    Attributes
    ----------
    scheduler, scheduler_file : str, optional
        A cluster that is there already; otherwise an embedded one is started.
    workers, memory : int and str, optional
        Single-threaded workers of an embedded cluster, and the memory of each as Dask reads it.
    processes : bool
        Whether these workers are processes of their own, or threads.
    host : str, optional
        Address that an embedded cluster listens on; by default loopback.
    insecure : bool
        Listen on ``host`` without TLS too, with the dashboard: whoever reaches it runs code here.
    tls_ca_file, tls_cert, tls_key : str, optional
        PEM files, of the authority and one's own; the key may be part of ``tls_cert``. By default
        those that Dask's configuration names.
    security : distributed.Security, optional
        In place of these files.

    Raises
    ------
    ClusterError
        For what would open a door to anybody, or can't be; nothing is started.
    """

    scheduler: str | None = None
    scheduler_file: str | None = None
    workers: int | None = None
    memory: str | None = None
    processes: bool = True
    security: Any = None
    host: str | None = None
    insecure: bool = False
    tls_ca_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        if not self.embedded and (self.host or self.insecure):
            raise ClusterError(
                "expected no host and no `insecure` with a scheduler that runs already, found them "
                "given: they are for an embedded cluster; where that one listens, it was told"
            )
        self._check_files()
        if not (self.loopback or self.encrypted or self.insecure):
            raise ClusterError(
                f"expected TLS files with the host {self.host}, found none: whoever reaches a Dask "
                "scheduler can run any code as its user. Give --tls-ca-file, --tls-cert and "
                "--tls-key, or leave --host away, or, where everybody on that network may do so, "
                "say --insecure"
            )

    @property
    def embedded(self) -> bool:
        """Whether the cluster is to be started, and to end with the work."""
        return not (self.scheduler or self.scheduler_file)

    @property
    def loopback(self) -> bool:
        """Whether only this machine's own processes can reach the embedded cluster."""
        return is_loopback(self.host or LOOPBACK)

    @property
    def transport(self) -> Security | None:
        """TLS as it was asked for: these files, or the ``security``; None leaves it to Dask."""
        if self.tls_ca_file is None:
            return cast("Security | None", self.security)
        files = {"cert": self.tls_cert, "key": self.tls_key}
        roles = {
            f"tls_{role}_{kind}": path
            for role in ("client", "scheduler", "worker")
            for kind, path in files.items()
        }
        return Security(require_encryption=True, tls_ca_file=self.tls_ca_file, **roles)

    @property
    def encrypted(self) -> bool:
        """Whether a scheduler that is started here talks only to those with a certificate."""
        transport = self.transport or Security()
        return bool(transport.require_encryption and transport.tls_scheduler_cert)

    def _check_files(self) -> None:
        files = (self.tls_ca_file, self.tls_cert, self.tls_key)
        if not any(files):
            return
        if self.security is not None or not (self.tls_ca_file and self.tls_cert):
            raise ClusterError(
                "expected an authority's file together with a certificate and its key, and no "
                f"`security` beside them, found {files}: give --tls-ca-file, --tls-cert, --tls-key"
            )
        try:
            (self.transport or Security()).get_connection_args("client")
        except OSError as error:  # a file that is absent, or no certificate; ssl says not which
            raise ClusterError(
                f"expected PEM files of an authority, a certificate and its key, found {files} "
                f"({error}): check each of them, for example with `openssl x509 -text -in FILE`"
            ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine's own processes reach what listens on ``host``.

    A name other than localhost may be anybody's.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "::", "me")]
    [True, True, True, False, False, False]
    """
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


@asynccontextmanager
async def connect(request: ClusterRequest, workers: bool = True) -> AsyncIterator[Client]:
    """An asynchronous client of the cluster that was asked for; an embedded one ends with it.

    ``workers`` says that one which runs already must have workers.
    """
    if not request.embedded:
        async with await _attached(request, workers) as client:
            yield client
        return
    with dask.config.set(TRAINING_SETTINGS):
        async with (
            LocalCluster(asynchronous=True, **embedded_options(request)) as cluster,
            Client(cluster, asynchronous=True, set_as_default=False) as client,
        ):
            if request.processes:
                await client.register_plugin(TerminatedByOwner())
            try:
                yield client
            finally:
                if request.processes:
                    with suppress(OSError, TimeoutError):
                        await asyncio.wait_for(client.run(hush_worker), timeout=5)


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
        "protocol": "tls" if request.encrypted else "tcp",
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


def same_cluster(client: Client) -> ClusterRequest:
    """The request for a second client of a client's cluster, TLS files included."""
    return ClusterRequest(scheduler=client.scheduler.address, security=client.security)


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


async def _attached(request: ClusterRequest, workers: bool) -> Client:
    """A client of a scheduler that is there already, and has ``workers``."""
    options = {"address": request.scheduler, "scheduler_file": request.scheduler_file}
    named = {key: value for key, value in options.items() if value}
    if request.transport is not None:
        named["security"] = request.transport
    where = request.scheduler or request.scheduler_file
    if request.scheduler_file and not Path(request.scheduler_file).is_file():
        raise ClusterError(
            f"expected the file that a Dask scheduler wrote at {where}, found none: is it running?"
        )
    try:
        client = Client(asynchronous=True, set_as_default=False, timeout=CONNECT_TIMEOUT, **named)
        try:
            await client
        except BaseException:
            await client.close()
            raise
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"expected a Dask scheduler at {where}, found none ({error}): is it running, and can "
            "this machine reach it?"
        ) from None
    if workers and not (await client.scheduler.identity())["workers"]:
        await client.close()
        raise ClusterError(f"expected workers at {where}, found none: start `dask worker` first")
    return client
