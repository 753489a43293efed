"""Checks: a whole store holds; whatever is damaged is named, with its block and chunk."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from tests.data.made_photos import photo_folder
from yfccdask.cli.group import main
from yfccdask.data import ingest, open_store, write_store
from yfccdask.data.status_tables import read_part, status_parts, write_status
from yfccdask.data.store_checks import check_store_files

GROUP = "images.zarr"


@pytest.fixture
def store(tmp_path):
    """Blocks of 6, 6 and 3 images of 96 pixels (tiles of 48), and two files that are none."""
    folder = photo_folder(tmp_path / "photos", 15)
    for n in range(2):
        (folder / f"bad-{n}.jpg").write_text("no")
    ingest(folder, tmp_path / "s", size=48, block_size=6)
    return open_store(tmp_path / "s")


def test_a_whole_store_holds(store):
    for deep in (False, True):
        found = check_store_files(store, deep=deep)
        assert found.holds, found.damage
        assert (found.rows, found.written, found.skipped) == (17, 15, 2)
        assert found.reasons == {"not an image": 2}


def test_a_store_of_an_array_holds(tmp_path):
    images = np.random.default_rng(0).integers(0, 2**16, (9, 20, 20, 5), np.uint16)
    assert check_store_files(write_store(images, tmp_path / "a", block_size=4), deep=True).holds


def test_a_flipped_bit_is_named_by_block_and_chunk(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 1), np.uint8)
    store = write_store(images, tmp_path / "a", block_size=4)
    path = tmp_path / "a" / GROUP / "images/c/1/0/0/0"
    content = bytearray(path.read_bytes())
    content[3 * (4 * 48 * 48 + 4) + 17] ^= 1  # in the fourth of the chunks of 4 x 48 x 48
    path.write_bytes(content)
    assert check_store_files(store).holds
    (damage,) = check_store_files(store, deep=True).damage
    assert damage.startswith("block 1, inner chunk (0, 1, 1, 0): images 4..7, pixels 48..95 by 48")


def test_other_pixels_with_right_checksums_are_named_by_their_block(store):
    array = zarr.open_array(f"{store.path}/{GROUP}/images", mode="r+")
    array[7, 0, 0, 0] ^= 1
    damage = check_store_files(store, deep=True).damage
    assert damage[0].startswith("block 1: SHA-256 of its pixels is")


@pytest.mark.parametrize("name", ["images/c/1/0/0/0", "mean/c/1", "credit/c/1"])
def test_a_missing_or_short_file_is_named(store, name):
    path = f"{store.path}/{GROUP}/{name}"
    os.truncate(path, 0)
    (damage,) = check_store_files(store).damage
    assert damage.startswith("block 1: ")
    os.unlink(path)
    assert check_store_files(store).damage


@pytest.mark.parametrize("crops", [1, 2])
def test_an_image_that_bears_another_id_than_its_row_is_named(tmp_path, crops):
    folder = photo_folder(tmp_path / "photos", 6)
    ingest(folder, tmp_path / "s", size=16, block_size=4, crops_per_image=crops)
    assert check_store_files(tmp_path / "s", deep=True).holds
    ids = zarr.open_array(f"{tmp_path}/s/{GROUP}/image_id", mode="r+")
    ids[:4] = np.roll(ids[:4], 1)
    assert check_store_files(tmp_path / "s").holds
    (damage,) = check_store_files(tmp_path / "s", deep=True).damage
    assert damage.endswith("written rows whose image has another id")


@pytest.mark.parametrize("name", ["mean", "image_id"])
def test_damage_beside_the_pixels_is_named(store, name):
    path = f"{store.path}/{GROUP}/{name}/c/2"
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\xff\xfe\xfd")
    (damage,) = check_store_files(store, deep=True).damage
    assert damage.startswith(f"block 2: {name}: ")


def test_a_shard_of_no_block_is_named(store):
    extra = os.path.join(store.path, GROUP, "images/c/9/0/0")
    os.makedirs(extra)
    assert check_store_files(store).damage == [f"{GROUP}/images/c/9: a shard of no block"]


def rewritten(store, change):
    (path,) = status_parts(Path(store.path))
    write_status(path.parent, 0, change(read_part(path)))
    return check_store_files(store).damage


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda s: s.drop(index=s.index[s["outcome"] == "written"][0]),
            "14 images in its rows, 15",
        ),
        (lambda s: s.assign(id=["same"] * 2 + s["id"].tolist()[2:]), "1 ids are there more"),
        (lambda s: s.assign(reason=""), "2 rows skipped without a reason"),
        (lambda s: s.assign(index=s["index"].clip(upper=3)), "written rows with a wrong place"),
        (lambda s: s.assign(outcome="lost"), "17 rows of no outcome"),
    ],
)
def test_rows_that_do_not_add_up_are_named(store, change, text):
    assert any(text in damage for damage in rewritten(store, change))


def test_a_damaged_status_is_named(store):
    (path,) = status_parts(Path(store.path))
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    assert any("part-000000.parquet" in damage for damage in check_store_files(store).damage)


def call(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_the_command_says_so_and_exits_with_1(store, tmp_path):
    page = tmp_path / "page.html"
    good = call("store", "check", store.path, "--deep", "--workers", 1, "--json", "--html", page)
    facts = json.loads(good.stdout)
    assert (good.exit_code, facts["holds"], facts["damage"]) == (0, True, [])
    assert "everything holds" in page.read_text()
    os.unlink(f"{store.path}/{GROUP}/images/c/1/0/0/0")
    bad = call("store", "check", store.path, "--workers", 1, "--html", page)
    assert bad.exit_code == 1
    assert "damaged: block 1: images.zarr/images/c/1/0/0/0 has 0 of" in bad.output
    assert "15 written + 2 skipped = 17 rows" in bad.output
    assert "images/c/1/0/0/0 has 0 of" in page.read_text()
    assert call("store", "check", tmp_path / "none").exit_code == 1


def test_the_page_escapes_what_users_wrote(tmp_path):
    path = tmp_path / "<b>x"
    write_store(np.zeros((2, 8, 8, 3), np.uint8), path, block_size=2)
    call("store", "check", path, "--workers", 1, "--html", tmp_path / "page.html")
    assert "<b>x" not in (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;x" in (tmp_path / "page.html").read_text()
