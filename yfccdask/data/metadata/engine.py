"""DuckDB over a converted Parquet: read-only, no network, no other files, in bounded memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from yfccdask.data.metadata.columns import FORMAT, FORMAT_VERSION
from yfccdask.errors import ConfigError, DataError

VIEW = "metadata"
MEMORY = "2GB"
PLAIN = {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "FUNCTION", "CAST"}
ALLOWED = PLAIN | {"BETWEEN", "CASE", "COLLATE", "LAMBDA"}
CLAUSES = ("modifiers", "group_expressions", "group_sets", "having", "qualify", "sample")
ADVICE = "write one condition on the columns, e.g. \"licence = 'CC BY 2.0' AND year >= 2010\""


def parts_of(parquet: str | os.PathLike[str]) -> list[Path]:
    """The Parquet files of a converted set, in order.

    Raises
    ------
    DataError
        Nothing is there, or something of another format or version.
    """
    path = Path(parquet)
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not parts or not parts[0].is_file():
        raise DataError(f"expected Parquet at {path}, found none: run `yfccdask metadata convert`")
    try:
        labels = pq.read_schema(parts[0]).metadata or {}
    except (OSError, ValueError) as error:
        raise DataError(f"{parts[0]}: expected Parquet, found {error}") from None
    found = labels.get(b"format", b"").decode(), labels.get(b"format_version", b"").decode()
    if found != (FORMAT, str(FORMAT_VERSION)):
        raise DataError(
            f"{parts[0]}: expected {FORMAT}, version {FORMAT_VERSION}, found "
            f"{' '.join(found).strip() or 'no label'}: convert the release's files again"
        )
    return parts


@contextmanager
def opened(
    parquet: str | os.PathLike[str], *, memory: str = MEMORY, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose view ``metadata`` is the set; what doesn't fit ``memory`` is spilled.

    The view has the Parquet's columns, ``year`` (taken) and ``geotagged``.
    """
    names = [str(part.absolute()) for part in parts_of(parquet)]
    with tempfile.TemporaryDirectory(prefix="yfccdask-") as spill, duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")  # it writes to standard output
        connection.execute("SET memory_limit = ?", [memory])
        connection.execute("SET temp_directory = ?", [spill])
        connection.execute("SET TimeZone = 'UTC'")
        if threads is not None:
            connection.execute("SET threads = ?", [threads])
        allowed = {str(Path(name).parent) for name in names} | {spill}
        connection.execute("SET allowed_directories = ?", [sorted(allowed)])
        connection.execute("SET enable_external_access = false")
        connection.read_parquet(names).project(
            "*, year(date_taken) AS year, "
            "longitude IS NOT NULL AND latitude IS NOT NULL AS geotagged"
        ).create_view(VIEW)
        yield connection


def check_condition(where: str) -> str:
    """Refuse what is not one condition on the columns; return it in brackets.

    Comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, CASE, casts and functions of a row are fine;
    subqueries, aggregates over other rows and further statements are not.

    Raises
    ------
    ConfigError
    """
    if not where.strip():
        raise _refused(where, "nothing")
    bracketed = f"({where}\n)"
    with duckdb.connect() as connection:
        connection.execute("SET enable_external_access = false")
        query = "SELECT json_serialize_sql(?)"
        try:
            answer = connection.execute(query, [f"SELECT 1 WHERE {bracketed}"]).fetchone()
        except duckdb.Error as error:
            raise _refused(where, str(error)) from None
    assert answer is not None
    tree = json.loads(answer[0])
    if tree.get("error"):
        raise _refused(where, str(tree.get("error_message")))
    node = tree["statements"][0]["node"] if len(tree["statements"]) == 1 else {}
    more = [name for name in CLAUSES if node.get(name)]
    if node.get("type") != "SELECT_NODE" or more or (node.get("cte_map") or {}).get("map"):
        raise _refused(where, "more than a condition")
    foreign = set(_classes(node["where_clause"])) - ALLOWED
    if foreign:
        raise _refused(where, f"{', '.join(sorted(foreign)).lower()}")
    return bracketed


def _classes(tree: Any) -> Iterator[str]:
    """The classes of all expressions in a syntax tree."""
    if isinstance(tree, dict):
        if isinstance(tree.get("class"), str):
            yield tree["class"]
        for value in tree.values():
            yield from _classes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _classes(value)


def _refused(where: str, found: str) -> ConfigError:
    line = found.strip().splitlines()[0] if found.strip() else "nothing"
    return ConfigError(f"--where {where!r}: expected a condition, found {line}: {ADVICE}")
