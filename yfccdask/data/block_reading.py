"""Reading a data block from its files, with a look first whether they are whole: what tasks run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.data.block_layout import GROUP, Layout, Part, store_attributes
from yfccdask.data.shards import read_rows, require_codecs, shard_path
from yfccdask.errors import StoreError


def read_tile(part: Part, top: int, left: int) -> np.ndarray:
    """Read one tile of every image of a block: (images, tile, tile, channels)."""
    return read_images(part, slice(0, part.images), top, left)


def read_images(part: Part, rows: slice, top: int, left: int) -> np.ndarray:
    """Read one tile of some images of a block (``rows``, counted in it), without Zarr: ADR 17."""
    _require_store(part.path, part.digest, _stamp(part.path), part.layout)
    path, tile = shard_path(part.path, part.number), part.layout.tile
    try:
        with open(path, "rb", buffering=0) as file:
            _require_length(path, os.fstat(file.fileno()).st_size, part.shard_bytes)
            return read_rows(file.fileno(), part.layout, rows, (top // tile, left // tile))
    except ValueError as error:
        raise _damage([part], "images", error) from error
    except (FileNotFoundError, NotADirectoryError):
        raise _loss(path, 0, part.shard_bytes) from None
    except OSError as error:
        raise StoreError(
            f"expected to read {path}, found {error}: look after its disk, then run again"
        ) from error


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
        raise _damage(parts, name, error) from error


def _damage(parts: list[Part], name: str, error: ValueError) -> StoreError:
    """What to say of data that is not as it was written."""
    blocks = [part.number for part in parts]
    return StoreError(
        f"expected whole data in {name}, block {blocks} of {parts[0].path}, found damage "
        f"({error}): copy that store again or ingest again"
    )


def _require_file(part: Part, name: str) -> None:
    """Check that a block's file of one array is there, and a shard as long as it must be."""
    path, least = f"{part.path}/{GROUP}/{name}/c/{part.number}", 1
    if name == "images":
        path, least = shard_path(part.path, part.number), part.shard_bytes
    _require_length(path, os.stat(path).st_size if os.path.isfile(path) else 0, least)


def _require_length(path: str, found: int, least: int) -> None:
    if found < least:
        raise _loss(path, found, least)


def _loss(path: str, found: int, least: int) -> StoreError:
    """What to say of a file that is missing or too short."""
    return StoreError(
        f"expected at least {least} bytes in {path}, found {found}: the store has lost data, "
        "copy it again or ingest again"
    )


def _stamp(folder: str) -> tuple[int, int]:
    """Tell a store from another one that has taken its place under the same path."""
    try:
        found = os.stat(f"{folder}/{GROUP}/zarr.json")
    except OSError as error:
        raise StoreError(f"expected a store at {folder}, found none: was it moved?") from error
    return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=64)
def _array(folder: str, name: str, digest: str, stamp: tuple[int, int]) -> Any:
    """Open an array, once per process and store."""
    _require_digest(folder, digest)
    return zarr.open_array(Path(folder, GROUP, name), mode="r", zarr_format=3)


@lru_cache(maxsize=64)
def _require_store(folder: str, digest: str, stamp: tuple[int, int], layout: Layout) -> None:
    """Check that a store is the one that is meant, once per process and store."""
    _require_digest(folder, digest)
    require_codecs(folder, layout)


def _require_digest(folder: str, digest: str) -> None:
    """Check that a folder holds the store that is meant."""
    if (found := store_attributes(Path(folder)).get("digest")) != digest:
        raise StoreError(
            f"expected the store {digest[:16]} at {folder}, found {str(found)[:16]}: it was "
            "replaced, open it again"
        )
