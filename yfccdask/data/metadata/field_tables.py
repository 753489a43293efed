"""Rows of fields in one buffer, from lines of text, JSON objects or a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yfccdask.data.metadata.layouts import JSON_KEYS, Layout
from yfccdask.numerics.field_kernels import split_fields

LONGEST_LINE = 2**20  # bytes; a longer one is rejected
NEWLINE = 10
Array = Any


@dataclass(frozen=True)
class FieldTable:
    """Fields of one layout: field c of a row is ``data[starts[row, c]:ends[row, c]]``.

    ``data`` is uint8 (byte,), ``starts`` and ``ends`` are int32 (row, column).
    """

    layout: Layout
    data: Array
    starts: Array
    ends: Array

    def column(self, name: str) -> tuple[Array, Array, Array]:
        number = self.layout.fields.index(name)
        return self.data, self.starts[:, number], self.ends[:, number]

    def rows(self, chosen: Array) -> FieldTable:
        return FieldTable(self.layout, self.data, self.starts[chosen], self.ends[chosen])


def line_bounds(data: Array) -> tuple[Array, Array]:
    """Where each line of a block begins and ends, int32 (row,); the last may lack its newline."""
    ends = np.flatnonzero(data == NEWLINE)
    if len(data) and data[-1] != NEWLINE:
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return starts.astype(np.int32), ends.astype(np.int32)


def split_lines(data: Array, layout: Layout) -> tuple[FieldTable, Array, Array]:
    """The fields of a block of lines.

    Returns
    -------
    table : FieldTable
        Of the rows with the layout's number of columns.
    good : bool array (line,)
        Which lines these are.
    found : int32 array (line,)
        Columns of every line; -1 for one that is too long.
    """
    starts, ends = line_bounds(data)
    bounds = np.empty((len(starts), layout.columns + 1), np.int32)
    found = np.empty(len(starts), np.int32)
    split_fields(data, starts, ends, bounds, found)
    found[ends - starts > LONGEST_LINE] = -1
    good = found == layout.columns
    bounds = bounds if good.all() else bounds[good]
    return FieldTable(layout, data, bounds[:, :-1], bounds[:, 1:] - 1), good, found


def table_of_rows(rows: Sequence[Sequence[bytes]], layout: Layout) -> FieldTable:
    """A table of fields that are bytes objects already."""
    fields = [field for row in rows for field in row]
    ends = np.cumsum([0, *map(len, fields)])
    shape = (len(rows), layout.columns)
    data = np.frombuffer(b"".join(fields), np.uint8)
    starts, ends = ends[:-1].reshape(shape), ends[1:].reshape(shape)
    return FieldTable(layout, data, starts.astype(np.int32), ends.astype(np.int32))


def value_bytes(value: Any) -> bytes:
    """A value of JSON or SQLite as the field that a line would have had."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")


def json_fields(line: bytes) -> tuple[bytes, ...] | None:
    """The fields of one line of JSON; None if it is not an object of plain values."""
    try:
        found = json.loads(line.decode("utf-8"))
        values = [found.get(key) for key in JSON_KEYS]
        if any(isinstance(value, dict | list) for value in values):
            return None
        return tuple(map(value_bytes, values))
    except (ValueError, AttributeError, RecursionError):
        return None
