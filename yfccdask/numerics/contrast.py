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
from typing import Any, NamedTuple

import numpy as np

from yfccdask.numerics.contrast_kernels import add_columns, divide, smooth, sum_maps, sum_squares
from yfccdask.numerics.fields import Pieces, as_pieces

Array = Any
Span = tuple[int, int]


class ContrastWindow(NamedTuple):
    """A Gaussian window and what happens at the border."""

    size: int
    spread: float
    valid: bool

    @property
    def radius(self) -> int:
        return self.size // 2

    def taps(self) -> Array:
        """The window along one axis, float64 (size,), adding up to 1."""
        offsets = np.arange(self.size) - self.radius
        taps = np.exp(-0.5 * (offsets / self.spread) ** 2)
        return taps / taps.sum()

    def centres(self, length: int) -> tuple[Span, Span]:
        """First and last centre of the first pass and of the second, over ``length`` rows."""
        if not self.valid:
            return (0, length), (0, length)
        radius = self.radius
        return (radius, length - radius), (2 * radius, length - 2 * radius)

    def reads(self, span: Span, length: int) -> Span:
        """Input rows that the output rows ``span`` need; output row 0 is the first one kept."""
        first = self.centres(length)[1][0]
        reach = 2 * self.radius
        return max(0, span[0] + first - reach), min(length, span[1] + first + reach)

    def kept(self, span: Span, length: int) -> Span:
        """Where the output rows ``span`` lie in the input."""
        first = self.centres(length)[1][0]
        return span[0] + first, span[1] + first


class Planes(NamedTuple):
    """What a rectangle of output pixels is normalised by: two arrays (image, row, column)."""

    mean: Array
    sigma: Array


class _Axis(NamedTuple):
    """A rectangle's rows (or columns) in both passes, as spans of the input field's."""

    read: Span
    inner: Span
    kept: Span
    inner_scales: Array
    kept_scales: Array


def _axis(window: ContrastWindow, span: Span, length: int) -> _Axis:
    (low, high), kept = window.centres(length)[0], window.kept(span, length)
    inner = max(low, kept[0] - window.radius), min(high, kept[1] + window.radius)
    scales = _scales(window, inner, (0, length)), _scales(window, kept, (low, high))
    return _Axis(window.reads(span, length), inner, kept, *scales)


def _scales(window: ContrastWindow, centres: Span, domain: Span) -> Array:
    """One over what the taps within ``domain`` add up to, for every centre, float64."""
    taps, radius = window.taps(), window.radius
    sums = [
        taps[max(0, domain[0] - centre + radius) : domain[1] - centre + radius].sum()
        for centre in range(*centres)
    ]
    return 1 / np.array(sums)


class _Passes:
    """The first two passes over one image's rectangle, with the memory that they need."""

    def __init__(self, window: ContrastWindow, rows: _Axis, columns: _Axis, field: Pieces) -> None:
        self.rows, self.columns, self.radius = rows, columns, window.radius
        self.taps, dtype = window.taps().astype(field.dtype), field.dtype
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
        self, rows: _Axis, columns: _Axis, centres: str, given: str, dtype: Any
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
    downwards, across = _axis(window, rows, size[0]), _axis(window, columns, size[1])
    passes, buffer = _Passes(window, downwards, across, pieces), _image_buffer(pieces)
    planes = empty_planes(pieces, rows, columns)
    for number in range(pieces.images):
        passes.measure(*pieces.image(number, buffer), planes, number)
    return planes


def empty_planes(pieces: Pieces, rows: Span, columns: Span) -> Planes:
    """Memory for a rectangle's planes."""
    shape = (pieces.images, rows[1] - rows[0], columns[1] - columns[0])
    return Planes(np.empty(shape, pieces.dtype), np.empty(shape, pieces.dtype))


def _image_buffer(pieces: Pieces) -> Array:
    return np.empty((pieces.region.height, pieces.region.width, pieces.maps), pieces.dtype)


def row_sums(sigmas: Sequence[Array]) -> Array:
    """Sums of sigma along whole field rows, float64 (image, row), column by column.

    ``sigmas`` are the arrays (image, row, column) of one band's rectangles, from left to right.
    """
    sums = np.zeros(sigmas[0].shape[:2])
    for sigma in sigmas:
        for plane, total in zip(sigma, sums, strict=True):
            add_columns(plane, total)
    return sums


def mean_sigma(sums: Array, width: int) -> Array:
    """c: the mean of sigma per image from all rows' sums (image, row), added in row order."""
    total = np.zeros(len(sums))
    add_columns(sums, total)
    return total / (sums.shape[1] * width)


def divide_contrast(field: Array | Pieces, planes: Planes, c: Array, floor: float) -> Array:
    """The normalised pixels of a rectangle (image, row, column, map).

    ``field`` covers the rectangle's own pixels, c is (image,) and no less than ``floor``.
    """
    pieces = as_pieces(field)
    out, buffer = np.empty((*planes.mean.shape, pieces.maps), pieces.dtype), _image_buffer(pieces)
    least = np.maximum(c, floor).astype(pieces.dtype)
    for number, (mean, sigma) in enumerate(zip(*planes, strict=True)):
        y, top, left = pieces.image(number, buffer)
        divide(y, top, left, mean, sigma, least[number], out[number])
    return out


def normalise_field(
    field: Array | Pieces, window: ContrastWindow, floor: float, out: Array | None = None
) -> Array:
    """All passes over a whole field (image, y, x, map), image by image; into ``out`` if given."""
    pieces = as_pieces(field)
    size = pieces.region.height, pieces.region.width
    rows, columns = (_axis(window, _output(window, length), length) for length in size)
    height, width = len(rows.kept_scales), len(columns.kept_scales)
    if out is None:
        out = np.empty((pieces.images, height, width, pieces.maps), pieces.dtype)
    passes, buffer = _Passes(window, rows, columns, pieces), _image_buffer(pieces)
    planes = empty_planes(pieces.first(1), (0, height), (0, width))
    for number, image in enumerate(out):
        y, top, left = pieces.image(number, buffer)
        passes.measure(y, top, left, planes, 0)
        c = mean_sigma(row_sums(planes[1:]), width)
        least = np.maximum(c, floor).astype(pieces.dtype)[0]
        top, left = top + rows.kept[0], left + columns.kept[0]
        divide(y, top, left, planes.mean[0], planes.sigma[0], least, image)
    return out


def _output(window: ContrastWindow, length: int) -> Span:
    low, high = window.centres(length)[1]
    return 0, high - low
