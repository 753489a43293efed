"""Work that goes on beside the visits: copies on streams of their own, ordered by events."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Array = Any


class Event(Protocol):
    """A point in the work of a stream."""

    def wait(self) -> None:
        """Have the host wait until the work before it is done."""


class Past:
    """The event of what is done already."""

    def wait(self) -> None:
        """Nothing is waited for."""


PAST = Past()


class Stream(Protocol):
    """Work in the order in which it is asked for, beside that of other streams."""

    def record(self) -> Event:
        """An event after what has been asked for."""

    def wait(self, event: Event) -> None:
        """Have what is asked for next wait for an event; the host goes on."""

    def copy(self, source: Array, target: Array) -> None:
        """Copy from page-locked memory to the device or back, contiguous arrays of one size."""


class CudaEvent:
    """An event of CuPy's; pickled, it is waited for."""

    def __init__(self, event: Any) -> None:
        self.event = event

    def wait(self) -> None:
        """Have the host wait."""
        self.event.synchronize()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        self.wait()
        return Past, ()


class CudaStream:
    """A stream of CuPy's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def record(self) -> CudaEvent:
        """An event after what has been asked for."""
        return CudaEvent(self.stream.record())

    def wait(self, event: Event) -> None:
        """Have what is asked for next wait."""
        if isinstance(event, CudaEvent):
            self.stream.wait_event(event.event)

    def copy(self, source: Array, target: Array) -> None:
        """Copy between the host and the device; the host goes on."""
        if isinstance(source, np.ndarray):
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self.stream)
        else:
            source.data.copy_to_host_async(target.ctypes.data, target.nbytes, self.stream)
