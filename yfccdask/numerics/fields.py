"""Fields in pieces: put the pieces together, and measure their scale in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yfccdask.backend import array_module, use_one_blas_thread
from yfccdask.geometry import Rectangle

Array = Any


def stitch(pieces: Sequence[Array], places: Sequence[Rectangle], region: Rectangle) -> Array:
    """The part of a field that ``region`` covers, from the chunks that it touches.

    Parameters
    ----------
    pieces : sequence of arrays (image, y, x, map)
    places : sequence of Rectangle
        Where each piece lies in the field; together they cover ``region``.
    region : Rectangle

    Returns
    -------
    array (image, y, x, map)
        A view of the only piece where there is one that covers the region.
    """
    if len(pieces) == 1:
        return pieces[0][(slice(None), *region.seen_from(places[0]).slices)]
    xp = array_module(pieces[0])
    images, maps = pieces[0].shape[0], pieces[0].shape[3]
    out = xp.empty((images, region.height, region.width, maps), pieces[0].dtype)
    for piece, place in zip(pieces, places, strict=True):
        shared = place.overlap(region)
        target = (slice(None), *shared.seen_from(region).slices)
        out[target] = piece[(slice(None), *shared.seen_from(place).slices)]
    return out


def row_moments(field: Array) -> Array:
    """Sum, sum of squares and count of every row of a piece, float64 (row, 3).

    One row at a time from a contiguous copy, so that the sums don't depend on how many rows the
    piece has.
    """
    use_one_blas_thread()
    moments = np.empty((field.shape[1], 3))
    for row in range(field.shape[1]):
        values = np.ascontiguousarray(field[:, row]).astype(np.float64).ravel()
        moments[row] = values.sum(), values @ values, values.size
    return moments


def deviation_of(moments: Array) -> float:
    """The standard deviation from all rows' moments (row, 3), added in order."""
    total, squares, count = 0.0, 0.0, 0.0
    for row in moments:
        total, squares, count = total + row[0], squares + row[1], count + row[2]
    mean = total / count
    return float(np.sqrt(max(squares / count - mean * mean, 0.0)))
