"""What `doctor` asks of a machine: functions that run on the client, the scheduler or a worker.

They look and change nothing, answer in plain values, and what may hang with a dead file system
runs in a thread that is left behind.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dask
import psutil
from distributed.comm.addressing import unparse_host_port
from distributed.system import memory_limit
from packaging.requirements import Requirement
from threadpoolctl import ThreadpoolController

from yfccdask.backend import gpu_facts
from yfccdask.training.checkup.findings import Facts, reason
from yfccdask.training.clusters import TRAINING_SETTINGS
from yfccdask.training.compatibility import process_versions
from yfccdask.training.control.protocol import HANDLER

Result = TypeVar("Result")

PREFIX = "yfccdask-doctor-"  # of what lies in a folder during a test
LOW_DISK = 10**9  # bytes free; below, a disk test writes only a little
CLIENT_DISK_BYTES, WORKER_DISK_BYTES, LITTLE = 1 << 26, 1 << 24, 1 << 20
DISK_SECONDS, SIGHT_SECONDS, GPU_SECONDS, REACH_SECONDS = 30.0, 10.0, 45.0, 10.0
SIGHT_PAUSES = (0.0, 1.0, 2.0)  # a network file system may show a new file late
MALLOC = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


async def in_thread(seconds: float, work: Callable[..., Result], *arguments: Any) -> Result:
    """A blocking function's result, from a thread that nothing waits for if it hangs.

    Raises
    ------
    TimeoutError
    """
    answer: Future[Result] = Future()
    answer.set_running_or_notify_cancel()
    Thread(target=_answer, args=(answer, work, arguments), daemon=True).start()
    return await asyncio.wait_for(asyncio.wrap_future(answer), seconds)


def _answer(answer: Future[Result], work: Callable[..., Result], arguments: Any) -> None:
    try:
        answer.set_result(work(*arguments))
    except BaseException as error:
        answer.set_exception(error)


async def scheduler_facts(paths: list[str], dask_scheduler: Any) -> Facts:
    """All that is checked of the scheduler; ``paths`` are files that it has to see."""
    return server_facts(dask_scheduler) | {
        "unseen": await in_thread(SIGHT_SECONDS, unseen, paths),
        "controller": HANDLER in dask_scheduler.handlers,
        "training": getattr(dask_scheduler.plugins.get(HANDLER), "busy", False),
        "idle_timeout": dask_scheduler.idle_timeout,
    }


async def worker_facts(paths: list[str], dask_worker: Any) -> Facts:
    """All that is checked of a worker; ``paths`` are files that it has to see."""
    return server_facts(dask_worker) | {
        "unseen": await in_thread(SIGHT_SECONDS, unseen, paths),
        "disk": await disk_facts(Path(dask_worker.local_directory), WORKER_DISK_BYTES),
        "blas": blas_pools(),
        "threads": dask_worker.state.nthreads,
        "memory_limit": dask_worker.memory_manager.memory_limit,
        "host": platform.node(),
        "host_memory": memory_limit(),
        "malloc": {name: os.environ.get(name) for name in MALLOC},
        "gpu": await in_thread(GPU_SECONDS, gpu_facts, is_for_gpu(dask_worker)),
    }


def is_for_gpu(worker: Any) -> bool:
    """Whether dask-cuda started a worker: it gives them plugins of its own."""
    modules = [type(plugin).__module__ for plugin in worker.plugins.values()]
    return any(module.partition(".")[0] == "dask_cuda" for module in modules)


async def reach_facts(other: str | None, dask_worker: Any) -> dict[str, str]:
    """Whom a worker does not reach of the scheduler and another worker, and why not."""
    scheduler = dask_worker.rpc(dask_worker.scheduler.address)
    calls = {"scheduler": partial(scheduler.identity, n_workers=0)}
    if other is not None:
        calls[other] = dask_worker.rpc(other).identity
    failed = {}
    for name, call in calls.items():
        try:
            await asyncio.wait_for(call(), REACH_SECONDS)
        except Exception as error:
            failed[name] = reason(error, REACH_SECONDS)
    return failed


def server_facts(server: Any) -> Facts:
    """What is asked of a scheduler and of a worker alike."""
    return {
        "versions": process_versions(),
        "pins": broken_pins(),
        "doors": doors(server),
        "settings": {name: dask.config.get(name, None) for name in TRAINING_SETTINGS},
    }


def broken_pins(requirements: Iterable[str] | None = None) -> list[str]:
    """Requirements that what is installed here does not meet: a line each.

    Parameters
    ----------
    requirements : iterable of str, optional
        By default those of the installed yfccdask, without its extras.

    Examples
    --------
    >>> broken_pins(["numpy<1", "dask; extra == 'more'"])[0].partition(", found")[0]
    'numpy: expected <1'
    """
    if requirements is None:
        requirements = metadata.requires("yfccdask") or ()
    lines = []
    for pin in map(Requirement, requirements):
        if pin.marker is None or pin.marker.evaluate({"extra": ""}):
            lines += _broken(pin)
    return lines


def _broken(pin: Requirement) -> list[str]:
    wanted = str(pin.specifier) or "any version"
    try:
        found = metadata.version(pin.name)
    except metadata.PackageNotFoundError:
        return [f"{pin.name}: expected {wanted}, found none"]
    if pin.specifier.contains(found, prereleases=True):
        return []
    return [f"{pin.name}: expected {wanted}, found {found}"]


def blas_pools() -> list[Facts]:
    """Every BLAS of this process that can be told its number of threads, and that number now."""
    keys = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
    pools = ThreadpoolController().info()
    return [{key: pool.get(key) for key in keys} for pool in pools if pool["user_api"] == "blas"]


def doors(server: Any) -> list[Facts]:
    """Where a scheduler or worker, its dashboard and its nanny listen: protocol, port and hosts."""
    addresses = [("itself", listener.contact_address) for listener in server.listeners]
    if isinstance(nanny := getattr(server, "nanny", None), str):
        addresses.append(("nanny", nanny))
    if page := server.services.get("dashboard"):
        tls = dask.config.get("distributed.scheduler.dashboard.tls.cert", None)
        where = unparse_host_port(page.address, page.port)
        addresses.append(("dashboard", f"{'https' if tls else 'http'}://{where}"))
    bound = bound_hosts()
    found = [(what, urlsplit(address)) for what, address in addresses]
    return [
        {
            "what": what,
            "protocol": url.scheme,
            "port": url.port,
            "hosts": bound.get(url.port, [url.hostname]),
        }
        for what, url in found
        if url.port  # none within one process
    ]


def bound_hosts() -> dict[int, list[str]]:
    """Hosts that this process's sockets listen on, by port; none where that can't be asked."""
    process, hosts = psutil.Process(), dict[int, set[str]]()
    connections = getattr(process, "net_connections", None) or process.connections
    with suppress(psutil.Error, OSError):
        for each in connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN:
                hosts.setdefault(each.laddr.port, set()).add(each.laddr.ip)
    return {port: sorted(names) for port, names in hosts.items()}


async def disk_facts(folder: Path, size: int) -> Facts:
    """Free bytes of a folder's disk and how fast it is written and read; or its ``error``."""
    facts: Facts = {"folder": str(folder)}
    try:
        return facts | await in_thread(DISK_SECONDS, measured_disk, folder, size)
    except TimeoutError:
        return facts | {"error": f"no answer within {DISK_SECONDS:.0f} s"}
    except OSError as error:
        return facts | {"error": error.strerror or str(error)}


