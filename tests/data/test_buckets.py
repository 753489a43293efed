"""Buckets, against a real S3 server on this machine: what isn't there, and a server that goes."""

import logging

import pandas as pd
import pytest

from tests.data.made_photos import photo_bytes, photo_folder, tree
from tests.data.metadata.made_rows import made_lines
from tests.data.test_archives import write_tar, write_zip
from yfccdask.data import ingest, open_store
from yfccdask.data.ingesting import waves
from yfccdask.data.metadata.conversion import convert_metadata
from yfccdask.data.metadata.manifests import manifest_of
from yfccdask.data.sources import SourceLost
from yfccdask.errors import DataError

s3fs = pytest.importorskip("s3fs")
server_of = pytest.importorskip("moto.server")

OPTIONS = {"size": 16, "block_size": 4}
HASHES = [f"{n:03x}abc{n:026x}" for n in range(12)]


@pytest.fixture
def bucket(monkeypatch):
    """A server with a bucket; gives (server, options to reach it, file system)."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    quick = {"connect_timeout": 1, "read_timeout": 2, "retries": {"max_attempts": 1}}
    reach = {"endpoint_url": f"http://{host}:{port}", "config_kwargs": quick}
    reached = s3fs.S3FileSystem(**reach, use_listings_cache=False)
    if reached.exists("photos"):  # servers of one process share what they hold
        reached.rm("photos", recursive=True)
    reached.mkdir("photos")
    yield server, reach, reached
    server.stop()


def place(hashed):
    return f"{hashed[:3]}/{hashed[3:6]}/{hashed}.jpg"


def manifest():
    sources = [place(hashed) for hashed in HASHES]
    return pd.DataFrame({"id": [str(n) for n in range(12)], "source": sources, "licence": "CC0"})


def fill(reached, hashes):
    for n, hashed in enumerate(hashes):
        reached.pipe(f"photos/data/images/{place(hashed)}", photo_bytes(n))


def test_a_manifest_and_the_bucket_by_hash(bucket, tmp_path):
    _, reach, reached = bucket
    fill(reached, HASHES[:10])
    where = {"root": "s3://photos/data/images", "storage": reach}
    report = ingest(manifest(), tmp_path / "s", **OPTIONS, **where)
    assert (report.seen, report.written) == (12, 10)
    assert report.reasons == {"cannot read file": 2}
    status = open_store(tmp_path / "s").status()
    assert status["source"][0] == f"s3://photos/data/images/{place(HASHES[0])}"
    assert b"max_attempts" not in b"".join(p.read_bytes() for p in (tmp_path / "s").rglob("*.json"))
    fill(reached, HASHES)
    again = ingest(manifest(), tmp_path / "s", **OPTIONS, **where, retry_failed=True)
    assert (again.written, again.skipped, open_store(tmp_path / "s").counts) == (
        12,
        0,
        (4, 4, 2, 2),
    )


def test_a_prefix_is_a_folder_and_archives_in_it_are_read_by_range(bucket, tmp_path):
    _, reach, reached = bucket
    folder = photo_folder(tmp_path / "f", 3)
    write_tar(folder / "a.tar", {"x.jpg": photo_bytes(7), "y.jpg": photo_bytes(8)})
    write_tar(folder / "b.tar.gz", {"x.jpg": photo_bytes(9)}, "w:gz")
    write_zip(folder / "c.zip", {"z.jpg": photo_bytes(10)})
    reached.put(str(folder) + "/", "photos/all/", recursive=True)
    report = ingest("s3://photos/all", tmp_path / "s", **OPTIONS, storage=reach)
    assert (report.seen, report.written) == (7, 7)
    ingest(folder, tmp_path / "t", **OPTIONS)
    remote, local = open_store(tmp_path / "s"), open_store(tmp_path / "t")
    assert remote.ids(remote.rows()) == local.ids(local.rows())
    assert (remote.read(remote.rows()) == local.read(local.rows())).all()
    with pytest.raises(DataError, match="found nothing: check the address"):
        ingest("s3://photos/none", tmp_path / "u", storage=reach)


def test_a_server_that_goes_away_loses_nothing(bucket, tmp_path, monkeypatch):
    server, reach, reached = bucket
    monkeypatch.setattr(waves, "BATCH_FILES", 1)
    monkeypatch.setattr(waves, "WAVE_FILES", 4)
    fill(reached, HASHES)
    how = {**OPTIONS, "root": "s3://photos/data/images"}

    def stop(done, total, text):
        if done == 6:
            server.stop()

    with pytest.raises(SourceLost, match="run the same ingest again"):
        ingest(manifest(), tmp_path / "s", **how, storage=reach, on_progress=stop)
    assert (tmp_path / "s.partial/work/ledger/wave-000000.json").is_file()
    other = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    other.start()
    host, port = other.get_host_and_port()
    again = {**reach, "endpoint_url": f"http://{host}:{port}"}
    report = ingest(manifest(), tmp_path / "s", **how, storage=again)
    assert (report.written, report.skipped) == (12, 0)
    ingest(manifest(), tmp_path / "whole", **how, storage=again)
    other.stop()
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_a_server_that_never_was_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    quick = {"connect_timeout": 1, "retries": {"max_attempts": 1}}
    reach = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": quick}
    with pytest.raises(SourceLost, match="see to the server"):
        ingest("s3://photos/all", tmp_path / "s", storage=reach)
    assert not list(tmp_path.iterdir())


def test_converted_metadata_and_a_condition_choose_what_is_fetched(bucket, tmp_path):
    _, reach, reached = bucket
    (tmp_path / "rows.tsv").write_bytes(b"".join(line + b"\n" for line in made_lines(40, 4)))
    convert_metadata([tmp_path / "rows.tsv"], tmp_path / "set.parquet")
    photos = manifest_of(tmp_path / "set.parquet")
    for n, source in enumerate(photos["source"].head(20)):
        reached.pipe(f"photos/data/images/{source}", photo_bytes(n))
    where = {"root": "s3://photos/data/images", "storage": reach}
    report = ingest(tmp_path / "set.parquet", tmp_path / "s", **OPTIONS, **where)
    assert (report.seen, report.written) == (len(photos), 20)
    store = open_store(tmp_path / "s")
    named = photos.set_index("id")
    assert store.licences(store.rows()) == named.loc[store.ids(store.rows()), "licence"].tolist()
    licence = photos["licence"][0]
    some = {**where, "where": f"licence = '{licence}'"}
    chosen = ingest(tmp_path / "set.parquet", tmp_path / "t", **OPTIONS, **some)
    assert chosen.seen == (photos["licence"] == licence).sum() < len(photos)
    assert "where licence" in open_store(tmp_path / "t").attributes()["source"]
