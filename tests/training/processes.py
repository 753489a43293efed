"""Commands and clusters as processes of their own, for tests that kill them by their own pid."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil

LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")


def command(*arguments):
    """Start ``yfccdask ...``; its standard output and error are pipes."""
    line = [sys.executable, "-m", "yfccdask", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, text=True, start_new_session=True, **pipes)


def events_of(process):
    """The events that a command with --json prints, as they come."""
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def until_block(process, tick):
    """Wait until a command with --json has trained a tick."""
    for event in events_of(process):
        if event.get("event") == "block" and event["tick"] >= tick:
            return event
    raise AssertionError(f"no block {tick}: {process.communicate()}")


def finished(*arguments):
    """Run a command to its end; what it printed. Its exit code has to be 0."""
    process = command(*arguments)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def workers_below(pid):
    """The worker processes that nannies in or below a process have started."""
    below = psutil.Process(pid).children(recursive=True)
    return [process.pid for process in below if "spawn_main" in " ".join(process.cmdline())]


@contextmanager
def running_cluster(folder, workers=2):
    """A scheduler with the controller and workers with nannies; yields (file, processes)."""
    file, processes = folder / "scheduler.json", {}
    parts = {
        "scheduler": ["scheduler", "--port", "0", "--preload", "yfccdask.preload"],
        "workers": ["worker", "--nworkers", workers, "--nthreads", 1, "--memory-limit", "2GB"],
    }
    try:
        for name, line in parts.items():
            line = [sys.executable, "-m", "dask", *line, "--scheduler-file", file, *LOOPBACK]
            with (folder / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(list(map(str, line)), stdout=log, stderr=log)
            until(file.exists)
        until(lambda: (folder / "scheduler.log").read_text().count("Register worker") >= workers)
        yield file, processes
    finally:
        for process in reversed(processes.values()):
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()


def until(condition, seconds=90):
    """Wait until something is so; it has to be so in the end."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.05)
