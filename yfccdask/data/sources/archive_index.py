"""What is in a tar or zip archive, and where: read from its headers, nothing is extracted.

Members of plain tars and of zips are rows with an offset and a length, so that tasks read them
in any order. In compressed tars the offset is one of the decompressed stream. An archive that
can't be read to its end gives the members before the damage and one row for itself, which says
so and becomes a skipped file.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import fsspec
import pandas as pd

from yfccdask.data.sources.manifest_rows import (
    BROKEN,
    DEFLATED,
    STORED,
    STREAMED,
    SourceLost,
    in_tables,
    printable,
    stamp_text,
)
from yfccdask.errors import DataError

COMPRESSIONS = {
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zstd",
}
ARCHIVES = (".tar", ".zip", *COMPRESSIONS)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm")
COMPANIONS = (".gz", ".err", ".json", ".jsonl", ".txt")  # what lies beside NAME.zip, about it
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: mark, length of name, of extra field


class Member(NamedTuple):
    """A file in an archive. ``trouble`` says why it can't be read, where it can't."""

    name: str
    offset: int
    length: int
    packing: str
    trouble: str = ""


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive that can be indexed."""
    return name.lower().endswith(ARCHIVES)


def compression_of(path: str) -> str | None:
    """What an archive's bytes are compressed with as a whole, as fsspec names it."""
    return next((how for end, how in COMPRESSIONS.items() if path.lower().endswith(end)), None)


def companions(archive: Path) -> set[Path]:
    """Files beside an archive that are about it and no photographs: ``000.gz`` of ``000.zip``."""
    return {archive.with_suffix(suffix) for suffix in COMPANIONS}


def archive_rows(path: str, name: str, storage: dict[str, Any]) -> Iterator[pd.DataFrame]:
    """List an archive's members as tables of `ROW_COLUMNS`.

    Members beside a picture of the same WebDataset key (``0001.json`` beside ``0001.jpg``) are
    notes about it and left out; hidden ones are, too.

    Parameters
    ----------
    path : str
        Path or address.
    name : str
        What ids begin with.
    storage : dict
        How fsspec reaches an address.

    Raises
    ------
    SourceLost
        An address can't be reached.
    """
    known, stamp, seen = _credits(path), stamp_text(path), Counter[str]()

    def rows() -> Iterator[tuple[object, ...]]:
        for member in _pictures(_members(path, storage)):
            identity = printable(f"{name}/{member.name}" if member.name else name)
            seen[identity] += 1
            if seen[identity] > 1:
                identity += f"~{seen[identity]}"
            source = printable(f"{path}::{member.name}" if member.name else path)
            credit = known.get(Path(member.name).stem, ("", ""))
            yield (identity, source, *credit, path, *member[1:], stamp)

    yield from in_tables(rows())


@contextmanager
def opened(
    path: str, storage: dict[str, Any], compression: str | None = None
) -> Iterator[IO[bytes]]:
    """Open a path or an address for reading, decompressed if asked for."""
    handle = fsspec.open(path, "rb", compression=compression, **storage)
    with handle as stream:
        yield stream


def _members(path: str, storage: dict[str, Any]) -> Iterator[Member]:
    """List an archive's members, and its damage as a member without a name."""
    listed = 0
    found = _zip_members if path.lower().endswith(".zip") else _tar_members
    try:
        for listed, member in enumerate(found(path, storage), start=1):  # noqa: B007
            yield member
    except DAMAGE as error:
        yield Member(
            "", -1, -1, BROKEN, f"damaged: ends early after {listed} files, {_text(error)}"
        )
    except Exception as error:  # clients of object stores raise what they like
        if "://" in path:
            raise lost(path, error) from error
        if not isinstance(error, OSError):
            raise
        category = "damaged" if error.errno is None else "cannot read file"
        yield Member("", -1, -1, BROKEN, f"{category}: {_text(error)}")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def lost(path: str, error: BaseException) -> SourceLost:
    """What to say of an address that can't be reached."""
    return SourceLost(
        f"expected to read {path}, found {_text(error)[:300]}: what is done is kept; see to "
        "the server, the network or the credentials, then run the same ingest again"
    )


class _LastRead:
    """A stream that remembers what was read last: tarfile does not say how an archive ended."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.last = stream, b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        self.last = self.stream.read(size)
        return self.last


def _tar_members(path: str, storage: dict[str, Any]) -> Iterator[Member]:
    compression = compression_of(path)
    packing = STREAMED if compression else STORED
    with opened(path, storage, compression) as raw:
        stream: Any = _LastRead(raw)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # or it holds them all
                if info.issparse():
                    yield Member(info.name, -1, -1, BROKEN, "unsupported format: sparse member")
                elif info.isfile():
                    yield Member(info.name, info.offset_data, info.size, packing)
        if len(stream.last) != tarfile.BLOCKSIZE or stream.last.strip(b"\0"):
            raise tarfile.ReadError("no mark of its end")


def _zip_members(path: str, storage: dict[str, Any]) -> Iterator[Member]:
    packings = {zipfile.ZIP_STORED: STORED, zipfile.ZIP_DEFLATED: DEFLATED}
    with opened(path, storage) as stream, zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            packing = packings.get(info.compress_type, BROKEN)
            if info.is_dir():
                continue
            if packing == BROKEN or info.flag_bits & 1:
                how = "encrypted" if info.flag_bits & 1 else f"zip method {info.compress_type}"
                yield Member(info.filename, -1, -1, BROKEN, f"unsupported format: {how}")
                continue
            offset = _data_offset(stream, info.header_offset)
            yield Member(info.filename, offset, info.compress_size, packing)


def _data_offset(stream: IO[bytes], header: int) -> int:
    """Where a zip member's bytes begin: its own header's lengths count, not the directory's."""
    stream.seek(header)
    mark, name, extra = LOCAL_HEADER.unpack(stream.read(LOCAL_HEADER.size))
    if mark != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no member's header at byte {header}")
    return header + LOCAL_HEADER.size + name + extra


def _pictures(members: Iterable[Member]) -> Iterator[Member]:
    """Leave out hidden members and the notes beside a picture."""
    shown = (m for m in members if not any(p.startswith((".", "__MACOSX")) for p in _parts(m)))
    for _, group in groupby(shown, key=_sample_key):
        together = list(group)
        pictures = [m for m in together if m.name.lower().endswith(PICTURES) or not m.name]
        yield from pictures or together


def _parts(member: Member) -> tuple[str, ...]:
    return tuple(part for part in member.name.split("/") if part not in (".", ".."))


def _sample_key(member: Member) -> str:
    """A WebDataset key: the name up to the first dot of its last part."""
    folder, name = os.path.split(member.name)
    return os.path.join(folder, name.partition(".")[0])


def _credits(path: str) -> dict[str, tuple[str, str]]:
    """Read (credit, licence) by hash from the ``000.gz`` that the yfcc100m package writes.

    Raises
    ------
    DataError
        There is such a file, and it is no gzip of JSON objects.
    """
    notes = Path(path).with_suffix(".gz")
    if not path.lower().endswith(".zip") or not notes.is_file():
        return {}
    try:
        with gzip.open(notes, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
            return dict(_credit(json.loads(line)) for line in lines)
    except (*DAMAGE, OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"expected one JSON object a line in {notes}, which lies beside {path} and so holds "
            f"its credits, found {_text(error)}: fetch it again or move it away"
        ) from error


def _credit(row: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    credit = f"{row.get('unickname') or ''}: {row.get('pageurl') or ''}"
    return str(row.get("key")), (credit, str(row.get("licensename") or ""))
