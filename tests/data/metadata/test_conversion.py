import bz2
import gzip
import hashlib
import json
import subprocess
import sys
import time

import dask
import duckdb
import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.metadata.made_rows import json_lines, made_lines, write_database, write_shard
from tests.data.metadata.oracle import as_batch, parsed
from yfccdask.data.metadata import byte_sources
from yfccdask.data.metadata.columns import SCHEMA
from yfccdask.data.metadata.conversion import convert_metadata
from yfccdask.data.metadata.layouts import BY_COLUMNS, JSON_LINES, NUMBERED
from yfccdask.data.metadata.pieces import Cuts
from yfccdask.errors import DataError, StoreError

SMALL = Cuts(plain=20_000, bzip2=9_000, sqlite=40_000, block=6_000, part_blocks=2)
PACKINGS = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress}


def file_of(path, lines, packing="plain", newline=True):
    path.write_bytes(PACKINGS[packing](b"\n".join(lines) + (b"\n" if newline else b"")))
    return path


def same_as_oracle(report, lines, layout):
    rows, reasons = parsed(lines, layout)
    table = pq.read_table(report.parquet)
    wanted = pa.Table.from_batches([as_batch(rows)])
    for name in SCHEMA.names:
        assert table[name].to_pylist() == wanted[name].to_pylist(), name
    bad = [(n + 1, reason) for n, reason in enumerate(reasons) if reason]
    rejects = pq.read_table(report.rejects)
    assert list(zip(rejects["line"].to_pylist(), rejects["reason"].to_pylist(), strict=True)) == bad
    assert (report.rows_in, report.rows, report.rejected) == (len(lines), len(rows), len(bad))
    return rejects


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("columns", BY_COLUMNS)
def test_every_layout_and_packing_becomes_rows_and_rejects(tmp_path, monkeypatch, columns, packing):
    monkeypatch.setattr(byte_sources, "CHUNK", 5000)
    lines = made_lines(500, columns, dirt=0.3, layout=BY_COLUMNS[columns])
    source = file_of(tmp_path / "rows", lines, packing, newline=columns != 24)
    report = convert_metadata([source], tmp_path / "a.parquet", cuts=SMALL)
    rejects = same_as_oracle(report, lines, BY_COLUMNS[columns])
    text = b"\n".join(lines)
    for offset, length, raw in zip(
        *(rejects[c].to_pylist() for c in ("offset", "length", "raw")), strict=True
    ):
        assert text[offset : offset + length] == raw
    assert (report.parts > 1) == (packing != "bz2")  # it has one block
    assert not (tmp_path / "a.parquet.partial").exists()


def test_bzip2_is_cut_at_its_blocks(tmp_path):
    lines = made_lines(3000, 5, dirt=0.1)
    packed = bz2.compress(b"\n".join(lines), 1)
    (tmp_path / "a.bz2").write_bytes(packed)
    report = convert_metadata([tmp_path / "a.bz2"], tmp_path / "a.parquet", cuts=SMALL)
    same_as_oracle(report, lines, NUMBERED)
    names = {path.name.split("-")[1] for path in report.parquet.iterdir()}
    assert len(names) > 3  # pieces that have rows


def test_json_shards_of_a_folder_are_read(tmp_path):
    lines = json_lines(300, 1, dirt=0.3)
    (tmp_path / "meta").mkdir()
    write_shard(tmp_path / "meta" / "000.gz", lines[:200])
    write_shard(tmp_path / "meta" / "fff.gz", lines[200:])
    report = convert_metadata([tmp_path / "meta"], tmp_path / "a.parquet", cuts=SMALL)
    rows, reasons = parsed(lines, JSON_LINES)
    assert pq.read_table(report.parquet)["id"].to_pylist() == [row["id"] for row in rows]
    rejects = pq.read_table(report.rejects)
    assert rejects["reason"].to_pylist() == [reason for reason in reasons if reason]
    assert set(rejects["source"].to_pylist()) == {
        str(path) for path in (tmp_path / "meta").iterdir()
    }


def test_the_sqlite_release_is_read_as_the_lines_are(tmp_path):
    write_database(tmp_path / "a.sql", 300, 2, dirt=0.3)
    report = convert_metadata([tmp_path / "a.sql"], tmp_path / "a.parquet", cuts=SMALL)
    lines = made_lines(300, 2, dirt=0)
    assert report.rows_in == len(lines)
    assert report.rejected > 0
    assert pq.read_table(report.rejects)["offset"].null_count == report.rejected
    clean = convert_metadata([file_of(tmp_path / "b", lines)], tmp_path / "b.parquet")
    ids = set(pq.read_table(report.parquet)["id"].to_pylist())
    assert ids <= set(pq.read_table(clean.parquet)["id"].to_pylist())


