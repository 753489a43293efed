"""Photographs to a block store, as Dask tasks of many files each.

A source is listed once (`data.sources`), its files are put into an order that the seed fixes
(`ingesting.sequence`), and wave after wave of them is decoded and fills blocks
(`ingesting.waves`). Nothing depends on how many workers there are or on which is faster. An
ingest that was killed goes on when it is started again.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from yfccdask.data.block_layout import Layout
from yfccdask.data.block_writing import (
    create_arrays,
    finish,
    has_arrays,
    new_attributes,
    remove_group,
)
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.decoding import Cut
from yfccdask.data.full_stores import writing_store
from yfccdask.data.ingesting.additions import Addition
from yfccdask.data.ingesting.duplicates import DuplicateIndex, DuplicateRule, Handling
from yfccdask.data.ingesting.ledger import NoImages, Totals, count_categories, refuse_none
from yfccdask.data.ingesting.looks import require_looks
from yfccdask.data.ingesting.requests import Asked
from yfccdask.data.ingesting.sequence import Sequence, write_sequence
from yfccdask.data.ingesting.waves import Job, Progress, files_per_wave, finished_waves, run_waves
from yfccdask.data.partial_stores import (
    LISTING,
    WORK,
    begin,
    claimed,
    discard,
    finish_partial,
    is_whole,
    merge_partial,
    partial_of,
    publish_partial,
    replace_folder,
    tidy,
)
from yfccdask.data.sources.listings import Listing, Source, listing
from yfccdask.data.sources.manifest_rows import FilesDigest
from yfccdask.data.status_tables import WRITTEN, read_status
from yfccdask.errors import DataError, StoreError


@dataclass(frozen=True)
class IngestReport:
    """What a store holds; files that gave no image are counted by the category of the reason.

    ``duplicates`` counts the files that repeat an earlier one, left out or not. ``reused`` says
    that there was nothing to do.
    """

    store: Path
    seen: int
    written: int
    skipped: int
    images: int
    blocks: int
    reasons: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    reused: bool = False


def ingest(
    source: Source,
    store: str | os.PathLike[str],
    *,
    size: int = 300,
    channels: int = 3,
    block_size: int = 960,
    crops_per_image: int = 1,
    seed: int = 0,
    decode: Literal["exact", "fast"] = "exact",
    duplicates: Handling = "report",
    near_duplicates: int | None = None,
    root: str | None = None,
    where: str | None = None,
    storage: dict[str, Any] | None = None,
    wave_files: int | None = None,
    append: bool = False,
    retry_failed: bool = False,
    client: Client | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Make a block store of photographs, go on with one, or add to one.

    Parameters
    ----------
    source : path, address or pandas.DataFrame
        A folder tree, a tar or zip archive or a folder of them, a Parquet set of metadata, or a
        manifest (see `data.sources.listings`).
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
    decode : str
        "exact", or "fast": JPEGs are scaled while they are decoded (see `decoding.Cut`).
    duplicates : str
        Files with the bytes of an earlier one: "report" them in the status, or "skip" them too.
    near_duplicates : int, optional
        Treat as duplicates also what differs in at most so many bits of a perceptual hash.
    root, where : str, optional
        For a Parquet set: what holds its images, and a condition on its columns.
    storage : dict, optional
        How fsspec reaches addresses. Never written down.
    wave_files : int, optional
        Files whose images may lie decoded on disk at a time; 8 GiB of pixels by default.
    append : bool
        Add the files that a finished store doesn't know yet, as new blocks; its own options count.
    retry_failed : bool
        Try again the files that gave no image, and add what they give now as new blocks.
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
        The source holds no file or no image, is gone (`SourceLost`), or an argument cannot be.
    StoreError
        Something else, or a store of another request, is at ``store``.
    DiskFull
        What is done is kept.
    """
    path, cut = Path(os.path.abspath(store)), Cut(size, channels, crops_per_image, seed, decode)
    layout, rule = (
        Layout(block_size, size, channels, "uint8"),
        DuplicateRule(duplicates, near_duplicates),
    )
    found = listing(source, root=root, where=where, storage=storage)
    _refuse_inside(path, found)
    if near_duplicates is not None:
        require_looks()
    wave, tell = files_per_wave(cut, wave_files), on_progress or (lambda done, total, text: None)
    asked = Asked(found, layout, cut, rule, wave, client, tell)
    _finish_former(path)
    if append or retry_failed:
        return _add(path, asked, retry_failed)
    if path.exists():
        return _reused(path, asked)
    return _make(path, asked)


def _make(path: Path, asked: Asked) -> IngestReport:
    """Make a store that isn't there, or go on with one that was begun."""
    with claimed(path) as partial, writing_store(partial):
        where = (partial / LISTING, asked.cut.seed, asked.wave)
        sequence = write_sequence(asked.listing.tables(), *where)
        request = asked.request(sequence.listed, sequence.digest)
        begin(partial, request)
        attributes = new_attributes(asked.layout, request)
        totals = _fill(partial, asked, sequence, attributes)
        try:
            refuse_none(totals)
        except NoImages:
            discard(partial)
            raise
        finish(partial, asked.layout, _counts(totals, asked.layout), totals.digests)
        finish_partial(partial)
        publish_partial(partial, path)
    return _report(open_store(path), reused=False)


