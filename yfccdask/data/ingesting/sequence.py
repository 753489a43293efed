"""The order of an ingest's files, on disk, in waves: a function of ids and seed alone.

Every file has a key, the first eight bytes of SHA-256 over the seed and its id; files come in the
order of their keys. Members of one compressed archive share the key of the archive, so that
few waves read it; within a wave they are mixed like all others. More rows than fit into memory
are sorted bucket by bucket (the key's first byte), so that a listing of any length passes
through.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yfccdask.data.durable import replace_file
from yfccdask.data.sources.manifest_rows import ROW_COLUMNS, FilesDigest, refuse_twice

ROWS_IN_MEMORY = 1_000_000
STREAMED_ID = re.compile(r"\.(tar\.(gz|bz2|xz|zst)|tgz|tbz2|txz)/", re.IGNORECASE)
NUMBERS = {"offset": pa.int64(), "length": pa.int64(), "path": pa.binary()}
ROWS = pa.schema([(name, NUMBERS.get(name, pa.string())) for name in ROW_COLUMNS])
SORTED = ROWS.append(pa.field("key", pa.uint64())).append(pa.field("marked", pa.bool_()))


@dataclass(frozen=True)
class Marked:
    """Ids that a store knows: those that the sequence leaves out, or the only ones it takes."""

    ids: Iterable[pd.Series]
    keep: bool = False


@dataclass(frozen=True)
class Sequence:
    """Files in order, cut into waves; ``listed`` and ``digest`` are of the whole listing."""

    folder: Path
    waves: int
    files: int
    listed: int
    digest: str

    def moved(self, folder: Path) -> Sequence:
        """The same after its folder has moved."""
        return replace(self, folder=folder)

    def wave(self, number: int) -> pd.DataFrame:
        """Read the rows of a wave (counted from 0), in order."""
        table = pq.read_table(self.folder / f"wave-{number:06d}.parquet").to_pandas()
        paths = [os.fsdecode(path) for path in table["path"]]
        return table.assign(path=pd.Series(paths, dtype=object))  # may hold no valid UTF-8


def sequence_keys(seed: int, texts: Iterable[str]) -> np.ndarray:
    """Give each text its place: uint64 (n,)."""
    start = f"{seed}\0".encode()
    words = (hashlib.sha256(start + text.encode()).digest()[:8] for text in texts)
    return np.frombuffer(b"".join(words), dtype="<u8")


def write_sequence(
    tables: Iterable[pd.DataFrame],
    folder: Path,
    seed: int,
    wave_files: int,
    marked: Marked | None = None,
) -> Sequence:
    """Sort a listing into ``folder``, one Parquet file per wave of ``wave_files`` rows.

    Raises
    ------
    DataError
        An id is there twice.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    buckets, digest = Buckets(folder / "buckets"), FilesDigest()
    for table in tables:
        digest.add(table)
        buckets.add(_arrow(table, seed))
    for ids in marked.ids if marked else ():
        buckets.add(_marks(ids, seed))
    keep = bool(marked and marked.keep)
    whole = (_chosen(bucket, keep) for bucket in buckets.sorted())
    waves = files = 0
    for wave in _cut(whole, wave_files):
        _write_wave(wave, folder / f"wave-{waves:06d}.parquet", seed)
        waves, files = waves + 1, files + len(wave)
    buckets.remove()
    return Sequence(folder, waves, files, digest.files, digest.hexdigest())


class Buckets:
    """Rows on their way into order: in memory, or in 256 files once they are many."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, 0
        self.held: list[pa.Table] = []
        self.writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def add(self, table: pa.Table) -> None:
        self.held.append(table)
        self.rows += len(table)
        if self.rows >= ROWS_IN_MEMORY:
            self._spill()

    def sorted(self) -> Iterator[pa.Table]:
        """Yield the rows by key and id, a bucket at a time."""
        if not self.writers:
            yield _by_key(pa.concat_tables(self.held) if self.held else SORTED.empty_table())
            return
        self._spill()
        for writer in self.writers.values():
            writer.close()
        for number in sorted(self.writers):
            with pa.ipc.open_stream(self._path(number)) as stream:
                yield _by_key(stream.read_all())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spill(self) -> None:
        self.folder.mkdir(exist_ok=True)
        table = pa.concat_tables(self.held) if self.held else SORTED.empty_table()
        self.held, self.rows = [], 0
        numbers = (table["key"].to_numpy() >> np.uint64(56)).astype(np.int64)
        for number in np.unique(numbers).tolist():
            if number not in self.writers:
                self.writers[number] = pa.ipc.new_stream(str(self._path(number)), SORTED)
            self.writers[number].write_table(table.filter(pa.array(numbers == number)))

    def _path(self, number: int) -> Path:
        return self.folder / f"bucket-{number:03d}.arrows"


def _group(identity: str) -> str:
    """What a file's key is made of: its compressed archive, or its own id."""
    found = STREAMED_ID.search(identity)
    return identity[: found.end()] if found else identity


def _arrow(table: pd.DataFrame, seed: int) -> pa.Table:
    columns = {name: table[name].tolist() for name in ROW_COLUMNS}
    columns["path"] = [os.fsencode(path) for path in columns["path"]]
    key = sequence_keys(seed, map(_group, columns["id"]))
    marked = np.zeros(len(table), dtype=bool)
    return pa.table({**columns, "key": key, "marked": marked}, schema=SORTED)


def _marks(ids: pd.Series, seed: int) -> pa.Table:
    names = ids.tolist()
    table = pa.table({"id": pa.array(names, pa.string())})
    for field in list(SORTED)[1:-2]:
        table = table.append_column(field, pa.nulls(len(names), field.type))
    key = sequence_keys(seed, map(_group, names))
    table = table.append_column(SORTED.field("key"), pa.array(key))
    return table.append_column(SORTED.field("marked"), pa.array(np.ones(len(names), dtype=bool)))


def _by_key(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table, [("key", "ascending"), ("id", "ascending")]))


def _chosen(bucket: pa.Table, keep: bool) -> pa.Table:
    """Take the rows that no mark forbids, or those that a mark asks for."""
    marks = bucket["marked"].to_numpy()
    rows = bucket.filter(pa.array(~marks))
    refuse_twice(rows["id"].to_pandas())
    if not keep and not marks.any():
        return rows
    known = pc.is_in(rows["id"], value_set=bucket.filter(pa.array(marks))["id"].combine_chunks())
    return rows.filter(known if keep else pc.invert(known))


def _cut(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut a stream of tables into tables of exactly ``rows`` rows; the last may be shorter."""
    held = SORTED.empty_table()
    for table in tables:
        held = pa.concat_tables([held, table])
        while len(held) >= rows:
            yield held.slice(0, rows)
            held = held.slice(rows)
    if len(held):
        yield held


def _write_wave(wave: pa.Table, path: Path, seed: int) -> None:
    """Write a wave's rows in the order of their own keys, archive or not."""
    order = np.argsort(sequence_keys(seed, wave["id"].to_pylist()), kind="stable")
    rows = wave.select(list(ROW_COLUMNS)).take(pa.array(order))
    replace_file(path, lambda stream: pq.write_table(rows, stream))
