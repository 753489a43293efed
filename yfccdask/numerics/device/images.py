"""Contrast and whitening of stored pixels on a device, in one pass: the filter is applied directly.

A 17 x 17 x 3 filter is small enough to stay in a block's shared memory, beside the pixels that the
block reads; a transform would need the images as planes, several times over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yfccdask.backend.device import Library
from yfccdask.numerics.device.visits import FLOAT, THREADS

Array = Any
TOGETHER = 4  # output maps per pass
TILE = 32  # pixels per block, downwards and across
Edges = tuple[tuple[int, int], ...]


def contrast_on_device(library: Library, images: Array, gain: Array, shift: Array) -> Array:
    """``gain x + shift`` per image, float32 (image, y, x, channel) on the device.

    ``images`` are uint8 or uint16, on the host or the device; ``gain`` and ``shift`` (image,) are
    the host's.
    """
    images = library.upload(images)
    out = library.empty(images.shape, FLOAT)
    size = images[0].size
    given = (images, size, *_uploaded(library, gain, shift), out)
    blocks = (-(-size // THREADS), len(images))
    library.launch(f"contrast_{images.dtype.name}", blocks, THREADS, given)
    return out


def whitened_on_device(
    library: Library,
    images: Array,
    gain: Array,
    shift: Array,
    whitening: np.ndarray[Any, Any],
    mirror: Edges,
) -> Array:
    """Contrast, then the whitening filter, over the pixels where it fits whole.

    Parameters are as in `contrast_on_device` and `yfccdask.numerics.whitening.filter_images`.
    """
    images = library.upload(images)
    (top, bottom), (left, right) = mirror
    count, height, width, channels = images.shape
    fy, fx, _, maps = whitening.shape
    size = height + top + bottom - fy + 1, width + left + right - fx + 1
    out = library.empty((count, *size, maps), FLOAT)
    factors = _uploaded(library, gain, shift)
    blocks = (-(-size[1] // TILE), -(-size[0] // TILE), count)
    pixels = channels * (TILE - 1 + fy) * (TILE - 1 + fx)
    shared = 4 * (TOGETHER * fy * fx * channels + pixels)
    for first in range(0, maps, TOGETHER):
        weights = _four_maps(library, whitening, first)
        given = (images, height, width, channels, *factors, weights, fy, fx, top, left)
        name = f"whiten_{images.dtype.name}"
        library.launch(name, blocks, THREADS, (*given, *size, maps, first, out), shared)
    return out


def _four_maps(library: Library, whitening: np.ndarray[Any, Any], first: int) -> Array:
    """Four of a filter's maps from ``first`` on, (fy, fx, channel, 4), or zeros in their place."""
    weights = np.zeros((*whitening.shape[:3], TOGETHER), FLOAT)
    some = whitening[..., first : first + TOGETHER]
    weights[..., : some.shape[3]] = some
    return library.upload(weights)


def _uploaded(library: Library, *arrays: np.ndarray[Any, Any]) -> tuple[Array, ...]:
    return tuple(library.upload(np.asarray(array, FLOAT)) for array in arrays)
