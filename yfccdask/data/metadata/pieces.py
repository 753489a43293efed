"""How files are cut into pieces of work, and what is known of one that is done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from yfccdask.data.metadata.byte_sources import Source
from yfccdask.data.metadata.sqlite_rows import local_database, row_ranges

MB = 2**20


@dataclass(frozen=True)
class Cuts:
    """Sizes in bytes: of pieces (plain; packed by bzip2; of a database) and of blocks in memory."""

    plain: int = 128 * MB
    bzip2: int = 32 * MB
    sqlite: int = 128 * MB
    block: int = 32 * MB
    part_blocks: int = 4  # of a stream that can't be cut


@dataclass(frozen=True)
class Piece:
    """Bytes (rows of a database) ``start`` to ``stop`` of a source; its number among all pieces."""

    number: int
    source: Source
    start: int
    stop: int
    path: str  # of the source, or of a database's copy


@dataclass(frozen=True)
class Tally:
    """What a part has taken in and given out. ``span``: the unpacked bytes that it was given."""

    lines: int
    rows: int
    rejected: int
    line_bytes: int
    span: int

    def __add__(self, other: Tally) -> Tally:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return Tally(*(a + b for a, b in pairs))


NOTHING = Tally(0, 0, 0, 0, 0)


def cut_sources(sources: list[Source], cuts: Cuts, staging: Path) -> list[Piece]:
    """All pieces, in the order of the sources and of their bytes."""
    pieces: list[Piece] = []
    for number, source in enumerate(sources):
        path, ranges = _ranges(source, cuts, staging, number)
        pieces += [
            Piece(len(pieces) + n, source, start, stop, path)
            for n, (start, stop) in enumerate(ranges)
        ]
    return pieces


def _ranges(
    source: Source, cuts: Cuts, staging: Path, number: int
) -> tuple[str, list[tuple[int, int]]]:
    if source.packing == "sqlite":
        path = local_database(source.url, staging, number)
        return path, row_ranges(path, -(-source.size // cuts.sqlite))
    whole = {"plain": cuts.plain, "bz2": cuts.bzip2}.get(source.packing, source.size)
    starts = range(0, source.size, whole)
    return source.url, [(at, min(at + whole, source.size)) for at in starts]


def part_name(piece: int, part: int) -> str:
    return f"part-{piece:05d}-{part:04d}"


def done_file(staging: Path, piece: int) -> Path:
    return staging / f"piece-{piece:05d}.json"


def read_done(staging: Path, piece: int) -> list[Tally] | None:
    """The tallies of a finished piece's parts; None if it isn't finished."""
    path = done_file(staging, piece)
    if not path.exists():
        return None
    return [Tally(**part) for part in json.loads(path.read_text())]