def read_rate(folder: Path, most: int) -> float:
    """Bytes a second at which the largest file in a folder is read, from the disk if that can be.

    Raises
    ------
    OSError
    """
    files = [file for file in folder.rglob("*") if file.is_file()]
    with max(files, key=lambda file: file.stat().st_size).open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start, total = time.perf_counter(), 0
        while total < most and (part := file.read(LITTLE)):
            total += len(part)
        return total / (time.perf_counter() - start)


def measured_disk(folder: Path, size: int) -> Facts:
    """Free bytes, and bytes a second of a file that no other process sees, nor a crash leaves.

    Raises
    ------
    OSError
        Where it can't be written, or reads otherwise than it was written.
    """
    free = shutil.disk_usage(folder).free
    block = os.urandom(LITTLE)
    blocks = size // LITTLE if free > LOW_DISK else 1
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        start = time.perf_counter()
        for _ in range(blocks):
            write_all(file.fileno(), block)
        os.fsync(file.fileno())
        written = time.perf_counter()
        read_back(file.fileno(), block, blocks)
        read = time.perf_counter()
    total = blocks * LITTLE
    return {"free": free, "write": total / (written - start), "read": total / (read - written)}


def write_all(file: int, block: bytes) -> None:
    """Write a block whole; the system may take a part of it at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(file, rest) :]


def read_back(file: int, block: bytes, blocks: int) -> None:
    """Read a file of so many equal blocks, from the disk rather than from memory if that can be."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as reader:
        if any(reader.read(len(block)) != block for _ in range(blocks)):
            raise OSError("read back other bytes than were written")


def nearest_folder(path: Path) -> Path:
    """The nearest folder above a path, or itself, that exists.

    Raises
    ------
    NotADirectoryError
        If a file is in the way.
    """
    path = path.absolute()
    found = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not found.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(found))
    return found


def unseen(paths: list[str]) -> list[str]:
    """Those of the paths that this machine does not see, also not a little later."""
    missing = paths
    for pause in SIGHT_PAUSES:
        if missing:
            time.sleep(pause)
            missing = [path for path in missing if not os.path.exists(path)]
    return missing
