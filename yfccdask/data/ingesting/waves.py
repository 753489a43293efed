"""One wave of files after another: decode, fill blocks in order, carry the rest to the next.

Only a wave's decoded pixels lie on disk beside the store. What a wave does follows from the
sequence, the request and the waves before; who does it, and how often it is begun again after
a kill, changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client

from yfccdask.data.block_layout import STATUS, Layout
from yfccdask.data.block_writing import TEXTS, sync_names
from yfccdask.data.decoding import Cut
from yfccdask.data.durable import replace_file
from yfccdask.data.ingesting.batches import Outcome, decode_batch, unpack_members
from yfccdask.data.ingesting.duplicates import DuplicateIndex
from yfccdask.data.ingesting.gathering import CARRIED, gather_block, gather_carry, wave_images
from yfccdask.data.ingesting.ledger import (
    Totals,
    WaveRecord,
    count_categories,
    read_totals,
    write_record,
)
from yfccdask.data.ingesting.sequence import Sequence
from yfccdask.data.ingesting.tasks import run_tasks
from yfccdask.data.partial_stores import WORK
from yfccdask.data.sources.contents import Access, Item
from yfccdask.data.sources.manifest_rows import STREAMED
from yfccdask.data.status_tables import SKIPPED, WRITTEN, write_status
from yfccdask.errors import DataError

BATCH_FILES, BATCH_BYTES = 32, 64 * 2**20
WAVE_FILES, WAVE_BYTES = 2**17, 8 * 2**30  # decoded pixels that may lie on disk at a time
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Job:
    """What the waves of one ingest have in common.

    Attributes
    ----------
    first_block, first_part : int
        Numbers of the first block and the first status part that it writes.
    """

    partial: Path
    layout: Layout
    cut: Cut
    access: Access
    first_block: int
    first_part: int
    client: Client | None
    tell: Progress

    @property
    def ledger(self) -> Path:
        return self.partial / WORK / "ledger"

    def staging(self, wave: int) -> Path:
        return self.partial / WORK / "staging" / f"wave-{wave:06d}"

    def carry(self, wave: int) -> Path:
        """What a wave has left over: pixels; its texts are beside it, as Parquet."""
        return self.ledger / f"carry-{wave:06d}.npy"


def files_per_wave(cut: Cut, most: int | None = None) -> int:
    """Bound a wave by files, ``most`` if given, and by the bytes of its decoded pixels.

    Raises
    ------
    DataError
        ``most`` is less than one file.
    """
    if most is not None:
        if most < 1:
            raise DataError(f"expected wave_files of at least 1, found {most}")
        return most
    per_file = cut.crops * cut.size**2 * cut.channels
    return max(1, min(WAVE_FILES, WAVE_BYTES // per_file))


def finished_waves(job: Job) -> int:
    """How many waves an ingest that was killed has finished."""
    return read_totals(job.ledger).waves


def run_waves(job: Job, sequence: Sequence, index: DuplicateIndex) -> Totals:
    """Do the waves that are not done yet; return the totals of all."""
    job.ledger.mkdir(parents=True, exist_ok=True)
    totals = read_totals(job.ledger)
    while totals.waves < sequence.waves:
        _tidy(job, totals.waves)
        record = _run_wave(job, sequence, totals, index)
        write_record(job.ledger, totals.waves, record)
        totals = read_totals(job.ledger)
    return totals


def _tidy(job: Job, wave: int) -> None:
    """Remove what finished waves have left, but for the carry that the next one needs."""
    staging = job.partial / WORK / "staging"
    for folder in staging.glob("wave-*"):
        if folder != job.staging(wave):
            shutil.rmtree(folder)
    for path in job.ledger.glob("carry-*"):
        if path.stem != job.carry(wave - 1).stem:
            path.unlink()


def _run_wave(job: Job, sequence: Sequence, before: Totals, index: DuplicateIndex) -> WaveRecord:
    wave, last = before.waves, before.waves + 1 == sequence.waves
    job.staging(wave).mkdir(parents=True, exist_ok=True)
    files = _mark_duplicates(_decode(job, sequence, before, index), index, wave)
    images = wave_images(files, job.cut, job.first_part + wave)
    whole, texts = _with_carry(job, wave, before.carried, files, images)
    size = job.layout.block_size
    blocks = -(-len(whole) // size) if last else len(whole) // size
    first = job.first_block + len(before.digests)
    told = (before.files + len(files), sequence.files)
    digests = _write_blocks(job, wave, first, blocks, whole, texts, told)
    carried = _carry(job, wave, whole.iloc[blocks * size :], texts.iloc[blocks * size :])
    start = first * size + before.carried
    status = _status(files, images, start, job.layout)
    write_status(job.partial / STATUS, job.first_part + wave, status)
    return WaveRecord(len(files), len(images), digests, carried, count_categories(files["reason"]))


def _decode(job: Job, sequence: Sequence, before: Totals, index: DuplicateIndex) -> pd.DataFrame:
    """Decode the files of a wave: its rows with what became of each, its batch and its place."""
    files, folder = sequence.wave(before.waves), job.staging(before.waves)
    items = _plain_items(job, files, folder)
    per_image = job.cut.crops * job.cut.size**2 * job.cut.channels
    step = min(BATCH_FILES, max(1, BATCH_BYTES // per_image))
    starts = range(0, len(items), step)
    how = (job.cut, job.access, index.rule.near is not None)
    calls = ((str(folder), n, items[at : at + step], *how) for n, at in enumerate(starts))
    outcomes: list[Any] = [None] * len(items)
    done = before.files
    for number, batch in run_tasks(job.client, "decode-photos", decode_batch, calls):
        outcomes[starts[number] : starts[number] + len(batch)] = batch
        done += len(batch)
        job.tell(done, sequence.files, "decoding photographs")
    found = pd.DataFrame(outcomes, columns=list(Outcome._fields))
    parts = np.arange(len(files)) // step
    return pd.concat([files, found], axis=1).assign(part=parts, decoded=found["reason"] == "")


def _plain_items(job: Job, files: pd.DataFrame, folder: Path) -> list[Item]:
    """The files as tasks are told of them; members of compressed tars are unpacked before."""
    items = [Item(*row) for row in files[list(Item._fields)].itertuples(index=False, name=None)]
    streamed: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if item.packing == STREAMED:
            streamed.setdefault(item.path, []).append(place)
    calls = [
        (str(folder), number, path, [items[place] for place in places], job.access.storage)
        for number, (path, places) in enumerate(streamed.items())
    ]
    for number, moved in run_tasks(job.client, "unpack-archive", unpack_members, calls):
        for place, item in zip(streamed[calls[number][2]], moved, strict=True):
            items[place] = item
    return items


def _mark_duplicates(files: pd.DataFrame, index: DuplicateIndex, wave: int) -> pd.DataFrame:
    """Say which files repeat an earlier one; they are left out if the rule is to skip them."""
    originals: list[str] = [""] * len(files)
    reasons = files["reason"].tolist()
    good = np.flatnonzero(files["decoded"].to_numpy())
    found = index.originals(wave, files.iloc[good])
    for place, original in zip(good.tolist(), found, strict=True):
        if original is None:
            continue
        originals[place] = original.id
        if index.rule.handling == "skip":
            reasons[place] = f"{original.kind}: of {original.id}"
    return files.assign(duplicate_of=originals, reason=reasons)


def _with_carry(
    job: Job, wave: int, carried: int, files: pd.DataFrame, images: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put what the wave before has left over in front: (part, row) of all images, and texts."""
    named = files.iloc[images["file"]]
    ids = named["id"].tolist()
    if job.cut.crops > 1:
        ids = [f"{name}#{crop}" for name, crop in zip(ids, images["crop"], strict=True)]
    texts = pd.DataFrame({"image_id": ids, **{name: named[name].tolist() for name in TEXTS[1:]}})
    places = images[["part", "row"]]
    if not carried:
        return places.reset_index(drop=True), texts
    former = pq.read_table(job.carry(wave - 1).with_suffix(".parquet")).to_pandas()
    begin = pd.DataFrame({"part": CARRIED, "row": np.arange(carried)})
    return pd.concat([begin, places], ignore_index=True), pd.concat([former, texts])


