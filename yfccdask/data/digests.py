"""The logical bits of a run: SHA-256 per position, over positions, over arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.data.commits import Commit, array_shapes, layer_path
from yfccdask.data.runs import Run, open_run
from yfccdask.geometry import LayerGeometry, leaf_ranges


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
    """
    run = open_run(run)
    commit = commit or run.commit()
    arrays = {}
    for number, layer in enumerate(run.geometry.layers[: commit.layers]):
        group = zarr.open_group(layer_path(commit.path, number), mode="r")
        for name in array_shapes(layer):
            arrays[f"layer-{number + 1}/{name}"] = _array_digest(group[name], layer)
    text = "\n".join(f"{name} {value}" for name, value in arrays.items())
    return RunDigest(commit.number, arrays, hashlib.sha256(text.encode()).hexdigest())


def _array_digest(array: Any, layer: LayerGeometry) -> str:
    whole = hashlib.sha256()
    for i in range(layer.grid[0]):
        for j in range(layer.grid[1]):
            whole.update(_position_digest(array, layer, i, j))
    return whole.hexdigest()


def _position_digest(array: Any, layer: LayerGeometry, i: int, j: int) -> bytes:
    if not layer.dense or array.ndim == 2:
        return _sha256(array[i, j])
    whole = hashlib.sha256()
    for start, stop in leaf_ranges(layer.inputs, layer.leaf):
        whole.update(_sha256(array[(i, j, ..., slice(start, stop))]))
    return whole.digest()


def _sha256(values: Any) -> bytes:
    values = np.ascontiguousarray(values)
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).digest()
