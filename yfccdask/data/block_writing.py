"""Writing a block store: arrays, blocks, digests; one writer per shard."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from yfccdask.data.blocks import (
    FORMAT,
    GROUP,
    STATUS,
    VERSION,
    BlockStore,
    Layout,
    open_store,
    store_digest,
)
from yfccdask.data.decoding import moments
from yfccdask.data.partial_stores import partial_store
from yfccdask.data.status_tables import array_status
from yfccdask.errors import StoreError

TEXTS, MOMENTS = ("image_id", "credit", "licence"), ("mean", "deviation")
LIBRARIES = ("yfccdask", "pillow", "numpy", "zarr")
BLOCKS_PER_CHUNK = 4096


def write_store(
    images: Any,
    path: str | os.PathLike[str],
    *,
    block_size: int = 960,
    ids: Sequence[str] | None = None,
    credits: Sequence[str] | None = None,
    licences: Sequence[str] | None = None,
) -> BlockStore:
    """Make a block store of an array.

    Parameters
    ----------
    images : numpy.ndarray or dask.array.Array
        uint8 or uint16, (image, y, x, channel), y = x. Read one block at a time.
    path : path
        Where the store shall be; must be absent.
    block_size : int
        Images per data block.
    ids, credits, licences : sequence of str, optional
        One per image; ids default to the row's number, the others to "".

    Raises
    ------
    StoreError
        The path is taken, or the array's shape or dtype cannot be.
    """
    folder, shape = Path(os.path.abspath(path)), images.shape
    if len(shape) != 4 or shape[1] != shape[2] or 0 in shape:
        raise StoreError(f"expected square images as (image, y, x, channel), found shape {shape}")
    layout, count = Layout(block_size, shape[1], shape[3], np.dtype(images.dtype).name), shape[0]
    numbers = [f"{row:08d}" for row in range(count)]
    given = (numbers if ids is None else ids, credits, licences)
    blank = [""] * count
    texts = {name: list(blank if v is None else v) for name, v in zip(TEXTS, given, strict=True)}
    if wrong := [name for name, values in texts.items() if len(values) != count]:
        raise StoreError(
            f"expected one {wrong[0]} for each of {count} images, found another number"
        )
    request = {"kind": "array", "source": "an array", "seed": None, "crops_per_image": 1}
    with partial_store(folder, request, go_on=False) as partial:
        create_arrays(partial, layout, count, request)
        digests = []
        for b, start in enumerate(range(0, count, block_size)):
            rows = slice(start, start + block_size)
            labels = {name: values[rows] for name, values in texts.items()}
            digests.append(write_block(str(partial), b, np.asarray(images[rows]), labels))
        finish(partial, layout, digests, array_status(texts, layout.size, block_size))
    return open_store(folder)


def write_block(root: str, b: int, images: np.ndarray, texts: dict[str, list[str]]) -> str:
    """Write block ``b``, (n, y, x, channel), and what goes with it; return its SHA-256."""
    target = writable(root, "images")
    start = b * target.shards[0]
    rows = slice(start, start + len(images))
    target[rows] = images
    mean, deviation = moments(images)
    named = {name: np.array(texts[name], dtype=object) for name in TEXTS}
    for name, values in {**named, "mean": mean, "deviation": deviation}.items():
        writable(root, name)[rows] = values
    plain = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("<"))
    return hashlib.sha256(plain.data).hexdigest()


def writable(root: str | Path, name: str) -> Any:
    """Open an array such that zeros are written too: Zarr would leave their chunks out."""
    array = zarr.open_array(Path(root, GROUP, name), mode="r+", zarr_format=3)
    return array.with_config({"write_empty_chunks": True})  # `config=` above would be ignored


def create_arrays(partial: Path, layout: Layout, images: int, request: dict[str, Any]) -> None:
    """Create the group and its empty arrays, in place of what a killed ingest has left."""
    shutil.rmtree(partial / GROUP, ignore_errors=True)
    attributes = {
        "format": FORMAT,
        "format_version": VERSION,
        **asdict(layout),
        **{name: request[name] for name in ("seed", "crops_per_image", "source")},
        "request": request,
        "versions": {name: version(name) for name in LIBRARIES},
        "coordinates": " ".join(TEXTS),
    }
    group = zarr.create_group(partial / GROUP, attributes=attributes)
    blocks = -(-images // layout.block_size)
    group.create_array(
        "images",
        shape=(images, *layout.shard[1:]),
        dtype=layout.dtype,
        chunks=layout.chunk,
        shards=layout.shard,
        compressors=[Crc32cCodec()],
        dimension_names=("image", "y", "x", "channel"),
    )
    for name, dtype in (
        *((name, "string") for name in TEXTS),
        *((name, "float32") for name in MOMENTS),
    ):
        _array(group, name, images, dtype, layout.block_size)
    for name, dtype in (("block_images", "int32"), ("block_digest", "string")):
        _array(group, name, blocks, dtype, BLOCKS_PER_CHUNK)


def finish(partial: Path, layout: Layout, digests: list[str], status: pd.DataFrame) -> None:
    """Write what is known only once every block lies there: counts, digests and the status."""
    images, step = int(status["images"].sum()), layout.block_size
    counts = [min(step, images - start) for start in range(0, images, step)]
    writable(partial, "block_images")[:] = np.array(counts, dtype=np.int32)
    writable(partial, "block_digest")[:] = np.array(digests, dtype=object)
    group = zarr.open_group(partial / GROUP, mode="r+")
    group.update_attributes({"digest": store_digest(layout, counts, digests)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(partial / GROUP)
    status.to_parquet(partial / STATUS, index=False)


def _array(group: zarr.Group, name: str, length: int, dtype: str, chunk: int) -> None:
    """Create an array of one value per image or per block."""
    group.create_array(
        name,
        shape=(length,),
        dtype=dtype,
        chunks=(chunk,),
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        dimension_names=("block" if name.startswith("block_") else "image",),
    )
