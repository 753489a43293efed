"""Which photographs of a converted set to ingest, by a condition on its columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd

from yfccdask.data.metadata.engine import VIEW, check_condition, opened
from yfccdask.errors import ConfigError

BATCH_ROWS = 100_000
COLUMNS = ["id", "source", "credit", "licence"]
_QUERY = (
    "SELECT CAST(id AS VARCHAR) AS id, image_path AS source, "
    "concat_ws(', ', nickname, page_url) AS credit, "
    "coalesce(licence, licence_name, licence_url, '') AS licence "
    f"FROM {VIEW} WHERE kind = 'photo'"
)


def manifest_batches(
    parquet: str | Path, where: str | None = None, rows: int = BATCH_ROWS
) -> Iterator[pd.DataFrame]:
    """Yield the photos of a set that fulfil a condition, in the set's order.

    Parameters
    ----------
    parquet : path
        What `metadata convert` wrote.
    where : str, optional
        A condition in SQL on the columns, ``year`` and ``geotagged``, e.g.
        ``licence = 'CC BY 2.0' AND list_contains(tags, 'beach') AND year >= 2010``.
    rows : int
        About how many rows a batch has: no more of the set is in memory.

    Yields
    ------
    pandas.DataFrame
        Texts ``id``, ``source`` (``HHH/HHH/HASH.jpg``), ``credit`` and ``licence``.

    Raises
    ------
    ConfigError
        ``where`` is not one condition, or names what isn't there.
    DataError
        There is no converted set.
    """
    query = _QUERY if where is None else f"{_QUERY} AND {check_condition(where)}"
    with opened(parquet) as connection:
        try:
            for batch in connection.sql(query).to_arrow_reader(rows):
                yield batch.to_pandas()
        except duckdb.Error as error:
            text = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"--where {where!r}: expected a condition on the columns, found {text}: "
                "see docs/metadata.md for their names"
            ) from None


def manifest_of(parquet: str | Path, where: str | None = None) -> pd.DataFrame:
    """The photos of a set that fulfil a condition; see `manifest_batches`.

    Only the rows that are chosen are held: about 200 bytes each.
    """
    batches = list(manifest_batches(parquet, where))
    return pd.concat(batches, ignore_index=True) if batches else pd.DataFrame(columns=COLUMNS)
