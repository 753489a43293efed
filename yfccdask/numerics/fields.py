"""Fields in pieces: read them where they lie, put them together, and measure their scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend import to_host, use_one_blas_thread
from yfccdask.backend.device import NAMES, library_of
from yfccdask.geometry import Rectangle

Array = Any


class Part(NamedTuple):
    """What one piece has of a patch: a view (image, y, x, map), and where it goes in the patch."""

    values: Array
    target: tuple[slice, slice]


class Pieces(NamedTuple):
    """A region of a field as the chunks that it touches; only what is asked for is copied.

    arrays : sequence of arrays (image, y, x, map)
    places : sequence of Rectangle
        Where each array lies in the field; together they cover ``region``.
    region : Rectangle
        Windows and inputs are counted from its top left corner.
    """

    arrays: Sequence[Array]
    places: Sequence[Rectangle]
    region: Rectangle

    @property
    def images(self) -> int:
        return len(self.arrays[0])

    @property
    def maps(self) -> int:
        return int(self.arrays[0].shape[3])

    @property
    def dtype(self) -> Any:
        return self.arrays[0].dtype

    def first(self, images: int) -> Pieces:
        """The same region of the first images."""
        return self._replace(arrays=[array[:images] for array in self.arrays])

    def contiguous(self) -> Pieces:
        """The same pieces, each in one stretch of memory, as most are already."""
        copied = [
            array if array.flags.c_contiguous else library_of(array).copy(array)
            for array in self.arrays
        ]
        return self._replace(arrays=copied)

    def parts(self, window: Rectangle) -> list[Part]:
        """What each piece has of a window of the region."""
        origin = Rectangle(self.region.top, 0, self.region.left, 0)
        parts = []
        for array, place in zip(self.arrays, self.places, strict=True):
            seen = place.seen_from(origin)
            if seen.meets(window):
                shared = seen.overlap(window)
                values = array[(slice(None), *shared.seen_from(seen).slices)]
                parts.append(Part(values, shared.seen_from(window).slices))
        return parts

    def fill_inputs(self, images: slice, first: int, scale: Any, out: Array) -> None:
        """Fill ``out`` (image, input) with scaled values of the region, row by row from ``first``.

        The region is as wide as its field, and the pieces are contiguous.
        """
        at, maps = 0, self.maps
        for run in row_runs(first, first + out.shape[1], self.region.width * maps):
            target = out[:, at : at + run.area].reshape(-1, run.height, run.width)
            at += run.area
            for array, place in zip(self.arrays, self.places, strict=True):
                _fill_run(array[images], self._in_values(place), run, scale, target)

    def _in_values(self, place: Rectangle) -> Rectangle:
        """A place as seen from the region, its columns counted in values instead of pixels."""
        top, maps = self.region.top, self.maps
        return Rectangle(place.top - top, place.bottom - top, place.left * maps, place.right * maps)

    def image(self, number: int, buffer: Array) -> tuple[Array, int, int]:
        """One image (y, x, map) in one stretch of memory, and the region's corner in it.

        It is put together in ``buffer`` (the region's pixels) unless one piece has all of it.
        """
        whole = len(self.arrays) == 1 and self.dtype == buffer.dtype
        if whole and self.arrays[0][number].flags.c_contiguous:
            corner = self.region.seen_from(self.places[0])
            return self.arrays[0][number], corner.top, corner.left
        for array, place in zip(self.arrays, self.places, strict=True):
            shared = place.overlap(self.region)
            values = array[(number, *shared.seen_from(place).slices)]
            buffer[shared.seen_from(self.region).slices] = values
        return buffer, 0, 0


def as_pieces(field: Array | Pieces) -> Pieces:
    """A field in pieces; an array (image, y, x, map) is the only piece."""
    if isinstance(field, Pieces):
        return field
    whole = Rectangle(0, field.shape[1], 0, field.shape[2])
    return Pieces([field], (whole,), whole)


def fill_patch(parts: Sequence[Part], images: slice, scale: Any, out: Array) -> None:
    """Fill ``out`` (image, y, x, map) with the scaled values of a window's parts."""
    for values, target in parts:
        np.multiply(values[images], scale, out=out[(slice(None), *target)], casting="same_kind")


def row_runs(start: int, stop: int, row: int) -> list[Rectangle]:
    """Cut values ``start:stop``, counted along rows of ``row`` values, into rectangles.

    >>> row_runs(3, 13, 5)
    [Rectangle(top=0, bottom=1, left=3, right=5), Rectangle(top=1, bottom=2, left=0, right=5), \
Rectangle(top=2, bottom=3, left=0, right=3)]
    """
    runs = []
    while start < stop:
        top, left = divmod(start, row)
        rows = max(1, (stop - start) // row) if left == 0 else 1
        width = min(stop - start, row - left)
        runs.append(Rectangle(top, top + rows, left, left + width))
        start += rows * width
    return runs


def _fill_run(array: Array, place: Rectangle, run: Rectangle, scale: Any, target: Array) -> None:
    """Copy what ``array`` (image, y, x, map) at ``place`` shares with a run, both in values."""
    if not place.meets(run):
        return
    shared = place.overlap(run)
    values = array.reshape(len(array), place.height, place.width)
    source = values[(slice(None), *shared.seen_from(place).slices)]
    where = (slice(None), *shared.seen_from(run).slices)
    np.multiply(source, scale, out=target[where], casting="same_kind")


def joined(parts: Sequence[Array], axis: int = 0) -> Array:
    """Arrays one after the other along an axis, where they lie."""
    library = library_of(parts[0])
    if not library.on_device:
        return np.concatenate(parts, axis=axis)
    shape, at = list(parts[0].shape), 0
    shape[axis] = sum(part.shape[axis] for part in parts)
    out = library.empty(tuple(shape), parts[0].dtype)
    for part in parts:
        stop = at + part.shape[axis]
        out[(*(slice(None),) * axis, slice(at, stop))] = part
        at = stop
    return out


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
    images, maps = pieces[0].shape[0], pieces[0].shape[3]
    shape = (images, region.height, region.width, maps)
    out = library_of(pieces[0]).empty(shape, pieces[0].dtype)
    for piece, place in zip(pieces, places, strict=True):
        shared = place.overlap(region)
        target = (slice(None), *shared.seen_from(region).slices)
        out[target] = piece[(slice(None), *shared.seen_from(place).slices)]
    return out


def row_moments(field: Array) -> Array:
    """Sum, sum of squares and count of every row of a piece, float64 (row, 3) on the host.

    One row at a time from a contiguous copy, so that the sums don't depend on how many rows the
    piece has.
    """
    if library_of(field).on_device:
        return _row_moments_on_device(field)
    use_one_blas_thread()
    moments = np.empty((field.shape[1], 3))
    for row in range(field.shape[1]):
        values = np.ascontiguousarray(field[:, row]).astype(np.float64).ravel()
        moments[row] = values.sum(), values @ values, values.size
    return moments


def _row_moments_on_device(field: Array) -> Array:
    library = library_of(field)
    field = field if field.flags.c_contiguous else library.copy(field)
    images, rows, columns, maps = field.shape
    moments = library.empty((rows, 2), np.dtype(np.float64))
    name = f"row_moments_{NAMES[field.dtype.name]}"
    library.launch(
        name, (rows,), 256, (field, images, rows * columns * maps, columns * maps, moments)
    )
    count = np.full((rows, 1), float(images * columns * maps))
    return np.concatenate([to_host(moments), count], axis=1)


def deviation_of(moments: Array) -> float:
    """The standard deviation from all rows' moments (row, 3), added in order."""
    total, squares, count = 0.0, 0.0, 0.0
    for row in moments:
        total, squares, count = total + row[0], squares + row[1], count + row[2]
    mean = total / count
    return float(np.sqrt(max(squares / count - mean * mean, 0.0)))
