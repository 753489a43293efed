"""``STORE/status.parquet``: a folder of parts, one row per file seen, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from yfccdask.data.block_layout import STATUS
from yfccdask.data.durable import replace_file
from yfccdask.errors import StoreError

WRITTEN, SKIPPED = "written", "skipped"
DUPLICATE = ("duplicate", "near-duplicate")
INTEGERS = ("images", "block", "index", "bytes", "width", "height")
STATUS_COLUMNS = (
    *("id", "source", "outcome", "reason", "images", "block", "index", "source_digest"),
    *("bytes", "width", "height", "credit", "licence", "duplicate_of", "look"),
)
SCHEMA = pa.schema(
    [(name, pa.int64() if name in INTEGERS else pa.string()) for name in STATUS_COLUMNS]
)


def write_status(folder: Path, number: int, status: pd.DataFrame) -> None:
    """Write one part, sorted by id, with a checksum on every page."""
    rows = status[list(STATUS_COLUMNS)].sort_values("id", ignore_index=True)
    table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
    write_part(folder / f"part-{number:06d}.parquet", table.replace_schema_metadata(None))


def write_part(path: Path, table: pa.Table) -> None:
    """Write a status table as one file, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    replace_file(path, lambda file: pq.write_table(table, file, write_page_checksum=True))


def status_parts(store: Path) -> list[Path]:
    """The files of a store's status, in order."""
    return sorted((store / STATUS).glob("part-*.parquet"))


def read_part(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read one file of the status.

    Raises
    ------
    StoreError
        It is damaged.
    """
    try:
        chosen = None if columns is None else list(columns)
        return pq.read_table(
            path, columns=chosen, page_checksum_verification=True, partitioning=None
        ).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"expected a whole status table in {path}, found damage ({error}): copy that store "
            "again or ingest again"
        ) from error


def read_status(store: Path, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read what became of every file, a part at a time."""
    for path in status_parts(store):
        yield read_part(path, columns)


def array_status(texts: dict[str, list[str]], size: int, block_size: int) -> pd.DataFrame:
    """Say of every image of an array that it was written, one row each."""
    index = np.arange(len(texts["image_id"]))
    known = {"id": texts["image_id"], "credit": texts["credit"], "licence": texts["licence"]}
    numbers = {"images": 1, "index": index, "block": index // block_size, "bytes": 0}
    blank = dict.fromkeys(("source", "reason", "source_digest", "duplicate_of", "look"), "")
    fixed = {"outcome": WRITTEN, "width": size, "height": size}
    return pd.DataFrame({**known, **numbers}).assign(**blank, **fixed)[list(STATUS_COLUMNS)]
