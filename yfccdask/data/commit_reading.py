"""A commit's arrays, read in any chunks, each checked on the way: damage names array and chunk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.data.commit_checks import in_words
from yfccdask.data.commits import array_shapes, chunk_file
from yfccdask.errors import DamagedCommit
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics.local_visits import State

Region = tuple[slice, ...]
READ_ERRORS = (ValueError, TypeError, KeyError, IndexError, RuntimeError, OSError)


def read_state(path: Path, layer: LayerGeometry, where: dict[str, slice]) -> State:
    """A part of a layer's group, whatever chunks it was written in.

    Raises
    ------
    DamagedCommit
        If a chunk is gone or doesn't have its checksum; it names layer, array and chunk.
    """
    shapes = array_shapes(layer)
    regions = {
        name: tuple(where[part] for part in dimensions) for name, (dimensions, _) in shapes.items()
    }
    return State(**{name: read_array(path, name, region) for name, region in regions.items()})


def read_array(path: Path, name: str, region: Region) -> np.ndarray:
    """A region of an array of a layer's group.

    Raises
    ------
    DamagedCommit
        Where a chunk isn't as it was written.
    """
    array = open_array(path, name)
    chunks = list(_chunks_of(array, region))
    missing = [index for index in chunks if not chunk_file(path, name, index).is_file()]
    if missing:  # zarr would read zeros
        raise _damaged(path, chunk_file(path, name, missing[0]), "found no such file")
    try:
        return np.ascontiguousarray(array[region])
    except READ_ERRORS as error:
        where = chunk_file(path, name, _unreadable(array, chunks))
        raise _damaged(path, where, f"found {error}") from None


def open_array(path: Path, name: str) -> Any:
    """An array of a layer's group, lazily.

    Raises
    ------
    DamagedCommit
        If its metadata can't be read.
    """
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)[name]
    except READ_ERRORS as error:
        raise _damaged(path, path / name / "zarr.json", f"found {error}") from None


def _chunks_of(array: Any, region: Region) -> Iterator[tuple[int, ...]]:
    """The indices of the chunks that a region touches."""
    touched = []
    for part, size, chunk in zip(region, array.shape, array.chunks, strict=True):
        start, stop, _ = part.indices(size)
        touched.append(range(start // chunk, -(-stop // chunk)))
    return product(*touched)


def chunk_regions(array: Any) -> Iterator[Region]:
    """What every chunk of an array holds, in order."""
    for index in _chunks_of(array, (slice(None),) * array.ndim):
        yield tuple(
            slice(number * chunk, min((number + 1) * chunk, size))
            for number, chunk, size in zip(index, array.chunks, array.shape, strict=True)
        )


def _unreadable(array: Any, chunks: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The first chunk that can't be read by itself."""
    for index in chunks:
        try:
            array.get_block_selection(index)
        except READ_ERRORS:
            return index
    return chunks[0]


def _damaged(group: Path, file: Path, found: str) -> DamagedCommit:
    name = file.relative_to(group.parent).as_posix()
    return DamagedCommit(
        f"{group.parent}: {in_words(name)} ({name}): expected it as it was written, {found}"
    )
