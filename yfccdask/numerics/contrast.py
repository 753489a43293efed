"""Local contrast normalisation, in two passes and one division.

``v = y - sum w y``, ``sigma = sqrt(sum w v^2)``, ``out = v / max(c, sigma)`` with ``c`` the mean of
sigma over the image's whole field. The sums run over a Gaussian window *and* over all maps, so
maps are reduced first and the filters run on one-channel planes. ``c`` needs the whole field:
rectangles measure their mean and sigma, sigma is added up along whole field rows and the rows'
sums in row order, and rectangles divide. v is never kept: it is a subtraction away.

Images are taken one by one, so that a field is still in the cache when it is read again. All rows
and columns are counted in the input field, by the centre of the window: "valid" keeps the centres
whose windows fit, "same" keeps all and re-weights the windows that the border cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yfccdask.backend.device import library_of
from yfccdask.geometry import Rectangle
from yfccdask.numerics.contrast_kernels import (
    add_columns,
    divide,
    divide_by_sign,
    smooth,
    sum_maps,
    sum_squares,
)
from yfccdask.numerics.contrast_windows import (
    Axis,
    ContrastWindow,
    Planes,
    Span,
    axis_of,
    whole_output,
)
from yfccdask.numerics.device.contrast import (
    divide_on_device,
    mean_sigma_on_device,
    measure_on_device,
    row_sums_on_device,
)
from yfccdask.numerics.fields import Pieces, as_pieces

__all__ = [
    "ContrastWindow",
    "Planes",
    "Span",
    "divide_contrast",
    "mean_sigma",
    "measure_contrast",
    "normalise_field",
    "row_sums",
]

Array = Any


class _Passes:
    """The first two passes over one image's rectangle, with the memory that they need."""

    def __init__(self, window: ContrastWindow, rows: Axis, columns: Axis, field: Pieces) -> None:
        self.rows, self.columns, self.radius = rows, columns, window.radius
        dtype = worked_in(field)
        self.taps = window.taps().astype(dtype)
        self.first, self.first_inside = self._padded(rows, columns, "inner", "read", dtype)
        self.second, self.second_inside = self._padded(rows, columns, "kept", "inner", dtype)
        self.line = np.empty(self.first.shape[1], dtype)
        self.mean = np.empty(self.second_inside.shape, dtype)
        self.scales = [
            (rows.inner_scales / field.maps).astype(dtype),
            columns.inner_scales.astype(dtype),
            (rows.kept_scales / field.maps).astype(dtype),
            columns.kept_scales.astype(dtype),
        ]

    def _padded(
        self, rows: Axis, columns: Axis, centres: str, given: str, dtype: Any
    ) -> tuple[Array, Array]:
        """A plane with half a window around its centres, zero outside; its part that is given."""
        sides = [(getattr(axis, centres), getattr(axis, given)) for axis in (rows, columns)]
        radius = self.radius
        shape = [high - low + 2 * radius for (low, high), _ in sides]
        inside = [
            slice(max(a, low - radius) - low + radius, min(b, high + radius) - low + radius)
            for (low, high), (a, b) in sides
        ]
        plane = np.zeros(shape, dtype)
        return plane, plane[tuple(inside)]

    def measure(self, y: Array, top: int, left: int, planes: Planes, number: int) -> None:
        """Fill an image's mean and sigma; the region read starts at (top, left) of y."""
        rows, columns, sigma = self.rows, self.columns, planes.sigma[number]
        sum_maps(y, top, left, self.first_inside)
        self._smooth(self.first, self.scales[:2], self.mean)
        top, left = top + rows.inner[0] - rows.read[0], left + columns.inner[0] - columns.read[0]
        sum_squares(y, top, left, self.mean, self.second_inside)
        self._smooth(self.second, self.scales[2:], sigma)
        np.sqrt(sigma, out=sigma)
        where = (_within(axis.kept, axis.inner) for axis in (rows, columns))
        planes.mean[number] = self.mean[tuple(where)]

    def _smooth(self, plane: Array, scales: list[Array], out: Array) -> None:
        smooth(plane, self.taps, scales[0], scales[1], self.line[: plane.shape[1]], out)


def _within(span: Span, outer: Span) -> slice:
    return slice(span[0] - outer[0], span[1] - outer[0])


def measure_contrast(
    field: Array | Pieces,
    window: ContrastWindow,
    size: tuple[int, int],
    rows: Span,
    columns: Span,
) -> Planes:
    """The local mean and deviation of a rectangle of output pixels.

    Parameters
    ----------
    field : Pieces, or array (image, row, column, map)
        Covers ``window.reads`` of the rows and of the columns.
    window : ContrastWindow
    size : (int, int)
        Height and width of the whole input field.
    rows, columns : (int, int)
        First output row and column, and the ones after the last.
    """
    pieces = as_pieces(field)
    downwards, across = axis_of(window, rows, size[0]), axis_of(window, columns, size[1])
    if _on_device(pieces):
        return measure_on_device(pieces.contiguous(), window, downwards, across)
    passes, buffer = _Passes(window, downwards, across, pieces), _image_buffer(pieces)
    planes = empty_planes(pieces, rows, columns)
    for number in range(pieces.images):
        passes.measure(*pieces.image(number, buffer), planes, number)
    return planes


