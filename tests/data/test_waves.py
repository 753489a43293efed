"""Waves: staging is bounded, and the store is the same however it came to be."""

import errno
import sqlite3

import dask
import numpy as np
import pytest

from tests.data.made_photos import photo_bytes, photo_folder, tree
from yfccdask.data import ingest, ingestion, open_store, partial_stores, status_tables
from yfccdask.data.ingesting import batches, gathering, waves
from yfccdask.errors import DiskFull, StoreError

OPTIONS = {"size": 16, "block_size": 7}


@pytest.fixture(autouse=True)
def small_waves(monkeypatch):
    monkeypatch.setattr(waves, "BATCH_FILES", 3)
    monkeypatch.setattr(waves, "WAVE_FILES", 10)


@pytest.fixture
def folder(tmp_path):
    """Forty photographs and five files that are none."""
    folder = photo_folder(tmp_path / "photos", 40)
    for n in range(5):
        (folder / f"bad-{n}.jpg").write_text("no")
    return folder


def images_of(path):
    store = open_store(path)
    return store.ids(store.rows()), store.read(store.rows())


def test_many_waves_give_the_images_of_one_in_the_same_order(folder, tmp_path, monkeypatch):
    ingest(folder, tmp_path / "many", **OPTIONS)
    monkeypatch.setattr(waves, "WAVE_FILES", 1000)
    ingest(folder, tmp_path / "one", **OPTIONS)
    (ids, images), (other_ids, other_images) = (
        images_of(tmp_path / "many"),
        images_of(tmp_path / "one"),
    )
    assert ids == other_ids
    np.testing.assert_array_equal(images, other_images)
    assert len(list((tmp_path / "many" / "status.parquet").iterdir())) == 5
    assert open_store(tmp_path / "many").counts == (7, 7, 7, 7, 7, 5)
    status = open_store(tmp_path / "many").status()
    good = status[status["outcome"] == "written"]
    assert open_store(tmp_path / "many").ids(good["index"].tolist()) == good["id"].tolist()


@pytest.mark.parametrize("crops", [1, 3])
def test_staging_holds_one_wave_and_less_than_a_block(folder, tmp_path, crops):
    partial, most = tmp_path / "s.partial", [0]

    def look(done, total, text):
        staged = [np.load(p, mmap_mode="r").shape[0] for p in partial.rglob("work/**/*.npy")]
        most[0] = max(most[0], sum(staged))

    with dask.config.set(scheduler="synchronous"):
        ingest(folder, tmp_path / "s", **OPTIONS, crops_per_image=crops, on_progress=look)
    assert 0 < most[0] < 10 * crops + 7
    assert open_store(tmp_path / "s").images == 40 * crops


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize(
    "place",
    [
        (waves, "write_status"),
        (waves, "write_record"),
        (batches, "read_contents"),
        (gathering, "write_block"),
        (ingestion, "finish"),
        (ingestion, "finish_partial"),
        (ingestion, "publish_partial"),
        (partial_stores, "publish"),
        (partial_stores, "tidy"),
    ],
    ids=lambda place: place[1],
)
def test_a_stop_at_any_step_changes_no_bit(folder, tmp_path, monkeypatch, place, crops):
    module, name = place
    how = {**OPTIONS, "crops_per_image": crops}
    ingest(folder, tmp_path / "whole", **how)
    real, calls = getattr(module, name), [0]

    def stopping(*arguments, **options):
        calls[0] += 1
        if calls[0] % 3 == 0 or name in ("finish", "finish_partial", "publish_partial", "tidy"):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with dask.config.set(scheduler="synchronous"):
        for _ in range(60):
            with monkeypatch.context() as patch:
                once = name.startswith(("finish", "publish", "tidy"))
                if not (once and calls[0]):
                    patch.setattr(module, name, stopping)
                try:
                    ingest(folder, tmp_path / "s", **how)
                    break
                except KeyboardInterrupt:
                    continue
    assert calls[0]
    ingest(folder, tmp_path / "s", **how)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")
    assert not (tmp_path / "s.partial").exists()


