"""From a stored block to the field that layer 1 reads: contrast and whitening on the fly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize

from yfccdask.backend.device import library_for
from yfccdask.geometry import Rectangle
from yfccdask.graph.pieces import array_from_tasks, field_layout, pieces_of
from yfccdask.numerics.device.images import contrast_on_device, whitened_on_device
from yfccdask.numerics.fields import stitch
from yfccdask.numerics.whitening import contrast_factors, filter_images, normalise_contrast


class ContrastScale(NamedTuple):
    """What contrast normalisation divides by: a floor as a share of ``full`` scale."""

    floor: float
    full: float


def preprocess(
    images: da.Array,
    moments: da.Array,
    contrast: ContrastScale,
    whitening: da.Array | None,
    dtype: Any,
    workers: Mapping[tuple[int, int], str] | None = None,
    device: str = "cpu",
) -> da.Array:
    """The preprocessed field of a block, chunked in space as the block is stored.

    Chunks are the store's, not the plan's: the transforms' sizes, and so the bits, depend on them.

    Parameters
    ----------
    images : dask array (image, y, x, channel) of uint8 or uint16
    moments : dask array (image, 2)
        Mean and deviation of every image, in stored units.
    contrast : ContrastScale
    whitening : dask array (fy, fx, channel, channel) in one chunk, or None
    workers : mapping, optional
        The address of the worker that makes each tile (row, column).
    device : "cpu" or "gpu"
        Where the field is made, and lies.

    Returns
    -------
    dask array (image, y, x, channel) of ``dtype``
    """
    layout = field_layout(images)
    kind = None if whitening is None else whitening.name
    name = f"preprocessed-{tokenize(images.name, contrast, kind, np.dtype(dtype).name, device)}"
    halo = 0 if whitening is None else whitening.shape[0] // 2
    white = None if whitening is None else TaskRef((whitening.name, 0, 0, 0, 0))
    tasks = {}
    for index, place in layout.places.items():
        key = (name, 0, *index, 0)
        region = place.grown(halo, layout.whole)
        pieces, places = pieces_of(images, region)
        edges = mirrored_edges(place, layout.whole, halo)
        reference = TaskRef((moments.name, 0, 0))
        where = (places, region, edges)
        how = (contrast, dtype, device)
        tasks[key] = Task(key, make_tile, pieces, reference, white, *where, *how)
    dependencies = [images, moments] if whitening is None else [images, moments, whitening]
    pins = {(name, 0, *index, 0): address for index, address in (workers or {}).items()}
    return array_from_tasks(name, tasks, dependencies, images.chunks, dtype, pins)


def mirrored_edges(place: Rectangle, whole: Rectangle, halo: int) -> tuple[tuple[int, int], ...]:
    """Mirrored pixels that each side of a tile needs because the image ends there."""
    return (
        (max(0, whole.top - place.top + halo), max(0, place.bottom + halo - whole.bottom)),
        (max(0, whole.left - place.left + halo), max(0, place.right + halo - whole.right)),
    )


def make_tile(
    pieces: list[np.ndarray],
    moments: np.ndarray,
    whitening: np.ndarray | None,
    places: tuple[Rectangle, ...],
    region: Rectangle,
    edges: tuple[tuple[int, int], ...],
    contrast: ContrastScale,
    dtype: Any,
    device: str = "cpu",
) -> np.ndarray:
    """Task: one tile of the preprocessed field (image, y, x, channel)."""
    images, library = stitch(pieces, places, region), library_for(device)
    if library.on_device:
        factors = contrast_factors(moments[:, 0], moments[:, 1], *contrast, dtype)
        if whitening is None:
            return contrast_on_device(library, images, *factors)
        return whitened_on_device(library, images, *factors, whitening, edges)
    field = normalise_contrast(images, moments[:, 0], moments[:, 1], *contrast, dtype)
    if whitening is None:
        return field
    return filter_images(field, whitening, edges)
