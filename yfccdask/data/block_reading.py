"""Reading a data block from its files, with a look first whether they are whole: what tasks run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.data.block_layout import GROUP, Part, store_attributes
from yfccdask.errors import StoreError


def read_tile(part: Part, top: int, left: int) -> np.ndarray:
    """Read one tile of every image of a block: (images, tile, tile, channels)."""
    rows, columns = (slice(start, start + part.layout.tile) for start in (top, left))
    return read_values([part], "images", lambda array: array[part.rows, rows, columns])


def read_moments(part: Part) -> np.ndarray:
    """Read mean and deviation of every image of a block: float32 (images, 2)."""
    names = ("mean", "deviation")
    return np.stack([read_values([part], name, lambda a: a[part.rows]) for name in names], axis=1)


def read_values(parts: list[Part], name: str, read: Callable[[Any], Any]) -> np.ndarray:
    """Read from an array after a look whether the files that this touches are whole.

    Zarr reads what is missing as zeros, so the look is ours.
    """
    for part in parts:
        _require_file(part, name)
    folder = parts[0].path
    try:
        return np.asarray(read(_array(folder, name, parts[0].digest, _stamp(folder))))
    except ValueError as error:
        blocks = [part.number for part in parts]
        raise StoreError(
            f"expected whole data in {name}, block {blocks} of {folder}, found damage ({error}): "
            "copy that store again or ingest again"
        ) from error


def _require_file(part: Part, name: str) -> None:
    """Check that a block's file of one array is there, and a shard as long as it must be."""
    deep = "/0/0/0" if name == "images" else ""
    path = Path(part.path, GROUP, name, "c", f"{part.number}{deep}")
    least = part.layout.shard_bytes(part.images) if name == "images" else 1
    found = path.stat().st_size if path.is_file() else 0
    if found < least:
        raise StoreError(
            f"expected at least {least} bytes in {path}, found {found}: the store has lost data, "
            "copy it again or ingest again"
        )


def _stamp(folder: str) -> tuple[int, int]:
    """Tell a store from another one that has taken its place under the same path."""
    try:
        found = Path(folder, GROUP, "zarr.json").stat()
    except OSError as error:
        raise StoreError(f"expected a store at {folder}, found none: was it moved?") from error
    return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=64)
def _array(folder: str, name: str, digest: str, stamp: tuple[int, int]) -> Any:
    """Open an array, once per process and store."""
    if (found := store_attributes(Path(folder)).get("digest")) != digest:
        raise StoreError(
            f"expected the store {digest[:16]} at {folder}, found {str(found)[:16]}: it was "
            "replaced, open it again"
        )
    return zarr.open_array(Path(folder, GROUP, name), mode="r", zarr_format=3)
