"""What the whitening filter is fitted on: patches sampled from a few blocks, as one moment."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.backend import use_one_blas_thread
from yfccdask.geometry import Rectangle
from yfccdask.graph.images import ContrastScale
from yfccdask.graph.pieces import array_from_tasks, field_layout, pieces_of
from yfccdask.numerics.fields import stitch
from yfccdask.numerics.whitening import (
    normalise_contrast,
    sample_patches,
    second_moment,
    whitening_filter,
)

GROUP = 1000  # patches that are cut out at once


def patch_moment(
    name: str,
    blocks: list[tuple[da.Array, da.Array]],
    contrast: ContrastScale,
    patch: int,
    samples: int,
    seed: int,
) -> da.Array:
    """The mean of ``x x^T`` over patches sampled evenly from blocks, added in block order.

    Parameters
    ----------
    name : str
    blocks : list of (images, moments)
        Blocks (image, y, x, channel) and their images' mean and deviation (image, 2).
    contrast : ContrastScale
    patch : int
        Height and width of a patch.
    samples : int
        Patches in all.
    seed : int

    Returns
    -------
    dask array (D, D) of float64, D = patch * patch * channel
    """
    count = -(-samples // len(blocks))
    tasks, dependencies = {}, []
    for number, (images, moments) in enumerate(blocks):
        whole = field_layout(images).whole
        pieces, places = pieces_of(images, whole)
        key = (f"patches-{name}", number)
        reference = TaskRef((moments.name, 0, 0))
        how = (contrast, patch, count, (seed, number))
        tasks[key] = Task(key, block_moment, pieces, reference, places, whole, *how)
        dependencies += [images, moments]
    inputs = patch * patch * blocks[0][0].shape[3]
    every = List(*(TaskRef(key) for key in tasks))
    tasks[(name, 0, 0)] = Task((name, 0, 0), mean_moment, every, count * len(blocks))
    return array_from_tasks(name, tasks, dependencies, ((inputs,), (inputs,)), np.float64)


def fitted_filter(name: str, moment: da.Array, patch: int, floor: float) -> da.Array:
    """The whitening filter of a moment, fitted by one task with one BLAS thread.

    Returns
    -------
    dask array (patch, patch, channel_in, channel_out) of float64
        Zeros where the moment is zero: the images are blank.
    """
    channels = moment.shape[0] // (patch * patch)
    key = (name, 0, 0, 0, 0)
    task = Task(key, fit, TaskRef((moment.name, 0, 0)), patch, floor)
    chunks = ((patch,), (patch,), (channels,), (channels,))
    return array_from_tasks(name, {key: task}, [moment], chunks, np.float64)


def fit(moment: np.ndarray, patch: int, floor: float) -> np.ndarray:
    """Task: the filter; the bits of an eigendecomposition depend on the number of threads."""
    use_one_blas_thread()
    return whitening_filter(moment, patch, floor)


def block_moment(
    pieces: list[np.ndarray],
    moments: np.ndarray,
    places: tuple[Rectangle, ...],
    whole: Rectangle,
    contrast: ContrastScale,
    patch: int,
    count: int,
    seed: tuple[int, int],
) -> np.ndarray:
    """Task: ``sum x x^T`` over ``count`` patches of one block, a few images at a time."""
    use_one_blas_thread()
    limits = np.array([len(pieces[0]), whole.height - patch + 1, whole.width - patch + 1])
    corners = np.random.default_rng(seed).integers(limits, size=(count, 3))
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    total: Any = 0
    for start in range(0, count, GROUP):
        group = corners[start : start + GROUP]
        used, group[:, 0] = np.unique(group[:, 0], return_inverse=True)
        images = stitch([piece[used] for piece in pieces], places, whole)
        fields = normalise_contrast(images, *moments[used].T, *contrast, np.float32)
        total = total + second_moment(sample_patches(fields, group, patch))
    return total


def mean_moment(sums: list[np.ndarray], samples: int) -> np.ndarray:
    """Task: the mean over all blocks' patches, added in block order."""
    total: Any = np.zeros_like(sums[0])
    for part in sums:
        total += part
    return total / samples
