"""What excites a unit most: its k strongest images, and the moments of its responses.

Images are ranked by larger value, then by smaller number, so a list is the same whatever order
the images come in and however they are cut into parts that are merged later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
COUNT, SUM, SQUARES, LEAST = range(4)  # along the last axis of moments


class Strongest(NamedTuple):
    """The strongest images of every unit, best first.

    values : (..., unit, rank)
        In the layer's units; a response that is not a number counts as minus infinity.
    images : (..., unit, rank) of int64
    """

    values: Array
    images: Array


class Summary(NamedTuple):
    """All that a pass keeps of a unit's responses.

    strongest : Strongest
    moments : (..., unit, 4) of float64
        Count, sum, sum of squares and least value.
    """

    strongest: Strongest
    moments: Array


def strongest_of(codes: Array, images: Array, k: int) -> Strongest:
    """The k strongest images of every unit; all of them where there are fewer.

    Parameters
    ----------
    codes : array (unit, image)
    images : array (image,) of int64
        Their numbers, each only once, in any order.
    k : int

    Examples
    --------
    >>> strongest_of(np.array([[1.0, 3.0, 3.0]]), np.array([7, 6, 5]), 2).images
    array([[5, 6]])
    """
    if np.any(np.diff(images) < 0):
        order = np.argsort(images)
        codes, images = codes[:, order], images[order]
    codes = np.where(np.isnan(codes), codes.dtype.type(-np.inf), codes)
    columns = np.nonzero(_chosen(codes, min(k, len(images))))[1].reshape(len(codes), -1)
    values = np.take_along_axis(codes, columns, axis=1)
    best_first = np.argsort(-values, axis=1, kind="stable")
    columns = np.take_along_axis(columns, best_first, axis=1)
    return Strongest(np.take_along_axis(codes, columns, axis=1), images[columns])


def _chosen(codes: Array, k: int) -> Array:
    """Which k images of every unit to keep; of equal ones at the threshold the first."""
    place = codes.shape[1] - k
    threshold = np.partition(codes, place, axis=1)[:, place, None]
    above, equal = codes > threshold, codes == threshold
    wanted = k - above.sum(axis=1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= wanted))


def merge_strongest(first: Strongest, second: Strongest, k: int) -> Strongest:
    """The k strongest of two lists over different images; any order of merging gives the same."""
    values = np.concatenate([first.values, second.values], axis=-1)
    images = np.concatenate([first.images, second.images], axis=-1)
    order = np.lexsort((images, -values), axis=-1)[..., :k]
    return Strongest(*(np.take_along_axis(part, order, axis=-1) for part in (values, images)))


def unit_moments(codes: Array) -> Array:
    """Count, sum, sum of squares and least value of every unit, float64 (unit, 4).

    Parameters
    ----------
    codes : array (unit, image), C order
        Each unit's values lie together, so its sums don't depend on how many units there are.
    """
    wide = np.ascontiguousarray(codes, dtype=np.float64)
    out = np.empty((len(wide), 4))
    out[:, COUNT] = wide.shape[1]
    out[:, SUM] = wide.sum(axis=1)
    out[:, SQUARES] = np.square(wide).sum(axis=1)
    out[:, LEAST] = wide.min(axis=1)
    return out


def merge_moments(first: Array, second: Array) -> Array:
    """The moments of two parts together; merge in a fixed order for the same last bits."""
    out = first + second
    out[..., LEAST] = np.minimum(first[..., LEAST], second[..., LEAST])
    return out


def mean_and_deviation(moments: Array, largest: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of every unit, float64 (..., unit).

    Parameters
    ----------
    moments : array (..., unit, 4)
    largest : array (..., unit)
        Every unit's largest value: where it is also the least, the deviation is exactly 0.
    """
    mean = moments[..., SUM] / moments[..., COUNT]
    variance = moments[..., SQUARES] / moments[..., COUNT] - mean * mean
    constant = moments[..., LEAST] == largest
    return mean, np.where(constant, 0.0, np.sqrt(np.maximum(variance, 0.0)))


def summarise(field: Array, tile: tuple[int, int], first: int, k: int) -> Summary:
    """Summarise a chunk of a layer's output field over its images.

    Parameters
    ----------
    field : array (image, y, x, map)
        Tiles of ``s = alpha W x``, as the forward pass lays them out.
    tile : (int, int)
        Pixels that a position writes.
    first : int
        Number of the first image; the others follow.
    k : int

    Returns
    -------
    Summary
        Over (grid_y, grid_x, unit).
    """
    count, (height, width) = len(field), tile
    grid = (field.shape[1] // height, field.shape[2] // width)
    images = np.arange(first, first + count, dtype=np.int64)
    parts = []
    for y, x in np.ndindex(grid):
        written = field[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
        codes = np.ascontiguousarray(written.reshape(count, -1).T)
        best = strongest_of(codes, images, k)
        parts.append((best.values, best.images, unit_moments(codes)))
    values, images, moments = (
        np.stack(part).reshape(*grid, *part[0].shape) for part in zip(*parts, strict=True)
    )
    return Summary(Strongest(values, images), moments)


def merge(first: Summary, second: Summary, k: int) -> Summary:
    """Two summaries over different images as one; ``first`` lies before ``second``."""
    return Summary(
        merge_strongest(first.strongest, second.strongest, k),
        merge_moments(first.moments, second.moments),
    )
