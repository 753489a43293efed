"""Initial weights from a counter: the same bits for any chunking, on any kind of machine.

Every weight is a function of (seed, layer; position, unit, input) alone: Philox4x32-10 turns the
counter into four integers, the sum of their upper halves is nearly normal, and rows are
normalised by an integer sum of squares, which is exact in any order. Logarithms and cosines
would differ between CPU and GPU in the last bit; integers don't.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
CENTRE = 2 * 0xFFFF  # mean of the sum of four 16-bit integers


@njit(nogil=True, cache=True, inline="always")
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    for _ in range(10):
        p0, p1 = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@njit(nogil=True, cache=True)
def philox4x32(counter: Any, key: Any) -> Any:
    """Four 32-bit integers (as uint64) from a counter of four and a key of two.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    out = np.empty(4, np.uint64)
    out[0], out[1], out[2], out[3] = _philox(
        counter[0], counter[1], counter[2], counter[3], key[0], key[1]
    )
    return out


@njit(nogil=True, cache=True)
def _fill(out, position, first_input, k0, k1):  # type: ignore[no-untyped-def]
    shift = np.uint64(16)
    zero = np.uint64(0)
    for unit in range(out.shape[0]):
        for i in range(out.shape[1]):
            a, b, c, d = _philox(
                np.uint64(first_input + i), np.uint64(unit), np.uint64(position), zero, k0, k1
            )
            total = (a >> shift) + (b >> shift) + (c >> shift) + (d >> shift)
            out[unit, i] = np.int64(total) - CENTRE


def random_integers(
    seed: int, layer: int, position: int, units: int, inputs: tuple[int, int]
) -> np.ndarray:
    """Nearly normal integers in ±131,070 for one position.

    Parameters
    ----------
    seed, layer : int
        The key.
    position : int
        Number of the position, row by row over the grid.
    units : int
        Rows to make.
    inputs : (int, int)
        First input and the one after the last.

    Returns
    -------
    array (unit, input) of int64
    """
    out = np.empty((units, inputs[1] - inputs[0]), np.int64)
    _fill(out, position, inputs[0], np.uint64(seed), np.uint64(layer))
    return out


def row_squares(integers: np.ndarray) -> np.ndarray:
    """The exact sum of squares of every row, int64 (unit,): add over leaves in any order."""
    return np.asarray((integers * integers).sum(axis=1))


def unit_rows(integers: np.ndarray, squares: np.ndarray, dtype: Any) -> np.ndarray:
    """The integers as weights (unit, input) whose whole rows have unit norm."""
    return np.asarray(integers / np.sqrt(squares.astype(np.float64))[:, None], dtype)


def initial_weights(
    seed: int, layer: int, position: int, units: int, inputs: int, dtype: Any
) -> np.ndarray:
    """Initial weights (unit, input) of one position, rows of unit norm."""
    integers = random_integers(seed, layer, position, units, (0, inputs))
    return unit_rows(integers, row_squares(integers), dtype)
