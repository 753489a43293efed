"""Checkpoints: ``RUN/checkpoints/<number>/``, all or nothing, every byte digested.

A commit is a new folder: one Zarr group per layer, whose arrays are chunked as the weights are, and
``manifest.json`` with the state of the schedule and the SHA-256 of every file. It is written under
a name that no reader looks at, flushed, renamed, and only then does ``RUN/LATEST`` name it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from yfccdask.data.durable import publish, sync_file, write_text
from yfccdask.errors import DamagedCommit, RunError
from yfccdask.geometry import ChunkIndex, LayerGeometry, Layout
from yfccdask.numerics.local_visits import State

FORMAT, VERSION = "yfccdask-commit", 2
UNIT_DIMENSIONS = ("grid_y", "grid_x", "unit", "input")
Digests = dict[str, str]


@dataclass(frozen=True)
class Commit:
    """A whole, readable commit.

    ``state`` is what the schedule knew: trained layers, data position, input scales.
    """

    path: Path
    number: int
    state: dict[str, Any] = field(repr=False)

    @property
    def layers(self) -> int:
        """Layers that the commit holds, from the image upwards; the last may be in training."""
        return int(self.state["layers"])

    @property
    def finished(self) -> bool:
        """Whether every layer of the run is trained."""
        return bool(self.state["finished"])

    def layer(self, number: int) -> xr.Dataset:
        """One layer (counted from 1) as a lazy dataset over (grid_y, grid_x, unit, input)."""
        if not 1 <= number <= self.layers:
            raise RunError(
                f"expected a layer from 1 to {self.layers} in {self.path}, found {number}"
            )
        return xr.open_zarr(layer_path(self.path, number - 1), consolidated=False)


def layer_path(commit: Path, layer: int, copy: bool = False) -> Path:
    """The Zarr group of a layer (counted from 0), or of its copy that feeds the next one."""
    return commit / f"{'copy' if copy else 'layer'}-{layer + 1}.zarr"


def begin_commit(checkpoints: Path, number: int) -> Path:
    """An empty folder for a commit in the making; what a killed one left there is removed."""
    partial = checkpoints / f".{number:08d}.partial"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def array_shapes(layer: LayerGeometry) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Dimensions and shape of the six arrays of a layer's state."""
    sizes = dict(zip(UNIT_DIMENSIONS, (*layer.grid, layer.units, layer.inputs), strict=True))
    kinds = {
        "weights": UNIT_DIMENSIONS,
        "offset": ("grid_y", "grid_x", "input"),
        "alpha": ("grid_y", "grid_x"),
    }
    arrays = {}
    for name, dimensions in kinds.items():
        for full in (name, f"{name}_momentum"):
            arrays[full] = (dimensions, tuple(sizes[part] for part in dimensions))
    return arrays


def create_layer(path: Path, layout: Layout, dtype: Any) -> None:
    """The empty arrays of a layer's group, chunked as its weights are."""
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    group.attrs.update({"format": FORMAT, "format_version": VERSION})
    chunk = {
        "grid_y": layout.rows[0],
        "grid_x": layout.columns[0],
        "unit": layout.layer.units,
        "input": layout.inputs[0],
    }
    for name, (dimensions, shape) in array_shapes(layout.layer).items():
        group.create_array(
            name,
            shape=shape,
            dtype=np.dtype(dtype).newbyteorder("<"),
            chunks=tuple(chunk[part] for part in dimensions),
            dimension_names=dimensions,
            serializer=BytesCodec(endian="little"),
            compressors=[Crc32cCodec()],
            config={"write_empty_chunks": True},
        )


def chunk_slices(layout: Layout, index: ChunkIndex) -> dict[str, slice]:
    """Where a chunk lies along every dimension of a layer's arrays."""
    rows, columns = layout.positions(*index[:2]).slices
    inputs = slice(*layout.inputs_of(index[2]))
    return {"grid_y": rows, "grid_x": columns, "unit": slice(None), "input": inputs}


