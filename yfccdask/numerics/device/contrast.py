"""LCN with a device's kernels: maps are reduced first, the window runs over one-channel planes.

A piece of a field is read where it lies: a kernel runs over what it shares with the rows and
columns that a plane needs. Those are counted in the input field, as in
`yfccdask.numerics.contrast`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend.device import NAMES, library_of
from yfccdask.geometry import Rectangle
from yfccdask.numerics.contrast_windows import Axis, ContrastWindow, Planes, Span
from yfccdask.numerics.device.visits import DOUBLE, FLOAT, THREADS
from yfccdask.numerics.fields import Pieces

Array = Any
TILE = 32, 8  # columns and rows that a block smooths


class _Plane(NamedTuple):
    """An array (image, row, column) whose first pixel lies at (top, left) of the input field."""

    values: Array
    top: int
    left: int

    def at(self, place: Rectangle) -> Array:
        """The array from a place's first pixel on."""
        return self.values[:, place.top - self.top :, place.left - self.left :]

    @property
    def steps(self) -> tuple[int, int]:
        """Elements from image to image and from row to row."""
        return _steps(self.values)


def _steps(array: Array) -> tuple[int, int]:
    size = array.dtype.itemsize
    return array.strides[0] // size, array.strides[1] // size


def measure_on_device(pieces: Pieces, window: ContrastWindow, rows: Axis, columns: Axis) -> Planes:
    """The local mean and deviation of a rectangle of output pixels; pieces are contiguous."""
    library, size = library_of(pieces.arrays[0]), pieces.images
    taps = library.upload(window.taps().astype(FLOAT))
    inner, corner = (rows.inner, columns.inner), (rows.read[0], columns.read[0])
    plane, given = _bordered(library, size, window, inner, (rows.read, columns.read))
    _reduce(pieces, corner, given, plane)
    mean = _Plane(_smooth(plane.values, taps, rows, columns, pieces.maps, "inner"), *_first(inner))
    kept = (rows.kept, columns.kept)
    plane, given = _bordered(library, size, window, kept, inner)
    _reduce(pieces, corner, given, plane, mean)
    sigma = _smooth(plane.values, taps, rows, columns, pieces.maps, "kept")
    means = mean.at(Rectangle(*rows.kept, *columns.kept))[:, : sigma.shape[1], : sigma.shape[2]]
    return Planes(library.copy(means), sigma)


def _first(sides: tuple[Span, Span]) -> tuple[int, int]:
    return sides[0][0], sides[1][0]


def _bordered(
    library: Any,
    images: int,
    window: ContrastWindow,
    centres: tuple[Span, Span],
    known: tuple[Span, Span],
) -> tuple[_Plane, Rectangle]:
    """A plane with half a window around its centres, zero, and which of it is to be filled."""
    radius, (rows, columns) = window.radius, centres
    height, width = (high - low + 2 * radius for low, high in centres)
    plane = library.full((images, height, width), 0, FLOAT)
    top, left = rows[0] - radius, columns[0] - radius
    whole = Rectangle(top, top + height, left, left + width)
    given = Rectangle(*known[0], *known[1]).overlap(whole)
    return _Plane(plane, top, left), given


def _shared(
    pieces: Pieces, corner: tuple[int, int], domain: Rectangle
) -> Iterator[tuple[Array, Rectangle]]:
    """Every piece that has some of a domain: the piece from there on, and where that is.

    The pieces' region begins at ``corner`` of the input field.
    """
    origin = Rectangle(pieces.region.top - corner[0], 0, pieces.region.left - corner[1], 0)
    for array, place in zip(pieces.arrays, pieces.places, strict=True):
        seen = place.seen_from(origin)
        if seen.meets(domain):
            shared = seen.overlap(domain)
            yield array[:, shared.top - seen.top :, shared.left - seen.left :], shared


def _reduce(
    pieces: Pieces,
    corner: tuple[int, int],
    domain: Rectangle,
    plane: _Plane,
    mean: _Plane | None = None,
) -> None:
    """Fill a domain of a plane with sums over maps, of squares about the mean if there is one."""
    library = library_of(plane.values)
    for source, place in _shared(pieces, corner, domain):
        about = (None, 0, 0) if mean is None else (mean.at(place), *mean.steps)
        given = (source, *_steps(source), pieces.maps, place.width, *about)
        blocks = (-(-place.width // THREADS), place.height, pieces.images)
        name = f"reduce_maps_{NAMES[source.dtype.name]}"
        library.launch(name, blocks, THREADS, (*given, plane.at(place), *plane.steps))


def _smooth(plane: Array, taps: Array, rows: Axis, columns: Axis, maps: int, centres: str) -> Array:
    """The window over a bordered plane, as a mean over maps; its root for the kept centres."""
    library, radius = library_of(plane), len(taps) // 2
    down, across = (getattr(axis, f"{centres}_scales") for axis in (rows, columns))
    scales = [library.upload(each.astype(FLOAT)) for each in (down / maps, across)]
    height, width = len(down), len(across)
    out = library.empty((len(plane), height, width), FLOAT)
    given = (plane, taps, radius, *scales, height, width, int(centres == "kept"), out)
    blocks = (-(-width // TILE[0]), -(-height // TILE[1]), len(plane))
    wide, high = TILE[0] + 2 * radius, TILE[1] + 2 * radius
    library.launch("smooth", blocks, THREADS, given, 4 * wide * (high + TILE[1]))
    return out


def row_sums_on_device(sigmas: Sequence[Array]) -> Array:
    """Sums of sigma along whole field rows, float64 (image, row), from left to right."""
    library, (images, rows) = library_of(sigmas[0]), sigmas[0].shape[:2]
    sums = library.full((images, rows), 0, DOUBLE)
    for sigma in sigmas:
        given = (sigma, sigma.shape[2], sums)
        library.launch("add_rows_float", (images * rows,), THREADS, given)
    return sums


def mean_sigma_on_device(sums: Array, width: int) -> Array:
    """c: the mean of sigma per image from all rows' sums (image, row)."""
    library, (images, rows) = library_of(sums), sums.shape
    total = library.full((images,), 0, DOUBLE)
    library.launch("add_rows_double", (images,), THREADS, (sums, rows, total))
    return total / (rows * width)


def divide_on_device(
    pieces: Pieces, planes: Planes, c: Array, floor: float, kind: Any, signs: int = 1
) -> Array:
    """The normalised pixels of a rectangle (image, row, column, map); pieces are contiguous.

    With 2 ``signs``, positive and negative parts are maps of their own.
    """
    library, maps = library_of(pieces.arrays[0]), pieces.maps
    out = library.empty((*planes.mean.shape, signs * maps), np.dtype(kind))
    mean, sigma = (_Plane(plane, 0, 0) for plane in planes)
    whole = Rectangle(0, planes.mean.shape[1], 0, planes.mean.shape[2])
    for source, place in _shared(pieces, (0, 0), whole):
        name = f"divide_{NAMES[source.dtype.name]}_{NAMES[out.dtype.name]}"
        given = (source, *_steps(source), maps, place.width, mean.at(place), sigma.at(place))
        target = out[:, place.top :, place.left :]
        blocks = (-(-place.width * maps // THREADS), place.height, pieces.images)
        how = (*mean.steps, c, float(floor), signs, target, *_steps(out))
        library.launch(name, blocks, THREADS, (*given, *how))
    return out
