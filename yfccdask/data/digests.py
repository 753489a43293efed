"""The logical bits of a run: SHA-256 per position, over positions, over arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yfccdask.data.commit_reading import Region, chunk_regions, open_array, read_array
from yfccdask.data.commits import Commit, array_shapes, layer_path
from yfccdask.data.runs import Run, open_run
from yfccdask.geometry import LayerGeometry, leaf_ranges

Place = tuple[int, int, int]


@dataclass(frozen=True)
class RunDigest:
    """Digests of a commit's logical arrays, independent of chunks and files.

    Attributes
    ----------
    commit : int
    arrays : dict
        ``"layer-1/weights"`` and so on to the SHA-256 over its positions' digests in order.
    whole : str
        SHA-256 over the arrays' names and digests in order.
    """

    commit: int
    arrays: dict[str, str]
    whole: str


def digest(run: Run | str | Path, commit: Commit | None = None) -> RunDigest:
    """Digest the logical arrays of a run's commit (the latest where none is given).

    A position's digest is the SHA-256 of its little-endian values in C order; for a dense layer,
    of its leaves' digests in order. Zarr checks every chunk's CRC32C on the way.

    Raises
    ------
    RunError
        If the run has no commit yet.
    DamagedCommit
        Where a chunk isn't as it was written.
    """
    run = open_run(run)
    commit = commit or run.commit()
    arrays = {}
    for number, layer in enumerate(run.geometry.layers[: commit.layers]):
        group = layer_path(commit.path, number)
        for name in array_shapes(layer):
            arrays[f"layer-{number + 1}/{name}"] = _array_digest(group, name, layer)
    text = "\n".join(f"{name} {value}" for name, value in arrays.items())
    return RunDigest(commit.number, arrays, hashlib.sha256(text.encode()).hexdigest())


def _array_digest(group: Path, name: str, layer: LayerGeometry) -> str:
    """Of the digests of all positions in order; every chunk is read once."""
    array, parts = open_array(group, name), {}
    for region in chunk_regions(array):
        parts |= _part_digests(read_array(group, name, region), region, layer)
    ordered = b"".join(parts[place] for place in sorted(parts))
    by_leaves = layer.dense and array.ndim > 2
    return _sha256(_sha256(ordered) if by_leaves else ordered).hex()


def _part_digests(values: np.ndarray, region: Region, layer: LayerGeometry) -> dict[Place, bytes]:
    """Of a region's positions (grid_y, grid_x, 0), or of a dense one's leaves (0, 0, input)."""
    if layer.dense and values.ndim > 2:
        first, last = region[-1].start, region[-1].stop
        leaves = [leaf for leaf in leaf_ranges(layer.inputs, layer.leaf) if first <= leaf[0] < last]
        parts = {(0, 0, a): values[0, 0, ..., a - first : b - first] for a, b in leaves}
    else:
        top, left = region[0].start, region[1].start
        places = np.ndindex(values.shape[:2])
        parts = {(top + i, left + j, 0): values[i, j] for i, j in places}
    return {place: _sha256(_little_endian(part)) for place, part in parts.items()}


def _little_endian(values: np.ndarray) -> bytes:
    values = np.ascontiguousarray(values)
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
