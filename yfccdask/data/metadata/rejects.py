"""Rows that don't parse: where they are, why, and their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from yfccdask.data.metadata.field_tables import LONGEST_LINE
from yfccdask.data.metadata.table_parsing import CHECKED

COLUMNS, TOO_LONG, JSON = -1, -2, -3
Array = Any
SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), metadata={"description": "file or URL"}),
        pa.field(
            "line",
            pa.int64(),
            metadata={"description": "line of the file, from 1; row number in SQLite"},
        ),
        pa.field(
            "offset",
            pa.int64(),
            metadata={"description": "first byte, from 0, after unpacking", "unit": "bytes"},
        ),
        pa.field("reason", pa.string(), metadata={"description": "what didn't parse"}),
        pa.field("expected", pa.string(), metadata={"description": "what it should have been"}),
        pa.field(
            "length",
            pa.int64(),
            metadata={"description": "length of the line", "unit": "bytes"},
        ),
        pa.field(
            "raw",
            pa.binary(),
            metadata={"description": "the line's bytes, at most 1,048,577; SQLite: with tabs"},
        ),
    ]
)
WORDS = {0: "", COLUMNS: "columns", TOO_LONG: "too_long", JSON: "json"}
WORDS |= dict(enumerate(CHECKED, start=1))
EXPECTED = {
    "columns": "as many columns as the file's other lines",
    "too_long": f"at most {LONGEST_LINE:,} bytes",
    "json": "an object of plain values",
    "line_number": "digits",
    "id": "digits",
    "hash": "16 to 32 of 0-9 and a-f",
    "user": "not empty",
    "date_taken": "YYYY-MM-DD hh:mm:ss[.f], null or empty",
    "date_uploaded": "seconds since 1970, up to the year 9999, or empty",
    "longitude": "a decimal number or empty",
    "latitude": "a decimal number or empty",
    "accuracy": "a whole number from -128 to 127 or empty",
    "download_url": "not empty",
    "server": "a whole number of 32 bits or empty",
    "farm": "a whole number of 32 bits or empty",
    "marker": "0 or 1",
}


def rejected_rows(
    source: str,
    outcomes: Array,
    lines: Array,
    offsets: Array | None,
    raw: list[bytes],
    lengths: list[int],
) -> pa.RecordBatch:
    """The rejects among some rows; ``outcomes``, int8 (row,), is 0 for those that parsed.

    ``lines`` and ``offsets`` are int64 (row,); ``raw`` and ``lengths`` are the rejects' alone.
    """
    bad = np.flatnonzero(outcomes)
    words = [WORDS[code] for code in outcomes[bad].tolist()]
    places = pa.nulls(len(bad), pa.int64()) if offsets is None else pa.array(offsets[bad])
    columns = [
        pa.array([source] * len(bad), pa.string()),
        pa.array(lines[bad], pa.int64()),
        places,
        pa.array(words, pa.string()),
        pa.array([EXPECTED[word] for word in words], pa.string()),
        pa.array(lengths, pa.int64()),
        pa.array([line[: LONGEST_LINE + 1] for line in raw], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
