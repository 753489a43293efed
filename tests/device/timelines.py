"""Streams of the emulated device: copies are put off as long as a GPU might, and races are seen.

What is asked of ``compute`` happens at once. A copy on another stream happens when somebody waits
for an event after it, and no sooner: who forgets to wait works on old values. Whoever touches
memory has to have waited for whatever touched it on other streams before, as a GPU might do both at
once: that is checked by vector clocks, whichever order things happened in here.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from yfccdask.backend.device.streams import Past

ONE_AT_A_TIME = threading.RLock()


class Race(AssertionError):
    """Two streams may touch the same memory at once."""


class Uses:
    """Who touched which memory last: by its first address, whether written, and the stream."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, bool], Counter[str]] = {}

    def note(self, stream: Timeline, array: Any, writes: bool) -> None:
        with ONE_AT_A_TIME:
            stream.knows[stream.name] += 1
            address = first_address(array)
            for kind in (True, False) if writes else (True,):
                for name, time in self.seen.get((address, kind), Counter()).items():
                    if stream.knows[name] < time:
                        raise Race(f"{stream.name} may touch what {name} is still busy with")
            self.seen.setdefault((address, writes), Counter())[stream.name] = stream.knows[
                stream.name
            ]


def first_address(array: Any) -> int:
    """Of the memory that an array lies in."""
    if not isinstance(array, np.ndarray):
        return int(array._owner.__array_interface__["data"][0])
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.__array_interface__["data"][0])


class Recorded:
    """An event: so much of a stream's work, and what that had waited for."""

    def __init__(self, stream: Timeline) -> None:
        self.stream, self.until, self.knows = stream, stream.asked, Counter(stream.knows)

    def wait(self) -> None:
        """Do the work before it."""
        self.stream.do(self.until)

    def __reduce__(self) -> Any:
        self.wait()
        return Past, ()


class Timeline:
    """`yfccdask.backend.device.Stream`, as late as can be."""

    def __init__(self, name: str, uses: Uses) -> None:
        self.name, self.uses = name, uses
        self.pending: deque[Callable[[], None]] = deque()
        self.asked = self.done = 0
        self.knows: Counter[str] = Counter()

    def record(self) -> Recorded:
        return Recorded(self)

    def wait(self, event: Any) -> None:
        if not isinstance(event, Recorded):
            return
        with ONE_AT_A_TIME:
            self.knows |= event.knows
            self._ask(event.wait)

    def copy(self, source: Any, target: Any) -> None:
        assert source.nbytes == target.nbytes
        assert source.flags["C_CONTIGUOUS"]
        assert target.flags["C_CONTIGUOUS"]
        to_device = isinstance(source, np.ndarray)
        assert to_device != isinstance(target, np.ndarray)
        read, written = (
            each if isinstance(each, np.ndarray) else each._values for each in (source, target)
        )
        with ONE_AT_A_TIME:
            self.uses.note(self, source, False)
            self.uses.note(self, target, True)
            self._ask(lambda: np.copyto(written, read))

    def _ask(self, work: Callable[[], None]) -> None:
        self.pending.append(work)
        self.asked += 1
        if self.name == "compute":
            self.do(self.asked)

    def do(self, until: int) -> None:
        """Catch up with what was asked for."""
        with ONE_AT_A_TIME:
            while self.done < until:
                self.done += 1
                self.pending.popleft()()
