"""The compiled passes of LCN, one image at a time.

Every value depends on its own window alone, in an order that the window's size and the number of
maps fix: the sum over a pixel's maps may be reassociated into vector lanes, everything else is
elementwise along a row. So no cut of a field into rectangles changes a bit. Indices are unsigned
where they are sums: a signed one might be negative, which keeps a loop from being vectorised.
"""

from __future__ import annotations

from typing import Any

from numba import njit, uintp

Array = Any
_MAPS = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_MAPS, error_model="numpy")
def sum_maps(y: Array, top: int, left: int, plane: Array) -> None:
    """``plane[j, k] = sum_m y[top + j, left + k, m]``; y is (row, column, map)."""
    for j in range(plane.shape[0]):
        row = y[top + j]
        for k in range(plane.shape[1]):
            total = y.dtype.type(0)
            for m in range(y.shape[2]):
                total += row[uintp(left + k), m]
            plane[j, k] = total


@njit(nogil=True, cache=True, fastmath=_MAPS, error_model="numpy")
def sum_squares(y: Array, top: int, left: int, mean: Array, plane: Array) -> None:
    """``plane[j, k] = sum_m (y[top + j, left + k, m] - mean[j, k])^2``."""
    for j in range(plane.shape[0]):
        row = y[top + j]
        for k in range(plane.shape[1]):
            total, middle = y.dtype.type(0), mean[j, k]
            for m in range(y.shape[2]):
                value = row[uintp(left + k), m] - middle
                total += value * value
            plane[j, k] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _add_taps(row: Array, taps: Array, first: int, apart: int, out: Array) -> None:
    """``out[k] += sum_t taps[t] row[first + k + t apart]``, five taps at a time."""
    size, width = uintp(taps.shape[0]), uintp(out.shape[0])
    whole, one, step = size - size % uintp(5), uintp(1), uintp(apart)
    two = step + step
    for t in range(uintp(0), whole, uintp(5)):
        a, b, c = taps[t], taps[t + one], taps[t + uintp(2)]
        d, e = taps[t + uintp(3)], taps[t + uintp(4)]
        at = uintp(first) + t * step
        for k in range(width):
            i = at + k
            low = a * row[i] + b * row[i + step]
            high = c * row[i + two] + d * row[i + two + step]
            out[k] += (low + high) + e * row[i + two + two]
    for t in range(whole, size):
        at = uintp(first) + t * step
        for k in range(width):
            out[k] += taps[t] * row[at + k]


@njit(nogil=True, cache=True, error_model="numpy")
def smooth(
    plane: Array, taps: Array, row_scales: Array, column_scales: Array, line: Array, out: Array
) -> None:
    """The separable window over a plane that has half a window more than ``out`` on every side.

    ``out[j, k] = row_scales[j] column_scales[k] sum taps[p] taps[q] plane[j + p, k + q]``, columns
    first; ``line`` is a row of working memory as wide as the plane.
    """
    width, flat = plane.shape[1], plane.reshape(plane.size)
    for j in range(out.shape[0]):
        line[:] = 0
        _add_taps(flat, taps, j * width, width, line)
        row, scale = out[j], row_scales[j]
        row[:] = 0
        _add_taps(line, taps, 0, 1, row)
        for k in range(row.shape[0]):
            row[k] *= scale * column_scales[k]


@njit(nogil=True, cache=True)
def add_columns(sigma: Array, sums: Array) -> None:
    """Add sigma (row, column) to the float64 sums of its rows, column by column."""
    for k in range(sigma.shape[1]):
        for j in range(sigma.shape[0]):
            sums[j] += sigma[j, k]


@njit(nogil=True, cache=True, error_model="numpy")
def divide(
    y: Array, top: int, left: int, mean: Array, sigma: Array, least: Any, out: Array
) -> None:
    """``out[j, k] = (y[top + j, left + k] - mean[j, k]) / max(sigma[j, k], least)``, all maps."""
    one = y.dtype.type(1)
    for j in range(out.shape[0]):
        row, target = y[top + j], out[j]
        for k in range(out.shape[1]):
            middle, factor = mean[j, k], one / max(sigma[j, k], least)
            for m in range(out.shape[2]):
                target[k, m] = (row[uintp(left + k), m] - middle) * factor


@njit(nogil=True, cache=True, error_model="numpy")
def divide_by_sign(
    y: Array, top: int, left: int, mean: Array, sigma: Array, least: Any, out: Array
) -> None:
    """As `divide`; out has twice the maps, positive parts and then negative ones.

    What is not a number stays that in both.
    """
    one, zero, maps = y.dtype.type(1), y.dtype.type(0), uintp(y.shape[2])
    for j in range(out.shape[0]):
        row, target = y[top + j], out[j]
        for k in range(out.shape[1]):
            middle, factor = mean[j, k], one / max(sigma[j, k], least)
            for m in range(maps):
                value = (row[uintp(left + k), m] - middle) * factor
                target[k, m] = zero if value < zero else value
                target[k, maps + m] = zero if value > zero else zero - value