def write_chunk(path: Path, layout: Layout, index: ChunkIndex, state: State) -> Digests:
    """Write one chunk into a layer's group (one writer per file), flushed; returns its digests."""
    group, where = zarr.open_group(path, mode="r+"), chunk_slices(layout, index)
    digests = {}
    for name, (dimensions, _) in array_shapes(layout.layer).items():
        if "input" not in dimensions and index[2] > 0:
            continue  # every chunk of a dense layer carries alpha; the first one writes it
        array: Any = group[name]
        array = array.with_config({"write_empty_chunks": True})  # not kept on disk
        array[tuple(where[part] for part in dimensions)] = getattr(state, name)
        places = dict(zip(("grid_y", "grid_x", "input"), index, strict=True))
        indices = [str(places.get(part, 0)) for part in dimensions]
        file = path.joinpath(name, "c", *indices)
        sync_file(file)
        digests[file.relative_to(path.parent).as_posix()] = file_digest(file)
    return digests


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finish_commit(partial: Path, number: int, state: dict[str, Any], digests: Digests) -> Commit:
    """Write the manifest, flush, give the commit its name, and point ``LATEST`` at it."""
    for path in sorted(partial.rglob("zarr.json")):
        digests[path.relative_to(partial).as_posix()] = file_digest(path)
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "number": number,
        "state": state,
        "files": dict(sorted(digests.items())),
    }
    text = json.dumps(manifest, indent=1)
    write_text(partial / "manifest.json", text)
    final = partial.with_name(f"{number:08d}")
    publish(partial, final)
    pointer = {"commit": final.name, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_text(final.parent.parent / "LATEST", json.dumps(pointer) + "\n")
    return Commit(final, number, state)


def open_commit(path: Path, manifest_sha256: str | None = None) -> Commit:
    """Open a commit after checking that its manifest and all its files are there.

    Raises
    ------
    DamagedCommit
        If the manifest is not the one that was written, or a file is missing.
    """
    try:
        text = (path / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(text)
    except (OSError, json.JSONDecodeError) as error:
        raise DamagedCommit(f"{path}: expected a manifest, found {error}") from None
    found = hashlib.sha256(text.encode()).hexdigest()
    if manifest_sha256 not in (None, found):
        raise DamagedCommit(
            f"{path}: expected a manifest with SHA-256 {manifest_sha256}, found {found}"
        )
    if (manifest.get("format"), manifest.get("format_version")) != (FORMAT, VERSION):
        raise DamagedCommit(
            f"{path}: expected {FORMAT} version {VERSION}, found {manifest.get('format')!r} "
            f"version {manifest.get('format_version')!r}: use the yfccdask that wrote it"
        )
    missing = [name for name in manifest["files"] if not (path / name).is_file()]
    if missing:
        raise DamagedCommit(f"{path}: expected {missing[0]} and found no such file")
    return Commit(path, int(manifest["number"]), manifest["state"])


def latest_commit(run: Path) -> Commit | None:
    """The commit that ``RUN/LATEST`` names, or None before the first one."""
    pointer = run / "LATEST"
    if not pointer.exists():
        return None
    try:
        named = json.loads(pointer.read_text(encoding="utf-8"))
        path, digest = run / "checkpoints" / named["commit"], named["manifest_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DamagedCommit(f"{pointer}: expected a commit's name and digest ({error})") from None
    return open_commit(path, digest)


def read_state(path: Path, layer: LayerGeometry, where: dict[str, slice]) -> State:
    """A part of a layer's group, whatever chunks it was written in."""
    group = zarr.open_group(path, mode="r")
    parts: dict[str, np.ndarray] = {}
    for name, (dimensions, _) in array_shapes(layer).items():
        array: Any = group[name]
        parts[name] = np.ascontiguousarray(array[tuple(where[part] for part in dimensions)])
    return State(**parts)


def prune_commits(checkpoints: Path, keep: int) -> list[int]:
    """Remove all but the newest ``keep`` commits; returns the numbers of those removed."""
    numbers = sorted(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    for number in numbers[:-keep]:
        shutil.rmtree(checkpoints / f"{number:08d}")
    return numbers[:-keep]
