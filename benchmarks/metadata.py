"""Conversion and statistics against plain ways, and memory: ``python -m benchmarks.metadata``.

Ratios within one run: conversion against the plain Python parser writing the same Parquet, on one
core each; the statistics against hand-written queries, DuckDB and Polars, over the same Parquet.
Memory: the peak of a process that converts (one worker) or counts, for each number of rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.metadata_queries import duckdb_queries, polars_queries
from benchmarks.recording import record
from tests.data.metadata.made_rows import made_lines
from tests.data.metadata.oracle import as_batch, parsed
from yfccdask.analysis.metadata.figures import metadata_figures
from yfccdask.data.metadata.columns import REPEATED
from yfccdask.data.metadata.layouts import NUMBERED

PATTERN = 50_000  # different rows; more are these with other numbers
PLAIN_ROWS = 30_000
REPEATS = 3
CHILD = """
import json, sys, time
import dask
from yfccdask.analysis.metadata.figures import metadata_figures
from yfccdask.data.metadata.conversion import convert_metadata
what, source, target = sys.argv[1:]
def call():
    if what == "convert":
        return convert_metadata([source], target).rows
    return metadata_figures(source).summary["items"]
if what == "convert":
    convert_metadata([sys.argv[2] + ".warm"], sys.argv[3] + ".warm.parquet")
with dask.config.set(scheduler="sync"):
    begun = time.perf_counter()
    rows = call()
    seconds = time.perf_counter() - begun
# Not getrusage, which counts what the parent had when it started this process.
peak = 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
print(json.dumps({"rows": rows, "seconds": seconds, "peak_GB": round(peak / 1e9, 3)}))
"""


def write_rows(path: Path, rows: int) -> None:
    """Rows of the 25-column layout; users and a tag differ in each repetition of the pattern."""
    lines = made_lines(min(rows, PATTERN), 1, dirt=0.01)
    with path.open("wb") as file:
        for start in range(0, rows, PATTERN):
            mark = b"%d@N" % (start // PATTERN % 12)
            for line in lines[: rows - start]:
                file.write(line.replace(b"@N", mark, 1).replace(b"beach", b"beach%d" % start, 1))
                file.write(b"\n")


def child(what: str, source: Path, target: Path) -> dict[str, Any]:
    """Convert or count in a process of its own; its figures."""
    command = [sys.executable, "-c", CHILD, what, str(source), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def plain_rate(source: Path, target: Path) -> float:
    """Rows per second of the plain parser, writing Parquet as the conversion does."""
    with source.open("rb") as file:
        lines = [file.readline()[:-1] for _ in range(PLAIN_ROWS)]
    begun = time.perf_counter()
    rows, _ = parsed(lines, NUMBERED)
    table = pa.Table.from_batches([as_batch(rows)])
    pq.write_table(table, target, compression="zstd", use_dictionary=REPEATED)
    return len(lines) / (time.perf_counter() - begun)


def best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of some calls."""

    def seconds() -> Iterator[float]:
        for _ in range(REPEATS):
            begun = time.perf_counter()
            call()
            yield time.perf_counter() - begun

    return min(seconds())


def statistics_against_engines(parquet: Path) -> dict[str, Any]:
    """Seconds of ours and of hand-written queries, and our throughput over theirs."""
    ours = best(lambda: metadata_figures(parquet))
    with duckdb.connect() as connection:
        plain = best(lambda: duckdb_queries(connection, parquet))
    polars = best(lambda: polars_queries(parquet))
    return {
        "ours_s": ours,
        "duckdb_s": plain,
        "polars_s": polars,
        "of_duckdb": plain / ours,
        "of_polars": polars / ours,
    }


def measured(folder: Path, rows: int) -> dict[str, Any]:
    source, parquet = folder / f"rows-{rows}", folder / f"rows-{rows}.parquet"
    write_rows(source, rows)
    write_rows(source.with_name(f"{source.name}.warm"), 100)
    found: dict[str, Any] = {"convert": child("convert", source, parquet)}
    found["convert"]["MB_per_s"] = source.stat().st_size / 1e6 / found["convert"]["seconds"]
    found["convert"]["rows_per_s"] = rows / found["convert"]["seconds"]
    found["plain_rows_per_s"] = plain_rate(source, folder / "plain.parquet")
    found["of_plain"] = found["convert"]["rows_per_s"] / found["plain_rows_per_s"]
    found["parquet_share"] = (
        sum(p.stat().st_size for p in parquet.iterdir()) / source.stat().st_size
    )
    found["stats"] = child("stats", parquet, folder) | statistics_against_engines(parquet)
    source.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="Where the made files are put.")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for rows in options.rows:
            figures[f"{rows:,} rows"] = measured(Path(folder), rows)
            print(rows, json.dumps(figures[f"{rows:,} rows"], indent=1), flush=True)
    record("metadata", figures)


if __name__ == "__main__":
    main()
