"""Page-locked host memory in blocks of exact size, which are used again.

CuPy's own pinned pool rounds sizes up to powers of two; to lock pages takes as long as many copies
of them. So a block is kept when the last array that lies in it is gone, and given to the next one
who asks for as many bytes.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Block(NamedTuple):
    """Memory that is there as long as its ``owner`` is."""

    address: int
    owner: Any


class PinnedBlocks:
    """A list of free blocks for every size; ``allocate`` makes a new one of so many bytes.

    Arrays end in any thread, and in the midst of anything: what happens then is one append.
    """

    def __init__(self, allocate: Callable[[int], Block]) -> None:
        self.allocate = allocate
        self.free: dict[int, deque[Block]] = defaultdict(deque)

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """An array of no particular values."""
        dtype = np.dtype(dtype)
        count = math.prod(shape)
        size = max(1, count) * dtype.itemsize
        block = self._block(size)
        memory = (ctypes.c_uint8 * size).from_address(block.address)  # of this array and its views
        weakref.finalize(memory, self.free[size].append, block).atexit = False
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def _block(self, size: int) -> Block:
        try:
            return self.free[size].pop()
        except IndexError:
            pass
        try:
            return self.allocate(size)
        except Exception:  # the driver's, or the system's: blocks of other sizes may be in the way
            self.free.clear()
            return self.allocate(size)
