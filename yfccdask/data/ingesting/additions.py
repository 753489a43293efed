"""What an ingest adds to a finished store: new files, or files that failed before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from yfccdask.data.block_layout import STATUS
from yfccdask.data.blocks import BlockStore
from yfccdask.data.ingesting.sequence import Marked
from yfccdask.data.status_tables import (
    DUPLICATE,
    WRITTEN,
    read_part,
    read_status,
    status_parts,
    write_part,
)


@dataclass(frozen=True)
class Addition:
    """New blocks behind those of a store, whose own stay as they are."""

    store: BlockStore
    retry: bool

    @property
    def kind(self) -> str:
        return "retry" if self.retry else "append"

    @property
    def first_part(self) -> int:
        """Number of the first new part of the status."""
        return int(status_parts(Path(self.store.path))[-1].stem.rpartition("-")[2]) + 1

    def marked(self) -> Marked:
        """Which files of the source are meant: those not known yet, or those that failed."""
        ids = self._failed_ids() if self.retry else self._known_ids()
        return Marked(ids, keep=self.retry)

    def written(self) -> Iterator[pd.DataFrame]:
        """The photographs that the store holds: id, source_digest and look."""
        for part in self._parts("id", "source_digest", "look", "outcome"):
            yield part[part["outcome"] == WRITTEN]

    def rewrite_status(self, partial: Path) -> None:
        """Put beside the new status the old parts without the rows of files tried again."""
        if not self.retry:
            return
        new = pd.concat([read_part(path, ["id"]) for path in status_parts(partial)])["id"]
        again = set(new)
        for path in status_parts(Path(self.store.path)):
            table = pq.read_table(path, partitioning=None)
            stays = [identity not in again for identity in table["id"].to_pylist()]
            if not all(stays):
                write_part(partial / STATUS / path.name, table.filter(pa.array(stays)))

    def _known_ids(self) -> Iterator[pd.Series]:
        for part in self._parts("id"):
            yield part["id"]

    def _failed_ids(self) -> Iterator[pd.Series]:
        """Files without an image, but for duplicates: those have failed at nothing."""
        for part in self._parts("id", "outcome", "reason"):
            category = part["reason"].str.partition(":")[0]
            yield part["id"][(part["outcome"] != WRITTEN) & ~category.isin(DUPLICATE)]

    def _parts(self, *columns: str) -> Iterator[pd.DataFrame]:
        yield from read_status(Path(self.store.path), columns)
