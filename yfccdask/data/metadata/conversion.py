"""Metadata files to a folder of typed Parquet parts, by Dask; a killed call can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from distributed import Client

from yfccdask.data.durable import publish, sync_file, sync_folder
from yfccdask.data.ingesting.tasks import run_tasks
from yfccdask.data.metadata import rejects
from yfccdask.data.metadata.byte_sources import found_sources
from yfccdask.data.metadata.columns import FORMAT, FORMAT_VERSION, file_schema
from yfccdask.data.metadata.piece_conversion import convert_piece
from yfccdask.data.metadata.pieces import (
    NOTHING,
    Cuts,
    Piece,
    Tally,
    cut_sources,
    part_name,
    read_done,
)
from yfccdask.data.metadata.sqlite_rows import count_rows
from yfccdask.data.partial_stores import work_folder
from yfccdask.data.plain_texts import facts_html
from yfccdask.errors import DataError, StoreError

Progress = Callable[[int, int, str], None]
WHOLE, REPORT = "whole", b"yfccdask_report"


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did: ``rows_in == rows + rejected``; rejects are counted by reason."""

    parquet: Path
    rejects: Path
    sources: int
    rows_in: int
    rows: int
    rejected: int
    parts: int
    reasons: dict[str, int] = field(default_factory=dict)
    reused: bool = False

    def _repr_html_(self) -> str:
        rejected = [f"{count:,} {reason}" for reason, count in self.reasons.items()]
        facts = {
            "rows": f"{self.rows:,} of {self.rows_in:,}, in {self.parts:,} parts",
            "parquet": self.parquet,
            "rejected": "; ".join(rejected) or "none",
            "rejects": self.rejects,
        }
        return facts_html("YFCC100M metadata, converted", facts.items())


def convert_metadata(
    files: Sequence[str | os.PathLike[str]],
    parquet: str | os.PathLike[str],
    *,
    cuts: Cuts | None = None,
    client: Client | None = None,
    on_progress: Progress | None = None,
) -> ConversionReport:
    """Convert metadata of YFCC100M in any layout to typed Parquet.

    Parameters
    ----------
    files : sequence of paths or URLs
        Files, folders or what fsspec opens: lines of 23, 24 or 25 columns and JSON lines (plain,
        gzip, bzip2), SQLite. They are told apart by their content.
    parquet : path
        A folder of Parquet parts; it appears when it is whole. Rows that don't parse go to
        ``NAME.rejects.parquet`` beside it.
    cuts : Cuts, optional
        Sizes of pieces and blocks.
    client : distributed.Client, optional
        Where the pieces are converted; None for Dask's local scheduler. Its workers must see the
        same files.
    on_progress : callable, optional
        Called with (pieces done, pieces, what is going on).

    Returns
    -------
    ConversionReport

    Raises
    ------
    DataError
        A file is not there, not metadata, or damaged; or what was counted doesn't add up.
    StoreError
        Something else is at ``parquet``, or another process is writing there.
    """
    out, cuts = Path(os.path.abspath(parquet)), cuts or Cuts()
    sources = found_sources(files)
    tell = on_progress or (lambda done, total, text: None)
    request = {
        "format": [FORMAT, FORMAT_VERSION],
        "sources": [asdict(source) for source in sources],
        "cuts": asdict(cuts),
        "pyarrow": pa.__version__,
    }
    if out.exists() or out.is_symlink():
        return _reused(out, request)
    with work_folder(out, request) as staging:
        pieces = cut_sources(sources, cuts, staging)
        tallies = _convert_pieces(pieces, cuts, staging, client, tell)
        _check(pieces, tallies)
        report = _write_rejects(out, staging, pieces, tallies, request)
        _publish(out, staging, tallies)
    return report


def rejects_path(parquet: Path) -> Path:
    """Where the rejects of a conversion to ``parquet`` are."""
    return parquet.with_name(f"{parquet.stem}.rejects.parquet")


def _convert_pieces(
    pieces: list[Piece], cuts: Cuts, staging: Path, client: Client | None, tell: Progress
) -> list[list[Tally]]:
    """The tallies of every piece's parts; finished pieces are not converted again."""
    found = {piece.number: read_done(staging, piece.number) for piece in pieces}
    left = [piece for piece in pieces if found[piece.number] is None]
    rows = sum(tally.rows for parts in found.values() for tally in parts or ())
    done = len(pieces) - len(left)
    calls = [(str(staging), piece, cuts) for piece in left]
    for number, tallies in run_tasks(client, "convert-metadata", convert_piece, calls):
        found[left[number].number] = tallies
        done, rows = done + 1, rows + sum(tally.rows for tally in tallies)
        tell(done, len(pieces), f"{rows:,} rows")
    return [found[piece.number] or [] for piece in pieces]


