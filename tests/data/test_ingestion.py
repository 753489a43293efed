"""Ingest: every file accounted for, and the same bytes whoever does the work."""

import hashlib
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from PIL import Image

from yfccdask.data import block, ingest, ingestion, open_store
from yfccdask.data.decoding import Cut, decode, read_file
from yfccdask.data.ingesting import waves
from yfccdask.errors import DataError, StoreError


def photo(path, seed, width=30, height=24, **options):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Eleven files, of which seven are images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(7):
        photo(folder / f"good-{seed}.jpg", seed, quality=90)
    (folder / "text.jpg").write_text("photo unavailable")
    (folder / "cut.jpg").write_bytes((folder / "good-0.jpg").read_bytes()[:400])
    photo(folder / "dot.png", 8, 1, 1)
    (folder / "empty.jpg").touch()
    return folder


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(waves, "BATCH_FILES", 2)


OPTIONS = {"size": 16, "block_size": 3}


def tree(folder):
    """Digest of every file below a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_written_and_skipped_add_up_to_the_files_seen(folder, tmp_path):
    report = ingest(folder, tmp_path / "s", **OPTIONS)
    assert (report.seen, report.written, report.skipped) == (11, 7, 4)
    assert (report.images, report.blocks, report.reused) == (7, 3, False)
    assert report.reasons == {"not an image": 2, "truncated": 1, "too small": 1}
    assert open_store(tmp_path / "s").counts == (3, 3, 1)
    assert sorted(path.name for path in report.store.iterdir()) == ["images.zarr", "status.parquet"]
    assert not (tmp_path / "s.partial").exists()


def test_status_says_what_became_of_every_file(folder, tmp_path):
    ingest(folder, tmp_path / "s", **OPTIONS)
    store = open_store(tmp_path / "s")
    status = store.status().set_index("id")
    assert len(status) == 11
    good = status[status["outcome"] == "written"]
    assert store.ids(good["index"].tolist()) == good.index.tolist()
    assert (good["block"] == good["index"] // 3).all()
    bad = status.loc["text.jpg"]
    assert (bad["outcome"], bad["index"], bad["block"], bad["images"]) == ("skipped", -1, -1, 0)
    assert status.loc["dot.png", "reason"] == "too small: 1 x 1 pixels for squares of 16"
    assert status.loc["good-1.jpg", ["width", "height"]].tolist() == [30, 24]
    content = (folder / "good-1.jpg").read_bytes()
    assert status.loc["good-1.jpg", "source_digest"] == hashlib.sha256(content).hexdigest()


def test_the_store_holds_the_decoded_images(folder, tmp_path):
    ingest(folder, tmp_path / "s", **OPTIONS, crops_per_image=4, seed=5)
    store = open_store(tmp_path / "s")
    assert store.images == 28
    for row, name in enumerate(store.ids(range(28))):
        identity, crop = name.split("#")
        content = read_file(str(folder / identity))
        expected = decode(content, identity, Cut(16, 3, 4, 5)).images[int(crop)]
        np.testing.assert_array_equal(store.read([row])[0], expected)
    first = store.status().set_index("id").loc["good-3.jpg"]
    assert store.ids([first["index"]]) == ["good-3.jpg#0"]
    assert first["images"] == 4


def test_crops_of_one_photograph_are_spread_over_the_store(folder, tmp_path):
    ingest(folder, tmp_path / "s", **OPTIONS, crops_per_image=20)
    names = [name.split("#")[0] for name in open_store(tmp_path / "s").ids(range(140))]
    assert len(set(names[:20])) > 4
    assert len(set(open_store(tmp_path / "s").ids(range(140)))) == 140


def test_the_order_is_fixed_by_the_seed(folder, tmp_path):
    def order(name, seed):
        ingest(folder, tmp_path / name, **OPTIONS, seed=seed)
        return open_store(tmp_path / name).ids(range(7))

    first = order("a", 0)
    assert first == order("b", 0)
    assert first != order("c", 1)
    assert sorted(first) == sorted(order("d", 2)) == [f"good-{seed}.jpg" for seed in range(7)]


@pytest.mark.parametrize("crops", [1, 5])
def test_bytes_do_not_depend_on_the_workers(folder, tmp_path, crops):
    with dask.config.set(scheduler="synchronous"):
        ingest(folder, tmp_path / "alone", **OPTIONS, crops_per_image=crops)
    for count in (1, 3):
        options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(n_workers=count, **options) as cluster, Client(cluster) as client:
            path = tmp_path / f"workers-{count}"
            ingest(folder, path, **OPTIONS, crops_per_image=crops, client=client)
        assert tree(path) == tree(tmp_path / "alone")


def test_grey_stores_have_one_channel(folder, tmp_path):
    ingest(folder, tmp_path / "s", **OPTIONS, channels=1)
    assert block(open_store(tmp_path / "s"), 0).compute().shape == (3, 16, 16, 1)


def test_credits_travel_with_the_images(folder, tmp_path):
    header = "file\tpackage\tversion\tpath\tlicence\tcredit\n"
    (folder / "CREDITS.tsv").write_text(f"{header}good-2.jpg\tpkg\t1\tx/y.jpg\tCC0\tJane\n")
    report = ingest(folder, tmp_path / "s", **OPTIONS)
    assert report.seen == 11
    store = open_store(tmp_path / "s")
    row = store.status().set_index("id").loc["good-2.jpg", "index"]
    assert (store.credits([row]), store.licences([row])) == (["pkg 1: x/y.jpg (Jane)"], ["CC0"])


def test_a_manifest_is_a_source_too(folder, tmp_path):
    manifest = pd.DataFrame({"id": ["12", "34"], "source": [str(folder / "good-1.jpg"), "/no"]})
    report = ingest(manifest, tmp_path / "s", **OPTIONS)
    assert (report.seen, report.written) == (2, 1)
    assert report.reasons == {"cannot read file": 1}


def test_the_same_request_uses_the_store_again(folder, tmp_path):
    first = ingest(folder, tmp_path / "s", **OPTIONS)
    before = tree(tmp_path / "s")
    again = ingest(folder, tmp_path / "s", **OPTIONS)
    assert again.reused
    assert (again.seen, again.written, again.reasons) == (11, 7, first.reasons)
    assert tree(tmp_path / "s") == before


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"size": 8}, {"channels": 1}, {"crops_per_image": 2}, {"block_size": 4}]
)
def test_another_request_leaves_the_store_alone(folder, tmp_path, change):
    ingest(folder, tmp_path / "s", **OPTIONS)
    with pytest.raises(StoreError, match=f"another {next(iter(change))}: choose another path"):
        ingest(folder, tmp_path / "s", **{**OPTIONS, **change})
    (folder / "good-6.jpg").unlink()
    with pytest.raises(StoreError, match="another files"):
        ingest(folder, tmp_path / "s", **OPTIONS)


def test_no_image_at_all_is_an_error_that_leaves_nothing(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("no")
    with pytest.raises(DataError, match=r"among 1 files, found none \(1 x not an image\)"):
        ingest(folder, tmp_path / "s", **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="put photographs there"):
        ingest(tmp_path / "photos", tmp_path / "s")


@pytest.mark.parametrize(
    "wrong", [{"channels": 4}, {"size": 0}, {"crops_per_image": 0}, {"seed": -1}, {"block_size": 0}]
)
def test_arguments_that_cannot_be_are_refused(folder, tmp_path, wrong):
    with pytest.raises(DataError, match="expected"):
        ingest(folder, tmp_path / "s", **{**OPTIONS, **wrong})
    assert not (tmp_path / "s").exists()


def test_a_store_inside_its_own_source_is_refused(folder):
    with pytest.raises(DataError, match="outside the folder"):
        ingest(folder, folder / "store", **OPTIONS)


@pytest.mark.parametrize("moment", ["decoding", "wrote"])
def test_an_ingest_that_was_killed_leaves_no_store_and_goes_on(
    folder, tmp_path, moment, monkeypatch
):
    def stop(done, total, text):
        if text.startswith(moment):
            raise KeyboardInterrupt

    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(KeyboardInterrupt),
    ):
        ingest(folder, tmp_path / "s", **OPTIONS, on_progress=stop)
    assert not (tmp_path / "s").exists()
    assert (tmp_path / "s.partial").exists()
    with pytest.raises(StoreError, match="unfinished"):
        open_store(tmp_path / "s")
    finished = sorted((tmp_path / "s.partial" / "work" / "staging").rglob("*.json"))
    times = [path.stat().st_mtime_ns for path in finished]
    finish, seen = ingestion.finish, []

    def look_and_finish(*call):
        seen.extend(path.stat().st_mtime_ns for path in finished)
        finish(*call)

    monkeypatch.setattr(ingestion, "finish", look_and_finish)
    ingest(folder, tmp_path / "s", **OPTIONS)
    assert times
    assert seen == times  # nothing was decoded twice
    monkeypatch.undo()
    monkeypatch.setattr(waves, "BATCH_FILES", 3)
    ingest(folder, tmp_path / "whole", **OPTIONS)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_what_another_request_left_is_not_mixed_in(folder, tmp_path):
    def stop(done, total, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(folder, tmp_path / "s", **OPTIONS, seed=9, on_progress=stop)
    ingest(folder, tmp_path / "s", **OPTIONS)
    ingest(folder, tmp_path / "whole", **OPTIONS)
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_progress_counts_files_up_to_all(folder, tmp_path):
    told = []
    ingest(folder, tmp_path / "s", **OPTIONS, on_progress=lambda *event: told.append(event))
    assert told[-1] == (11, 11, "wrote 3 of 3 blocks so far")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_changed_photographs_are_noticed(tmp_path):
    photos = tmp_path / "changing"
    photos.mkdir()
    for shade in (10, 200):
        Image.new("RGB", (40, 40), (shade, 0, shade)).save(photos / "a.png")
        Image.new("RGB", (40, 41), (0, shade, shade)).save(photos / "b.png")
        if shade == 10:
            ingest(photos, tmp_path / "store", size=20, block_size=4)
    with pytest.raises(StoreError, match="files_digest"):
        ingest(photos, tmp_path / "store", size=20, block_size=4)


def test_a_store_reached_through_a_link_into_the_photographs_is_refused(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 40)).save(photos / "a.png")
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(DataError, match="outside the folder"):
        ingest(tmp_path / "link", photos / "store", size=20, block_size=4)
