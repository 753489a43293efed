"""Blocks of lines to rows and rejects; every line becomes the one or the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from yfccdask.data.metadata.field_tables import (
    LONGEST_LINE,
    json_fields,
    line_bounds,
    split_lines,
    table_of_rows,
)
from yfccdask.data.metadata.layouts import JSON_LINES, Layout
from yfccdask.data.metadata.rejects import COLUMNS, JSON, TOO_LONG
from yfccdask.data.metadata.table_parsing import parse_table

Array = Any


def parse_block(data: bytes, layout: Layout) -> tuple[pa.RecordBatch, Array]:
    """Parse a block of lines.

    Returns
    -------
    batch : pyarrow.RecordBatch
        The lines that parse, in order.
    outcomes : int8 array (line,)
        0 for those, else a key of `rejects.WORDS`.
    """
    letters = np.frombuffer(data, np.uint8)
    if layout is JSON_LINES:
        return _parse_json(data, letters)
    table, good, found = split_lines(letters, layout)
    batch, reasons = parse_table(table)
    outcomes = np.where(found < 0, TOO_LONG, COLUMNS).astype(np.int8)
    outcomes[good] = reasons
    return batch, outcomes


def _parse_json(data: bytes, letters: Array) -> tuple[pa.RecordBatch, Array]:
    starts, ends = line_bounds(letters)
    outcomes = np.full(len(starts), JSON, np.int8)
    outcomes[ends - starts > LONGEST_LINE] = TOO_LONG
    rows, places = [], []
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        fields = json_fields(data[start:end]) if outcomes[number] == JSON else None
        if fields is not None:
            rows.append(fields)
            places.append(number)
    batch, reasons = parse_table(table_of_rows(rows, JSON_LINES))
    outcomes[places] = reasons
    return batch, outcomes
