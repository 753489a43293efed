"""Chunks that lie in the host's memory, and their way through a device: group by group.

Three slots on the device take turns: while a group is worked on, the next one travels to the device
and the one before travels back, on streams of their own. Nobody waits on the host. What a visit
leaves is on its way when the visit returns: a `Hosted` state carries the event that says when it is
whole, and the next visit's copies wait for that on the device.

Slots are kept between visits, with the events after which they may be filled again, so that the
first group of a visit travels while the last one of the visit before is still worked on.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend.device import PAST, Event, Library
from yfccdask.numerics.states import State

Array = Any
SLOTS = 3
ALIGNED = 512  # bytes
BYTE = np.dtype(np.uint8)


class Hosted(NamedTuple):
    """A state in page-locked memory of the host, which is whole once ``ready`` has happened."""

    ready: Event
    state: State

    @property
    def weights(self) -> Array:
        """W, which may not be there yet: of use for its shape and type."""
        return self.state.weights

    def opened(self) -> State:
        """The arrays, waited for."""
        self.ready.wait()
        return self.state

    def at_rest(self) -> Hosted:
        """As `State.at_rest`."""
        return Hosted(self.ready, self.state.at_rest())

    def like(self, library: Library) -> State:
        """Page-locked memory for the next version."""
        return State(*(library.pinned(part.shape, part.dtype) for part in self.state))


def moved_to_host(library: Library, state: State) -> Hosted:
    """A state that lies on the device, or on the host, in page-locked memory."""
    made = Hosted(PAST, state).like(library)
    up, down, compute = (library.stream(name) for name in ("up", "down", "compute"))
    if isinstance(state.weights, np.ndarray):
        for stream in (up, down):  # copies of whoever had the memory before
            stream.record().wait()
        for part, target in zip(state, made, strict=True):
            target[...] = part
        return Hosted(PAST, made)
    down.wait(compute.record())
    for part, target in zip(state, made, strict=True):
        down.copy(part, target)
    ready = down.record()
    compute.wait(ready)  # what it lay in is given away next
    return Hosted(ready, made)


class Slot:
    """Memory on the device for one group, and the event after which it may be filled."""

    def __init__(self, library: Library, size: int) -> None:
        self.memory = library.empty((size,), BYTE)
        self.size, self.left = size, library.stream("compute").record()

    def views(self, parts: State, count: int) -> State:
        """The arrays of ``count`` positions, shaped as ``parts`` (None where that is)."""
        at, views = 0, list[Array]()
        for part in parts:
            if part is None:
                views.append(None)
                continue
            shape = (count, *part.shape[1:])
            size = math.prod(shape) * part.dtype.itemsize
            views.append(self.memory[at : at + size].view(part.dtype).reshape(shape))
            at += -(-size // ALIGNED) * ALIGNED
        return State(*views)


KEPT: weakref.WeakKeyDictionary[Any, list[Slot]] = weakref.WeakKeyDictionary()


def slot_bytes(parts: State, positions: int) -> int:
    """Bytes of a slot for so many positions of a state's parts (position, …)."""
    sizes = [math.prod(each.shape[1:]) * each.dtype.itemsize for each in parts if each is not None]
    return sum(-(-positions * size // ALIGNED) * ALIGNED for size in sizes)


def taken_slots(library: Library, size: int) -> list[Slot]:
    """Three slots of so many bytes at least: those of the visit before, or fresh ones."""
    kept = KEPT.pop(library, None)
    if kept and kept[0].size >= size:
        return kept
    given_back(library, kept or [])
    return [Slot(library, size) for _ in range(SLOTS)]


def given_back(library: Library, slots: list[Slot]) -> None:
    """Let go of slots: what uses their memory next waits for the copies that are under way."""
    for slot in slots:
        library.stream("compute").wait(slot.left)


class Passage:
    """The groups of a state on their way through the slots.

    ``source`` has the parts that are asked for, as (position, …), None for the others; ``target``
    is where they go to afterwards, or None where they are only read.
    """

    def __init__(
        self,
        library: Library,
        source: State,
        ready: Event,
        target: State | None,
        groups: list[slice],
    ) -> None:
        self.library, self.source, self.target, self.groups = library, source, target, groups
        self.up, self.down, self.compute = (
            library.stream(name) for name in ("up", "down", "compute")
        )
        most = max((group.stop - group.start for group in groups), default=0)
        self.slots = taken_slots(library, slot_bytes(source, most))
        self.arrived, self.arrays = list[Event](), list[State]()
        self.up.wait(ready)

    def arrive(self, number: int) -> State:
        """A group's arrays on the device; the next group sets out."""
        while len(self.arrived) < min(number + 2, len(self.groups)):
            self._send(len(self.arrived))
        self.compute.wait(self.arrived[number])
        return self.arrays[number]

    def _send(self, number: int) -> None:
        group, slot = self.groups[number], self.slots[number % SLOTS]
        views = slot.views(self.source, group.stop - group.start)
        self.up.wait(slot.left)
        for part, target in zip(self.source, views, strict=True):
            if part is not None:
                self.up.copy(part[group], target)
        self.arrived.append(self.up.record())
        self.arrays.append(views)

    def depart(self, number: int) -> None:
        """A group has been worked on: it travels back, and its slot is the next one's."""
        group, slot = self.groups[number], self.slots[number % SLOTS]
        slot.left = self.compute.record()
        if self.target is None:
            return
        self.down.wait(slot.left)
        for part, target in zip(self.arrays[number], self.target, strict=True):
            self.down.copy(part, target[group])
        slot.left = self.down.record()

    def end(self) -> Event:
        """The event after the last group's way back; the slots are kept for the next visit."""
        last = self.down.record()
        if self.library in KEPT:  # another thread was faster
            given_back(self.library, self.slots)
        else:
            KEPT[self.library] = self.slots
        return last
