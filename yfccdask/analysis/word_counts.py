"""Words of photographs, counted: all of a set's, and those of each unit's strongest ones.

A photograph's words are its tags (in small letters), its capture device, the year it was taken in
and the cell of longitude and latitude that it lies in. DuckDB counts; it spills what doesn't fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from yfccdask.analysis.store_photos import known_photos, metadata_keys
from yfccdask.data.metadata.engine import MEMORY, opened
from yfccdask.errors import DataError

KINDS = ("tag", "device", "place", "year")
HIT_COLUMNS = ("unit", "kind", "word", "hits", "users", "marked")
BATCH_ROWS = 100_000
_WORDS = {
    "tag": "SELECT photo, \"user\", 'tag' AS kind, lower(unnest(tags)) AS word FROM known",
    "device": "SELECT photo, \"user\", 'device', device FROM known WHERE device IS NOT NULL",
    "year": "SELECT photo, \"user\", 'year', CAST(year AS VARCHAR) FROM known "
    "WHERE year IS NOT NULL",
    "place": "SELECT photo, \"user\", 'place', printf('%d %d', CAST(floor(latitude / {cell}) AS "
    "INTEGER), CAST(floor(longitude / {cell}) AS INTEGER)) FROM known WHERE geotagged",
}


@dataclass(frozen=True)
class Counting:
    """What counts as a word.

    Attributes
    ----------
    kinds : tuple of str
        Out of `KINDS`.
    least_photos, least_users : int
        A word is tested if it is on at least so many of all photographs, by so many users: chosen
        without looking at any unit.
    cell : float
        Degrees of longitude and latitude of a place.
    """

    kinds: tuple[str, ...] = KINDS
    least_photos: int = 5
    least_users: int = 2
    cell: float = 1.0

    def __post_init__(self) -> None:
        if not self.kinds or (unknown := set(self.kinds) - set(KINDS)):
            raise DataError(
                f"expected kinds of words out of {', '.join(KINDS)}, found "
                f"{', '.join(sorted(unknown)) if self.kinds else 'none'}"
            )
        if not 0 < self.cell <= 90 or self.least_photos < 1 or self.least_users < 1:
            raise DataError(
                "expected places of more than 0 and at most 90 degrees and words of at least 1 "
                f"photograph and user, found {self}"
            )


class WordCounts:
    """The words of some photographs, as `counted_words` gives them.

    Attributes
    ----------
    photos : int
        Photographs that the metadata knows: what all shares are of.
    words : int
        Words that are tested.
    known : bool array (photograph,)
        Which of the photographs that were asked for these are.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, photos: int) -> None:
        self.connection = connection
        numbers = connection.sql("SELECT photo FROM known").fetchnumpy()["photo"]
        self.known = np.zeros(photos, bool)
        self.known[numbers] = True
        self.photos = int(self.known.sum())
        self.words = _number(connection, "SELECT count(*) FROM counts")

    def hits(self, strongest: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """How often every word is on units' strongest photographs; some rows at a time.

        Parameters
        ----------
        strongest : DataFrame
            ``unit`` and ``photo`` (int64), each pair once.

        Yields
        ------
        DataFrame
            ``unit``, ``kind``, ``word``; ``hits``, photographs with it, and ``users`` whose they
            are; ``marked``, photographs with it in all.
        """
        self.connection.register("strongest", strongest)
        query = (
            'SELECT unit, kind, word, count(*) AS hits, count(DISTINCT "user") AS users, '
            "any_value(photos) AS marked FROM strongest JOIN words USING (photo) "
            "JOIN counts USING (kind, word) GROUP BY unit, kind, word"
        )
        for batch in self.connection.sql(query).to_arrow_reader(BATCH_ROWS):
            yield batch.to_pandas()
        self.connection.unregister("strongest")


@contextmanager
def counted_words(
    metadata: str | os.PathLike[str],
    photos: pd.Series,
    counting: Counting,
    *,
    memory: str = MEMORY,
) -> Iterator[WordCounts]:
    """Count the words of photographs.

    Parameters
    ----------
    metadata : path
        What `metadata convert` wrote.
    photos : Series of str
        The photographs' ids, each once.
    counting : Counting
    memory : str
        How much DuckDB may hold.

    Raises
    ------
    DataError
        There is no converted set, it knows none of the photographs, or memory and disk don't do.
    """
    keys = metadata_keys(photos).assign(photo=np.arange(len(photos)))
    with opened(metadata, memory=memory) as connection:
        try:
            _count(connection, keys, counting)
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            line = str(error).strip().splitlines()[0]
            raise DataError(
                f"{metadata}: expected to count words in {memory}, found {line}: allow more "
                "memory, or make room on the disk of temporary files"
            ) from None
        counts = WordCounts(connection, len(photos))
        if not counts.photos:
            examples = ", ".join(photos[:3].map(lambda text: text[:80]))
            raise DataError(
                f"{metadata}: expected metadata of the store's photographs, such as {examples}; "
                "found none of them: their ids have to be numbers at Flickr, or names of files as "
                "Flickr or the release's bucket gives them"
            )
        yield counts


def place_name(word: str, cell: float) -> str:
    """A place's cell in words.

    >>> place_name("48 2", 1.0), place_name("-1 -3", 0.5)
    ('48° to 49° N, 2° to 3° E', '0.5° to 0° S, 1.5° to 1° W')
    """
    latitude, longitude = (int(part) for part in word.split())
    return f"{_span(latitude, cell, 'NS')}, {_span(longitude, cell, 'EW')}"


def _span(number: int, cell: float, sides: str) -> str:
    ends = (number * cell, (number + 1) * cell)
    return f"{abs(ends[0]):g}° to {abs(ends[1]):g}° {sides[number < 0]}"


def _count(connection: duckdb.DuckDBPyConnection, keys: pd.DataFrame, counting: Counting) -> None:
    """Make the tables ``known``, ``words`` and ``counts``."""
    connection.register("photos", keys)
    columns = 'photo, "user", tags, device, year, geotagged, latitude, longitude'
    connection.execute(f"CREATE TEMP TABLE known AS {known_photos(columns)}")
    parts = [_WORDS[kind].format(cell=float(counting.cell)) for kind in counting.kinds]
    connection.execute(
        'CREATE TEMP TABLE words AS SELECT DISTINCT photo, "user", kind, word FROM '
        f"({' UNION ALL '.join(parts)}) AS every(photo, \"user\", kind, word) WHERE word <> ''"
    )
    connection.execute(
        "CREATE TEMP TABLE counts AS SELECT kind, word, count(*) AS photos FROM words "
        'GROUP BY kind, word HAVING count(*) >= ? AND count(DISTINCT "user") >= ?',
        [counting.least_photos, counting.least_users],
    )


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.sql(query).fetchall()[0][0])
