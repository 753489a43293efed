"""The statistics as one would write them by hand for DuckDB and for Polars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl

_PHOTOS = "FROM t WHERE kind = 'photo'"
_PLACED = "longitude IS NOT NULL AND latitude IS NOT NULL"
QUERIES = [
    f'SELECT count(*), count(DISTINCT "user"), count(title), sum(title_words) {_PHOTOS}',
    'SELECT kind, count(*), count(DISTINCT "user") FROM t GROUP BY kind',
    'SELECT count(DISTINCT "user"), min(date_taken), max(date_taken) FROM t',
    "SELECT min(date_uploaded), max(date_uploaded) FROM t",
    f"SELECT count(*) {_PHOTOS} AND title_automatic",
    f"SELECT count(description), sum(description_words) {_PHOTOS}",
    f"SELECT count(*) FILTER (len(tags) > 0), sum(len(tags)) {_PHOTOS}",
    f"SELECT count(*) FILTER (len(machine_tags) > 0), count(device) {_PHOTOS}",
    f"SELECT kind, count(*) FROM t WHERE {_PLACED} GROUP BY kind",
    "SELECT licence, kind, count(*) FROM t GROUP BY licence, kind",
    "SELECT device, count(*) AS n FROM t GROUP BY device ORDER BY n DESC LIMIT 30",
    f"SELECT unnest(tags) AS tag, count(*) AS n {_PHOTOS} GROUP BY tag ORDER BY n DESC LIMIT 60",
    f"SELECT count(DISTINCT tag) FROM (SELECT unnest(tags) AS tag {_PHOTOS})",
    "SELECT year(date_taken), kind, count(*) FROM t GROUP BY 1, 2",
    "SELECT year(date_uploaded), kind, count(*) FROM t GROUP BY 1, 2",
    "SELECT floor(longitude * 2), floor(latitude * 2), count(*) FROM t "
    f"WHERE {_PLACED} GROUP BY 1, 2",
]


def duckdb_queries(connection: duckdb.DuckDBPyConnection, parquet: Path) -> list[Any]:
    """One query after another over a view of the files."""
    connection.execute(f"CREATE OR REPLACE VIEW t AS FROM read_parquet('{parquet}/*.parquet')")
    connection.execute("SET TimeZone = 'UTC'")
    return [connection.execute(query).fetchall() for query in QUERIES]


def polars_queries(parquet: Path) -> list[Any]:
    """The same, lazily and collected together by the streaming engine."""
    rows = pl.scan_parquet(parquet)
    photos = rows.filter(pl.col("kind") == "photo")
    tags = photos.select(pl.col("tags").explode().alias("tag")).drop_nulls().group_by("tag").len()
    placed = rows.filter(pl.col("longitude").is_not_null() & pl.col("latitude").is_not_null())
    cells = [(pl.col(name) * 2).floor() for name in ("longitude", "latitude")]
    frames = [
        photos.select(
            pl.len().alias("photos"),
            pl.col("user").n_unique(),
            pl.col("title").count(),
            pl.col("title_words").sum(),
            pl.col("title_automatic").sum(),
            pl.col("description").count(),
            pl.col("description_words").sum(),
            (pl.col("tags").list.len() > 0).sum().alias("tagged"),
            pl.col("tags").list.len().sum(),
            (pl.col("machine_tags").list.len() > 0).sum().alias("machine_tagged"),
            pl.col("device").count(),
        ),
        rows.group_by("kind").agg(pl.len(), pl.col("user").n_unique()),
        rows.select(
            pl.col("user").n_unique(),
            pl.col("date_taken").min().alias("first"),
            pl.col("date_taken").max().alias("last"),
            pl.col("date_uploaded").min().alias("first_up"),
            pl.col("date_uploaded").max().alias("last_up"),
        ),
        placed.group_by("kind").len(),
        rows.group_by("licence", "kind").len(),
        rows.group_by("device").len().sort("len", descending=True).head(30),
        tags.sort("len", descending=True).head(60),
        tags.select(pl.len()),
        rows.group_by(pl.col("date_taken").dt.year(), "kind").len(),
        rows.group_by(pl.col("date_uploaded").dt.year(), "kind").len(),
        placed.group_by(cells).len(),
    ]
    return pl.collect_all(frames, engine="streaming")