def _by_source(pieces: list[Piece]) -> Iterator[list[Piece]]:
    for _, group in groupby(pieces, key=lambda piece: (piece.source.url, piece.source.mark)):
        yield list(group)


def _check(pieces: list[Piece], tallies: list[list[Tally]]) -> None:
    """Every byte (every row of a database) that was read is a row's or a reject's."""
    for group in _by_source(pieces):
        source = group[0].source
        whole = sum((tally for piece in group for tally in tallies[piece.number]), NOTHING)
        if source.packing == "sqlite":
            expected, found = count_rows(group[0].path), whole.lines
        else:
            expected = source.size if source.packing == "plain" else whole.span
            found = whole.line_bytes
        if expected != found or whole.lines != whole.rows + whole.rejected:
            raise DataError(
                f"{source.url}: expected {expected:,} bytes (rows of a database), found "
                f"{found:,}: did it change while it was read? Run the command again"
            )


def _write_rejects(
    out: Path, staging: Path, pieces: list[Piece], tallies: list[list[Tally]], request: Any
) -> ConversionReport:
    """Gather the rejects, with lines and offsets counted from each file's beginning."""
    working = staging / "rejects.whole"
    reasons: dict[str, int] = {}
    with pq.ParquetWriter(working, rejects.SCHEMA, compression="zstd") as writer:
        for batch in _placed_rejects(staging, pieces, tallies):
            for word in batch["reason"].to_pylist():
                reasons[word] = reasons.get(word, 0) + 1
            writer.write_batch(batch)
        whole = sum((tally for parts in tallies for tally in parts), NOTHING)
        report = ConversionReport(
            out,
            rejects_path(out),
            sources=len(request["sources"]),
            rows_in=whole.lines,
            rows=whole.rows,
            rejected=whole.rejected,
            parts=max(1, sum(tally.rows > 0 for parts in tallies for tally in parts)),
            reasons=dict(sorted(reasons.items())),
        )
        known = {"request": request, "report": asdict(report)}
        writer.add_key_value_metadata({REPORT: json.dumps(known, default=str)})
    if sum(reasons.values()) != whole.rejected:
        raise DataError(f"{out}: expected {whole.rejected} rejects, found {sum(reasons.values())}")
    sync_file(working)
    working.replace(rejects_path(out))
    sync_folder(out.parent)
    return report


def _placed_rejects(
    staging: Path, pieces: list[Piece], tallies: list[list[Tally]]
) -> Iterator[pa.RecordBatch]:
    for group in _by_source(pieces):
        before = NOTHING
        for piece in group:
            offset = piece.start if piece.source.packing == "plain" else before.span
            line = 0 if piece.source.packing == "sqlite" else before.lines
            for part, tally in enumerate(tallies[piece.number]):
                if tally.rejected:
                    path = staging / f"{part_name(piece.number, part)}.rejects"
                    for batch in pq.ParquetFile(path).iter_batches(1024):
                        yield _moved(batch, line, offset)
            before = sum(tallies[piece.number], before)


def _moved(batch: pa.RecordBatch, line: int, offset: int) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns["line"] = pc.add(columns["line"], line)
    columns["offset"] = pc.add(columns["offset"], offset)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=rejects.SCHEMA)


def _publish(out: Path, staging: Path, tallies: list[list[Tally]]) -> None:
    """Gather the parts that have rows in one folder, and give it its name."""
    whole = staging / WHOLE
    whole.mkdir(exist_ok=True)
    for number, parts in enumerate(tallies):
        for part, tally in enumerate(parts):
            name = f"{part_name(number, part)}.parquet"
            if tally.rows and (staging / name).exists():
                (staging / name).replace(whole / name)
    if not any(tally.rows for parts in tallies for tally in parts):
        schema = file_schema({})
        pq.write_table(schema.empty_table(), whole / f"{part_name(0, 0)}.parquet")
    publish(whole, out)


def _reused(out: Path, request: dict[str, Any]) -> ConversionReport:
    """Report a finished conversion of the same request."""
    path, known = rejects_path(out), {}
    if path.is_file():
        known = json.loads((pq.read_metadata(path).metadata or {}).get(REPORT, b"{}"))
    if known.get("request") != json.loads(json.dumps(request)):
        raise StoreError(
            f"expected nothing at {out}, or a conversion of the same files, found something else: "
            "choose another path or remove it"
        )
    found = known["report"] | {"parquet": out, "rejects": path, "reused": True}
    return ConversionReport(**found)
