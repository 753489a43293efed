"""Rows of the SQLite release, by ranges of its row numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from yfccdask.data.metadata.field_tables import value_bytes
from yfccdask.data.metadata.layouts import SQLITE_COLUMNS, SQLITE_TABLE
from yfccdask.errors import DataError

ROWS = 16_384  # in memory at a time
COPY_BYTES = 16 * 2**20


def local_database(url: str, folder: Path, number: int) -> str:
    """The path of a database; one that is not on a local disk is copied into ``folder``."""
    system, path = url_to_fs(url)
    if isinstance(system, LocalFileSystem):
        return str(path)
    if "::" in url:  # of fsspec's caches
        return str(fsspec.open_local(url))
    copy = folder / f"database-{number:05d}.sqlite"
    if not copy.exists():
        working = copy.with_suffix(".copying")
        with system.open(path, "rb") as source, working.open("wb") as target:
            while chunk := source.read(COPY_BYTES):
                target.write(chunk)
        working.replace(copy)
    return str(copy)


def row_ranges(path: str, pieces: int) -> list[tuple[int, int]]:
    """Cut the table's row numbers into ranges (first, after the last)."""
    with _reading(path) as database:
        first, last = database.execute(
            f"SELECT min(rowid), max(rowid) FROM {SQLITE_TABLE}"
        ).fetchone()
    if first is None:
        return []
    step = max(1, -(-(last + 1 - first) // pieces))
    return [(at, min(at + step, last + 1)) for at in range(first, last + 1, step)]


def count_rows(path: str) -> int:
    """The table's own number of rows."""
    with _reading(path) as database:
        return int(database.execute(f"SELECT count(*) FROM {SQLITE_TABLE}").fetchone()[0])


def rows_between(
    path: str, start: int, stop: int
) -> Iterator[tuple[list[int], list[tuple[bytes, ...]]]]:
    """Row numbers and fields as bytes of a range, some thousand at a time."""
    columns = ", ".join(SQLITE_COLUMNS)
    query = f"SELECT rowid, {columns} FROM {SQLITE_TABLE} WHERE rowid >= ? AND rowid < ?"
    with _reading(path) as database:
        found = database.execute(f"{query} ORDER BY rowid", (start, stop))
        while rows := found.fetchmany(ROWS):
            yield (
                [row[0] for row in rows],
                [tuple(value_bytes(value) for value in row[1:]) for row in rows],
            )


class _reading:  # noqa: N801
    """Around reading a database: its errors become one with advice."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> sqlite3.Connection:
        try:
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            self.database = closing(sqlite3.connect(uri, uri=True))
            connection = self.database.__enter__()
            connection.text_factory = bytes
        except sqlite3.Error as error:
            raise self._advice(error) from None
        return connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.database.__exit__(None, None, None)
        if isinstance(error, sqlite3.Error):
            raise self._advice(error) from None

    def _advice(self, error: sqlite3.Error) -> DataError:
        return DataError(
            f"{self.path}: expected SQLite with the table {SQLITE_TABLE}, found {error}: is it "
            "the release's file, and whole?"
        )
