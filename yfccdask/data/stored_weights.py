"""A layer's weights read position by position, for networks that are larger than memory.

A commit's chunk is the weights of some positions, uncompressed, with a CRC32C behind them: those of
one position, or of some units, are read without the rest. What a set number of bytes has room for
stays in memory; the rest is read again whenever it is asked for, from what the system caches of the
files if memory is free. Values don't depend on how much that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from yfccdask.data.commit_checks import in_words
from yfccdask.data.commit_reading import open_array
from yfccdask.data.commits import chunk_file
from yfccdask.errors import DamagedCommit

NAME = "weights"
PART_BYTES = 1 << 26  # read at once
Region = tuple[slice, ...]


class StoredWeights:
    """Weights (grid_y, grid_x, unit, input) of a layer of a commit.

    Parameters
    ----------
    group : path
        The layer's group.
    keep : int
        Bytes that may stay in memory.

    Raises
    ------
    DamagedCommit
        If the array can't be opened; when reading, if a chunk is gone or has another checksum.
    """

    def __init__(self, group: Path, keep: int = 0) -> None:
        array = open_array(group, NAME)
        self.group, self.keep = group, keep
        self.shape: tuple[int, ...] = array.shape
        self.chunks: tuple[int, ...] = array.chunks
        self.dtype = np.dtype(array.dtype)
        self._forget()

    def parts(self, index: tuple[int, ...]) -> Iterator[tuple[slice, np.ndarray]]:
        """A position's weights (unit, input) in parts along its inputs, each with where it lies.

        How they are cut depends on the shape alone.
        """
        units, inputs = self.shape[2:]
        step = max(1, PART_BYTES // (units * self.dtype.itemsize))
        for start in range(0, inputs, step):
            where = slice(start, min(start + step, inputs))
            yield where, self._part(index, where)

    def row(self, unit: tuple[int, int, int]) -> np.ndarray:
        """One unit's weights (input,)."""
        return self._read((*_at(unit), slice(0, self.shape[3]))).reshape(-1)

    def _part(self, index: tuple[int, ...], inputs: slice) -> np.ndarray:
        key = (*index, inputs.start)
        if key in self._kept:
            return self._kept[key]
        part: np.ndarray = self._read((*_at(index), slice(0, self.shape[2]), inputs))[0, 0]
        if part.nbytes <= self._room:
            self._kept[key] = part
            self._room -= part.nbytes
        return part

    def _read(self, region: Region) -> np.ndarray:
        """A region out of the files of its chunks."""
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        spans = [
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(region, self.chunks, strict=True)
        ]
        for chunk in product(*spans):
            origin = np.multiply(chunk, self.chunks).tolist()
            common = [
                (max(part.start, low), min(part.stop, low + size))
                for part, low, size in zip(region, origin, self.chunks, strict=True)
            ]
            into = _moved(common, [part.start for part in region])
            out[into] = self._mapped(chunk)[_moved(common, origin)]
        return out

    def _mapped(self, chunk: tuple[int, ...]) -> np.ndarray:
        """A chunk's values where they lie: what isn't read takes no memory."""
        file = chunk_file(self.group, NAME, chunk)
        if chunk not in self._checked:
            _check(self.group, file)
            self._checked.add(chunk)
        return np.memmap(file, self.dtype.newbyteorder("<"), "r", shape=self.chunks)

    def _forget(self) -> None:
        self._kept: dict[tuple[int, ...], np.ndarray] = {}
        self._checked: set[tuple[int, ...]] = set()
        self._room = self.keep

    def __getstate__(self) -> dict[str, Any]:
        """Without what is in memory: it is read again where these are unpickled."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


def _at(index: tuple[int, ...]) -> Region:
    return tuple(slice(place, place + 1) for place in index)


def _moved(spans: list[tuple[int, int]], origin: list[int]) -> Region:
    """Spans counted from another origin."""
    return tuple(
        slice(start - low, stop - low) for (start, stop), low in zip(spans, origin, strict=True)
    )


def _check(group: Path, file: Path) -> None:
    """Compare a chunk with the checksum behind it, a piece at a time."""
    name = file.relative_to(group.parent).as_posix()
    where = f"{group.parent}: {in_words(name)} ({name}): expected it as it was written, found"
    try:
        left, found = file.stat().st_size - 4, 0
        with file.open("rb") as stream:
            while left > 0 and (piece := stream.read(min(left, 1 << 22))):
                found, left = google_crc32c.extend(found, piece), left - len(piece)
            same = found == int.from_bytes(stream.read(4), "little")
    except OSError as error:
        raise DamagedCommit(f"{where} {error.strerror or error}") from None
    if not same:
        raise DamagedCommit(f"{where} another checksum")
