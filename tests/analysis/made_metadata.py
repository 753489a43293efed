"""Converted metadata of made-up photographs: users, tags, devices, years and places."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yfccdask.data.metadata.columns import file_schema

DEVICES = ["Canon PowerShot", "NIKON D60", "Apple iPhone 4S", None]
PLACES = [(48.5, 2.3), (51.2, -0.1), (-33.9, 151.2), None]


def made_rows(ids: list[int], rng: np.random.Generator, words: int = 200) -> list[dict[str, Any]]:
    """Rows with words that say nothing: each is as frequent on all photographs."""
    share = 0.3 / (1 + np.arange(words))
    marked = rng.random((len(ids), words)) < share
    rows = []
    for number, tags in zip(ids, marked, strict=True):
        place = PLACES[rng.integers(4)]
        rows.append(
            {
                "id": number,
                "hash": f"{number:032x}"[::-1],
                "kind": "photo",
                "user": f"user{rng.integers(40)}",
                "tags": [f"Random {word}" for word in np.flatnonzero(tags)],
                "machine_tags": [],
                "device": DEVICES[rng.integers(4)],
                "date_taken": datetime(int(rng.integers(2004, 2014)), 5, 1),
                "latitude": place and place[0],
                "longitude": place and place[1],
            }
        )
    return rows


def write_metadata(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder as `metadata convert` leaves it."""
    path.mkdir()
    table = pa.Table.from_pylist(rows, schema=file_schema({}))
    pq.write_table(table, path / "part-000000.parquet")
    return path
