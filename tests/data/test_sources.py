"""Manifests: what is listed, in which order, with which credits; and folders written whole."""

import pandas as pd
import pytest

from tests.data.made_photos import photo_bytes, photo_folder
from yfccdask.data import ingest, open_store
from yfccdask.data.ingesting.sequence import write_sequence
from yfccdask.data.sources import COLUMNS, CREDIT_COLUMNS, folder_manifest, listing
from yfccdask.errors import DataError


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_manifest_lists_every_file_below_the_folder_by_sorted_relative_path(tmp_path):
    for name in ("b.jpg", "a/z.png", "a/b/c.gif"):
        touch(tmp_path / name)
    manifest = folder_manifest(tmp_path)
    assert list(manifest.columns) == list(COLUMNS)
    assert manifest["id"].tolist() == ["a/b/c.gif", "a/z.png", "b.jpg"]
    assert manifest["source"].tolist() == [str(tmp_path / name) for name in manifest["id"]]


def test_manifest_leaves_hidden_files_and_folders_out(tmp_path):
    for name in ("a.jpg", ".DS_Store", ".git/b.jpg"):
        touch(tmp_path / name)
    assert folder_manifest(tmp_path)["id"].tolist() == ["a.jpg"]


def test_manifest_keeps_links_inside_and_leaves_out_links_to_the_outside(tmp_path):
    touch(tmp_path / "outside.jpg")
    touch(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "in.jpg").symlink_to(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    (tmp_path / "photos" / "up").symlink_to(tmp_path)
    (tmp_path / "photos" / "dead.jpg").symlink_to(tmp_path / "nowhere")
    assert folder_manifest(tmp_path / "photos")["id"].tolist() == ["a.jpg", "in.jpg"]


def test_manifest_takes_credits_from_the_list_and_does_not_list_it(tmp_path):
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "b.jpg")
    row = "a.jpg\tscikit-image\t0.26.0\tskimage/data/astronaut.png\tCC0\tNASA"
    (tmp_path / "CREDITS.tsv").write_text("\t".join(CREDIT_COLUMNS) + f"\n{row}\n")
    manifest = folder_manifest(tmp_path)
    assert manifest["id"].tolist() == ["a.jpg", "b.jpg"]
    credit = "scikit-image 0.26.0: skimage/data/astronaut.png (NASA)"
    assert manifest[["credit", "licence"]].values.tolist() == [[credit, "CC0"], ["", ""]]


def test_credits_without_their_columns_are_refused(tmp_path):
    touch(tmp_path / "a.jpg")
    (tmp_path / "CREDITS.tsv").write_text("name\twho\na.jpg\tme\n")
    with pytest.raises(DataError, match="expected the columns file"):
        folder_manifest(tmp_path)


def test_missing_and_empty_folders_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"found nothing: check the path"):
        folder_manifest(tmp_path / "no")
    with pytest.raises(DataError, match=r"found no file .*: put photographs there"):
        folder_manifest(tmp_path)
    touch(tmp_path / "file")
    with pytest.raises(DataError, match="found a file"):
        folder_manifest(tmp_path / "file")


def test_a_name_that_is_not_utf8_gets_a_printable_id(tmp_path):
    (tmp_path / "caf\udce9.jpg").write_bytes(b"x")
    assert folder_manifest(tmp_path)["id"].tolist() == ["caf\\xe9.jpg"]


def rows_of(source, **options):
    return pd.concat(list(listing(source, **options).tables()), ignore_index=True)


def test_a_manifest_of_ones_own_is_filled(tmp_path):
    frame = pd.DataFrame({"id": ["b", "a"], "source": ["/b", "s3://x/a"]})
    rows = rows_of(frame)
    assert rows[list(COLUMNS)].values.tolist() == [["b", "/b", "", ""], ["a", "s3://x/a", "", ""]]
    assert listing(frame).described == "a manifest of 2 files"
    below = rows_of(frame.head(1).assign(source="b.jpg"), root="/photos/")
    assert below["path"].tolist() == ["/photos/b.jpg"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"]}, "columns id and source"),
        ({"id": ["a", "a"], "source": ["x", "y"]}, "every id once"),
        ({"id": [""], "source": ["x"]}, "an empty one"),
        ({"id": [], "source": []}, "at least one file"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        write_sequence(listing(pd.DataFrame(columns)).tables(), tmp_path / "sequence", 0, 10)


def test_root_and_where_are_for_metadata(tmp_path):
    with pytest.raises(DataError, match="with a Parquet set of metadata only"):
        listing(tmp_path, where="year = 2010")
    with pytest.raises(DataError, match="expected --root"):
        listing(tmp_path / "set.parquet")


def test_a_file_whose_name_is_not_utf8_is_ingested(tmp_path):
    folder = photo_folder(tmp_path / "photos", 2)
    (folder / "caf\udce9.jpg").write_bytes(photo_bytes(5))
    report = ingest(folder, tmp_path / "s", size=16, block_size=4)
    assert report.written == 3
    assert "caf\\xe9.jpg" in open_store(tmp_path / "s").status()["id"].tolist()
