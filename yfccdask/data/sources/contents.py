"""The bytes of a manifest's rows: local files, ranges of archives, objects of a bucket.

This is what tasks call. It opens what a row names and nothing else. A file that isn't there or
may not be read is a rejected file; a server or a disk that is gone altogether is `SourceLost`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from yfccdask.data.decoding import BYTES_CAP, Rejected, read_file
from yfccdask.data.sources.archive_index import lost
from yfccdask.data.sources.manifest_rows import BROKEN, DEFLATED, WHOLE, SourceLost

Content = bytes | Rejected


class Item(NamedTuple):
    """A row of the manifest as its task is told of it."""

    id: str
    path: str
    offset: int
    length: int
    packing: str
    trouble: str


@dataclass(frozen=True)
class Access:
    """How tasks reach a source: its local root, or "", and fsspec's options for an address.

    The options may hold secrets: they are never written to a store.
    """

    root: str = ""
    storage: dict[str, Any] = field(default_factory=dict, repr=False)


def read_contents(items: Sequence[Item], access: Access) -> list[Content]:
    """Read the bytes of some rows, in their order.

    Raises
    ------
    SourceLost
        The folder or the server is gone.
    """
    found: dict[int, Content] = {}
    remote = [n for n, item in enumerate(items) if "://" in item.path and item.packing != BROKEN]
    fetched = _fetched([items[n] for n in remote], access)
    found.update(zip(remote, fetched, strict=True))
    for n, item in enumerate(items):
        if n not in found:
            found[n] = _local(item, access)
    return [_unpacked(found[n], item) for n, item in enumerate(items)]


def _local(item: Item, access: Access) -> Content:
    try:
        if item.packing == BROKEN:
            category, _, detail = item.trouble.partition(": ")
            return Rejected(category, detail)
        if item.packing == WHOLE:
            return read_file(item.path)
        return _range(item)
    except Rejected as why:
        if access.root and not os.path.exists(access.root):
            raise SourceLost(
                f"expected the photographs in {access.root}, found that it is gone: mount it "
                "again, then run the same ingest again; what is done is kept"
            ) from why
        return why


def _range(item: Item) -> bytes:
    """Read a member's range of an archive."""
    if item.length > BYTES_CAP:
        raise Rejected("too large", f"{item.length} bytes")
    try:
        with Path(item.path).open("rb") as stream:
            return os.pread(stream.fileno(), item.length, item.offset)
    except OSError as error:
        raise Rejected("cannot read file", error.strerror or type(error).__name__) from error


def _fetched(items: list[Item], access: Access) -> list[Content]:
    """Fetch objects, or ranges of them, all at once."""
    if not items:
        return []
    reached, _ = fsspec.core.url_to_fs(items[0].path, **access.storage)
    paths = [reached._strip_protocol(item.path) for item in items]
    starts = [None if item.packing == WHOLE else item.offset for item in items]
    ends = [None if item.packing == WHOLE else item.offset + item.length for item in items]
    try:
        answers = reached.cat_ranges(paths, starts, ends, on_error="return")
    except Exception as error:  # clients of object stores raise what they like
        raise lost(items[0].path, error) from error
    return [_answer(answer, item) for answer, item in zip(answers, items, strict=True)]


def _answer(answer: bytes | BaseException, item: Item) -> Content:
    """Tell a file that isn't there from a server that isn't."""
    if isinstance(answer, FileNotFoundError):
        return Rejected("cannot read file", os.strerror(2))
    if isinstance(answer, PermissionError):
        return Rejected("cannot read file", os.strerror(13))
    if isinstance(answer, BaseException):
        raise lost(item.path, answer) from answer
    return bytes(answer)


def _unpacked(content: Content, item: Item) -> Content:
    """Check a range's length; inflate a zip's member."""
    if isinstance(content, Rejected) or item.packing in (WHOLE, BROKEN):
        return content
    if len(content) < item.length:
        return Rejected("truncated", f"the archive ends {item.length - len(content)} bytes early")
    if item.packing != DEFLATED:
        return content
    try:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflate.decompress(content, BYTES_CAP + 1)
    except zlib.error as error:
        return Rejected("damaged", f"in the archive: {error}")
    if len(plain) > BYTES_CAP:
        return Rejected("too large", f"more than {BYTES_CAP} bytes")
    return plain if inflate.eof else Rejected("truncated", "in the archive")
