"""Making a commit: written under a name that no reader looks at, flushed, renamed, pointed at.

All workers write at once, each its own chunks (one writer per file); the one who began the commit
adds what else a run goes on from, and gives it its name. Only then does ``RUN/LATEST`` name it.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from yfccdask.data.commit_checks import (
    FORMAT,
    MANIFEST,
    POINTER,
    SEAL,
    VERSION,
    FileFacts,
    file_digest,
    file_facts,
    sealed,
)
from yfccdask.data.commits import (
    Commit,
    array_shapes,
    chunk_file,
    chunk_slices,
    next_number,
    opened_commit,
)
from yfccdask.data.durable import publish, sync_file, write_text, writing
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.numerics.local_visits import State

Digests = dict[str, FileFacts]


def begin_commit(checkpoints: Path, number: int, token: str = "") -> Path:
    """An empty folder for a commit in the making; what a killed one left there is removed.

    ``token`` is the session's: a writer of an earlier one that still runs finds no folder.
    """
    for leftover in checkpoints.glob("*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = checkpoints / f".{number:08d}-{token}.partial"
    with writing(partial):
        partial.mkdir(parents=True)
    return partial


def create_layer(path: Path, layout: Layout, dtype: Any) -> None:
    """The empty arrays of a layer's group, chunked as its weights are."""
    with writing(path):
        _create_layer(path, layout, dtype)


def _create_layer(path: Path, layout: Layout, dtype: Any) -> None:
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


def write_chunk(path: Path, layout: Layout, index: ChunkIndex, state: State) -> Digests:
    """Write one chunk into a layer's group (one writer per file), flushed; returns its digests.

    Raises
    ------
    DiskFull, RunError
        If it can't be written.
    """
    where, digests = chunk_slices(layout, index), {}
    places = dict(zip(("grid_y", "grid_x", "input"), index, strict=True))
    for name, (dimensions, _) in array_shapes(layout.layer).items():
        if "input" not in dimensions and index[2] > 0:
            continue  # every chunk of a dense layer carries alpha; the first one writes it
        indices = [places.get(part, 0) for part in dimensions]
        file, values = chunk_file(path, name, indices), getattr(state, name)
        with writing(file, values.nbytes):
            array: Any = zarr.open_group(path, mode="r+", zarr_format=3)[name]
            array = array.with_config({"write_empty_chunks": True})  # not kept on disk
            array[tuple(where[part] for part in dimensions)] = values
            sync_file(file)
            digests[file.relative_to(path.parent).as_posix()] = file_facts(file)
    return digests


def finish_commit(partial: Path, number: int, state: dict[str, Any], digests: Digests) -> Commit:
    """Write what is left, flush, give the commit its name, and point ``LATEST`` at it.

    ``digests`` are all that `write_chunk` returned. A number that is taken is raised to the next.
    """
    checkpoints = partial.parent
    _copy_files(checkpoints.parent, partial)
    for path in sorted(partial.rglob("*")):
        name = path.relative_to(partial).as_posix()
        if path.is_file() and name not in digests:
            digests[name] = file_facts(path)
    number = max(number, next_number(checkpoints))
    _write_manifest(partial, number, state, digests)
    final = partial.with_name(f"{number:08d}")
    with writing(final):
        publish(partial, final)
    _point_at(final)
    return opened_commit(final)


def _copy_files(run: Path, partial: Path) -> None:
    """Copy what else a run goes on from, so that a commit holds all of it."""
    for file in [run / "config.yaml", *(run / "whitening.zarr").rglob("*")]:
        if file.is_file():
            copy = partial / file.relative_to(run)
            with writing(copy, file.stat().st_size):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def _write_manifest(partial: Path, number: int, state: dict[str, Any], digests: Digests) -> None:
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "number": number,
        "written": time.time(),
        "state": state,
        "files": {name: digests[name]._asdict() for name in sorted(digests)},
    }
    text = json.dumps(manifest, indent=1)
    with writing(partial / MANIFEST, len(text)):
        write_text(partial / MANIFEST, text)
        digest = {"manifest_sha256": file_digest(partial / MANIFEST)}
        write_text(partial / SEAL, sealed(digest))


def _point_at(commit: Path) -> None:
    pointer = commit.parent.parent / POINTER
    text = sealed({"commit": commit.name, "manifest_sha256": file_digest(commit / MANIFEST)})
    with writing(pointer, len(text)):
        write_text(pointer, text)
