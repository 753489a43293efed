"""Activations on disk: ``layer-<N>`` as labelled Zarr, Parquet or npy, written part by part.

The client makes a layer's files and says whose images they are of; workers write the values, each
part by one of them, on a file system that all share. Neither what a part holds nor its bytes depend
on how the network is cut. Writing a part twice gives the same bytes, so a call that was killed
writes again what it may have begun.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from yfccdask.data.durable import replace_file, sync_file
from yfccdask.errors import RunError

Format = Literal["zarr", "parquet", "npy"]
DIMENSIONS = ("image", "grid_y", "grid_x", "unit")
PART_BYTES = 1 << 26  # of a part's values, where a single image or position isn't larger


@dataclass(frozen=True)
class LayerShape:
    """One layer's activations.

    ``dimensions`` are the names of ``shape``: `DIMENSIONS`, or without ``unit`` where they are
    pooled. ``block`` images are computed at once. ``attributes`` go with the array.
    """

    number: int
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    block: int
    dtype: str
    attributes: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.shape[0] * self.image_bytes

    @property
    def image_bytes(self) -> int:
        """Bytes of an image's values."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def whole_images(self) -> tuple[int, ...]:
        """A part of all values of some images, of at most `PART_BYTES` where these are several."""
        images = max(1, min(self.block, PART_BYTES // self.image_bytes))
        return (images, *self.shape[1:])

    def whole_units(self) -> tuple[int, ...]:
        """A part of all units of some positions for all images of a block, of so many bytes."""
        height, width = self.shape[1:3]
        row = self.image_bytes // height * self.block
        rows = max(1, min(height, PART_BYTES // row))
        columns = width if row <= PART_BYTES else max(1, PART_BYTES * width // row)
        return (self.block, rows, columns, *self.shape[3:])


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

    def part(self, within: slice) -> Labels:
        """Some of them."""
        return Labels(self.start + within.start, self.rows[within], self.ids[within])


class Writer(Protocol):
    """Writes one layer's folder or file at ``path``; it holds nothing open and can be pickled."""

    @property
    def path(self) -> Path:
        """What is written."""

    @property
    def parts(self) -> tuple[int, ...]:
        """The shape of what is written at once; it lies at multiples of it within a block."""

    def create(self) -> None:
        """Make the files, or go on with those that are there."""

    def label(self, labels: Labels) -> None:
        """Write which images a block's are, where parts of values don't say it."""

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        """Write a part of these images; ``place`` is along the dimensions after ``image``."""


def writer_of(folder: Path, layer: LayerShape, kind: Format) -> Writer:
    """What writes ``folder/layer-<N>``."""
    writers: dict[str, Any] = {"zarr": ZarrWriter, "parquet": ParquetWriter, "npy": NpyWriter}
    writer: Writer = writers[kind](folder / file_name(layer.number, kind), layer)
    return writer


def write_part(
    values: np.ndarray, writer: Writer, labels: Labels, place: tuple[slice, ...]
) -> np.ndarray:
    """Task: write a part; how many bytes it has, as an array of one number.

    Raises
    ------
    RunError
        If this worker doesn't see the folder that the client has made.
    """
    try:
        writer.write(labels, place, np.ascontiguousarray(values))
    except FileNotFoundError:
        raise RunError(
            f"expected to see {writer.path} on every worker, found nothing on one: write to a "
            "file system that client and workers share at the same path"
        ) from None
    return np.full((1,) * values.ndim, values.nbytes)


def file_name(number: int, kind: str) -> str:
    """The name of a layer's activations."""
    return f"layer-{number}.{kind}"


@dataclass(frozen=True)
class ZarrWriter:
    """A Zarr v3 group that xarray opens: ``activation``, ``image`` and ``image_id``.

    Its chunks hold all images of a block and all units of some positions.
    """

    path: Path
    layer: LayerShape

    @property
    def parts(self) -> tuple[int, ...]:
        return self.layer.whole_units()

    def create(self) -> None:
        if (self.path / "zarr.json").is_file():
            return
        group: Any = zarr.create_group(self.path, zarr_format=3, overwrite=True)
        for name, kind in (("image", "int64"), ("image_id", str)):
            group.create_array(
                name,
                shape=self.layer.shape[:1],
                chunks=self.parts[:1],
                dtype=kind,
                dimension_names=("image",),
            )
        group.create_array(
            "activation",
            shape=self.layer.shape,
            chunks=self.parts,
            dtype=self.layer.dtype,
            dimension_names=self.layer.dimensions,
            attributes=dict(self.layer.attributes),
            compressors=None,
        )
        group.attrs.update({"coordinates": "image_id"})

    def label(self, labels: Labels) -> None:
        group: Any = zarr.open_group(self.path, mode="r+", zarr_format=3)
        group["image"][labels.place] = labels.rows
        group["image_id"][labels.place] = np.array(labels.ids, dtype=object)

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        array: Any = zarr.open_array(self.path / "activation", mode="r+", zarr_format=3)
        array[(labels.place, *place)] = values
        for key in _touched(array, (labels.place, *place)):
            sync_file(self.path / "activation" / key)


def _touched(array: Any, region: tuple[slice, ...]) -> Iterator[str]:
    """The files of the chunks that a region has a part in; zarr leaves out those that are all 0."""
    spans = [
        range(part.start // chunk, -(-part.stop // chunk))
        for part, chunk in zip(region, array.chunks, strict=True)
    ]
    keys = (array.metadata.encode_chunk_key(index) for index in product(*spans))
    return (key for key in keys if (Path(array.store.root) / array.path / key).is_file())


@dataclass(frozen=True)
class NpyWriter:
    """One ``.npy`` of all values, and ``.images.parquet`` beside it that says whose they are."""

    path: Path
    layer: LayerShape

    @property
    def parts(self) -> tuple[int, ...]:
        return self.layer.whole_images()

    @property
    def images(self) -> Path:
        """The folder that says whose values they are."""
        return self.path.with_suffix(".images.parquet")

    def create(self) -> None:
        self.images.mkdir(exist_ok=True)
        if self.path.is_file():
            return
        options: dict[str, Any] = {"dtype": self.layer.dtype, "shape": self.layer.shape}
        replace_file(self.path, lambda stream: _empty_npy(stream, **options))

    def label(self, labels: Labels) -> None:
        _write_table(self.images, labels, {})

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        header = os.path.getsize(self.path) - self.layer.nbytes
        with self.path.open("r+b") as stream:
            stream.seek(header + labels.start * self.layer.image_bytes)
            stream.write(values.data)
            stream.flush()
            os.fsync(stream.fileno())


def _empty_npy(stream: Any, dtype: str, shape: tuple[int, ...]) -> None:
    """A file of zeros that takes no room yet."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    stream.truncate(stream.tell() + size)


@dataclass(frozen=True)
class ParquetWriter:
    """A folder of parts of some images: ``image``, ``image_id`` and the list ``activation``.

    A row's list runs over (grid_y, grid_x, unit), the last fastest; the shape is in the schema's
    metadata.
    """

    path: Path
    layer: LayerShape

    @property
    def parts(self) -> tuple[int, ...]:
        return self.layer.whole_images()

    def create(self) -> None:
        self.path.mkdir(exist_ok=True)

    def label(self, labels: Labels) -> None:
        """Nothing: every part names its images."""

    def write(self, labels: Labels, place: tuple[slice, ...], values: np.ndarray) -> None:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values[0].size)
        shape = "x".join(map(str, self.layer.shape[1:]))
        attributes = {"shape": shape, **self.layer.attributes}
        _write_table(self.path, labels, {"activation": lists}, attributes)


def _write_table(
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
