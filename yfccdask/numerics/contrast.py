"""Local contrast normalisation, in two passes and one division.

``v = y - sum w y``, ``sigma = sqrt(sum w v^2)``, ``out = v / max(c, sigma)`` with ``c`` the mean of
sigma over the image's whole field. The sums run over a Gaussian window *and* over all maps, so
maps are reduced first and the filters run on one-channel planes. ``c`` needs the whole field:
bands of rows subtract, their row sums of sigma are added in row order, and bands divide.

All rows are counted in the input field, by the centre of the window: "valid" keeps the centres
whose windows fit, "same" keeps all and re-weights the windows that the border cuts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

Array = Any


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

    def centres(self, length: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last centre of the first pass and of the second, over ``length`` rows."""
        if not self.valid:
            return (0, length), (0, length)
        radius = self.radius
        return (radius, length - radius), (2 * radius, length - 2 * radius)

    def rows_read(self, top: int, bottom: int, length: int) -> tuple[int, int]:
        """Input rows that the output rows ``top:bottom`` need; output row 0 is the first kept."""
        first = self.centres(length)[1][0]
        reach = 2 * self.radius
        return max(0, top + first - reach), min(length, bottom + first + reach)


@njit(nogil=True, cache=True)
def _mean_over_maps(y: Array, squared: bool) -> Array:
    images, rows, columns, maps = y.shape
    out = np.empty((images, rows, columns), y.dtype)
    for i in range(images):
        for j in range(rows):
            for k in range(columns):
                total = y.dtype.type(0)
                for m in range(maps):
                    value = y[i, j, k, m]
                    total += value * value if squared else value
                out[i, j, k] = total / maps
    return out


@njit(nogil=True, cache=True)
def _smooth_rows(plane: Array, weights: Array, first: Array) -> Array:
    """``out[:, o] = sum_t weights[o, t] plane[:, first[o] + t]``, tap by tap in order."""
    images, _, columns = plane.shape
    out = np.zeros((images, weights.shape[0], columns), plane.dtype)
    for i in range(images):
        for o in range(weights.shape[0]):
            for t in range(weights.shape[1]):
                weight = weights[o, t]
                if weight != 0:
                    row = first[o] + t
                    for k in range(columns):
                        out[i, o, k] += weight * plane[i, row, k]
    return out


@njit(nogil=True, cache=True)
def _smooth_columns(plane: Array, weights: Array, first: Array) -> Array:
    images, rows, _ = plane.shape
    out = np.zeros((images, rows, weights.shape[0]), plane.dtype)
    for i in range(images):
        for j in range(rows):
            for o in range(weights.shape[0]):
                total = plane.dtype.type(0)
                for t in range(weights.shape[1]):
                    if weights[o, t] != 0:
                        total += weights[o, t] * plane[i, j, first[o] + t]
                out[i, j, o] = total
    return out


def _window_weights(
    taps: Array, centres: tuple[int, int], domain: tuple[int, int], origin: int, dtype: Any
) -> tuple[Array, Array]:
    """Each centre's taps within ``domain``, adding up to 1, and its first index from ``origin``."""
    radius = len(taps) // 2
    weights = np.zeros((centres[1] - centres[0], len(taps)))
    first = np.zeros(len(weights), np.int64)
    for o, centre in enumerate(range(*centres)):
        low, high = max(domain[0], centre - radius), min(domain[1], centre + radius + 1)
        kept = taps[low - centre + radius : high - centre + radius]
        weights[o, : len(kept)] = kept / kept.sum()
        first[o] = low - origin
    return weights.astype(dtype), first


def _smooth(
    plane: Array,
    taps: Array,
    centres: tuple[tuple[int, int], tuple[int, int]],
    domains: tuple[tuple[int, int], tuple[int, int]],
    origins: tuple[int, int],
) -> Array:
    """The separable window over (rows, columns) of a plane whose corner lies at ``origins``."""
    rows = _window_weights(taps, centres[0], domains[0], origins[0], plane.dtype)
    columns = _window_weights(taps, centres[1], domains[1], origins[1], plane.dtype)
    return _smooth_columns(_smooth_rows(plane, *rows), *columns)


def subtract_mean(
    y: Array, window: ContrastWindow, height: int, rows: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """The first two passes for a band of output rows.

    Parameters
    ----------
    y : array (image, row, column, map)
        The input rows ``window.rows_read(*rows, height)``, whole rows.
    window : ContrastWindow
    height : int
        Rows of the whole input field.
    rows : (int, int)
        First output row and the one after the last.

    Returns
    -------
    v : array (image, row, column, map)
        The field less its local mean, output rows and columns only.
    sigma : array (image, row, column)
    row_sums : array (image, row) of float64
        Sigma summed along every row, column by column.
    """
    top = window.rows_read(*rows, height)[0]
    width, taps = y.shape[2], window.taps()
    (first_low, first_high), (kept_low, _) = window.centres(height)
    columns_first, columns_kept = window.centres(width)
    kept = (rows[0] + kept_low, rows[1] + kept_low)
    inner = (max(first_low, kept[0] - window.radius), min(first_high, kept[1] + window.radius))
    mean = _smooth(
        _mean_over_maps(y, False),
        taps,
        (inner, columns_first),
        ((0, height), (0, width)),
        (top, 0),
    )
    v = y[:, inner[0] - top : inner[1] - top, slice(*columns_first)] - mean[..., None]
    variance = _smooth(
        _mean_over_maps(v, True),
        taps,
        (kept, columns_kept),
        ((first_low, first_high), columns_first),
        (inner[0], columns_first[0]),
    )
    sigma = np.sqrt(variance)
    left = columns_kept[0] - columns_first[0]
    right = left + columns_kept[1] - columns_kept[0]
    v = np.ascontiguousarray(v[:, kept[0] - inner[0] : kept[1] - inner[0], left:right])
    return v, sigma, _sum_columns(sigma)


@njit(nogil=True, cache=True)
def _sum_columns(sigma: Array) -> Array:
    images, rows, columns = sigma.shape
    out = np.empty((images, rows), np.float64)
    for i in range(images):
        for j in range(rows):
            total = 0.0
            for k in range(columns):
                total += sigma[i, j, k]
            out[i, j] = total
    return out


def mean_sigma(row_sums: Array, width: int) -> Array:
    """c: the mean of sigma per image from all rows' sums (image, row), added in row order."""
    total = np.zeros(len(row_sums))
    for row in range(row_sums.shape[1]):
        total += row_sums[:, row]
    return total / (row_sums.shape[1] * width)


def divide_contrast(v: Array, sigma: Array, c: Array, floor: float) -> Array:
    """``v / max(c, sigma)`` with c (image,) no less than ``floor``."""
    least = np.maximum(c, floor).astype(v.dtype)[:, None, None]
    return v / np.maximum(sigma, least)[..., None]


def normalise_field(y: Array, window: ContrastWindow, floor: float) -> Array:
    """All passes over a whole field (image, y, x, map), as one band."""
    height, width = y.shape[1:3]
    low, high = window.centres(height)[1]
    v, sigma, row_sums = subtract_mean(y, window, height, (0, high - low))
    columns = window.centres(width)[1]
    c = mean_sigma(row_sums, columns[1] - columns[0])
    return divide_contrast(v, sigma, c, floor)
