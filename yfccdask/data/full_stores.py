"""Full disks under a block store: where, how much is free, and that nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yfccdask.data.durable import NO_ROOM
from yfccdask.errors import DiskFull


@contextmanager
def writing_store(partial: Path) -> Iterator[None]:
    """Around what writes a store: a disk without room becomes an error with advice.

    Raises
    ------
    DiskFull
        What is done is kept; the same call goes on with it.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        full = "disk is full" in str(error) or getattr(error, "errno", None) in NO_ROOM
        if not full:
            raise
        where = next(folder for folder in (partial, *partial.parents) if folder.exists())
        free = shutil.disk_usage(where).free
        raise DiskFull(
            f"{partial}: expected room for a wave of decoded images and the blocks, found a full "
            f"disk with {free:,} bytes free: make room, then run the same ingest again; what is "
            "done is kept"
        ) from error
