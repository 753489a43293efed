"""Tiles of a block, read in five ways: ``python -m benchmarks.reading``.

For training's sizes: one tile of all images of a block (what a training task reads), and one tile
of one mini-batch. The reference is a raw memory map of the shard that is open already and of which
it is known where the bytes lie, copied into a fresh array: nothing is checked. "opened" is the same
with the map opened anew, as for the next block; "read" is a file that is open already, read with
`pread` without a check. Ours opens the shard, reads its index and compares every CRC32C.
zarr-python and tensorstore have their arrays open, and compare every CRC32C.

A round is all tiles of a block, one after another, by one reader; readers take turns, the best of
several rounds counts. "wall" is by the clock, "CPU" by the process's processor seconds, of all its
threads. The file is in the system's memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

from benchmarks.recording import record
from yfccdask.data import write_store
from yfccdask.data.block_layout import GROUP, Part
from yfccdask.data.block_reading import read_images
from yfccdask.data.shards import read_index, shard_path

CASES = {  # pixels a side, images a block
    "300 x 300 x 3, block of 1920": (300, 1920),
    "300 x 300 x 3, block of 960": (300, 960),
    "64 x 64 x 3, block of 960": (64, 960),
}
MINI_BATCH, ROUNDS = 192, 9
Read = Callable[[slice, int, int], np.ndarray]


@dataclass
class Shard:
    """A block's file, and what a reader that checks nothing has to know of it."""

    part: Part

    def __post_init__(self) -> None:
        self.path = shard_path(self.part.path, self.part.number)
        self.file = os.open(self.path, os.O_RDONLY)
        self.entries = read_index(self.file, self.part.layout)
        self.map = np.memmap(self.path, np.uint8, "r")

    def mapped(self, rows: slice, top: int, left: int) -> np.ndarray:
        """Copy inner chunks out of the map, which is open."""
        return self.copied(self.map, rows, top, left)

    def opened(self, rows: slice, top: int, left: int) -> np.ndarray:
        """Open a map and copy inner chunks out of it."""
        return self.copied(np.memmap(self.path, np.uint8, "r"), rows, top, left)

    def copied(self, source: np.ndarray, rows: slice, top: int, left: int) -> np.ndarray:
        """Rows that are whole inner chunks, out of a map."""
        values = self.room(rows)
        for into, offset in zip(values, self.offsets(rows, top, left), strict=True):
            into[:] = source[offset : offset + into.size]
        return self.shaped(values)

    def read(self, rows: slice, top: int, left: int) -> np.ndarray:
        """Rows that are whole inner chunks, read from the open file."""
        values = self.room(rows)
        for into, offset in zip(values, self.offsets(rows, top, left), strict=True):
            os.preadv(self.file, [into], offset)
        return self.shaped(values)

    def room(self, rows: slice) -> np.ndarray:
        """A fresh array, one row of bytes per inner chunk."""
        depth, *chunk = self.part.layout.chunk
        return np.empty(((rows.stop - rows.start) // depth, depth * prod(chunk)), np.uint8)

    def offsets(self, rows: slice, top: int, left: int) -> list[int]:
        """Where the inner chunks of rows begin."""
        depth, tile = self.part.layout.chunk[:2]
        chunks = slice(rows.start // depth, rows.stop // depth)
        found: list[int] = self.entries[chunks, top // tile, left // tile, 0].tolist()
        return found

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """The same bytes as (image, tile, tile, channel)."""
        return values.reshape(-1, *self.part.layout.chunk[1:])

    def ours(self, rows: slice, top: int, left: int) -> np.ndarray:
        """As training does."""
        return read_images(self.part, rows, top, left)

    def sliced(self, array: Any) -> Read:
        """A reader that slices a Zarr array."""
        tile = self.part.layout.tile
        return lambda rows, top, left: array[rows, top : top + tile, left : left + tile]

    def readers(self) -> dict[str, Read]:
        """All of them, by name; the reference first."""
        folder = Path(self.part.path, GROUP, "images")
        stored = opened_by_tensorstore(folder)
        by_tensorstore = self.sliced(stored)
        return {
            "memory map": self.mapped,
            "memory map, opened": self.opened,
            "read": self.read,
            "ours": self.ours,
            "zarr-python": self.sliced(zarr.open_array(folder, mode="r", zarr_format=3)),
            "tensorstore": lambda *where: np.asarray(by_tensorstore(*where).read().result()),
        }


def opened_by_tensorstore(folder: Path) -> Any:
    """The array, without a cache of decoded chunks: each of them is read once."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return tensorstore.open(spec, read=True).result()


def seconds(read: Read, rows: slice, places: list[tuple[int, int]]) -> tuple[float, float]:
    """Seconds by the clock and of the processor for reading every tile once."""
    wall, processor = time.perf_counter(), time.process_time()
    for place in places:
        read(rows, *place)
    return time.perf_counter() - wall, time.process_time() - processor


def figures(shard: Shard, rows: slice) -> dict[str, dict[str, float]]:
    """Every reader's ratios to the reference; the reference's own seconds per tile."""
    layout, readers = shard.part.layout, shard.readers()
    places = list(product(range(0, layout.size, layout.tile), repeat=2))
    same_values(readers, rows, places[-1])
    warm = [{name: seconds(read, rows, places) for name, read in readers.items()}]
    for _ in range(ROUNDS):
        warm.append({name: seconds(read, rows, places) for name, read in readers.items()})
    found = {
        name: {
            "wall": min(row[name][0] for row in warm[1:]),
            "CPU": min(row[name][1] for row in warm[1:]),
        }
        for name in readers
    }
    base = dict(found["memory map"])
    per_tile = {f"{name}, ms per tile": base[name] / len(places) * 1e3 for name in base}
    ratios = {
        name: {what: value / base[what] for what, value in row.items()}
        for name, row in found.items()
    }
    return {"memory map": per_tile} | {name: ratios[name] for name in list(readers)[1:]}


def same_values(readers: dict[str, Read], rows: slice, place: tuple[int, int]) -> None:
    """Raise unless all readers read the same."""
    for name, read in readers.items():
        if not np.array_equal(read(rows, *place), readers["memory map"](rows, *place)):
            raise ValueError(f"expected the same pixels from {name} as from the map, found others")


def measured(size: int, images: int, folder: Path) -> dict[str, Any]:
    """A block of noise, read by the block and by the mini-batch."""
    noise = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), np.uint8)
    store = write_store(noise, folder, block_size=images)
    shard = Shard(store.part(0))
    tile = store.layout.tile**2 * 3
    return {
        f"tile of {count} images, {count * tile / 1e6:.1f} MB": figures(shard, slice(0, count))
        for count in (images, MINI_BATCH)
    }


def main() -> None:
    """Print and record the figures."""
    found = {}
    for name, (size, images) in CASES.items():
        with tempfile.TemporaryDirectory(dir=os.environ.get("YFCCDASK_BENCHMARKS")) as folder:
            found[name] = measured(size, images, Path(folder, "store"))
        for what, rows in found[name].items():
            print(f"{name}, {what}")
            for reader, values in rows.items():
                values |= {key: float(f"{value:.3g}") for key, value in values.items()}
                print(f"  {reader:20}", *(f"{key} {value:<8}" for key, value in values.items()))
        sys.stdout.flush()
    facts = {"load": os.getloadavg()[0], "tensorstore": version("tensorstore")}
    print(record("reading", facts | found))


if __name__ == "__main__":
    main()
