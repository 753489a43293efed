"""The block store, format version 1: images in shards that are cut as the model is.

`STORE/images.zarr` is a Zarr v3 group that plain xarray opens. Its array ``images`` (image, y,
x, channel) holds one shard per data block; within a shard the inner chunks are spatial tiles,
uncompressed, each with a CRC32C. Block b is the rows ``[b * block_size, b * block_size +
block_images[b])``. `STORE/status.parquet` has one row per file that was seen.

A store is written as `STORE.partial`, flushed to the disk and renamed: it is whole or absent.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from dask._task_spec import Task

from yfccdask.errors import StoreError

FORMAT = "yfccdask-blocks"
VERSION = 1
GROUP, STATUS = "images.zarr", "status.parquet"


@dataclass(frozen=True)
class Layout:
    """What fixes a store's files: images per block, pixels per side, channels and dtype."""

    block_size: int
    size: int
    channels: int
    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in ("uint8", "uint16"):
            raise StoreError(f"expected uint8 or uint16 images, found {self.dtype}: convert them")
        if min(self.block_size, self.size, self.channels) < 1:
            raise StoreError(
                f"expected a block_size, size and channels of at least 1, found {self}"
            )

    @property
    def tile(self) -> int:
        """Pixels per dimension of a tile: the largest divisor of size in 16..64, else size."""
        return max((t for t in range(16, 65) if self.size % t == 0), default=self.size)

    @property
    def chunk(self) -> tuple[int, int, int, int]:
        """Shape of an inner chunk: its images are the largest divisor of block_size <= 192."""
        images = max(n for n in range(1, 193) if self.block_size % n == 0)
        return (images, self.tile, self.tile, self.channels)

    @property
    def shard(self) -> tuple[int, int, int, int]:
        return (self.block_size, self.size, self.size, self.channels)

    def shard_bytes(self, images: int) -> int:
        """Bytes of the shard file of a block of so many images, whatever its pixels."""
        per_row, depth = (self.size // self.tile) ** 2, self.chunk[0]
        chunk = int(np.prod(self.chunk)) * np.dtype(self.dtype).itemsize + 4
        index = 16 * per_row * (self.block_size // depth) + 4
        return -(-images // depth) * per_row * chunk + index


@dataclass(frozen=True)
class Part:
    """One data block of a store, as its tasks are told of it."""

    path: str
    digest: str
    layout: Layout
    number: int
    images: int

    @property
    def rows(self) -> slice:
        start = self.number * self.layout.block_size
        return slice(start, start + self.images)


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
        """Read what became of every file that was seen."""
        return pd.read_parquet(Path(self.path, STATUS))

    def attributes(self) -> dict[str, Any]:
        """Read the group's attributes: how the store was made."""
        return _attributes(Path(self.path))

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
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td>{html.escape(text)}</td></tr>"
            for name, text in self._facts().items()
        )
        return f"<table><caption>yfccdask block store</caption>{rows}</table>"


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
    attributes = _attributes(folder)
    if attributes.get("format") != FORMAT:
        raise StoreError(f"expected a {FORMAT} store at {folder}, found another Zarr group")
    if (found := attributes.get("format_version")) != VERSION:
        raise StoreError(
            f"expected format_version {VERSION} in {folder}, found {found}: "
            "use the yfccdask that wrote it, or ingest again"
        )
    if "digest" not in attributes or not (folder / STATUS).is_file():
        raise StoreError(f"expected a finished store at {folder}, found parts of one: ingest again")
    layout = Layout(*(attributes[key] for key in ("block_size", "size", "channels", "dtype")))
    group = zarr.open_group(folder / GROUP, mode="r")
    counts = tuple(int(n) for n in group["block_images"][:])
    digests = [str(text) for text in group["block_digest"][:]]
    if store_digest(layout, counts, digests) != attributes["digest"]:
        raise StoreError(
            f"expected the block digests of {folder} to add up to {attributes['digest']}, found "
            "others: the store's metadata is damaged, take a copy or ingest again"
        )
    return BlockStore(str(folder), layout, counts, attributes["digest"])


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


def read_tile(part: Part, top: int, left: int) -> np.ndarray:
    """Read one tile of every image of a block: (images, tile, tile, channels)."""
    rows, columns = (slice(start, start + part.layout.tile) for start in (top, left))
    return _values([part], "images", lambda array: array[part.rows, rows, columns])


def read_moments(part: Part) -> np.ndarray:
    """Read mean and deviation of every image of a block: float32 (images, 2)."""
    names = ("mean", "deviation")
    return np.stack([_values([part], name, lambda a: a[part.rows]) for name in names], axis=1)


def store_digest(layout: Layout, counts: Sequence[int], digests: Sequence[str]) -> str:
    """Give a store its identity: SHA-256 over format, shape and the blocks' digests in order."""
    facts = [FORMAT, VERSION, *astuple(layout), list(counts), list(digests)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


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
    return _values(parts, name, lambda array: array.oindex[rows])[place]


def _values(parts: list[Part], name: str, read: Callable[[Any], Any]) -> np.ndarray:
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
    if (found := _attributes(Path(folder)).get("digest")) != digest:
        raise StoreError(
            f"expected the store {digest[:16]} at {folder}, found {str(found)[:16]}: it was "
            "replaced, open it again"
        )
    return zarr.open_array(Path(folder, GROUP, name), mode="r", zarr_format=3)


def _attributes(folder: Path) -> dict[str, Any]:
    """Read a store's attributes, or say what lies there instead."""
    path = folder / GROUP / "zarr.json"
    if path.is_file():
        try:
            return json.loads(path.read_text(encoding="utf-8")).get("attributes", {})
        except ValueError as error:
            raise StoreError(f"expected JSON in {path}, found damage: ingest again") from error
    found = "something else" if folder.exists() else "nothing"
    if folder.with_name(f"{folder.name}.partial").exists():
        found = "an unfinished one beside it (.partial): run the same ingest again to finish it"
    raise StoreError(f"expected a block store at {folder}, found {found}")