def empty_planes(pieces: Pieces, rows: Span, columns: Span) -> Planes:
    """Memory for a rectangle's planes."""
    shape = (pieces.images, rows[1] - rows[0], columns[1] - columns[0])
    return Planes(np.empty(shape, worked_in(pieces)), np.empty(shape, worked_in(pieces)))


def _image_buffer(pieces: Pieces) -> Array:
    return np.empty((pieces.region.height, pieces.region.width, pieces.maps), worked_in(pieces))


def _on_device(pieces: Pieces) -> bool:
    return library_of(pieces.arrays[0]).on_device


def worked_in(pieces: Pieces) -> np.dtype[Any]:
    """The type of what is computed from a field: float32 where it is stored in half of that."""
    return np.dtype(np.float32 if pieces.dtype.itemsize == 2 else pieces.dtype)


def row_sums(sigmas: Sequence[Array]) -> Array:
    """Sums of sigma along whole field rows, float64 (image, row), column by column.

    ``sigmas`` are the arrays (image, row, column) of one band's rectangles, from left to right.
    """
    if library_of(sigmas[0]).on_device:
        return row_sums_on_device(sigmas)
    sums = np.zeros(sigmas[0].shape[:2])
    for sigma in sigmas:
        for plane, total in zip(sigma, sums, strict=True):
            add_columns(plane, total)
    return sums


def mean_sigma(sums: Array, width: int) -> Array:
    """c: the mean of sigma per image from all rows' sums (image, row), added in row order."""
    if library_of(sums).on_device:
        return mean_sigma_on_device(sums, width)
    total = np.zeros(len(sums))
    add_columns(sums, total)
    return total / (sums.shape[1] * width)


def divide_contrast(
    field: Array | Pieces,
    planes: Planes,
    c: Array,
    floor: float,
    stored: Any = None,
    signs: int = 1,
) -> Array:
    """The normalised pixels of a rectangle (image, row, column, map).

    ``field`` covers the rectangle's own pixels, c is (image,) and no less than ``floor``;
    ``stored`` is the type of the result, the one that is worked in unless given; with 2 ``signs``
    positive and negative parts are maps of their own.
    """
    pieces = as_pieces(field)
    kind = np.dtype(stored or worked_in(pieces))
    if _on_device(pieces):
        return divide_on_device(pieces.contiguous(), planes, c, floor, kind, signs)
    out, buffer = np.empty((*planes.mean.shape, signs * pieces.maps), kind), _image_buffer(pieces)
    least, made = np.maximum(c, floor).astype(worked_in(pieces)), _Made(out, pieces)
    for number, (mean, sigma) in enumerate(zip(*planes, strict=True)):
        y, top, left = pieces.image(number, buffer)
        _divider(signs)(y, top, left, mean, sigma, least[number], made.image(number))
        made.keep(number)
    return out


def _divider(signs: int) -> Any:
    return divide if signs == 1 else divide_by_sign


class _Made:
    """Where an image is made: in its own place, or beside it if it is stored in another type."""

    def __init__(self, out: Array, pieces: Pieces) -> None:
        kind = worked_in(pieces)
        self.out, self.beside = out, np.empty(out.shape[1:], kind) if out.dtype != kind else None

    def image(self, number: int) -> Array:
        return self.out[number] if self.beside is None else self.beside

    def keep(self, number: int) -> None:
        if self.beside is not None:
            self.out[number] = self.beside


def normalise_field(
    field: Array | Pieces,
    window: ContrastWindow,
    floor: float,
    out: Array | None = None,
    stored: Any = None,
) -> Array:
    """All passes over a whole field (image, y, x, map), image by image; into ``out`` if given.

    ``stored`` is as in `divide_contrast`.
    """
    pieces = as_pieces(field)
    size = pieces.region.height, pieces.region.width
    rows, columns = (axis_of(window, whole_output(window, length), length) for length in size)
    height, width = len(rows.kept_scales), len(columns.kept_scales)
    kind = np.dtype(stored or worked_in(pieces))
    if _on_device(pieces):
        return _normalise_on_device(pieces.contiguous(), window, rows, columns, floor, kind)
    if out is None:
        out = np.empty((pieces.images, height, width, window.signs * pieces.maps), kind)
    passes, buffer = _Passes(window, rows, columns, pieces), _image_buffer(pieces)
    planes, made = empty_planes(pieces.first(1), (0, height), (0, width)), _Made(out, pieces)
    for number in range(pieces.images):
        y, top, left = pieces.image(number, buffer)
        passes.measure(y, top, left, planes, 0)
        c = mean_sigma(row_sums(planes[1:]), width)
        least = np.maximum(c, floor).astype(worked_in(pieces))[0]
        top, left = top + rows.kept[0], left + columns.kept[0]
        given = (y, top, left, planes.mean[0], planes.sigma[0], least)
        _divider(window.signs)(*given, made.image(number))
        made.keep(number)
    return out


def _normalise_on_device(
    pieces: Pieces, window: ContrastWindow, rows: Axis, columns: Axis, floor: float, kind: Any
) -> Array:
    planes = measure_on_device(pieces, window, rows, columns)
    c = mean_sigma_on_device(row_sums_on_device([planes.sigma]), len(columns.kept_scales))
    top, left = pieces.region.top, pieces.region.left
    kept = Rectangle(*(top + row for row in rows.kept), *(left + x for x in columns.kept))
    return divide_on_device(pieces._replace(region=kept), planes, c, floor, kind, window.signs)
