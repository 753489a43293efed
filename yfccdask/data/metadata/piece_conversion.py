"""One piece of a source to Parquet parts and their rejects: what a Dask task does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yfccdask.data.durable import replace_file, write_text
from yfccdask.data.metadata import rejects
from yfccdask.data.metadata.block_parsing import parse_block
from yfccdask.data.metadata.byte_sources import Chunk, gzip_chunks, plain_chunks
from yfccdask.data.metadata.bzip2_blocks import bzip2_chunks
from yfccdask.data.metadata.columns import REPEATED, file_schema
from yfccdask.data.metadata.field_tables import line_bounds, table_of_rows
from yfccdask.data.metadata.layouts import BY_NAME, SQLITE
from yfccdask.data.metadata.owned_lines import LineBlock, owned_blocks
from yfccdask.data.metadata.pieces import NOTHING, Cuts, Piece, Tally, done_file, part_name
from yfccdask.data.metadata.sqlite_rows import rows_between
from yfccdask.data.metadata.table_parsing import parse_table
from yfccdask.errors import DataError


@dataclass(frozen=True)
class Parsed:
    """A block's rows and rejects, both pyarrow.RecordBatch, and what was taken in."""

    rows: pa.RecordBatch
    rejects: pa.RecordBatch
    tally: Tally


class _Counted:
    """Chunks, and the bytes of those that are the piece's."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self.chunks, self.span = chunks, 0

    def __iter__(self) -> Iterator[Chunk]:
        for chunk, own in self.chunks:
            self.span += len(chunk) if own else 0
            yield chunk, own


def convert_piece(staging: str, piece: Piece, cuts: Cuts) -> list[Tally]:
    """Write a piece's parts and rejects into ``staging``; what was finished before is kept.

    Returns
    -------
    list of Tally
        One for each part.

    Raises
    ------
    DataError
        The source is damaged, or rows and rejects don't add up to the lines that were read.
    """
    folder = Path(staging)
    tallies: list[Tally] = []
    blocks = _parsed_rows(piece) if piece.source.packing == "sqlite" else _blocks(piece, cuts)
    several = cuts.part_blocks if piece.source.packing == "gz" else None
    while group := _peeked(islice(blocks, several)):
        tallies.append(_convert_part(folder, piece, len(tallies), group))
    write_text(done_file(folder, piece.number), json.dumps([asdict(tally) for tally in tallies]))
    return tallies


def _peeked(items: Iterator[Any]) -> Iterator[Any] | None:
    """The items, or None if there are none."""
    for first in items:
        return _chained(first, items)
    return None


def _chained(first: Any, items: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from items


def _convert_part(folder: Path, piece: Piece, part: int, blocks: Iterator[Any]) -> Tally:
    """Write one part, or only read past it if it is there."""
    name = part_name(piece.number, part)
    done = folder / f"{name}.json"
    if done.exists():
        for _ in blocks:
            pass
        return Tally(**json.loads(done.read_text()))
    tally = _write_part(folder, name, piece, (_parsed(block) for block in blocks))
    write_text(done, json.dumps(asdict(tally)))
    return tally


def _parsed(block: Any) -> Parsed:
    found: Parsed = block() if callable(block) else block
    return found


def _write_part(folder: Path, name: str, piece: Piece, blocks: Iterator[Parsed]) -> Tally:
    """Stream blocks into two files, each whole under its name or not there."""
    facts = {
        "source": piece.source.url,
        "layout": piece.source.layout,
        "start": piece.start,
        "stop": piece.stop,
    }
    schema, tallies = file_schema(facts), [NOTHING]

    def write_rows(stream: IO[bytes]) -> None:
        with (
            pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=REPEATED) as writer,
            (folder / f"{name}.rejects.writing").open("wb") as other,
            pq.ParquetWriter(other, rejects.SCHEMA, compression="zstd") as bad,
        ):
            for block in blocks:
                if block.rows.num_rows:
                    writer.write_batch(block.rows.replace_schema_metadata(schema.metadata))
                if block.rejects.num_rows:
                    bad.write_batch(block.rejects)
                tallies.append(block.tally)

    replace_file(folder / f"{name}.parquet", write_rows)
    (folder / f"{name}.rejects.writing").replace(folder / f"{name}.rejects")
    return sum(tallies[1:], NOTHING)


def _blocks(piece: Piece, cuts: Cuts) -> Iterator[Any]:
    """A piece's blocks, each as a call that parses it."""
    kinds: dict[str, Any] = {"plain": plain_chunks, "bz2": bzip2_chunks}
    if piece.source.packing == "gz":
        chunks = _Counted(gzip_chunks(piece.source.url))
    else:
        chunks = _Counted(kinds[piece.source.packing](piece.source.url, piece.start, piece.stop))
    line, spanned = 0, 0
    for block in owned_blocks(chunks, piece.start == 0, cuts.block):
        span, spanned = chunks.span - spanned, chunks.span
        yield _BlockCall(piece, block, line, span)
        line += block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    if chunks.span > spanned:  # read, and no line of it was the piece's
        yield _BlockCall(piece, LineBlock(b"", 0, 0), line, chunks.span - spanned)


@dataclass(frozen=True)
class _BlockCall:
    piece: Piece
    block: LineBlock
    first_line: int
    span: int

    def __call__(self) -> Parsed:
        data = self.block.data
        lines = data.count(b"\n") + (len(data) > 0 and not data.endswith(b"\n"))
        rows, outcomes = parse_block(data, BY_NAME[self.piece.source.layout])
        bad = self._rejects(outcomes)
        tally = Tally(lines, rows.num_rows, bad.num_rows, self.block.size, self.span)
        _check(self.piece, tally)
        return Parsed(rows, bad, tally)

    def _rejects(self, outcomes: Any) -> pa.RecordBatch:
        starts, ends = line_bounds(np.frombuffer(self.block.data, np.uint8))
        cut = self.block.size - len(self.block.data)  # more than 0 for one endless line only
        bad = np.flatnonzero(outcomes)
        raw = [self.block.data[starts[row] : ends[row]] for row in bad]
        return rejects.rejected_rows(
            self.piece.source.url,
            outcomes,
            np.arange(len(outcomes)) + self.first_line + 1,
            starts.astype(np.int64) + self.block.offset,
            raw,
            [len(line) + cut for line in raw],
        )


def _check(piece: Piece, tally: Tally) -> None:
    if tally.lines != tally.rows + tally.rejected:
        raise DataError(
            f"{piece.source.url}: expected {tally.lines:,} rows and rejects, found {tally.rows:,} "
            f"and {tally.rejected:,}: please report this"
        )


def _parsed_rows(piece: Piece) -> Iterator[Parsed]:
    """A range of a database."""
    for numbers, fields in rows_between(piece.path, piece.start, piece.stop):
        rows, reasons = parse_table(table_of_rows(fields, SQLITE))
        raw = [b"\t".join(fields[row]) for row in np.flatnonzero(reasons)]
        bad = rejects.rejected_rows(
            piece.source.url, reasons, np.array(numbers), None, raw, [len(line) for line in raw]
        )
        tally = Tally(len(numbers), rows.num_rows, bad.num_rows, 0, 0)
        _check(piece, tally)
        yield Parsed(rows, bad, tally)