def _add(path: Path, asked: Asked, retry: bool) -> IngestReport:
    """Add new blocks to a finished store."""
    store = open_store(path)
    asked, addition = asked.like(store), Addition(store, retry)
    with claimed(path) as partial, writing_store(partial):
        where = (partial / LISTING, asked.cut.seed, asked.wave)
        sequence = write_sequence(asked.listing.tables(), *where, addition.marked())
        if not sequence.files:
            return _report(store, reused=True)
        request = asked.request(sequence.listed, sequence.digest, addition.kind)
        begin(partial, {**request, "store": store.digest})
        attributes = {**store.attributes(), "additions": [*_additions(store), request]}
        totals = _fill(partial, asked, sequence, attributes, addition)
        _extend(partial, addition, totals)
        finish_partial(partial)
        merge_partial(partial, path)
    return _report(open_store(path), reused=False)


def _fill(
    partial: Path,
    asked: Asked,
    sequence: Sequence,
    attributes: dict[str, Any],
    addition: Addition | None = None,
) -> Totals:
    """Do all waves of a sequence that are not done."""
    sequence = sequence.moved(replace_folder(sequence.folder, partial / WORK / "sequence"))
    first_block, first_part = (addition.store.blocks, addition.first_part) if addition else (0, 0)
    if not has_arrays(partial):
        rows = first_block * asked.layout.block_size + sequence.files * asked.cut.crops
        create_arrays(partial, asked.layout, rows, attributes)
    places = (asked.listing.access, first_block, first_part)
    job = Job(partial, asked.layout, asked.cut, *places, asked.client, asked.tell)
    path, done = partial / WORK / "duplicates.sqlite", finished_waves(job)
    with DuplicateIndex(path, asked.rule, done) as index:
        if addition:
            index.seed(addition.written())
        return run_waves(job, sequence, index)


def _extend(partial: Path, addition: Addition, totals: Totals) -> None:
    """Write what the store will say of all blocks, the old and the new ones."""
    addition.rewrite_status(partial)
    if not totals.digests:  # not one image: only the status has something to say
        remove_group(partial)
        return
    store = addition.store
    counts = [*store.counts, *_counts(totals, store.layout)]
    finish(partial, store.layout, counts, [*store.block_digests(), *totals.digests])


def _additions(store: BlockStore) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.attributes().get("additions", [])
    return found


def _counts(totals: Totals, layout: Layout) -> list[int]:
    """Images in each block: all are full but the last."""
    starts = range(0, totals.images, layout.block_size)
    return [min(layout.block_size, totals.images - start) for start in starts]


def _refuse_inside(path: Path, found: Listing) -> None:
    """Raise a DataError if the store would lie among its own photographs."""
    for place in {found.local, found.access.root} - {""}:
        if path.resolve().is_relative_to(Path(place).resolve()):
            raise DataError(f"expected a store outside the folder {place}, found {path}")


def _finish_former(path: Path) -> None:
    """Give what a killed ingest had finished its place; tidy up after one that had done that."""
    if is_whole(partial_of(path)):
        with claimed(path) as partial:
            if path.exists():
                merge_partial(partial, path)
            else:
                publish_partial(partial, path)
    elif path.is_dir():
        tidy(path)


def _reused(path: Path, asked: Asked) -> IngestReport:
    """Report a finished store of the same request."""
    store, digest = open_store(path), FilesDigest()
    for table in asked.listing.tables():
        digest.add(table)
    request = asked.request(digest.files, digest.hexdigest())
    found = store.attributes().get("request", {})
    names = [key for key in request if request[key] != found.get(key)]
    if not names:
        return _report(store, reused=True)
    advice = "choose another path or remove that store"
    if set(names) <= {"files", "files_digest"}:
        advice = "add the new ones with --append, or choose another path"
    raise StoreError(
        f"expected nothing at {path}, or a store of the same request, found a store with another "
        f"{', '.join(names)}: {advice}"
    )


def _report(store: BlockStore, reused: bool) -> IngestReport:
    seen = written = duplicates = 0
    reasons: Counter[str] = Counter()
    for part in read_status(Path(store.path), ["outcome", "reason", "duplicate_of"]):
        seen, written = seen + len(part), written + int((part["outcome"] == WRITTEN).sum())
        duplicates += int((part["duplicate_of"] != "").sum())
        reasons.update(count_categories(part["reason"]))
    return IngestReport(
        Path(store.path),
        seen=seen,
        written=written,
        skipped=seen - written,
        images=store.images,
        blocks=store.blocks,
        reasons=dict(reasons.most_common()),
        duplicates=duplicates,
        reused=reused,
    )
