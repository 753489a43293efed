"""bfloat16, which NumPy doesn't have, as its bits in uint16: the upper half of a float32's.

Widening is exact. Narrowing rounds to nearest, ties to even, and leaves NaN NaN; a host and a
device do it to the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from yfccdask.backend.device import library_of, operand_dtype
from yfccdask.numerics.device.rounding import round_into, widen_into

Array = Any
FLOAT, BITS = np.dtype(np.float32), operand_dtype("bf16")
EXPONENT = 0x7F80  # all ones: no number


def is_bfloat16(array: Array) -> bool:
    """Whether an array holds bfloat16's bits."""
    return bool(array.dtype == BITS)


def widened(bits: Array) -> Array:
    """Bits (…, row, column) as a fresh float32 array, where they lie."""
    out = library_of(bits).empty(bits.shape, FLOAT)
    widen(bits, out)
    return out


def narrowed(values: Array) -> Array:
    """Float32 values (…, row, column) as a fresh array of bits, where they lie."""
    out = library_of(values).empty(values.shape, BITS)
    narrow(values, out)
    return out


def widen(bits: Array, out: Array) -> None:
    """``out <- bits``; both (…, row, column), of two dimensions where they are part of a wider."""
    library = library_of(bits)
    if library.on_device:
        widen_into(library, bits, out)
    else:
        _widen(_rows(bits), _rows(out).view(np.uint32))


def narrow(values: Array, out: Array) -> None:
    """``out <- values``, rounded; shapes are as for `widen`."""
    library = library_of(values)
    if library.on_device:
        round_into(library, values, out)
    else:
        _narrow(_rows(values).view(np.uint32), _rows(out))


def all_finite(array: Array) -> bool:
    """Whether every value is finite, of any type; on a device this waits for it."""
    if is_bfloat16(array):
        return bool(((array & EXPONENT) != EXPONENT).all())
    return bool(np.isfinite(array).all())


def _rows(array: Array) -> Array:
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


@njit(nogil=True, cache=True)
def _widen(bits: Array, out: Array) -> None:
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            out[i, j] = np.uint32(bits[i, j]) << np.uint32(16)


@njit(nogil=True, cache=True)
def _narrow(values: Array, out: Array) -> None:
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = values[i, j]
            odd = (value >> np.uint32(16)) & np.uint32(1)
            up = (value + np.uint32(0x7FFF) + odd) >> np.uint32(16)
            is_number = (value & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F800000)
            out[i, j] = np.uint16(up) if is_number else np.uint16(0x7FFF)