def _write_blocks(
    job: Job,
    wave: int,
    first: int,
    blocks: int,
    whole: pd.DataFrame,
    texts: pd.DataFrame,
    told: tuple[int, int],
) -> list[str]:
    """Write the wave's blocks, one task each; return their digests in order."""
    size, where = job.layout.block_size, (str(job.staging(wave)), str(job.carry(wave - 1)))

    def calls() -> Iterator[tuple[Any, ...]]:
        for number in range(blocks):
            rows = slice(number * size, (number + 1) * size)
            here = whole.iloc[rows]
            labels = {name: texts[name].iloc[rows].tolist() for name in TEXTS}
            places = here["part"].to_numpy(), here["row"].to_numpy()
            yield str(job.partial), *where, first + number, *places, labels

    digests: dict[int, str] = {}
    for number, digest in run_tasks(job.client, "write-block", gather_block, calls()):
        digests[number] = digest
        job.tell(*told, f"wrote {first + len(digests)} of {first + blocks} blocks so far")
    if blocks:
        sync_names(job.partial)
    return [digests[number] for number in range(blocks)]


def _carry(job: Job, wave: int, places: pd.DataFrame, texts: pd.DataFrame) -> int:
    """Keep the images that fill no block, with their texts, for the next wave."""
    if places.empty:
        return 0
    target, former = job.carry(wave), job.carry(wave - 1)
    where = places["part"].to_numpy(), places["row"].to_numpy()
    call = (str(job.staging(wave)), str(former), *where, str(target))
    list(run_tasks(job.client, "carry-images", gather_carry, [call]))
    table = pa.Table.from_pandas(texts[list(TEXTS)], preserve_index=False)
    replace_file(target.with_suffix(".parquet"), lambda stream: pq.write_table(table, stream))
    return len(places)


def _status(files: pd.DataFrame, images: pd.DataFrame, start: int, layout: Layout) -> pd.DataFrame:
    """Say what became of every file of a wave; its first image has the store's row ``start``."""
    good = (files["reason"] == "").to_numpy()
    index = np.full(len(files), -1, dtype=np.int64)
    first = (images["crop"] == 0).to_numpy()
    index[images["file"][first]] = start + np.flatnonzero(first)
    return files.assign(
        outcome=np.where(good, WRITTEN, SKIPPED),
        images=np.bincount(images["file"], minlength=len(files)),
        index=index,
        block=np.where(good, index // layout.block_size, -1),
    )
