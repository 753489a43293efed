"""Writing a block store: arrays, blocks, digests; one writer per shard."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from dask.system import CPU_COUNT
from distributed import Client, default_client
from zarr.codecs import Crc32cCodec, ZstdCodec

from yfccdask.data.block_layout import FORMAT, GROUP, STATUS, VERSION, Layout, store_digest
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.durable import sync_file, sync_folder, write_text
from yfccdask.data.partial_stores import partial_store
from yfccdask.data.status_tables import array_status, write_status
from yfccdask.errors import StoreError

TEXTS, MOMENTS = ("image_id", "credit", "licence"), ("mean", "deviation")
LIBRARIES = ("yfccdask", "pillow", "simplejpeg", "numpy", "zarr")
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
    with partial_store(folder, request) as partial:
        create_arrays(partial, layout, count, new_attributes(layout, request))
        digests = list(_written_blocks(partial, layout, images, texts))
        write_status(partial / STATUS, 0, array_status(texts, layout.size, block_size))
        counts = [min(block_size, count - start) for start in range(0, count, block_size)]
        finish(partial, layout, counts, digests)
    return open_store(folder)


def _written_blocks(
    partial: Path, layout: Layout, images: Any, texts: dict[str, list[str]]
) -> Iterator[str]:
    """Write an array's blocks, those of a Dask array inside tasks; yield their digests."""
    starts = range(0, images.shape[0], layout.block_size)
    lazy = isinstance(images, da.Array)
    together = _threads() if lazy else 1
    for at in range(0, len(starts), together):
        calls = []
        for start in starts[at : at + together]:
            rows = slice(start, start + layout.block_size)
            labels = {name: values[rows] for name, values in texts.items()}
            calls.append((str(partial), start // layout.block_size, images[rows], labels))
        if lazy:
            yield from dask.compute(*[_block_written(*call) for call in calls])
        else:
            yield from (write_block(*call[:2], np.asarray(call[2]), call[3]) for call in calls)


def _block_written(root: str, b: int, images: da.Array, labels: dict[str, list[str]]) -> Any:
    """One block of a Dask array, written where its chunks come together."""
    (chunk,) = images.rechunk(images.shape).to_delayed().ravel()
    return dask.delayed(write_block, pure=False)(root, b, chunk, labels)


def _threads() -> int:
    """How many blocks can be written at a time: one for each thread of the scheduler in use."""
    client = distributed_client()
    return CPU_COUNT if client is None else max(1, sum(client.nthreads().values()))


def distributed_client() -> Client | None:
    """The client that `dask.compute` would use, or None."""
    try:
        return default_client()
    except ValueError:
        return None


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
    _sync_block(Path(root), b)
    plain = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("<"))
    return hashlib.sha256(plain.data).hexdigest()


def has_block(root: Path, b: int) -> bool:
    """Whether all files of a block are there."""
    return all(path.is_file() for path in _block_files(root, b))


def sync_names(root: Path) -> None:
    """Flush the folders that name the blocks' files; `write_block` has flushed what is in them."""
    for name in ("images", *TEXTS, *MOMENTS):
        sync_folder(root / GROUP / name / "c")


def _block_files(root: Path, b: int) -> list[Path]:
    """A block's shard, and its chunks of the other arrays."""
    shard = root / GROUP / "images" / "c" / str(b) / "0" / "0" / "0"
    return [shard, *(root / GROUP / name / "c" / str(b) for name in (*TEXTS, *MOMENTS))]


def _sync_block(root: Path, b: int) -> None:
    """Flush a block's files, and the folders of its own, to the disk."""
    files = _block_files(root, b)
    for path in files:
        sync_file(path)
    for folder in list(files[0].parents)[:3]:
        sync_folder(folder)


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each image, (n, y, x, channel) of integers, as float32 (n,) each.

    Sums are exact integers, so neither order nor machine changes a bit.
    """
    flat = images.reshape(len(images), -1)
    count = flat.shape[1]
    wide = (row.astype(np.int64) for row in flat)
    sums = [(int(row.sum()), int(row @ row)) for row in wide]
    mean = np.array([total / count for total, _ in sums])
    spread = np.array([float(count * squares - total * total) for total, squares in sums])
    return mean.astype(np.float32), (np.sqrt(spread) / count).astype(np.float32)


def writable(root: str | Path, name: str) -> Any:
    """Open an array such that zeros are written too: Zarr would leave their chunks out."""
    array = zarr.open_array(Path(root, GROUP, name), mode="r+", zarr_format=3)
    return array.with_config({"write_empty_chunks": True})  # `config=` above would be ignored


def new_attributes(layout: Layout, request: dict[str, Any]) -> dict[str, Any]:
    """Say in a group's attributes how its store is made."""
    return {
        "format": FORMAT,
        "format_version": VERSION,
        **asdict(layout),
        **{name: request[name] for name in ("seed", "crops_per_image", "source")},
        "request": request,
        "versions": {name: version(name) for name in LIBRARIES},
        "coordinates": " ".join(TEXTS),
    }


def create_arrays(partial: Path, layout: Layout, rows: int, attributes: dict[str, Any]) -> None:
    """Create the group and its empty arrays, long enough for ``rows`` images; `finish` trims them.

    What an ingest that was killed at this very point has left is replaced.
    """
    shutil.rmtree(partial / GROUP, ignore_errors=True)
    group = zarr.create_group(partial / GROUP, attributes=attributes)
    for name, dtype in (
        *((name, "string") for name in TEXTS),
        *((name, "float32") for name in MOMENTS),
    ):
        _array(group, name, rows, dtype, layout.block_size)
    group.create_array(
        "images",
        shape=(rows, *layout.shard[1:]),
        dtype=layout.dtype,
        chunks=layout.chunk,
        shards=layout.shard,
        compressors=[Crc32cCodec()],
        dimension_names=("image", "y", "x", "channel"),
    )


def has_arrays(partial: Path) -> bool:
    """Whether all arrays are there: the images' is the last that `create_arrays` makes."""
    return (partial / GROUP / "images" / "zarr.json").is_file()


def remove_group(partial: Path) -> None:
    """Remove the arrays of a store in the making to which not one image has come."""
    shutil.rmtree(partial / GROUP, ignore_errors=True)


def finish(partial: Path, layout: Layout, counts: list[int], digests: list[str]) -> None:
    """Write what is known only once every block lies there: lengths, counts, digests."""
    rows = (len(counts) - 1) * layout.block_size + counts[-1]
    for name in (*TEXTS, *MOMENTS, "images"):
        _set_length(partial / GROUP / name / "zarr.json", rows)
    group = zarr.open_group(partial / GROUP, mode="r+")
    for name, dtype in (("block_images", "int32"), ("block_digest", "string")):
        shutil.rmtree(partial / GROUP / name, ignore_errors=True)
        _array(group, name, len(counts), dtype, BLOCKS_PER_CHUNK)
    writable(partial, "block_images")[:] = np.array(counts, dtype=np.int32)
    writable(partial, "block_digest")[:] = np.array(digests, dtype=object)
    group.update_attributes({"digest": store_digest(layout, counts, digests)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(partial / GROUP)


def _set_length(path: Path, rows: int) -> None:
    """Change an array's length in its metadata; no chunk is touched."""
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["shape"][0] = rows
    write_text(path, json.dumps(metadata, indent=2))


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
