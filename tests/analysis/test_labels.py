"""Labels meet a store's images by their ids, and what doesn't meet is said."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.analysis.made_metadata import made_rows, write_metadata
from tests.conftest import THREADS
from yfccdask.analysis import labels as module
from yfccdask.analysis.labels import match_labels, read_labels
from yfccdask.analysis.store_photos import drawn_shares, first_blocks, listed_photos
from yfccdask.data import open_store, write_store
from yfccdask.data.ingestion import ingest
from yfccdask.errors import DataError
from yfccdask.training.start import with_client

IDS = [f"{number}" for number in range(100, 130)]


@pytest.fixture(scope="module")
def named_store(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    return write_store(pixels, tmp_path_factory.mktemp("named") / "store", block_size=12, ids=IDS)


@pytest.fixture(scope="module")
def folder_store(tmp_path_factory):
    """Three crops of each of six photographs in two folders."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(6):
        folder = root / ("cats", "dogs")[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    options = {"size": 20, "crops_per_image": 3, "block_size": 12}
    store = root.with_name("crops")
    with_client(THREADS, ingest, root, store, **options)
    return open_store(store)


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_a_table_gives_labels_and_says_what_it_didn_t_match(named_store, tmp_path, kind):
    pairs = [("100", "cat"), ("101", "dog"), ("101", "cat"), ("103", ""), ("999", "cat")]
    table = pd.DataFrame([*pairs, ("100", "cat")], columns=["id", "label"])
    source = table if kind == "frame" else tmp_path / f"labels.{kind}"
    if kind == "csv":
        table.assign(other=1).to_csv(source, index=False)
    elif kind == "parquet":
        table.assign(id=table["id"].astype(int)).to_parquet(source)
    labels = read_labels(source, named_store)
    assert labels.names == ("cat", "dog")
    assert labels.images["image"].tolist() == ["100", "101", "103"]
    assert labels.members.tolist() == [[True, False], [True, True], [False, False]]
    match = labels.match
    assert (match["ids"], match["matched"], match["unmatched"]) == (4, 3, 1)
    assert (match["images"], match["unlabelled"], match["examples"]) == (3, 27, ["999"])
    assert "3 of 4 ids" in labels.matched_line()
    assert "for example: 999" in labels.matched_line()
    assert labels.single().images["image"].tolist() == ["100"]
    assert labels.frequent(2, 5).names == ("cat",)
    assert labels.frequent(1, 1).names == ("cat",)


def test_labels_of_some_blocks_are_of_their_images(named_store):
    table = pd.DataFrame({"id": IDS, "label": ["even", "odd"] * 15})
    labels = read_labels(table, named_store, blocks=[1])
    assert labels.rows.tolist() == list(range(12, 24))
    assert labels.members[:, 0].tolist() == [True, False] * 6


def test_folders_name_all_crops_of_a_photograph(folder_store):
    labels = read_labels("folder", folder_store)
    assert labels.names == ("cats", "dogs")
    assert labels.counts.tolist() == [9, 9]
    inside = labels.images["photo"].str.startswith("dogs/")
    assert (labels.members[:, 1] == inside).all()


def test_a_single_crop_can_have_a_label_of_its_own(folder_store):
    photos = listed_photos(folder_store)
    one = photos["image"].iloc[4]
    assert one.endswith(("#0", "#1", "#2"))
    labels = match_labels(pd.DataFrame({"id": [one], "label": ["x"]}), photos)
    assert labels.images["image"].tolist() == [one]


def test_metadata_gives_its_tags(named_store, tmp_path, rng):
    rows = made_rows(list(range(100, 120)), rng, words=1)
    for number, row in enumerate(rows):
        row["tags"] = ["Beach", "sea"] if number % 2 else []
    metadata = write_metadata(tmp_path / "set", rows)
    labels = read_labels(metadata, named_store)
    assert labels.names == ("beach", "sea")
    assert len(labels.images) == 20
    assert labels.counts.tolist() == [10, 10]


def test_of_too_many_labels_the_frequent_ones_are_kept(named_store, monkeypatch):
    monkeypatch.setattr(module, "MOST_LABELS", 2)
    label = ["often"] * 15 + ["rare\x1b[31m"] * 5 + ["more"] * 10
    labels = read_labels(pd.DataFrame({"id": IDS, "label": label}), named_store)
    assert labels.names == ("more", "often")
    assert len(labels.images) == 30
    assert "1 rarer labels left out" in labels.matched_line()


def test_what_cannot_be_labels_is_refused(named_store, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("name,label\n100,cat\n")
    with pytest.raises(DataError, match="found no id among name, label"):
        read_labels(other, named_store)
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "absent.csv", named_store)
    with pytest.raises(DataError, match="such as 100, 101, 102; found a, b"):
        read_labels(pd.DataFrame({"id": ["a", "b"], "label": "cat"}), named_store)
    with pytest.raises(DataError, match="expected the folders"):
        read_labels("folder", named_store)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match="expected CSV or Parquet"):
        read_labels(broken, named_store)


def test_a_split_depends_on_ids_and_seed_alone():
    ids = [f"photo {number}" for number in range(2000)]
    shares = drawn_shares(ids, seed=3)
    assert ((shares >= 0) & (shares < 1)).all()
    assert abs((shares < 0.5).mean() - 0.5) < 0.04
    assert drawn_shares(ids[::-1], seed=3)[::-1].tolist() == shares.tolist()
    assert drawn_shares(ids, seed=4).tolist() != shares.tolist()


def test_the_first_blocks_hold_as_many_images_as_are_wanted(named_store):
    assert [first_blocks(named_store, n) for n in (1, 12, 25, 99)] == [[0], [0], [0, 1], [0, 1, 2]]
