"""The block store, format version 2: images in shards that are cut as the model is.

`STORE/images.zarr` is a Zarr v3 group that plain xarray opens. Its array ``images`` (image, y,
x, channel) holds one shard per data block; within a shard the inner chunks are spatial tiles,
uncompressed, each with a CRC32C. Block b is the rows ``[b * block_size, b * block_size +
block_images[b])``: a block that isn't full is the last one, or the last before something was
added. `STORE/status.parquet`, a folder of parts, has one row per file that was seen.

A store is written as `STORE.partial`, flushed to the disk and renamed: it is whole or absent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from dask._task_spec import Task

from yfccdask.data.block_layout import (
    FORMAT,
    GROUP,
    STATUS,
    VERSION,
    Layout,
    Part,
    store_attributes,
    store_digest,
)
from yfccdask.data.block_reading import read_moments, read_tile, read_values
from yfccdask.data.plain_texts import facts_html
from yfccdask.data.status_tables import read_status
from yfccdask.errors import StoreError

__all__ = ["BlockStore", "Layout", "block", "block_moments", "open_store"]


@dataclass(frozen=True)
class BlockStore:
    """A finished store: where it lies and its shape, no arrays. Cheap, and safe to pickle.

    Attributes
    ----------
    path : str
        Absolute path of the store's folder.
    layout : Layout
        Also as ``block_size``, ``size``, ``channels`` and ``dtype``.
    counts : tuple of int
        Real images in each block.
    digest : str
        SHA-256 over format, shape and the digests of all blocks: the store's identity.
    """

    path: str
    layout: Layout
    counts: tuple[int, ...]
    digest: str

    @property
    def block_size(self) -> int:
        return self.layout.block_size

    @property
    def size(self) -> int:
        return self.layout.size

    @property
    def channels(self) -> int:
        return self.layout.channels

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.layout.dtype)

    @property
    def blocks(self) -> int:
        return len(self.counts)

    @property
    def images(self) -> int:
        """All real images."""
        return sum(self.counts)

    def block_images(self, b: int) -> int:
        """Count the real images of block ``b``."""
        if not 0 <= b < self.blocks:
            raise StoreError(f"expected a block in 0..{self.blocks - 1} of {self.path}, found {b}")
        return self.counts[b]

    def part(self, b: int) -> Part:
        """Say all that a task needs to read block ``b``."""
        return Part(self.path, self.digest, self.layout, b, self.block_images(b))

    def ids(self, indices: Sequence[int]) -> list[str]:
        """Look up the ids of the images at these global rows."""
        return self._texts("image_id", indices)

    def credits(self, indices: Sequence[int]) -> list[str]:
        """Look up whom to credit for the images at these global rows."""
        return self._texts("credit", indices)

    def licences(self, indices: Sequence[int]) -> list[str]:
        """Look up the licences of the images at these global rows."""
        return self._texts("licence", indices)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Read some images.

        Parameters
        ----------
        indices : sequence of int
            Global rows, in any order, with or without repeats.

        Returns
        -------
        numpy.ndarray
            The store's dtype, (n, size, size, channels).

        Raises
        ------
        StoreError
            A row is outside the blocks, or a shard is missing or damaged.
        """
        return _rows(self, "images", indices)

    def status(self) -> pd.DataFrame:
        """Read what became of every file that was seen, part after part, each sorted by id."""
        return pd.concat(read_status(Path(self.path)), ignore_index=True)

    def rows(self) -> np.ndarray:
        """Number the real images: int64 (images,), global rows in order."""
        starts = range(0, self.blocks * self.block_size, self.block_size)
        pairs = zip(starts, self.counts, strict=True)
        return np.concatenate([np.arange(start, start + count) for start, count in pairs])

    def block_digests(self) -> list[str]:
        """Read the SHA-256 of every block's pixels."""
        return read_digests(Path(self.path))

    def attributes(self) -> dict[str, Any]:
        """Read the group's attributes: how the store was made."""
        return store_attributes(Path(self.path))

    def dataset(self) -> xr.Dataset:
        """Open everything lazily, chunked as the blocks are."""
        tile = self.layout.tile
        chunks = {"image": self.block_size, "y": tile, "x": tile, "channel": self.channels}
        return xr.open_zarr(Path(self.path, GROUP), chunks=chunks, consolidated=True)

    def _texts(self, name: str, indices: Sequence[int]) -> list[str]:
        return [str(text) for text in _rows(self, name, indices)]

    def _facts(self) -> dict[str, str]:
        shape = f"{self.size} x {self.size} x {self.channels} {self.dtype}"
        return {
            "path": self.path,
            "images": f"{self.images:,}, each {shape}",
            "blocks": f"{self.blocks} of up to {self.block_size}",
            "digest": self.digest[:16],
        }

    def __repr__(self) -> str:
        return f"<BlockStore {', '.join(f'{k}: {v}' for k, v in self._facts().items())}>"

    def _repr_html_(self) -> str:
        return facts_html("yfccdask block store", self._facts().items())