def test_a_url_is_read(tmp_path):
    lines = made_lines(200, 1)
    with fsspec.open("memory://bucket/rows", "wb") as file:
        file.write(b"\n".join(lines))
    with dask.config.set(scheduler="sync"):  # a file in memory has one position for all readers
        report = convert_metadata(["memory://bucket/rows"], tmp_path / "a.parquet", cuts=SMALL)
    same_as_oracle(report, lines, NUMBERED)


def test_one_path_is_read_by_pandas_and_duckdb(tmp_path):
    source = file_of(tmp_path / "rows", made_lines(500, 1))
    report = convert_metadata([source], tmp_path / "a.parquet", cuts=SMALL)
    assert len(pd.read_parquet(report.parquet)) == report.rows
    count = duckdb.connect().execute("SELECT count(*) FROM read_parquet(?)", [str(report.parquet)])
    assert count.fetchone() == (report.rows,)


def test_columns_are_labelled(tmp_path):
    source = file_of(tmp_path / "rows", made_lines(5))
    report = convert_metadata([source], tmp_path / "a.parquet")
    schema = pq.read_schema(next(report.parquet.iterdir()))
    assert schema.metadata[b"format_version"] == b"1"
    assert json.loads(schema.metadata[b"facts"])["layout"] == "25 columns"
    assert schema.field("longitude").metadata[b"unit"] == b"degree_east"
    assert all(field.metadata[b"description"] for field in schema)


def test_an_endless_line_is_one_reject(tmp_path):
    lines = made_lines(20)
    lines[7] = b"z" * (3 * 2**20)
    source = file_of(tmp_path / "rows", lines)
    report = convert_metadata([source], tmp_path / "a.parquet", cuts=SMALL)
    rejects = same_as_oracle(report, lines, NUMBERED)
    assert rejects["length"].to_pylist() == [len(lines[7])]
    assert len(rejects["raw"][0].as_py()) == 2**20 + 1


def test_rejects_alone_give_an_empty_table(tmp_path):
    lines = [b"\t" * 24] * 3
    report = convert_metadata([file_of(tmp_path / "rows", lines)], tmp_path / "a.parquet")
    assert (report.rows, report.rejected) == (0, 3)
    assert pq.read_table(report.parquet).schema.names == SCHEMA.names


def test_a_second_call_reuses_what_is_whole_and_refuses_other_files(tmp_path):
    source = file_of(tmp_path / "rows", made_lines(20))
    first = convert_metadata([source], tmp_path / "a.parquet")
    again = convert_metadata([source], tmp_path / "a.parquet")
    assert again.reused
    assert again.rows == first.rows
    file_of(source, made_lines(21))
    with pytest.raises(StoreError, match="same files"):
        convert_metadata([source], tmp_path / "a.parquet")


@pytest.mark.parametrize("packing", ["gz", "bz2"])
def test_a_damaged_file_is_an_error_and_no_parquet(tmp_path, packing):
    source = file_of(tmp_path / "rows", made_lines(3000), packing)
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(DataError, match="rows"):
        convert_metadata([source], tmp_path / "a.parquet", cuts=SMALL)
    assert not (tmp_path / "a.parquet").exists()


def test_files_that_are_no_metadata_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"one,two\n")
    with pytest.raises(DataError, match="23, 24 or 25"):
        convert_metadata([tmp_path / "a"], tmp_path / "a.parquet")
    with pytest.raises(DataError, match="can be read"):
        convert_metadata([tmp_path / "b"], tmp_path / "a.parquet")


SCRIPT = """
import sys, time
from pathlib import Path
from yfccdask.data.metadata import conversion
from yfccdask.data.metadata.pieces import Cuts
def slow(done, total, text):
    print(done, flush=True)
    time.sleep(0.05)
cuts = Cuts(plain=20_000, bzip2=9_000, sqlite=40_000, block=6_000, part_blocks=2)
conversion.convert_metadata(sys.argv[1:-1], sys.argv[-1], cuts=cuts, on_progress=slow)
"""


def test_a_killed_conversion_goes_on_to_the_same_bits(tmp_path):
    files = [file_of(tmp_path / "a", made_lines(600, 1, dirt=0.2))]
    files.append(file_of(tmp_path / "b.gz", made_lines(600, 2, dirt=0.2), "gz"))
    whole = convert_metadata(files, tmp_path / "whole.parquet", cuts=SMALL)
    out = tmp_path / "killed.parquet"
    command = [sys.executable, "-c", SCRIPT, *map(str, files), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    staging = tmp_path / "killed.parquet.partial" / "work"
    kept = {path: path.stat().st_mtime_ns for path in staging.glob("piece-*.json")}
    assert kept
    assert not out.exists()
    time.sleep(0.01)
    told = []
    report = convert_metadata(files, out, cuts=SMALL, on_progress=lambda *a: told.append(a))
    assert told[0][0] == len(kept) + 1
    assert (report.rows, report.rejected) == (whole.rows, whole.rejected)
    assert digests(out) == digests(whole.parquet)
    assert pq.read_table(report.rejects).equals(pq.read_table(whole.rejects))
