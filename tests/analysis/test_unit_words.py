"""Words that belong to a unit are found; words that say nothing are not."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.analysis.made_metadata import made_rows, write_metadata
from yfccdask.analysis import unit_words
from yfccdask.analysis.unit_words import shown_units, words_of_units
from yfccdask.analysis.word_counts import Counting
from yfccdask.errors import DataError

PHOTOS, UNITS, RANKS, PLANTED = 1000, 80, 40, 6


def lists_of(images, dead=()):
    """A dense layer's strongest images (unit, rank) as a pass gives them."""
    alive = np.ones((1, 1, len(images)), bool)
    alive[0, 0, list(dead)] = False
    units = ("grid_y", "grid_x", "unit")
    return xr.Dataset({"image": ((*units, "rank"), images[None, None]), "alive": (units, alive)})


def photos_of(ids, crops=1):
    rows = np.arange(len(ids) * crops)
    photo = [str(number) for number in ids for _ in range(crops)]
    image = [f"{name}#{row % crops}" for row, name in zip(rows, photo, strict=True)]
    return pd.DataFrame({"row": rows, "image": image, "photo": photo})


def planted(rng):
    """Random lists, but those of the first units prefer photographs with a word of their own."""
    ids = list(range(10**6, 10**6 + PHOTOS))
    rows = made_rows(ids, rng)
    images = np.stack([rng.permutation(PHOTOS)[:RANKS] for _ in range(UNITS)])
    for unit in range(PLANTED):
        for row in rng.permutation(PHOTOS)[: PHOTOS // 10]:
            rows[row]["tags"].append(f"Planted{unit}")
        marked = [n for n, row in enumerate(rows) if f"Planted{unit}" in row["tags"]]
        others = np.setdiff1d(np.arange(PHOTOS), marked)
        images[unit] = np.r_[rng.permutation(marked)[:20], rng.permutation(others)[: RANKS - 20]]
    return photos_of(ids), rows, images


def test_planted_words_are_found_and_the_false_discovery_rate_is_held(tmp_path):
    shares = []
    for seed in range(3):
        photos, rows, images = planted(np.random.default_rng(seed))
        metadata = write_metadata(tmp_path / str(seed), rows)
        table = words_of_units({3: lists_of(images)}, photos, metadata, Counting())
        true = table["word"] == [f"planted{unit}" for unit in table["unit"]]
        assert sorted(table[true]["unit"]) == list(range(PLANTED))
        assert (table[true]["lift"] > 3).all()
        shares.append((~true).mean())
        assert table.attrs["tested"] == UNITS * table.attrs["words"] > 5000
    assert np.mean(shares) <= 0.05


def test_unless_all_tests_counted_random_words_would_be_found(tmp_path, rng, monkeypatch):
    photos, rows, images = planted(rng)
    metadata = write_metadata(tmp_path / "set", rows)
    monkeypatch.setattr(unit_words, "discovery_rates", lambda chances, tested: chances)
    table = words_of_units({3: lists_of(images)}, photos, metadata, Counting())
    assert table["word"].str.startswith("random").sum() > 50


def test_equally_sure_words_come_in_an_order_of_their_own():
    names = ["layer", "grid_y", "grid_x", "unit", "kind", "word"]
    rows = [(1, 0, 0, unit, "tag", word) for unit in range(5) for word in "abc"]
    table = pd.DataFrame(rows, columns=names).assign(q=0.01, p=0.001, lift=2.0)
    shuffled = table.sample(frac=1, random_state=1)
    assert unit_words._surest_first(shuffled).index.tolist() == list(range(15))


def test_every_kind_of_word_can_be_found_and_is_counted_right(tmp_path, rng):
    ids = list(range(300))
    rows = [row | {"device": None, "latitude": None} for row in made_rows(ids, rng, words=3)]
    for row in rows[:20]:
        row |= {"device": "Kodak", "date_taken": row["date_taken"].replace(year=1999)}
        row |= {"latitude": -0.5, "longitude": 2.5, "tags": ["A <b>tag</b>"]}
    metadata = write_metadata(tmp_path / "set", rows)
    images = np.stack([np.arange(25), np.arange(100, 125)])
    table = words_of_units({1: lists_of(images)}, photos_of(ids), metadata, Counting())
    found = table[table["unit"] == 0].set_index("kind")["word"].to_dict()
    assert found == {
        "tag": "a <b>tag</b>",
        "device": "Kodak",
        "place": "1° to 0° S, 2° to 3° E",
        "year": "1999",
    }
    row = table.iloc[0]
    assert (row["hits"], row["drawn"], row["marked"], row["photos"]) == (20, 25, 20, 300)
    assert row["lift"] == pytest.approx((20 / 25) / (20 / 300))
    assert row["users"] == len({each["user"] for each in rows[:20]})
    only = Counting(kinds=("year",))
    table = words_of_units({1: lists_of(images)}, photos_of(ids), metadata, only)
    assert set(table["kind"]) == {"year"}


def test_crops_of_a_photograph_count_once_and_dead_units_not_at_all(tmp_path, rng):
    ids = list(range(200))
    rows = made_rows(ids, rng, words=1)
    for row in rows[:10]:
        row["tags"] = ["mine"]
    metadata = write_metadata(tmp_path / "set", rows)
    crops = np.arange(30)  # of the first three photographs
    images = np.stack([crops, np.arange(0, 300, 10)])
    lists, photos = {1: lists_of(images, dead=[])}, photos_of(ids, crops=10)
    table = words_of_units(lists, photos, metadata, Counting(kinds=("tag",)), level=0.9)
    mine = table[table["word"] == "mine"].set_index("unit")
    assert mine.loc[0, ["hits", "drawn"]].tolist() == [3, 3]
    assert mine.loc[1, ["hits", "drawn"]].tolist() == [10, 30]
    dead = words_of_units({1: lists_of(images, dead=[1])}, photos, metadata, Counting(), level=0.9)
    assert 1 not in set(dead["unit"])
    assert dead.attrs["units"] == 1


def test_words_of_one_user_or_few_photographs_are_not_tested(tmp_path, rng):
    ids = list(range(100))
    rows = made_rows(ids, rng, words=1)
    for row in rows[:20]:
        row |= {"tags": ["flood"], "user": "one"}
    for row in rows[20:24]:
        row |= {"tags": ["rare"]}
    metadata = write_metadata(tmp_path / "set", rows)
    lists = {1: lists_of(np.arange(24)[None])}
    words = set(words_of_units(lists, photos_of(ids), metadata, Counting(), 0.9)["word"])
    assert not {"flood", "rare"} & words
    loose = Counting(least_photos=1, least_users=1)
    words = set(words_of_units(lists, photos_of(ids), metadata, loose, 0.9)["word"])
    assert {"flood", "rare"} <= words


def test_photographs_named_by_hash_are_known_and_strangers_refused(tmp_path, rng):
    ids = list(range(10**6, 10**6 + 50))
    rows = made_rows(ids, rng, words=2)
    metadata = write_metadata(tmp_path / "set", rows)
    photos = photos_of(ids)
    photos["photo"] = [f"abc/def/{row['hash']}.jpg" for row in rows[:25]] + ["cat.png"] * 25
    lists = {1: lists_of(np.arange(20)[None])}
    table = words_of_units(lists, photos, metadata, Counting(), 0.9)
    assert (table.attrs["photos"], table.attrs["unknown_photos"]) == (25, 1)
    with pytest.raises(DataError, match="found none of them"):
        words_of_units(lists, photos.assign(photo="cat.png"), metadata, Counting())


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(DataError, match="expected kinds of words"):
        Counting(kinds=("title",))
    with pytest.raises(DataError, match="expected places"):
        Counting(cell=0)


def test_the_units_shown_have_the_surest_words_each_word_in_turn():
    found = [(5, "sea", 1e-9), (2, "sea", 1e-5), (5, "sky", 1e-4), (9, "cat", 0.01)]
    rows = [(1, 0, 0, unit, "tag", word, q) for unit, word, q in found]
    columns = ["layer", "grid_y", "grid_x", "unit", "kind", "word", "q"]
    table = pd.DataFrame(rows, columns=columns).assign(p=0.0)
    assert shown_units(table, 2) == [(1, 0, 0, 5), (1, 0, 0, 9)]
    assert shown_units(table, 3) == [(1, 0, 0, 5), (1, 0, 0, 9), (1, 0, 0, 2)]
