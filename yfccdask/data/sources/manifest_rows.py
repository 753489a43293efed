"""The rows of a manifest: one per file, with where its bytes lie.

A table of rows is a `pandas.DataFrame` with the columns of `ROW_COLUMNS`. ``source`` is for
people; ``path``, ``offset``, ``length``, ``packing`` and ``trouble`` are for `sources.contents`;
``stamp`` changes where a local file does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

import pandas as pd

from yfccdask.errors import DataError

COLUMNS = ("id", "source", "credit", "licence")
PLACE = ("path", "offset", "length", "packing", "trouble", "stamp")
ROW_COLUMNS = (*COLUMNS, *PLACE)
WHOLE, STORED, DEFLATED, STREAMED, BROKEN = "", "stored", "deflate", "stream", "broken"
TABLE_ROWS = 50_000


class SourceLost(DataError):
    """A source that was there and can't be reached any more; what is done stays."""


def printable(text: str) -> str:
    """Spell a file name that is not valid UTF-8 with backslashes, so that it can be stored."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_stamp(path: str) -> tuple[int, int]:
    """A file's size and time of change in nanoseconds; zeros where it can't be asked."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def stamp_text(path: str) -> str:
    """A local file's stamp as a row holds it; "" for an address, which is not asked."""
    return "" if "://" in path else "{}-{}".format(*file_stamp(path))


def whole_files(table: pd.DataFrame) -> pd.DataFrame:
    """Complete a table of `COLUMNS` whose sources are files of their own, by path or address."""
    paths = table["source"].tolist()
    return table.assign(
        source=[printable(path) for path in paths],
        path=paths,
        offset=-1,
        length=-1,
        packing=WHOLE,
        trouble="",
        stamp=[stamp_text(path) for path in paths],
    )


def in_tables(
    rows: Iterable[tuple[object, ...]], columns: tuple[str, ...] = ROW_COLUMNS
) -> Iterator[pd.DataFrame]:
    """Gather rows into tables of at most `TABLE_ROWS`."""
    held: list[tuple[object, ...]] = []
    for row in rows:
        held.append(row)
        if len(held) == TABLE_ROWS:
            yield pd.DataFrame(held, columns=list(columns), dtype=object)
            held = []
    if held:
        yield pd.DataFrame(held, columns=list(columns), dtype=object)


def checked(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return a manifest's known columns as text, or say what is wrong with it.

    Raises
    ------
    DataError
        A column is missing, an id is empty, or there is no row.
    """
    if absent := [name for name in COLUMNS[:2] if name not in manifest.columns]:
        raise DataError(f"expected the columns id and source in a manifest, found no {absent}")
    if manifest.empty:
        raise DataError("expected at least one file in the manifest, found none: add rows")
    whole = manifest.reindex(columns=list(COLUMNS), fill_value="").fillna("").astype(str)
    whole = whole.astype(object)
    whole["id"] = [printable(text) for text in whole["id"]]
    if (whole["id"] == "").any():
        raise DataError("expected an id for every file in the manifest, found an empty one")
    return whole


def refuse_twice(ids: pd.Series) -> None:
    """Raise a DataError if an id is there more than once."""
    if twice := sorted(ids[ids.duplicated()]):
        raise DataError(f"expected every id once in the manifest, found {twice[0]!r} again: rename")


class FilesDigest:
    """SHA-256 over a manifest's rows, the same in whatever order they come.

    The sum of the rows' digests modulo 2**256: a listing of any length needs no memory, and no
    second pass to sort it.
    """

    def __init__(self) -> None:
        self.files, self._sum = 0, 0

    def add(self, table: pd.DataFrame) -> None:
        """Take in a table of `ROW_COLUMNS`."""
        columns = [table[name] for name in ("id", "path", "offset", "length", "stamp")]
        for row in zip(*columns, strict=True):
            line = "\x1f".join(map(str, row)).encode("utf-8", "surrogateescape")
            self._sum += int.from_bytes(hashlib.sha256(line).digest(), "little")
        self.files += len(table)

    def hexdigest(self) -> str:
        total = (self._sum % 2**256).to_bytes(32, "little")
        return hashlib.sha256(total + str(self.files).encode()).hexdigest()
