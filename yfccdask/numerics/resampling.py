"""Antialiased bicubic resampling of a box of pixels, compiled.

The filter is Pillow's bicubic: Keys' kernel with a = -0.5, widened by the scale when pixels are
made fewer, its weights normalised to a sum of 1. The box lies in floating source coordinates, in
which pixel i spans [i, i + 1]; taps reach beyond the box where the picture does. Unlike Pillow's,
the first pass isn't rounded to whole grey levels, so values lie within half a level of exact ones.

One thread, float32, a fixed order of sums and no fused multiplications: any machine gives the
same bits. Rows come first, because their pass runs along memory whatever the number of channels.

References: R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uintp

from yfccdask.errors import DataError

Array = Any
SUPPORT = 2.0


def resample(pixels: Array, box: Array, size: int, out: Array | None = None) -> Array:
    """Scale one box of a picture to a square.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8 (y, x, channel), in C order.
    box : array of float
        Left, top, right, bottom, in pixels, inside the picture.
    size : int
        Height and width of the square, in pixels.
    out : numpy.ndarray, optional
        Where to write it, uint8 (size, size, channel) in C order.

    Returns
    -------
    numpy.ndarray
        uint8 (size, size, channel): ``out`` if it was given.

    Raises
    ------
    DataError
        The box is empty or not inside the picture.

    Examples
    --------
    >>> ramp = np.arange(0, 160, 10, dtype=np.uint8).reshape(1, 16, 1).repeat(16, axis=0)
    >>> resample(ramp, (4, 4, 12, 12), 4)[0, :, 0].tolist()
    [45, 65, 85, 105]
    """
    height, width, channels = pixels.shape
    left, top, right, bottom = (float(edge) for edge in box)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            f"expected a box inside {width} x {height} pixels, found {left}, {top} to {right}, "
            f"{bottom}: was it placed in a picture of another size?"
        )
    rows, row_weights = taps(top, bottom, size, height)
    columns, weights = taps(left, right, size, width)
    out = np.empty((size, size, channels), np.uint8) if out is None else out
    flat = np.ascontiguousarray(pixels).reshape(height, width * channels)
    square = out.reshape(size, size * channels, copy=False)
    _scale(flat, rows, row_weights, columns, weights, channels, square)
    return out


def taps(start: float, stop: float, size: int, length: int) -> tuple[Array, Array]:
    """Which pixels make each output pixel along one axis, and with what weights.

    Returns
    -------
    tuple of numpy.ndarray
        The first pixel of each, int64 (size,), and the weights, float32 (size, taps). Where fewer
        pixels than taps lie in reach, the other weights are 0; all taps lie inside ``length``.
    """
    step = (stop - start) / size
    most = int(np.ceil(2 * SUPPORT * max(step, 1.0))) + 1
    most += most % 2  # the first pass takes two at a time
    first, weights = np.empty(size, np.int64), np.zeros((size, min(most, length)))
    _fill_taps(start, step, length, first, weights)
    return first, weights.astype(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _keys(x: float) -> float:
    """Keys' cubic kernel with a = -0.5, for x of at least 0."""
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_taps(start: float, step: float, length: int, first: Array, weights: Array) -> None:
    """Fill the first pixels (size,) and weights, float64 (size, taps) of zeros."""
    widen, count = max(step, 1.0), weights.shape[1]
    for i in range(first.shape[0]):
        centre = start + (i + 0.5) * step
        low = max(int(centre - SUPPORT * widen + 0.5), 0)
        high = min(int(centre + SUPPORT * widen + 0.5), length)
        first[i] = min(low, length - count)
        total = 0.0
        for pixel in range(low, high):
            value = _keys(abs(pixel + 0.5 - centre) / widen)
            weights[i, pixel - first[i]] = value
            total += value
        for t in range(count):
            weights[i, t] /= total


