"""Where the release's files lie, how they are packed, and their bytes in order."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from yfccdask.data.metadata.layouts import SQLITE, layout_of
from yfccdask.errors import DataError

HEAD = 2**20  # compressed bytes that are looked at
CHUNK, TAIL_CHUNK = 4 * 2**20, 2**18
MAGIC = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"SQLite format 3\0", "sqlite"))
Chunk = tuple[bytes, bool]


@dataclass(frozen=True)
class Source:
    """A file: its URL or path, size in bytes, how it is packed, its layout, and what marks it."""

    url: str
    size: int
    packing: str
    layout: str
    mark: str


def found_sources(files: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Look at files, and at all files of folders in the order of their names.

    Raises
    ------
    DataError
        One is not there, can't be read, or is of no known layout. Empty files are left out.
    """
    urls = [url for file in files for url in _expanded(os.fspath(file))]
    if not urls:
        raise DataError("expected metadata files, found none: name files, folders or URLs")
    described = [_described(url) for url in urls]
    return [source for source in described if source is not None]


def _expanded(url: str) -> list[str]:
    try:
        system, path = url_to_fs(url)
        if not system.isdir(path):
            return [url]
        names = sorted(system.find(path))
        local = isinstance(system, LocalFileSystem)
        return names if local else [system.unstrip_protocol(name) for name in names]
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{url}: expected a file, a folder or a URL, found {error}") from None


def _described(url: str) -> Source | None:
    try:
        system, path = url_to_fs(url)
        size = system.info(path)["size"]
        with system.open(path, "rb") as file:
            head = file.read(HEAD)
        mark = str(system.ukey(path))
    except (OSError, ImportError) as error:
        raise DataError(f"{url}: expected a file that can be read, found {error}") from None
    if size is None:
        raise DataError(f"{url}: expected a file of known size, found none: copy it first")
    packing = next((name for magic, name in MAGIC if head.startswith(magic)), "plain")
    if size == 0:
        return None
    if packing == "sqlite":
        return Source(url, size, packing, SQLITE.name, mark)
    layout = layout_of(_first_lines(url, head, packing, len(head) == size))
    if layout is None:
        raise DataError(
            f"{url}: expected lines of 23, 24 or 25 columns, JSON lines or a SQLite file, found "
            f"{head[:40]!r}: is it metadata of YFCC100M?"
        )
    return Source(url, size, packing, layout.name, mark)


def _first_lines(url: str, head: bytes, packing: str, whole: bool) -> list[bytes]:
    unpack: Any = {"gz": zlib.decompressobj(31), "bz2": bz2.BZ2Decompressor()}.get(packing)
    try:
        text = head if unpack is None else unpack.decompress(head, HEAD)
    except (OSError, zlib.error) as error:
        raise DataError(f"{url}: expected {packing}, found {error}: fetch it again") from None
    lines = text.split(b"\n")
    return lines if whole and packing == "plain" else (lines[:-1] or lines)


def plain_chunks(url: str, start: int, stop: int) -> Iterator[Chunk]:
    """The bytes from ``start`` to ``stop``, then, marked False, what follows."""
    with fsspec.open(url, "rb") as file:
        file.seek(start)
        left = stop - start
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise DataError(f"{url}: expected {left:,} more bytes, found its end: it shrank")
            left -= len(chunk)
            yield chunk, True
        while chunk := file.read(TAIL_CHUNK):
            yield chunk, False


def gzip_chunks(url: str) -> Iterator[Chunk]:
    """All bytes of a gzip file, of one member or many."""
    try:
        with fsspec.open(url, "rb") as packed, gzip.GzipFile(fileobj=packed) as file:
            while chunk := file.read(CHUNK):
                yield chunk, True
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{url}: expected whole gzip, found {error}: fetch it again") from None
