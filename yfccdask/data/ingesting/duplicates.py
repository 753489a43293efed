"""Which photographs were there before: by the bytes of the file, and by what they look like.

An index in SQLite beside the store in the making: photographs come in the order of the sequence,
and the first of several is the original. Entries carry their wave, so that an ingest that was
killed forgets those of the wave that it does again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pandas as pd

from yfccdask.errors import DataError

Handling = Literal["report", "skip"]
LOOK_BITS, MOST_DISTANT = 64, 7
TABLES = """
CREATE TABLE IF NOT EXISTS digests (digest BLOB PRIMARY KEY, id TEXT, wave INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looks (band INTEGER, bits INTEGER, look BLOB, place INTEGER, id TEXT,
  wave INTEGER, PRIMARY KEY (band, bits, place)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS digest_waves ON digests (wave);
CREATE INDEX IF NOT EXISTS look_waves ON looks (wave);
"""


@dataclass(frozen=True)
class DuplicateRule:
    """What to do with duplicates.

    Attributes
    ----------
    handling : str
        "report" or "skip".
    near : int, optional
        Also those whose 64-bit perceptual hashes differ in at most so many bits, 0 to 7.
    """

    handling: Handling = "report"
    near: int | None = None

    def __post_init__(self) -> None:
        if self.handling not in ("report", "skip"):
            raise DataError(f"expected duplicates report or skip, found {self.handling!r}")
        if self.near is not None and not 0 <= self.near <= MOST_DISTANT:
            raise DataError(
                f"expected near_duplicates between 0 and {MOST_DISTANT} bits, found {self.near}"
            )


@dataclass(frozen=True)
class Original:
    """The photograph that another one repeats; ``kind`` is "duplicate" or "near-duplicate"."""

    id: str
    kind: str


class DuplicateIndex(AbstractContextManager["DuplicateIndex"]):
    """All photographs so far, by digest and by look."""

    def __init__(self, path: Path, rule: DuplicateRule, next_wave: int) -> None:
        self.rule = rule
        self.connection = sqlite3.connect(path)
        self.connection.executescript(TABLES)
        for table in ("digests", "looks"):
            self.connection.execute(f"DELETE FROM {table} WHERE wave >= ?", (next_wave,))
        self.connection.commit()

    def __exit__(self, *failure: object) -> None:
        self.connection.close()

    def seed(self, tables: Iterable[pd.DataFrame]) -> None:
        """Take in what a store holds already, from its status; once is enough."""
        if self.connection.execute("SELECT 1 FROM digests WHERE wave = -1 LIMIT 1").fetchone():
            return
        place = 0
        for table in tables:
            columns = (table[name] for name in ("id", "source_digest", "look"))
            for identity, digest, look in zip(*columns, strict=True):
                self._add(identity, digest, look, -1, place)
                place += 1
        self.connection.commit()

    def originals(self, wave: int, found: pd.DataFrame) -> list[Original | None]:
        """Say of each photograph of a wave, in order, which earlier one it repeats.

        Parameters
        ----------
        found : pandas.DataFrame
            Columns id, source_digest and look ("" where it was not asked for).
        """
        columns = (found[name] for name in ("id", "source_digest", "look"))
        answers: list[Original | None] = []
        for place, (identity, digest, look) in enumerate(zip(*columns, strict=True)):
            original = self._same(digest) or self._near(look)
            answers.append(original)
            if original is None or self.rule.handling == "report":
                self._add(identity, digest, look, wave, place)
        self.connection.commit()
        return answers

    def _same(self, digest: str) -> Original | None:
        query = "SELECT id FROM digests WHERE digest = ?"
        row = self.connection.execute(query, (bytes.fromhex(digest),)).fetchone()
        return Original(row[0], "duplicate") if row else None

    def _near(self, look: str) -> Original | None:
        """The earliest of the nearest: two looks that differ in n bits share one of n + 1 bands."""
        if self.rule.near is None or not look:
            return None
        query = "SELECT look, wave, place, id FROM looks WHERE band = ? AND bits = ?"
        best: tuple[int, int, int, str] | None = None
        for band, bits in enumerate(self._bands(look)):
            for other, wave, place, identity in self.connection.execute(query, (band, bits)):
                distance = (int(look, 16) ^ int.from_bytes(other, "big")).bit_count()
                if distance <= self.rule.near:
                    best = min(best or (65, 0, 0, ""), (distance, wave, place, identity))
        return Original(best[3], "near-duplicate") if best else None

    def _bands(self, look: str) -> list[int]:
        """Cut a look into one band more than bits may differ."""
        count = (self.rule.near or 0) + 1
        edges = [band * LOOK_BITS // count for band in range(count + 1)]
        bits = int(look, 16)
        return [
            (bits >> low) & ((1 << (high - low)) - 1) if high - low < 63 else bits - 2**63
            for low, high in pairwise(edges)
        ]

    def _add(self, identity: str, digest: str, look: str, wave: int, place: int) -> None:
        if digest:
            row = (bytes.fromhex(digest), identity, wave)
            self.connection.execute("INSERT OR IGNORE INTO digests VALUES (?, ?, ?)", row)
        if self.rule.near is None or not look:
            return
        known = (bytes.fromhex(look), wave * 2**32 + place, identity, wave)
        rows = [(band, bits, *known) for band, bits in enumerate(self._bands(look))]
        self.connection.executemany("INSERT OR IGNORE INTO looks VALUES (?, ?, ?, ?, ?, ?)", rows)