@njit(nogil=True, cache=True, error_model="numpy")
def _scale(
    flat: Array, rows: Array, row_weights: Array, columns: Array, weights: Array, channels: int,
    out: Array,
) -> None:  # fmt: skip
    """Both passes, two output rows at a time; flat is (y, x channel), out (size, size channel)."""
    left = columns[0] * channels
    right = (columns[-1] + weights.shape[1]) * channels
    lines, pair = np.empty((2, right - left), np.float32), np.empty((2, out.shape[1]), np.float32)
    for i in range(0, out.shape[0], 2):
        odd = min(i + 1, out.shape[0] - 1)
        _add_rows(flat, rows[i], left, row_weights[i], lines[0])
        _add_rows(flat, rows[odd], left, row_weights[odd], lines[1])
        if channels == 3:
            _scale_colours(lines[0], lines[1], columns, weights, pair[0], pair[1])
        else:
            _scale_line(lines[0], columns, weights, channels, pair[0])
            _scale_line(lines[1], columns, weights, channels, pair[1])
        _round(pair[0], out[i])
        _round(pair[1], out[odd])


@njit(nogil=True, cache=True, error_model="numpy")
def _add_rows(flat: Array, top: int, left: int, weights: Array, line: Array) -> None:
    """``line[k] = sum_t weights[t] flat[top + t, left + k]``, four and two taps at a time."""
    count, right = weights.shape[0], left + line.shape[0]
    fours, twos = count - count % 4, count - count % 2
    line[:] = 0
    for t in range(0, fours, 4):
        a, b, c, d = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        row_a, row_b = flat[top + t, left:right], flat[top + t + 1, left:right]
        row_c, row_d = flat[top + t + 2, left:right], flat[top + t + 3, left:right]
        for k in range(line.shape[0]):
            low = a * np.float32(row_a[k]) + b * np.float32(row_b[k])
            line[k] += low + (c * np.float32(row_c[k]) + d * np.float32(row_d[k]))
    for t in range(fours, twos, 2):
        a, b = weights[t], weights[t + 1]
        row_a, row_b = flat[top + t, left:right], flat[top + t + 1, left:right]
        for k in range(line.shape[0]):
            line[k] += a * np.float32(row_a[k]) + b * np.float32(row_b[k])
    for t in range(twos, count):
        a, row_a = weights[t], flat[top + t, left:right]
        for k in range(line.shape[0]):
            line[k] += a * np.float32(row_a[k])


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_colours(
    upper: Array, lower: Array, columns: Array, weights: Array, upper_out: Array, lower_out: Array
) -> None:
    """The second pass over two rows of three channels, two taps at a time, before rounding.

    Six sums at once keep the processor busy, and rows share what is looked up for a pixel.
    """
    one, two, count = uintp(1), uintp(2), uintp(weights.shape[1])
    four, five, zero = uintp(4), uintp(5), np.float32(0)
    even = count - count % two
    for j in range(columns.shape[0]):
        start, own, to = uintp(3 * (columns[j] - columns[0])), weights[j], uintp(3 * j)
        red, green, blue, low_red, low_green, low_blue = zero, zero, zero, zero, zero, zero
        for t in range(uintp(0), even, two):
            a, b, at = own[t], own[t + one], start + uintp(3) * t
            red += a * upper[at] + b * upper[at + uintp(3)]
            green += a * upper[at + one] + b * upper[at + four]
            blue += a * upper[at + two] + b * upper[at + five]
            low_red += a * lower[at] + b * lower[at + uintp(3)]
            low_green += a * lower[at + one] + b * lower[at + four]
            low_blue += a * lower[at + two] + b * lower[at + five]
        for t in range(even, count):
            a, at = own[t], start + uintp(3) * t
            red, low_red = red + a * upper[at], low_red + a * lower[at]
            green, low_green = green + a * upper[at + one], low_green + a * lower[at + one]
            blue, low_blue = blue + a * upper[at + two], low_blue + a * lower[at + two]
        upper_out[to], lower_out[to] = red, low_red
        upper_out[to + one], lower_out[to + one] = green, low_green
        upper_out[to + two], lower_out[to + two] = blue, low_blue


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_line(line: Array, columns: Array, weights: Array, channels: int, row: Array) -> None:
    """The second pass over one row of any number of channels, before rounding."""
    for j in range(columns.shape[0]):
        start = channels * (columns[j] - columns[0])
        for c in range(channels):
            total = np.float32(0)
            for t in range(weights.shape[1]):
                total += weights[j, t] * line[start + channels * t + c]
            row[channels * j + c] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _round(row: Array, out: Array) -> None:
    """Round to the nearest grey level, halves upwards."""
    half, least, most = np.float32(0.5), np.float32(0), np.float32(255)
    for k in range(out.shape[0]):
        out[k] = np.uint8(np.int32(min(max(row[k] + half, least), most)))
