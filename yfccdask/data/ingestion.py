"""Photographs to a block store, as Dask tasks of many files each; and arrays to a store.

Stage 1 decodes batches of the manifest into `STORE.partial/staging`; stage 2 gathers each block
from there and writes its shard, one writer per shard. The files are in an order fixed by the
seed, and nothing depends on how many workers there are or on which is faster. An ingest that
was killed goes on from its finished batches when it is started again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import zarr
from dask._task_spec import Task
from dask.base import get_scheduler
from dask.system import CPU_COUNT
from dask.threaded import get as threaded_get
from distributed import Client, as_completed
from zarr.codecs import Crc32cCodec, ZstdCodec

from yfccdask.data import sources
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
from yfccdask.data.decoding import (
    Cut,
    count_categories,
    decode_batch,
    moments,
    refuse_none,
    store_order,
)
from yfccdask.errors import DataError, StoreError

TEXTS, MOMENTS = ("image_id", "credit", "licence"), ("mean", "deviation")
LIBRARIES = ("yfccdask", "pillow", "numpy", "zarr")
BATCH_FILES, BATCH_BYTES = 32, 64 * 2**20
BLOCKS_PER_CHUNK = 4096
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did; files that gave no image are counted by the category of the reason."""

    store: Path
    seen: int
    written: int
    skipped: int
    images: int
    blocks: int
    reasons: dict[str, int] = field(default_factory=dict)
    reused: bool = False


def ingest(
    source: str | os.PathLike[str] | pd.DataFrame,
    store: str | os.PathLike[str],
    *,
    size: int = 300,
    channels: int = 3,
    block_size: int = 960,
    crops_per_image: int = 1,
    seed: int = 0,
    client: Client | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Make a block store of photographs.

    Parameters
    ----------
    source : path or pandas.DataFrame
        A folder, or a manifest (see `data.sources`).
    store : path
        Where the store shall be. A finished store of the same request is used again.
    size, channels : int
        Height and width in pixels; 3 for RGB or 1 for grey.
    block_size : int
        Images per data block.
    crops_per_image : int
        1 for the centre square of every photograph, more for that many random squares, whose
        ids are "file id#number".
    seed : int
        Seed of the order and of the random squares.
    client : distributed.Client, optional
        Where the tasks run; None for Dask's local scheduler. Its workers must see the same files.
    on_progress : callable, optional
        Called with (files decoded, files seen, what is going on).

    Returns
    -------
    IngestReport
        ``written + skipped == seen``, which count files.

    Raises
    ------
    DataError
        The source holds no file or no image, or an argument cannot be.
    StoreError
        Something else, or a store of another request, is at ``store``.
    """
    path, cut = Path(os.path.abspath(store)), Cut(size, channels, crops_per_image, seed)
    layout = Layout(block_size, size, channels, "uint8")
    manifest, described = sources.listed(source)
    if path.is_relative_to(described):
        raise DataError(f"expected a store outside the folder {described}, found {path}")
    request = {
        "kind": "ingest",
        "source": described,
        "files": len(manifest),
        "files_digest": sources.ids_digest(manifest),
        **asdict(layout),
        "crops_per_image": crops_per_image,
        "seed": seed,
    }
    if path.exists():
        return _reused(path, request)
    tell = on_progress or (lambda done, total, text: None)
    with sources.partial_store(path, request) as partial:
        files = _decode_all(manifest, partial / sources.STAGING, cut, client, tell)
        refuse_none(files)
        crops = store_order(files, cut)
        create_arrays(partial, layout, len(crops), request)
        blocks = list(_block_calls(partial, layout, files, crops, cut))
        digests = {}
        for number, digest in run_tasks(client, "write-block", gather_block, blocks):
            digests[number] = digest
            tell(len(files), len(files), f"wrote {len(digests)} of {len(blocks)} blocks")
        status = sources.files_status(files, crops, block_size)
        finish(partial, layout, [digests[b] for b in range(len(blocks))], status)
    return _report(open_store(path), reused=False)


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
    with sources.partial_store(folder, request, go_on=False) as partial:
        create_arrays(partial, layout, count, request)
        digests = []
        for b, start in enumerate(range(0, count, block_size)):
            rows = slice(start, start + block_size)
            labels = {name: values[rows] for name, values in texts.items()}
            digests.append(write_block(str(partial), b, np.asarray(images[rows]), labels))
        finish(partial, layout, digests, sources.array_status(texts, layout.size, block_size))
    return open_store(folder)


def gather_block(
    partial: str, b: int, parts: np.ndarray, rows: np.ndarray, texts: dict[str, list[str]]
) -> str:
    """Collect a block's images, ``rows`` of the ``parts``, and write it; return its digest."""
    images = np.empty((len(rows), *_writable(partial, "images").shape[1:]), np.uint8)
    for number in np.unique(parts).tolist():
        decoded = np.load(Path(partial, sources.STAGING, f"part-{number:05d}.npy"), mmap_mode="r")
        here = parts == number
        images[here] = decoded[rows[here]]
    return write_block(partial, b, images, texts)


def write_block(root: str, b: int, images: np.ndarray, texts: dict[str, list[str]]) -> str:
    """Write block ``b``, (n, y, x, channel), and what goes with it; return its SHA-256."""
    target = _writable(root, "images")
    start = b * target.shards[0]
    rows = slice(start, start + len(images))
    target[rows] = images
    mean, deviation = moments(images)
    named = {name: np.array(texts[name], dtype=object) for name in TEXTS}
    for name, values in {**named, "mean": mean, "deviation": deviation}.items():
        _writable(root, name)[rows] = values
    plain = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("<"))
    return hashlib.sha256(plain.data).hexdigest()


