"""What the plain parser makes of lines: rows and reasons."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from yfccdask.data.metadata.columns import SCHEMA
from yfccdask.data.metadata.layouts import Layout
from yfccdask.data.metadata.plain_parser import Rejected, parse_line


def parsed(lines: list[bytes], layout: Layout) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows in the schema's order of columns, and each line's reason ("" if it parsed)."""
    rows, reasons = [], []
    for line in lines:
        try:
            row = parse_line(line, layout)
            rows.append({name: row[name] for name in SCHEMA.names})
            reasons.append("")
        except Rejected as reason:
            reasons.append(str(reason))
    return rows, reasons


def as_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """The rows as Arrow, for a comparison of all bits."""
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