def open_store(path: BlockStore | str | os.PathLike[str]) -> BlockStore:
    """Open a finished store.

    Raises
    ------
    StoreError
        There is no store, it is not finished, of another version, or its parts disagree.
    """
    if isinstance(path, BlockStore):
        return path
    folder = Path(os.path.abspath(path))
    attributes = store_attributes(folder)
    if attributes.get("format") != FORMAT:
        raise StoreError(f"expected a {FORMAT} store at {folder}, found another Zarr group")
    if (found := attributes.get("format_version")) != VERSION:
        raise StoreError(
            f"expected format_version {VERSION} in {folder}, found {found}: "
            "use the yfccdask that wrote it, or ingest again"
        )
    if "digest" not in attributes or not (folder / STATUS).is_dir():
        raise StoreError(f"expected a finished store at {folder}, found parts of one: ingest again")
    layout = Layout(*(attributes[key] for key in ("block_size", "size", "channels", "dtype")))
    group = zarr.open_group(folder / GROUP, mode="r")
    counts = tuple(int(n) for n in group["block_images"][:])
    if store_digest(layout, counts, read_digests(folder)) != attributes["digest"]:
        raise StoreError(
            f"expected the block digests of {folder} to add up to {attributes['digest']}, found "
            "others: if an ingest that added to it was killed, run it again; else the store's "
            "metadata is damaged, take a copy or ingest again"
        )
    return BlockStore(str(folder), layout, counts, attributes["digest"])


def read_digests(folder: Path) -> list[str]:
    """Read the SHA-256 of every block's pixels from a store's folder."""
    digests: Any = zarr.open_array(folder / GROUP / "block_digest", mode="r", zarr_format=3)[:]
    return [str(text) for text in digests]


def block(store: BlockStore, b: int) -> da.Array:
    """Read one data block lazily: one task per stored tile, over all images of the block.

    Parameters
    ----------
    store : BlockStore
    b : int
        Number of the block.

    Returns
    -------
    dask.array.Array
        The store's dtype, (image, y, x, channel), the block's real images only; chunks of
        (images, tile, tile, channels). Keys depend on the store's digest and ``b`` alone.

    Raises
    ------
    StoreError
        There is no such block; on computing, a shard is missing or damaged.
    """
    part, tile = store.part(b), store.layout.tile
    count = store.size // tile
    name = f"image-block-{store.digest[:32]}-{b}"
    tasks = [
        Task((name, 0, i, j, 0), read_tile, part, i * tile, j * tile)
        for i in range(count)
        for j in range(count)
    ]
    chunks = ((part.images,), (tile,) * count, (tile,) * count, (store.channels,))
    meta = np.empty((0, 0, 0, 0), dtype=store.dtype)
    return da.Array({task.key: task for task in tasks}, name, chunks, meta=meta)


def block_moments(store: BlockStore, b: int) -> da.Array:
    """Read the moments of one data block's images lazily, in one task.

    Returns
    -------
    dask.array.Array
        float32 (image, 2): mean and deviation over all pixels and channels, in stored units.
    """
    part = store.part(b)
    name = f"image-moments-{store.digest[:32]}-{b}"
    task = Task((name, 0, 0), read_moments, part)
    meta = np.empty((0, 0), dtype=np.float32)
    return da.Array({task.key: task}, name, ((part.images,), (2,)), meta=meta)


def _rows(store: BlockStore, name: str, indices: Sequence[int]) -> np.ndarray:
    """Read some rows of one of the per-image arrays, in the order that was asked for."""
    rows, place = np.unique(np.asarray(indices, dtype=np.int64).ravel(), return_inverse=True)
    blocks, within = np.divmod(rows, store.block_size)
    counts = np.array([*store.counts, 0])[np.clip(blocks, -1, store.blocks)]
    if (bad := rows[within >= counts]).size:
        raise StoreError(
            f"expected rows of the {store.images} real images of {store.path}, found {bad[0]}"
        )
    parts = [store.part(b) for b in np.unique(blocks).tolist()] or [store.part(0)]
    return read_values(parts, name, lambda array: array.oindex[rows])[place]
