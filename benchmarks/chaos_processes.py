"""The processes that chaos kills: a scheduler, its workers, commands as a person types them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from yfccdask.cli.group import main

LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
START_SECONDS = 60.0
FORKS = get_context("forkserver")  # commands start at once: what they import is there already
FORKS.set_forkserver_preload(
    ["yfccdask.cli.training_commands", "yfccdask.cli.control_commands", "yfccdask.training.start"]
)


def kill(pid: int) -> bool:
    """kill -9 of one process by its own pid; False if it was gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def command(arguments: list[str], log: str) -> None:
    """In a process of its own: a command as a person types it, its output in a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    main(arguments)


def typed(arguments: list[str], log: Path) -> Any:
    """Start a command; the process, whose ``exitcode`` is the command's."""
    process = FORKS.Process(target=command, args=(arguments, str(log)))
    process.start()
    return process


def workers_below(pid: int) -> list[int]:
    """The worker processes that nannies in (or below) a process have started."""
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(pid).children(recursive=True)
        return [child.pid for child in below if "spawn_main" in " ".join(child.cmdline())]
    return []


@dataclass
class Cluster:
    """A scheduler and two workers, each a process that can be killed."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start(self) -> None:
        """Start all anew; what was left of the last cluster is killed."""
        self.stop()
        self.file.unlink(missing_ok=True)
        scheduler = ["scheduler", "--port", "0", "--preload", "yfccdask.preload"]
        self._dask("scheduler", [*scheduler, "--scheduler-file", str(self.file)])
        wait_for(self.file.exists, "a scheduler file")
        workers = ["worker", "--nworkers", "2", "--nthreads", "1", "--memory-limit", "4GB"]
        self._dask("workers", [*workers, "--scheduler-file", str(self.file)])
        wait_for(lambda: len(self.workers()) == 2, "two workers")

    def _dask(self, name: str, arguments: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            line = [sys.executable, "-m", "dask", *arguments, *LOOPBACK]
            self.processes[name] = subprocess.Popen(line, stdout=log, stderr=log, cwd=self.folder)

    def workers(self) -> list[int]:
        """The worker processes' ids."""
        return workers_below(self.processes["workers"].pid)

    def stop(self) -> None:
        """Kill all that is there."""
        if "workers" in self.processes:
            for pid in self.workers():
                kill(pid)
        for process in self.processes.values():
            kill(process.pid)
            process.wait()
        self.processes.clear()


def wait_for(condition: Any, what: str) -> None:
    """Wait until something is there."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {what} within {START_SECONDS:g} s, found none")
        time.sleep(0.05)
