"""The figures of section 2 and table 1 of YFCC100M's paper, of any converted set.

Every count is exact. DuckDB reads only the columns that a query needs, in parallel, and spills to
disk what doesn't fit its memory.

References
----------
Thomee et al., YFCC100M: the new data in multimedia research, 2016, section 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from yfccdask.data.metadata.engine import MEMORY, VIEW, opened
from yfccdask.errors import DataError

TOP_TAGS, TOP_DEVICES = 60, 30
MAP_CELLS_PER_DEGREE = 2
QUERIES = {
    "kinds": f"""
        SELECT kind, count(*) AS items, count(DISTINCT "user") AS users,
            count(*) FILTER (geotagged) AS geotagged,
            count(title) AS with_title, count(*) FILTER (title_automatic) AS automatic,
            CAST(sum(title_words) AS BIGINT) AS title_words,
            count(description) AS described,
            CAST(sum(description_words) AS BIGINT) AS description_words,
            count(*) FILTER (len(tags) > 0) AS tagged,
            CAST(sum(len(tags)) AS BIGINT) AS tags,
            count(*) FILTER (len(machine_tags) > 0) AS machine_tagged,
            count(device) AS with_device, count(date_taken) AS dated,
            min(date_taken) AS first_taken, max(date_taken) AS last_taken,
            min(date_uploaded) AS first_uploaded, max(date_uploaded) AS last_uploaded
        FROM {VIEW} GROUP BY GROUPING SETS ((kind), ())""",
    "licences": f"""
        SELECT coalesce(licence, licence_name, 'none') AS licence,
            count(*) FILTER (kind = 'photo') AS photos,
            count(*) FILTER (kind = 'video') AS videos
        FROM {VIEW} GROUP BY 1 ORDER BY photos + videos DESC, 1""",
    "devices": f"""
        SELECT device, count(*) AS items, count(*) OVER () AS devices
        FROM {VIEW} WHERE device IS NOT NULL
        GROUP BY device ORDER BY items DESC, device LIMIT {TOP_DEVICES}""",
    "tags": f"""
        SELECT tag, count(*) AS photos, count(*) OVER () AS different
        FROM (SELECT unnest(tags) AS tag FROM {VIEW} WHERE kind = 'photo')
        GROUP BY tag ORDER BY photos DESC, tag LIMIT {TOP_TAGS}""",
    "years_taken": f"""
        SELECT year, count(*) FILTER (kind = 'photo') AS photos,
            count(*) FILTER (kind = 'video') AS videos
        FROM {VIEW} WHERE year IS NOT NULL GROUP BY year ORDER BY year""",
    "years_uploaded": f"""
        SELECT year(date_uploaded) AS year, count(*) FILTER (kind = 'photo') AS photos,
            count(*) FILTER (kind = 'video') AS videos
        FROM {VIEW} WHERE date_uploaded IS NOT NULL GROUP BY 1 ORDER BY 1""",
    "positions": f"""
        SELECT CAST(floor(longitude * {MAP_CELLS_PER_DEGREE}) AS INTEGER) AS x,
            CAST(floor(latitude * {MAP_CELLS_PER_DEGREE}) AS INTEGER) AS y, count(*) AS items
        FROM {VIEW} WHERE longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90
        GROUP BY x, y ORDER BY x, y""",
}


@dataclass(frozen=True)
class MetadataFigures:
    """Counts of a set.

    Attributes
    ----------
    summary : dict
        Counts, shares and averages by name; see docs/metadata.md.
    tables : dict of pandas.DataFrame
        licences, devices, tags, years_taken, years_uploaded, positions.
    """

    summary: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    def as_dict(self) -> dict[str, Any]:
        """All but the map, for JSON."""
        tables = {name: t for name, t in self.tables.items() if name != "positions"}
        return self.summary | {
            name: table.drop(columns=["devices", "different"], errors="ignore").to_dict("records")
            for name, table in tables.items()
        }


def metadata_figures(
    parquet: str | os.PathLike[str], *, memory: str = MEMORY, threads: int | None = None
) -> MetadataFigures:
    """Count what is in a converted set.

    Parameters
    ----------
    parquet : path
        What `metadata convert` wrote.
    memory : str
        How much DuckDB may hold, e.g. "2GB".
    threads : int, optional
        Its threads; by default one per core.

    Raises
    ------
    DataError
        There is no converted set, or its statistics don't fit memory and disk.
    """
    with opened(parquet, memory=memory, threads=threads) as connection:
        try:
            tables = {name: connection.sql(query).df() for name, query in QUERIES.items()}
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            text = str(error).strip().splitlines()[0]
            raise DataError(
                f"{parquet}: expected statistics in {memory}, found {text}: give more with "
                "--memory, or make room on the disk of temporary files"
            ) from None
    kinds = tables.pop("kinds")
    return MetadataFigures(_summary(kinds, tables), tables)


def _summary(kinds: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The paper's figures: shares and averages are over photos, as there."""
    rows = {_name(row["kind"]): row for row in kinds.to_dict("records")}
    none = dict.fromkeys(kinds.columns, 0)
    photo, video, whole = (rows.get(kind, none) for kind in ("photo", "video", "all"))
    photos = int(photo["items"])
    own = photo["with_title"] - photo["automatic"]
    return {
        "items": int(whole["items"]),
        "photos": photos,
        "videos": int(video["items"]),
        "users": int(whole["users"]),
        "users_among_photos": int(photo["users"]),
        "geotagged": int(whole["geotagged"]),
        "geotagged_photos": int(photo["geotagged"]),
        "with_title": int(photo["with_title"]),
        "share_own_title": _ratio(own, photos),
        "share_automatic_title": _ratio(photo["automatic"], photos),
        "share_no_title": _ratio(photos - photo["with_title"], photos),
        "words_per_title": _ratio(photo["title_words"], photo["with_title"]),
        "described": int(photo["described"]),
        "share_described": _ratio(photo["described"], photos),
        "words_per_description": _ratio(photo["description_words"], photo["described"]),
        "tagged": int(photo["tagged"]),
        "share_tagged": _ratio(photo["tagged"], photos),
        "tags_per_tagged_photo": _ratio(photo["tags"], photo["tagged"]),
        "different_tags": _first(tables["tags"], "different"),
        "machine_tagged": int(photo["machine_tagged"]),
        "with_device": int(photo["with_device"]),
        "different_devices": _first(tables["devices"], "devices"),
        "dated": int(whole["dated"]),
        **{name: _moment(whole[name]) for name in ("first_taken", "last_taken")},
        **{name: _moment(whole[name]) for name in ("first_uploaded", "last_uploaded")},
    }


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else "all"


def _ratio(part: Any, whole: Any) -> float | None:
    """None where there is nothing to divide by."""
    return float(part) / float(whole) if whole else None


def _first(table: pd.DataFrame, column: str) -> int:
    return int(table[column].iloc[0]) if len(table) else 0


def _moment(value: Any) -> str | None:
    return None if value == 0 or pd.isna(value) else str(value)
