"""Activations on disk: ``layer-<N>`` as labelled Zarr, Parquet or npy, written block by block.

Writing the same block twice gives the same files, so a writer that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from yfccdask.data.durable import replace_file

Format = Literal["zarr", "parquet", "npy"]
DIMENSIONS = ("image", "grid_y", "grid_x", "unit")


@dataclass(frozen=True)
class LayerShape:
    """One layer's activations.

    ``dimensions`` are the names of ``shape``: `DIMENSIONS`, or without ``unit`` where they are
    pooled. ``chunks`` are what is written at once. ``attributes`` go with the array.
    """

    number: int
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    attributes: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Labels:
    """Which images some rows of the output are: ``rows`` of the store (int64), and their ids."""

    start: int
    rows: np.ndarray
    ids: list[str]

    @property
    def place(self) -> slice:
        """Where they lie in the output."""
        return slice(self.start, self.start + len(self.rows))


class Writer(Protocol):
    """Writes one layer."""

    def label(self, labels: Labels) -> None:
        """Write which images these are."""

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        """Write a chunk of these images; ``place`` is along the dimensions after ``image``."""


def open_writer(folder: Path, layer: LayerShape, kind: Format) -> Writer:
    """A writer of ``folder/layer-<N>``, made or gone on with."""
    writers: dict[str, Any] = {"zarr": ZarrWriter, "parquet": ParquetWriter, "npy": NpyWriter}
    writer: Writer = writers[kind](folder / file_name(layer.number, kind), layer)
    return writer


def file_name(number: int, kind: str) -> str:
    """The name of a layer's activations."""
    return f"layer-{number}.{kind}"


class ZarrWriter:
    """A Zarr v3 group that xarray opens: ``activation``, ``image`` and ``image_id``."""

    def __init__(self, path: Path, layer: LayerShape) -> None:
        if (path / "zarr.json").is_file():
            self.group: Any = zarr.open_group(path, mode="r+", zarr_format=3)
            return
        self.group = zarr.open_group(path, mode="w", zarr_format=3)
        size, step = layer.shape[0], layer.chunks[0]
        for name, kind in (("image", "int64"), ("image_id", str)):
            self.group.create_array(
                name, shape=(size,), chunks=(step,), dtype=kind, dimension_names=("image",)
            )
        self.group.create_array(
            "activation",
            shape=layer.shape,
            chunks=layer.chunks,
            dtype=layer.dtype,
            dimension_names=layer.dimensions,
            attributes=dict(layer.attributes),
            compressors=None,
        )
        self.group.attrs.update({"coordinates": "image_id"})

    def label(self, labels: Labels) -> None:
        self.group["image"][labels.place] = labels.rows
        self.group["image_id"][labels.place] = np.array(labels.ids, dtype=object)

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        self.group["activation"][(labels.place, *place)] = values


class NpyWriter:
    """One ``.npy`` of all values, and ``.images.parquet`` beside it that says whose they are."""

    def __init__(self, path: Path, layer: LayerShape) -> None:
        self.path, there = path, path.is_file()
        options: dict[str, Any] = {} if there else {"dtype": layer.dtype, "shape": layer.shape}
        mode: Any = "r+" if there else "w+"
        self.values = np.lib.format.open_memmap(path, mode=mode, **options)
        self.parts = path.with_suffix(".images.parquet")
        self.parts.mkdir(exist_ok=True)

    def label(self, labels: Labels) -> None:
        _write_part(self.parts, labels, {})

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        self.values[(labels.place, *place)] = values
        self.values.flush()


class ParquetWriter:
    """A folder of parts, one a block: ``image``, ``image_id`` and the list ``activation``.

    A row's list runs over (grid_y, grid_x, unit), the last fastest; the shape is in the schema's
    metadata.
    """

    def __init__(self, path: Path, layer: LayerShape) -> None:
        self.path, self.layer = path, layer
        self.held: np.ndarray | None = None
        path.mkdir(exist_ok=True)

    def label(self, labels: Labels) -> None:
        """Write the block: all its chunks are there by now."""
        assert self.held is not None
        flat = pa.array(self.held.reshape(-1))
        width = self.held.size // len(labels.rows)
        _write_part(
            self.path,
            labels,
            {"activation": pa.FixedSizeListArray.from_arrays(flat, width)},
            {"shape": "x".join(map(str, self.layer.shape[1:])), **self.layer.attributes},
        )
        self.held = None

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        if self.held is None:
            self.held = np.empty((len(labels.rows), *self.layer.shape[1:]), self.layer.dtype)
        self.held[(slice(None), *place)] = values


def _write_part(
    folder: Path,
    labels: Labels,
    columns: Mapping[str, pa.Array],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    table = pa.table({"image": labels.rows, "image_id": labels.ids, **columns})
    texts = {name: str(value) for name, value in (attributes or {}).items()}
    table = table.replace_schema_metadata(texts)
    path = folder / f"part-{labels.start:012d}.parquet"
    replace_file(path, lambda stream: pq.write_table(table, stream))
