"""``store check``: every row accounted for, every byte as it was written; what is not, by name.

The status proves written + skipped by reason = rows, each image in exactly one row. Files must
be there and as long as they must be. A deep check reads all pixels: the CRC32C of every inner
chunk, the SHA-256 of every block, moments, and whether each image bears the id of its row. Blocks
are checked by tasks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from distributed import Client

from yfccdask.data.block_layout import GROUP, STATUS, Part
from yfccdask.data.block_writing import MOMENTS, TEXTS, moments
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.ingesting.ledger import count_categories
from yfccdask.data.ingesting.tasks import run_tasks
from yfccdask.data.status_tables import SKIPPED, WRITTEN, read_part, status_parts
from yfccdask.errors import StoreError

Progress = Callable[[int, int, str], None]
COLUMNS = ("id", "outcome", "reason", "images", "block", "index")


@dataclass(frozen=True)
class StoreCheck:
    """What a check found.

    Attributes
    ----------
    rows, written, skipped : int
        Files in the status.
    reasons : dict
        Skipped files by the category of their reason.
    images, blocks : int
    deep : bool
        Whether all pixels were read.
    damage : list of str
        What doesn't hold, each with its place; empty if all is well.
    """

    store: str
    digest: str
    rows: int
    written: int
    skipped: int
    images: int
    blocks: int
    deep: bool
    reasons: dict[str, int] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.damage


def check_store_files(
    store: BlockStore | str | Path,
    *,
    deep: bool = False,
    client: Client | None = None,
    on_progress: Progress | None = None,
) -> StoreCheck:
    """Check a finished store.

    Parameters
    ----------
    store : BlockStore or path
    deep : bool
        Read all pixels, not only status, names and lengths.
    client : distributed.Client, optional
        Where the blocks are checked; None for Dask's local scheduler.
    on_progress : callable, optional
        Called with (blocks checked, blocks, what is going on).

    Raises
    ------
    StoreError
        There is no store whose metadata can be read.
    """
    store, tell = open_store(store), on_progress or (lambda done, total, text: None)
    tally = _Tally(store, deep)
    for path in status_parts(Path(store.path)):
        tally.add(path)
    damage = [*tally.damage, *tally.missing(), *_strays(store)]
    digests = store.block_digests()
    calls = [(store.part(b), digests[b], deep) for b in range(store.blocks)]
    found: dict[int, list[str]] = {}
    for b, wrong in run_tasks(client, "check-block", check_block, calls):
        found[b] = wrong
        tell(len(found), store.blocks, "checking blocks")
    damage += [text for b in sorted(found) for text in found[b]]
    return StoreCheck(
        store.path,
        store.digest,
        *(tally.rows, tally.written, tally.skipped, store.images, store.blocks, deep),
        dict(tally.reasons.most_common()),
        damage,
    )


class _Tally:
    """Adds up the status, part by part: each of the store's images belongs to one written row."""

    def __init__(self, store: BlockStore, deep: bool) -> None:
        self.store, self.deep, self.reasons = store, deep, Counter[str]()
        self.rows = self.written = self.skipped = self.images = 0
        self.damage: list[str] = []
        self.names: list[np.ndarray] = []
        self.first = np.zeros(store.blocks * store.block_size, dtype=bool)
        self.crops = int(store.attributes().get("crops_per_image", 1))

    def add(self, path: Path) -> None:
        try:
            part = read_part(path, COLUMNS)
        except StoreError as error:
            self.damage.append(f"{STATUS}/{path.name}: {error}")
            return
        written, skipped = part["outcome"] == WRITTEN, part["outcome"] == SKIPPED
        self.rows, self.images = self.rows + len(part), self.images + int(part["images"].sum())
        self.written, self.skipped = (
            self.written + int(written.sum()),
            self.skipped + int(skipped.sum()),
        )
        self.reasons.update(count_categories(part["reason"]))
        self._places(part[written], path.name)
        if self.deep:
            self._ids(part[written], path.name)
        unexplained = int((skipped & (part["reason"] == "")).sum())
        unknown = len(part) - int(written.sum()) - int(skipped.sum())
        for count, text in ((unexplained, "skipped without a reason"), (unknown, "of no outcome")):
            if count:
                self.damage.append(f"{STATUS}/{path.name}: {count} rows {text}")
        self.names.append(pd.util.hash_array(part["id"].to_numpy(dtype=object)))

    def _places(self, part: pd.DataFrame, name: str) -> None:
        """Each written row has a first image, in a block, at a row of its own."""
        index, size = part["index"].to_numpy(), self.store.block_size
        inside = (index >= 0) & (index < len(self.first))
        wrong = ~inside | (part["block"].to_numpy() != index // size)
        wrong |= part["images"].to_numpy() != self.crops
        known = index[inside]
        twice = len(known) - len(np.unique(known)) + int(self.first[known].sum())
        self.first[known] = True
        for count, text in (
            (int(wrong.sum()), "with a wrong place"),
            (twice, "with a taken place"),
        ):
            if count:
                self.damage.append(f"{STATUS}/{name}: {count} written rows {text}")

    def _ids(self, part: pd.DataFrame, name: str) -> None:
        """The first image of each written row bears the row's id."""
        end = "#0" if self.crops > 1 else ""
        try:
            found = self.store.ids(part["index"].tolist())
        except StoreError:  # a place that is wrong, or damage that is named with its block
            return
        wrong = sum(a + end != b for a, b in zip(part["id"], found, strict=True))
        if wrong:
            self.damage.append(f"{STATUS}/{name}: {wrong} written rows whose image has another id")

    def missing(self) -> Iterator[str]:
        """What doesn't add up over all parts."""
        store, real = self.store, self.store.rows()
        hashes = np.concatenate(self.names) if self.names else np.zeros(0, np.uint64)
        if twice := len(hashes) - len(np.unique(hashes)):
            yield f"{STATUS}: {twice} ids are there more than once"
        if self.images != store.images:
            yield f"{STATUS}: {self.images} images in its rows, {store.images} in the blocks"
        if self.first.sum() > self.first[real].sum():
            yield f"{STATUS}: images beyond the end of a block"
        if self.crops == 1 and not self.first[real].all():
            row = int(real[~self.first[real]][0])
            yield f"{STATUS}: no row for image {row} of block {row // store.block_size}, and others"


def _strays(store: BlockStore) -> Iterator[str]:
    """Shards that no block owns: of an ingest that was killed, or of another store."""
    folder = Path(store.path, GROUP, "images", "c")
    known = {str(b) for b in range(store.blocks)}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in known:
            yield f"{GROUP}/images/c/{path.name}: a shard of no block"


def check_block(part: Part, digest: str, deep: bool) -> list[str]:
    """Check one block's files; say what is wrong with them."""
    root, b = Path(part.path, GROUP), part.number
    wrong = []
    shard = root / "images" / "c" / str(b) / "0" / "0" / "0"
    length, least = _length(shard), part.layout.shard_bytes(part.images)
    if length < least:
        wrong.append(f"block {b}: {shard.relative_to(part.path)} has {length} of {least} bytes")
    for name in (*TEXTS, *MOMENTS):
        if not _length(root / name / "c" / str(b)):
            wrong.append(f"block {b}: {name} is missing")
    return wrong + (_deep(part, digest) if deep and not wrong else [])


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _deep(part: Part, digest: str) -> list[str]:
    """Read everything of a block."""
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for name in (*TEXTS, *MOMENTS):
        try:
            found[name] = _opened(part, name)[part.rows]
        except ValueError as error:
            wrong.append(f"block {part.number}: {name}: {error}")
    images, damaged = _read_chunks(part)
    wrong += damaged
    if wrong:
        return wrong
    plain = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("<"))
    if (sha := hashlib.sha256(plain.data).hexdigest()) != digest:
        wrong.append(f"block {part.number}: SHA-256 of its pixels is {sha}, expected {digest}")
    for name, values in zip(MOMENTS, moments(images), strict=True):
        if not np.array_equal(values, found[name]):
            wrong.append(f"block {part.number}: {name} is not that of its images")
    return wrong


def _read_chunks(part: Part) -> tuple[np.ndarray, list[str]]:
    """Read a block inner chunk by inner chunk, so that damage has a place."""
    layout, array = part.layout, _opened(part, "images")
    images = np.empty((part.images, *layout.shard[1:]), np.dtype(layout.dtype))
    depth, tile = layout.chunk[:2]
    steps = range(0, part.images, depth), range(0, layout.size, tile), range(0, layout.size, tile)
    wrong = []
    for n, y, x in product(*steps):
        stop = min(n + depth, part.images)
        first = part.rows.start
        try:
            values = array[first + n : first + stop, y : y + tile, x : x + tile]
        except ValueError as error:
            place = f"inner chunk ({n // depth}, {y // tile}, {x // tile}, 0)"
            wrong.append(
                f"block {part.number}, {place}: images {first + n}..{first + stop - 1}, "
                f"pixels {y}..{y + tile - 1} by {x}..{x + tile - 1}: {error}"
            )
            continue
        images[n:stop, y : y + tile, x : x + tile] = values
    return images, wrong


def _opened(part: Part, name: str) -> Any:
    return zarr.open_array(Path(part.path, GROUP, name), mode="r", zarr_format=3)
