"""How late an event loop wakes up, and what it did meanwhile.

A coroutine sleeps 10 ms again and again, and notes by how much each sleep was longer, how much
processor time the loop's thread and the process took meanwhile, and for how long the thread was
ready but had no core: on a busy machine that makes it late as well. Another thread looks at the
loop's stack while it is late.

``python -m benchmarks.event_loop`` does nothing else, until its standard input ends, and prints
what it noted: how late any process wakes on this machine now.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

PERIOD = 0.010  # seconds that the coroutine sleeps
LATE = 0.050  # seconds from which on a late wake is looked at
FRAMES = 8  # innermost frames that are noted
SCHEDULED = Path("/proc/thread-self/schedstat")  # Linux
LONG = 0.005  # seconds from which on a garbage collection is noted


class Wake(NamedTuple):
    """A sleep's end: its time, seconds late, and seconds since the last wake.

    ``thread`` and ``process`` are of the processor; for ``queued`` the thread waited for a core.
    """

    at: float
    late: float
    thread: float
    process: float
    queued: float

    @property
    def own(self) -> float:
        """Seconds late for another reason than a core that was not to be had: at most these."""
        return max(0.0, self.late - self.queued)


def times() -> np.ndarray:
    """Seconds so far: the clock, the thread's and the process's processor, without a core."""
    queued = 1e-9 * int(SCHEDULED.read_text().split()[1]) if SCHEDULED.exists() else 0.0
    return np.array([time.monotonic(), time.thread_time(), time.process_time(), queued])


class Probe:
    """Watches the event loop that it is started on."""

    def __init__(self) -> None:
        self.wakes: list[Wake] = []
        self.stacks: dict[int, Counter[str]] = {}
        self.collections: list[tuple[float, float]] = []
        self.calls: dict[str, float] = {}
        self.expected, self.thread = float("inf"), threading.get_ident()
        self.over = threading.Event()

    async def watch(self) -> None:
        """Note every wake until `stop`."""
        watcher = threading.Thread(target=self.look, daemon=True)
        watcher.start()
        gc.callbacks.append(self.collected)
        while not self.over.is_set():
            before = times()
            self.expected = before[0] + PERIOD
            await asyncio.sleep(PERIOD)
            passed, *used = (times() - before).tolist()
            self.wakes.append(Wake(time.time(), passed - PERIOD, *used))
        gc.callbacks.remove(self.collected)

    def look(self) -> None:
        """In a thread: note the loop's stack while it is late."""
        while not self.over.wait(PERIOD):
            if time.monotonic() - self.expected > LATE:
                frame = sys._current_frames().get(self.thread)
                self.stacks.setdefault(len(self.wakes), Counter())[described(frame)] += 1

    def collected(self, phase: str, info: dict[str, Any]) -> None:
        """Note a garbage collection that took long."""
        if phase == "start":
            self.collecting = time.monotonic()
        elif (seconds := time.monotonic() - self.collecting) > LONG:
            self.collections.append((time.time(), seconds))

    def stop(self) -> dict[str, Any]:
        """Stop; everything that was noted, for JSON."""
        self.over.set()
        return {
            "wakes": [list(wake) for wake in self.wakes],
            "stacks": {number: seen.most_common(3) for number, seen in self.stacks.items()},
            "collections": self.collections,
            "calls": self.calls,
        }


def described(frame: FrameType | None) -> str:
    """The innermost frames of a stack, the innermost first."""
    found = []
    while frame is not None and len(found) < FRAMES:
        name = "/".join(frame.f_code.co_filename.split("/")[-2:])
        found.append(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(found)


CALLS = ("_create_taskstate_from_graph", "_apply_annotations", "transitions", "send_all")


def timed(probe: Probe, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A method that notes the longest processor time of its thread that it took."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return call(*arguments, **options)
        finally:
            seconds = time.thread_time() - began
            probe.calls[name] = max(probe.calls.get(name, 0.0), seconds)

    return wrapped


async def start_probe(switch: float | None, dask_scheduler: Any) -> None:
    """On the scheduler: watch its event loop, and its own longest calls, from now on.

    ``switch`` is for how long one thread may keep another from Python's lock, in seconds.
    """
    sys.setswitchinterval(switch or sys.getswitchinterval())
    probe = Probe()
    for name in CALLS:
        setattr(dask_scheduler, name, timed(probe, name, getattr(dask_scheduler, name)))
    dask_scheduler.digests_max["tick-duration"] = 0
    dask_scheduler.benchmark_probe = (probe, asyncio.create_task(probe.watch()))


async def stop_probe(dask_scheduler: Any) -> dict[str, Any]:
    """On the scheduler: everything that the probe noted, and Dask's own figure."""
    probe, watching = dask_scheduler.benchmark_probe
    found = probe.stop()
    await watching
    return found | {"dask_tick": float(dask_scheduler.digests_max["tick-duration"])}


async def alone() -> dict[str, Any]:
    """Watch a loop on which nothing else runs, until standard input ends."""
    probe = Probe()
    watching = asyncio.create_task(probe.watch())
    await asyncio.to_thread(sys.stdin.read)
    found = probe.stop()
    await watching
    return found


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print(json.dumps(asyncio.run(alone())))
