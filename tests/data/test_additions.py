"""Adding to a store: new blocks, old shards untouched, nothing twice."""

import numpy as np
import pytest
from PIL import Image

from tests.data.made_photos import photo_bytes, photo_folder, tree
from yfccdask.data import block, ingest, ingestion, open_store, partial_stores, write_store
from yfccdask.data.ingesting import waves
from yfccdask.data.store_checks import check_store_files
from yfccdask.errors import StoreError

OPTIONS = {"size": 16, "block_size": 7}


@pytest.fixture(autouse=True)
def small_waves(monkeypatch):
    monkeypatch.setattr(waves, "BATCH_FILES", 3)
    monkeypatch.setattr(waves, "WAVE_FILES", 6)


@pytest.fixture
def grown(tmp_path):
    """A store of ten photographs and one failure, whose folder has grown by twelve since."""
    folder = photo_folder(tmp_path / "photos", 10)
    (folder / "late.jpg").write_text("not yet")
    ingest(folder, tmp_path / "s", **OPTIONS, seed=3)
    photo_folder(folder, 12, first=50)
    return folder


def shards(store):
    return {name: sha for name, sha in tree(store).items() if "images.zarr/images/c" in name}


def test_new_files_become_new_blocks_behind_the_old_ones(grown, tmp_path):
    before, old = open_store(tmp_path / "s"), shards(tmp_path / "s")
    images = before.read(before.rows())
    report = ingest(grown, tmp_path / "s", append=True)
    assert (report.seen, report.written, report.skipped) == (23, 22, 1)
    store = open_store(tmp_path / "s")
    assert store.counts == (7, 3, 7, 5)
    assert store.rows().tolist() == [*range(10), *range(14, 26)]
    assert old.items() <= shards(tmp_path / "s").items()
    np.testing.assert_array_equal(store.read(before.rows()), images)
    assert block(store, 1).compute().shape == (3, 16, 16, 3)
    assert sorted(store.ids(store.rows())) == sorted(
        f"{n:03d}.jpg" for n in (*range(10), *range(50, 62))
    )
    assert store.digest != before.digest
    assert store.attributes()["additions"][0]["kind"] == "append"
    assert check_store_files(store, deep=True).holds
    assert store.dataset()["images"].shape == (26, 16, 16, 3)


def test_nothing_new_writes_nothing(grown, tmp_path):
    ingest(grown, tmp_path / "s", append=True)
    before = tree(tmp_path)
    assert ingest(grown, tmp_path / "s", append=True).reused
    assert tree(tmp_path) == before


def test_what_failed_is_tried_again_and_only_that(grown, tmp_path):
    (grown / "late.jpg").write_bytes(photo_bytes(99))
    report = ingest(grown, tmp_path / "s", retry_failed=True)
    assert (report.seen, report.written, report.skipped) == (11, 11, 0)
    store = open_store(tmp_path / "s")
    assert store.counts == (7, 3, 1)
    assert store.ids([14]) == ["late.jpg"]
    status = store.status()
    assert status["id"].is_unique
    assert status.set_index("id").loc["late.jpg", ["block", "index"]].tolist() == [2, 14]
    assert check_store_files(store, deep=True).holds


def test_what_fails_again_stays_a_failure_with_one_row(grown, tmp_path):
    digest = open_store(tmp_path / "s").digest
    report = ingest(grown, tmp_path / "s", retry_failed=True)
    assert (report.seen, report.written, report.skipped) == (11, 10, 1)
    assert open_store(tmp_path / "s").digest == digest
    assert open_store(tmp_path / "s").status()["id"].is_unique
    assert check_store_files(tmp_path / "s", deep=True).holds


def test_duplicates_are_found_across_additions(grown, tmp_path):
    (grown / "zz.jpg").write_bytes(photo_bytes(4))
    report = ingest(grown, tmp_path / "s", append=True)
    assert report.duplicates == 1
    status = open_store(tmp_path / "s").status().set_index("id")
    assert status.loc["zz.jpg", "duplicate_of"] == "004.jpg"


def test_other_options_than_the_store_s_are_refused(grown, tmp_path):
    with pytest.raises(StoreError, match="expected size 16 as in the store"):
        ingest(grown, tmp_path / "s", size=32, append=True)
    array = write_store(np.zeros((3, 8, 8, 3), np.uint8), tmp_path / "a", block_size=2)
    with pytest.raises(StoreError, match="found one of an array"):
        ingest(grown, array.path, append=True)


def test_a_grown_folder_without_append_says_so(grown, tmp_path):
    with pytest.raises(StoreError, match="add the new ones with --append"):
        ingest(grown, tmp_path / "s", **OPTIONS, seed=3)


@pytest.mark.parametrize(
    "place",
    [
        (waves, "write_record"),
        (ingestion, "finish"),
        (ingestion, "merge_partial"),
        (partial_stores, "sync_folder"),
        (partial_stores, "discard"),
    ],
    ids=lambda place: place[1],
)
def test_a_killed_addition_goes_on_to_the_same_bits(grown, tmp_path, monkeypatch, place):
    module, name = place
    partial_stores.shutil.copytree(tmp_path / "s", tmp_path / "whole")
    ingest(grown, tmp_path / "whole", append=True)
    before = open_store(tmp_path / "s").digest

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(module, name, killed)
        ingest(grown, tmp_path / "s", append=True)
    if place[1] in ("write_record", "finish", "merge_partial"):
        assert open_store(tmp_path / "s").digest == before
    ingest(grown, tmp_path / "s", append=True)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")
    assert not (tmp_path / "s.partial").exists()


def test_near_duplicates_are_found_by_their_looks(tmp_path):
    pytest.importorskip("imagehash")
    folder = photo_folder(tmp_path / "photos", 6)
    y, x = np.mgrid[:180, :240]
    planes = [x, y, 127 + 120 * np.sin(x / 29) * np.cos(y / 23)]
    picture = Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    picture.save(folder / "a.png")
    picture.resize((120, 90)).save(folder / "b.jpg", quality=70)
    report = ingest(folder, tmp_path / "s", **OPTIONS, duplicates="skip", near_duplicates=6)
    assert report.reasons == {"near-duplicate": 1}
    status = open_store(tmp_path / "s").status().set_index("id")
    assert set(status.loc[["a.png", "b.jpg"], "duplicate_of"]) - {""} <= {"a.png", "b.jpg"}
