"""A simulated cluster: a scheduler in its own process, many workers over TCP in another.

``python -m benchmarks.many_workers SCHEDULER_FILE WORKERS FOLDER`` is the workers' process: one
event loop with as many `distributed.Worker` objects, each with a port, a memory and a folder of its
own. One thread does all their tasks in turn: 98 threads would fight the event loop for Python's
lock. The process ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import dask
import psutil
import yaml
from distributed import Worker

from yfccdask.training.clusters import TRAINING_SETTINGS

WORKER_SETTINGS = {
    "distributed.worker.profile.enabled": False,  # a statistical profiler each: all in one process
    "distributed.worker.use-file-locking": False,
    "distributed.admin.system-monitor.interval": "1 hour",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1 hour",  # one process for all of them is late: no news
}
SWITCH = 1e-3  # seconds for which the tasks' thread may keep the event loop waiting
PATIENCE = 120.0  # seconds until everything has to be there


class Processes(NamedTuple):
    """The two processes of a simulated cluster, and the file that names the scheduler."""

    scheduler: psutil.Process
    workers: psutil.Process
    scheduler_file: str


@contextmanager
def simulated_cluster(workers: int, folder: Path, preload: str = "") -> Iterator[Processes]:
    """Start a scheduler and so many workers, with the settings that training uses.

    ``preload`` is a module that the scheduler loads at its start.
    """
    file = folder / "scheduler.json"
    many = [sys.executable, "-m", "benchmarks.many_workers", file, workers, folder]
    with (
        _process(_scheduler(file, preload), TRAINING_SETTINGS, folder / "scheduler") as first,
        _process(many, TRAINING_SETTINGS | WORKER_SETTINGS, folder / "workers") as second,
    ):
        _wait_for(folder / "ready", first, second)
        yield Processes(psutil.Process(first.pid), psutil.Process(second.pid), str(file))


@contextmanager
def real_cluster(workers: int, folder: Path, preload: str = "") -> Iterator[Processes]:
    """The same with `dask worker`, which starts a process for every worker."""
    file = folder / "scheduler.json"
    real = [sys.executable, "-m", "dask", "worker", "--scheduler-file", file]
    real += ["--nworkers", workers, "--nthreads", 1, "--host", "127.0.0.1"]
    real += ["--dashboard-address", "127.0.0.1:0", "--local-directory", folder / "workers"]
    with (
        _process(_scheduler(file, preload), TRAINING_SETTINGS, folder / "scheduler") as first,
        _process(real, TRAINING_SETTINGS, folder / "workers") as second,
    ):
        _wait_for(file, first, second)
        yield Processes(psutil.Process(first.pid), psutil.Process(second.pid), str(file))


def _scheduler(file: Path, preload: str) -> list[Any]:
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", file]
    command += ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    return command + (["--preload", preload] if preload else [])


@contextmanager
def _process(
    command: list[Any], settings: dict[str, Any], name: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with Dask settings of its own and a log; ended afterwards."""
    name.with_suffix(".yaml").write_text(yaml.safe_dump(_nested(settings)))
    environment = os.environ | {"DASK_CONFIG": str(name.with_suffix(".yaml"))}
    with name.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield process
    finally:
        _end(process)


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with dots in their names as Dask reads them from a file."""
    tree: dict[str, Any] = {}
    with dask.config.set(settings, config=tree):
        return copy.deepcopy(tree)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(path: Path, *processes: subprocess.Popen[bytes]) -> None:
    """Wait until a file is there.

    Raises
    ------
    RuntimeError
        If a process has ended, or it takes too long.
    """
    patience = time.monotonic() + PATIENCE
    while not path.exists():
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"expected two processes, found one ended: see {path.parent}/*.log")
        if time.monotonic() > patience:
            raise RuntimeError(f"expected {path} within {PATIENCE:.0f} s, found none")
        time.sleep(0.05)


async def host(scheduler_file: Path, workers: int, folder: Path) -> None:
    """Run the workers until standard input ends."""
    sys.setswitchinterval(SWITCH)
    await asyncio.to_thread(_wait_for, scheduler_file)
    tasks = ThreadPoolExecutor(1, "tasks")
    started = [
        Worker(
            scheduler_file=str(scheduler_file),
            host="127.0.0.1",
            nthreads=1,
            executor=tasks,
            name=f"worker-{number:03}",
            memory_limit=0,
            local_directory=str(folder / f"worker-{number:03}"),
            dashboard=False,
        )
        for number in range(workers)
    ]
    await asyncio.gather(*started)
    gc.freeze()  # what lasts is no garbage, and there is much of it
    gc.set_threshold(100_000, 50, 50)
    (folder / "ready").touch()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(host(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
