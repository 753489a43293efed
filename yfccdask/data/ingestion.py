"""Photographs to a block store, as Dask tasks of many files each; and arrays to a store.

Stage 1 decodes batches of the manifest into `STORE.partial/staging`; stage 2 gathers each block
from there and writes its shard, one writer per shard. The files are in an order fixed by the
seed, and nothing depends on how many workers there are or on which is faster. An ingest that
was killed goes on from its finished batches when it is started again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from dask._task_spec import Task
from dask.base import get_scheduler
from dask.system import CPU_COUNT
from dask.threaded import get as threaded_get
from distributed import Client, as_completed

from yfccdask.data import sources
from yfccdask.data.block_writing import TEXTS, create_arrays, finish, writable, write_block
from yfccdask.data.blocks import (
    BlockStore,
    Layout,
    open_store,
)
from yfccdask.data.decoding import (
    Cut,
    count_categories,
    decode_batch,
    refuse_none,
    store_order,
)
from yfccdask.data.partial_stores import STAGING, partial_store
from yfccdask.data.status_tables import files_status
from yfccdask.errors import DataError, StoreError

BATCH_FILES, BATCH_BYTES = 32, 64 * 2**20
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
    if path.resolve().is_relative_to(Path(described).resolve()):
        raise DataError(f"expected a store outside the folder {described}, found {path}")
    request = {
        "kind": "ingest",
        "source": described,
        "files": len(manifest),
        "files_digest": sources.files_digest(manifest),
        **asdict(layout),
        "crops_per_image": crops_per_image,
        "seed": seed,
    }
    if path.exists():
        return _reused(path, request)
    tell = on_progress or (lambda done, total, text: None)
    with partial_store(path, request) as partial:
        files = _decode_all(manifest, partial / STAGING, cut, client, tell)
        refuse_none(files)
        crops = store_order(files, cut)
        create_arrays(partial, layout, len(crops), request)
        blocks = list(_block_calls(partial, layout, files, crops, cut))
        digests = {}
        for number, digest in run_tasks(client, "write-block", gather_block, blocks):
            digests[number] = digest
            tell(len(files), len(files), f"wrote {len(digests)} of {len(blocks)} blocks")
        status = files_status(files, crops, block_size)
        finish(partial, layout, [digests[b] for b in range(len(blocks))], status)
    return _report(open_store(path), reused=False)


def gather_block(
    partial: str, b: int, parts: np.ndarray, rows: np.ndarray, texts: dict[str, list[str]]
) -> str:
    """Collect a block's images, ``rows`` of the ``parts``, and write it; return its digest."""
    images = np.empty((len(rows), *writable(partial, "images").shape[1:]), np.uint8)
    for number in np.unique(parts).tolist():
        decoded = np.load(Path(partial, STAGING, f"part-{number:05d}.npy"), mmap_mode="r")
        here = parts == number
        images[here] = decoded[rows[here]]
    return write_block(partial, b, images, texts)


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
