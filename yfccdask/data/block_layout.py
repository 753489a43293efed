"""What fixes a block store's files: names, shapes, chunks, the store's identity.

Everything here is known without a look at pixels; readers and writers both build on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.errors import StoreError

FORMAT = "yfccdask-blocks"
VERSION = 2
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
        return self.chunk[1]

    @property
    def chunk(self) -> tuple[int, int, int, int]:
        """Shape of an inner chunk: its images are the largest divisor of block_size <= 192."""
        return _inner_chunk(self)

    @property
    def shard(self) -> tuple[int, int, int, int]:
        return (self.block_size, self.size, self.size, self.channels)

    def shard_bytes(self, images: int) -> int:
        """Bytes of the shard file of a block of so many images, whatever its pixels."""
        return _shard_bytes(self, images)


@lru_cache
def _inner_chunk(layout: Layout) -> tuple[int, int, int, int]:
    images = max(n for n in range(1, 193) if layout.block_size % n == 0)
    tile = max((t for t in range(16, 65) if layout.size % t == 0), default=layout.size)
    return (images, tile, tile, layout.channels)


@lru_cache
def _shard_bytes(layout: Layout, images: int) -> int:
    per_row, depth = (layout.size // layout.tile) ** 2, layout.chunk[0]
    chunk = prod(layout.chunk) * np.dtype(layout.dtype).itemsize + 4
    index = 16 * per_row * (layout.block_size // depth) + 4
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

    @property
    def shard_bytes(self) -> int:
        """Bytes of its shard file."""
        return self.layout.shard_bytes(self.images)


def store_digest(layout: Layout, counts: Sequence[int], digests: Sequence[str]) -> str:
    """Give a store its identity: SHA-256 over format, shape and the blocks' digests in order."""
    facts = [FORMAT, VERSION, *astuple(layout), list(counts), list(digests)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def store_attributes(folder: Path) -> dict[str, Any]:
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
