"""What the open page costs the scheduler, at 98 simulated workers.

``python -m benchmarks.dashboard`` trains the paper's graph (`benchmarks.thin_network`), staggered,
through the controller of a scheduler that was started with ``--preload yfccdask.preload``, and
opens and closes ``/yfccdask`` in a headless Chromium of its own by turns. A window's processor time
is fitted as a number of transitions, seconds, and seconds with the page open; the last of the
three factors is what the page costs. The bar: less than 2 % of a core.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.controller import PRELOAD, Figures, counted, thin_case
from benchmarks.many_workers import Processes, simulated_cluster
from benchmarks.recording import record
from yfccdask import attach, train
from yfccdask.training.clusters import ClusterRequest

BAR = 0.02  # of a core
WORKERS = 98
WINDOWS, WINDOW_SECONDS, SETTLE_SECONDS = 6, 10.0, 3.0
PATIENCE = 120.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1500,1200",
)  # fmt: skip


@contextmanager
def open_page(client: Client, folder: Path, shown: bool) -> Iterator[None]:
    """Meanwhile, the page is open in a browser, or isn't."""
    if not shown:
        until(lambda: client.run_on_scheduler(open_sessions) == 0)
        time.sleep(SETTLE_SECONDS)
        yield
        return
    url = client.dashboard_link.replace("/status", "/yfccdask")
    command = [shutil.which("chromium") or "chromium", *FLAGS]
    command += [f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", url]
    nowhere = subprocess.DEVNULL
    browser = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
    try:
        until(lambda: client.run_on_scheduler(open_sessions) == 1)
        time.sleep(SETTLE_SECONDS)
        yield
        assert client.run_on_scheduler(open_sessions) == 1
    finally:
        browser.terminate()
        browser.wait()


def open_sessions(dask_scheduler: Any) -> int:
    """On the scheduler: how many browsers have the page open."""
    pages = [
        app for app in dask_scheduler.http_application.applications if hasattr(app, "_clients")
    ]
    return sum(len(app._clients) for app in pages)


def until(condition: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"expected it within {PATIENCE:.0f} s")
        time.sleep(0.1)


def window(client: Client, processes: Processes, folder: Path, shown: bool) -> Figures:
    """The scheduler's processor time and transitions over some seconds."""
    with open_page(client, folder, shown):
        before = counted(client, processes)
        time.sleep(WINDOW_SECONDS)
        after = counted(client, processes)
    used = {name: after[name] - before[name] for name in before}
    return {
        "open": shown,
        "seconds": round(used["clock"], 2),
        "transitions": used["transitions"],
        "share_of_a_core": round(used["scheduler"] / used["clock"], 4),
    }


def windows(client: Client, processes: Processes, folder: Path) -> list[Figures]:
    """Windows with the page closed and open by turns."""
    return [window(client, processes, folder, bool(n % 2)) for n in range(WINDOWS)]


def page_cost(rows: list[Figures]) -> float:
    """The page's share of a core, by least squares."""
    shares = np.array([row["share_of_a_core"] for row in rows])
    shown = np.array([float(row["open"]) for row in rows])
    transitions = np.array([row["transitions"] / row["seconds"] for row in rows])
    factors = [np.ones(len(rows)), shown, transitions]
    solved, *_ = np.linalg.lstsq(np.stack(factors, axis=1), shares, rcond=None)
    return round(float(solved[1]), 4)


def measured(folder: Path) -> Figures:
    """Train, and open and close the page meanwhile."""
    config, store = thin_case(WORKERS, folder, blocks=20)
    with (
        simulated_cluster(WORKERS, folder, PRELOAD) as processes,
        Client(scheduler_file=processes.scheduler_file, set_as_default=False) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=60)
        where = ClusterRequest(scheduler=client.scheduler.address)
        train(config, store, folder / "run", cluster=where, follow=False)
        live = attach(client)
        until(lambda: (live.status()["tick"] or 0) >= 2)
        training = windows(client, processes, folder)
        tick = live.status()["tick"]
    return {
        "workers": WORKERS,
        "load": round(os.getloadavg()[0], 2),
        "ticks": tick,
        "page_share_of_a_core": page_cost(training),
        "windows": training,
    }


def main() -> None:
    """Measure, print and record."""
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        figures = measured(Path(folder))
    for row in figures["windows"]:
        print(row)
    print(f"the page: {figures['page_share_of_a_core']:.2%} of a core (bar {BAR:.0%})")
    sys.stdout.flush()
    print(record("dashboard", {"bar_share_of_a_core": BAR, **figures}))


if __name__ == "__main__":
    main()
