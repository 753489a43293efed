"""Where 48-bit words begin in bytes, at any bit: the marks of bzip2's blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(nogil=True, cache=True)
def find_words(data: Array, first: Any, second: Any, places: Array) -> int:
    """Find two words of 48 bits, most significant bit first.

    Parameters
    ----------
    data : uint8 array (byte,)
    first, second : uint64
    places : int64 array
        Receives the bit at which each begins; at most as many as there is room for.

    Returns
    -------
    int
        How many were found.
    """
    mask = np.uint64((1 << 48) - 1)
    window, found = np.uint64(0), 0
    for byte in range(data.shape[0]):
        window = (window << np.uint64(8)) | np.uint64(data[byte])
        for shift in range(8):
            word = (window >> np.uint64(7 - shift)) & mask
            if word in (first, second):
                place = byte * 8 + shift - 47
                if place >= 0 and found < places.shape[0]:
                    places[found] = place
                    found += 1
    return found
