"""Tiles straight from a shard's file: its index, then every inner chunk into its place.

A shard (Zarr's codec ``sharding_indexed``) is inner chunks in any order, each with its CRC32C, and
at the end an index of where each lies, with a CRC32C of its own. An inner chunk is one tile of
consecutive images: the system reads it to where it belongs in the result, nothing is copied again.

References
----------
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from yfccdask.data.block_layout import GROUP, Layout
from yfccdask.errors import StoreError

CRC_BYTES, ENTRY_BYTES = 4, 16
ABSENT = 2**64 - 1  # as offset and length of an inner chunk that was never written
CODECS = ["sharding_indexed", ["bytes", "crc32c"], ["bytes", "crc32c"], "end"]


def shard_path(folder: str, block: int) -> str:
    """The file of a block's pixels."""
    return f"{folder}/{GROUP}/images/c/{block}/0/0/0"


def read_rows(file: int, layout: Layout, rows: slice, tile: tuple[int, int]) -> np.ndarray:
    """Read one tile of some images of a block.

    Parameters
    ----------
    file : int
        Descriptor of the block's shard, opened for reading.
    layout : Layout
    rows : slice
        Images of the block, start and stop.
    tile : tuple of int
        Row and column of the tile, counted in tiles.

    Returns
    -------
    numpy.ndarray
        The layout's dtype, little-endian, (image, tile, tile, channel).

    Raises
    ------
    ValueError
        The index or an inner chunk is not as it was written; says which.
    OSError
        The file can't be read.
    """
    depth, images = layout.chunk[0], rows.stop - rows.start
    values = np.empty((images, *layout.chunk[1:]), np.dtype(layout.dtype).newbyteorder("<"))
    entries = read_index(file, layout)[:, tile[0], tile[1]].tolist()
    for chunk in range(rows.start // depth, -(-rows.stop // depth)):
        start = chunk * depth - rows.start  # in values; an end chunk may lie partly outside
        try:
            _read_chunk(file, entries[chunk], values, start, start + depth)
        except ValueError as error:
            where = (chunk, *tile, 0)
            raise ValueError(f"inner chunk {where}: {error}") from None
    return values


def _read_chunk(file: int, entry: list[int], values: np.ndarray, start: int, stop: int) -> None:
    """Read an inner chunk into images ``start`` to ``stop`` of an array, those that it has."""
    image = values[0].nbytes
    expected = (stop - start) * image + CRC_BYTES
    offset, length = entry
    if length != expected:
        found = "none" if length == ABSENT else length
        raise ValueError(f"expected {expected} bytes in the index, found {found}")
    parts = [values[max(0, start) : stop]]
    if start < 0 or stop > len(values):  # images beside count for the CRC32C alone
        beside = (max(0, -start), max(0, stop - len(values)))
        before, after = (np.empty(images * image, np.uint8) for images in beside)
        parts = [before, *parts, after]
    _read_checked(file, offset, parts)


def read_index(file: int, layout: Layout) -> np.ndarray:
    """Read a shard's index from a file descriptor.

    Returns
    -------
    numpy.ndarray
        uint64 (images, rows, columns, 2), by inner chunk: offset and length in bytes.

    Raises
    ------
    ValueError
        It is not as it was written.
    """
    across = layout.size // layout.tile
    grid = (layout.block_size // layout.chunk[0], across, across)
    index = np.empty((*grid, 2), "<u8")
    try:
        _read_checked(file, os.fstat(file).st_size - index.nbytes - CRC_BYTES, [index])
    except ValueError as error:
        raise ValueError(f"index: {error}") from None
    return index


def _read_checked(file: int, offset: int, parts: list[np.ndarray]) -> None:
    """Read bytes that are followed by their CRC32C into arrays, one after another."""
    stored = np.empty(1, "<u4")
    plain = [part.reshape(-1).view(np.uint8) for part in (*parts, stored)]
    for each in plain:
        _read_whole(file, offset, each)
        offset += each.size
    require_crc(plain[:-1], int(stored[0]))


def require_crc(parts: list[np.ndarray], expected: int) -> None:
    """Check the CRC32C of bytes (uint8) in several arrays."""
    found = 0
    for part in parts:
        found = google_crc32c.extend(found, part)
    if found != expected:
        raise ValueError(f"expected CRC32C {expected:08x}, found {found:08x}")


def _read_whole(file: int, offset: int, plain: np.ndarray) -> None:
    """Read bytes into an array; the system may give them in pieces."""
    done = 0
    while done < plain.size:
        count = os.preadv(file, [plain[done:]], offset + done) if offset >= 0 else 0
        if not count:
            raise ValueError(f"expected {plain.size} bytes at {offset}, found {done}")
        done += count


def require_codecs(folder: str | Path, layout: Layout) -> None:
    """Check that a store's pixels are encoded as `read_rows` decodes them.

    Raises
    ------
    StoreError
        They are not: something else has written, or rewritten, this array.
    """
    path = Path(folder, GROUP, "images", "zarr.json")
    try:
        found = _encoding(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"expected the pixels' metadata in {path}, found damage ({error!r}): copy that store "
            "again or ingest again"
        ) from error
    expected = [layout.dtype, list(layout.shard), list(layout.chunk), *CODECS]
    if found != expected:
        raise StoreError(
            f"expected dtype, shard, inner chunk and codecs {expected} in {path}, found {found}: "
            "the array was written by something else, ingest again"
        )


def _encoding(metadata: dict[str, Any]) -> list[Any]:
    """Dtype, shard, inner chunk and codecs of a Zarr array, but for what can't differ."""
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    (codec,) = metadata["codecs"]
    inner = codec["configuration"]
    names = [[each["name"] for each in inner[key]] for key in ("codecs", "index_codecs")]
    endings = {each.get("configuration", {}).get("endian", "little") for each in inner["codecs"]}
    where = inner.get("index_location", "end") if endings == {"little"} else f"{endings}-endian"
    return [metadata["data_type"], shard, inner["chunk_shape"], codec["name"], *names, where]