def _writable(root: str | Path, name: str) -> Any:
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
    _writable(partial, "block_images")[:] = np.array(counts, dtype=np.int32)
    _writable(partial, "block_digest")[:] = np.array(digests, dtype=object)
    group = zarr.open_group(partial / GROUP, mode="r+")
    group.update_attributes({"digest": store_digest(layout, counts, digests)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(partial / GROUP)
    status.to_parquet(partial / STATUS, index=False)


def run_tasks(
    client: Client | None, name: str, function: Callable[..., Any], calls: list[tuple[Any, ...]]
) -> Iterator[tuple[int, Any]]:
    """Run a function on many tuples of arguments; yield (number, result) as they come.

    At most a few tasks per thread are in flight.
    """
    prefix = f"{name}-{uuid.uuid4().hex}"
    if client is not None:
        yield from _run_through(client, prefix, function, calls)
        return
    get, numbered = get_scheduler() or threaded_get, enumerate(calls)
    while wave := list(islice(numbered, 4 * CPU_COUNT)):
        tasks = [Task((prefix, number), function, *call) for number, call in wave]
        results = get({task.key: task for task in tasks}, [task.key for task in tasks])
        yield from zip((number for number, _ in wave), results, strict=True)


def _run_through(
    client: Client, prefix: str, function: Callable[..., Any], calls: list[tuple[Any, ...]]
) -> Iterator[tuple[int, Any]]:
    """Keep at most twice as many tasks in flight as the workers have threads."""
    room = max(4, 2 * sum(client.nthreads().values()))
    numbered = enumerate(calls)
    flying: dict[Any, int] = {}

    def start() -> list[Any]:
        for number, call in islice(numbered, room - len(flying)):
            future = client.submit(function, *call, key=(prefix, number), pure=False)
            flying[future] = number
        return list(flying)

    try:
        ended = as_completed(start(), loop=client.loop, with_results=True)
        for future, result in ended:
            yield flying.pop(future), result
            known = set(flying)
            ended.update([fresh for fresh in start() if fresh not in known])
    finally:
        client.cancel(list(flying))


def _decode_all(
    manifest: pd.DataFrame, staging: Path, cut: Cut, client: Client | None, tell: Progress
) -> pd.DataFrame:
    """Stage 1: decode every file in seeded order; return one row per file in that order."""
    order = np.random.default_rng([cut.seed, 0]).permutation(len(manifest))
    files = manifest.iloc[order].reset_index(drop=True)
    per_image = cut.crops * cut.size**2 * cut.channels
    step = min(BATCH_FILES, max(1, BATCH_BYTES // per_image))
    pairs = list(zip(files["id"], files["source"], strict=True))
    starts = range(0, len(pairs), step)
    calls = [(str(staging), n, pairs[at : at + step], cut) for n, at in enumerate(starts)]
    rows: list[Any] = [None] * len(pairs)
    done = 0
    for number, batch in run_tasks(client, "decode-photos", decode_batch, calls):
        rows[starts[number] : starts[number] + len(batch)] = batch
        done += len(batch)
        tell(done, len(pairs), "decoding photographs")
    found = pd.DataFrame(rows, columns=["reason", "source_digest", "width", "height"])
    return pd.concat([files, found], axis=1).assign(part=np.arange(len(files)) // step)


def _block_calls(
    partial: Path, layout: Layout, files: pd.DataFrame, crops: pd.DataFrame, cut: Cut
) -> Iterator[tuple[Any, ...]]:
    """Stage 2: say what `gather_block` needs for each block."""
    for b, start in enumerate(range(0, len(crops), layout.block_size)):
        here = crops.iloc[start : start + layout.block_size]
        named = files.iloc[here["file"]]
        ids = named["id"].tolist()
        if cut.crops > 1:
            ids = [f"{name}#{crop}" for name, crop in zip(ids, here["crop"], strict=True)]
        texts = dict(zip(TEXTS, (ids, *(named[name].tolist() for name in TEXTS[1:])), strict=True))
        yield str(partial), b, here["part"].to_numpy(), here["row"].to_numpy(), texts


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


def _reused(path: Path, request: dict[str, Any]) -> IngestReport:
    """Report a finished store of the same request."""
    store = open_store(path)
    found = store.attributes().get("request", {})
    if found == request:
        return _report(store, reused=True)
    names = [key for key in request if request[key] != found.get(key)]
    raise StoreError(
        f"expected nothing at {path}, or a store of the same request, found a store with another "
        f"{', '.join(names)}: choose another path or remove that store"
    )


def _report(store: BlockStore, reused: bool) -> IngestReport:
    files = store.status()
    written = int((files["outcome"] == "written").sum())
    return IngestReport(
        Path(store.path),
        seen=len(files),
        written=written,
        skipped=len(files) - written,
        images=store.images,
        blocks=store.blocks,
        reasons=count_categories(files),
        reused=reused,
    )