def test_what_a_kill_left_half_written_is_not_in_the_store(folder, tmp_path, monkeypatch):
    def killed(path, write):
        path.with_name(f".{path.name}.0.partial").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(status_tables, "replace_file", killed)
        ingest(folder, tmp_path / "s", **OPTIONS)
    assert list((tmp_path / "s.partial" / "status.parquet").iterdir())
    ingest(folder, tmp_path / "s", **OPTIONS)
    assert not list((tmp_path / "s").rglob("*.partial"))
    assert not list((tmp_path / "s").rglob(".*"))


def test_a_second_run_writes_nothing(folder, tmp_path):
    ingest(folder, tmp_path / "s", **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert ingest(folder, tmp_path / "s", **OPTIONS).reused
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_finished_waves_of_another_request_stay(folder, tmp_path):
    def stop(done, total, text):
        if done > 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(folder, tmp_path / "s", **OPTIONS, on_progress=stop)
    with pytest.raises(StoreError, match="of another seed: run that ingest again"):
        ingest(folder, tmp_path / "s", **OPTIONS, seed=4)
    assert ingest(folder, tmp_path / "s", **OPTIONS).written == 40


@pytest.mark.parametrize(
    "place",
    [(batches, "replace_file"), (gathering, "write_block"), (waves, "write_status")],
    ids=lambda place: place[1],
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_loses_nothing(folder, tmp_path, monkeypatch, place, number):
    module, name = place
    real, calls = getattr(module, name), [0]

    def full(*arguments):
        calls[0] += 1
        if calls[0] > 2:
            raise OSError(number, "no room")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(DiskFull, match=r"make room, then run the same ingest again"):
            ingest(folder, tmp_path / "s", **OPTIONS)
    ingest(folder, tmp_path / "s", **OPTIONS)
    ingest(folder, tmp_path / "whole", **OPTIONS)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_a_full_disk_under_the_index_of_duplicates_is_one(folder, tmp_path, monkeypatch):
    def full(*arguments):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(waves.DuplicateIndex, "originals", full)
    with pytest.raises(DiskFull):
        ingest(folder, tmp_path / "s", **OPTIONS)


def test_photographs_that_vanish_altogether_stop_the_ingest(tmp_path):
    folder = photo_folder(tmp_path / "photos", 30)

    def unmount(done, total, text):
        if folder.exists():
            folder.rename(tmp_path / "away")

    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(ingestion.DataError, match="found that it is gone: mount it again"),
    ):
        ingest(folder, tmp_path / "s", **OPTIONS, on_progress=unmount)
    (tmp_path / "away").rename(folder)
    assert ingest(folder, tmp_path / "s", **OPTIONS).written == 30


def test_one_file_that_vanishes_is_a_skipped_file(tmp_path):
    folder = photo_folder(tmp_path / "photos", 30)

    def remove(done, total, text):
        for path in folder.glob("*.jpg"):
            path.unlink()

    with dask.config.set(scheduler="synchronous"):
        report = ingest(folder, tmp_path / "s", **OPTIONS, on_progress=remove)
    assert report.reasons == {"cannot read file": report.skipped}
    assert report.seen == 30


def test_photographs_of_the_same_bytes_are_reported_or_left_out(tmp_path):
    folder = photo_folder(tmp_path / "photos", 12)
    for n in range(4):
        (folder / f"again-{n}.jpg").write_bytes(photo_bytes(n))
    report = ingest(folder, tmp_path / "r", **OPTIONS)
    assert (report.written, report.duplicates) == (16, 4)
    skipped = ingest(folder, tmp_path / "s", **OPTIONS, duplicates="skip")
    assert (skipped.written, skipped.skipped, skipped.reasons) == (12, 4, {"duplicate": 4})
    status = open_store(tmp_path / "s").status().set_index("id")
    for name, original in status["duplicate_of"][status["duplicate_of"] != ""].items():
        assert status.loc[original, "source_digest"] == status.loc[name, "source_digest"]
        assert status.loc[original, "outcome"] == "written"
        assert status.loc[name, "reason"] == f"duplicate: of {original}"
