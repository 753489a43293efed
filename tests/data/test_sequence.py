"""Order: of ids and seed alone, however the listing comes and however large it is."""

import numpy as np
import pandas as pd
import pytest

from yfccdask.data.ingesting import sequence
from yfccdask.data.ingesting.sequence import Marked, sequence_keys, write_sequence
from yfccdask.data.sources.manifest_rows import whole_files
from yfccdask.errors import DataError


def table(names):
    frame = pd.DataFrame({"id": names, "source": [f"s3://b/{n}" for n in names]}, dtype=object)
    return whole_files(frame.assign(credit="", licence=""))


def tables(count, pieces, shuffle=0):
    names = np.random.default_rng(shuffle).permutation([f"{n}.jpg" for n in range(count)])
    return [table(part.tolist()) for part in np.array_split(names, pieces)]


def ids(made):
    return [name for wave in range(made.waves) for name in made.wave(wave)["id"]]


def test_the_order_is_that_of_the_keys(tmp_path):
    made = write_sequence(tables(50, 3), tmp_path / "a", 7, 20)
    names = sorted(f"{n}.jpg" for n in range(50))
    keys = sequence_keys(7, names)
    assert ids(made) == [names[place] for place in np.argsort(keys)]
    assert (made.waves, made.files, made.listed) == (3, 50, 50)
    assert [len(made.wave(n)) for n in range(3)] == [20, 20, 10]


@pytest.mark.parametrize("rows", [10, 64, 1000])
def test_what_does_not_fit_into_memory_is_sorted_all_the_same(tmp_path, monkeypatch, rows):
    whole = write_sequence(tables(300, 1), tmp_path / "whole", 1, 64)
    monkeypatch.setattr(sequence, "ROWS_IN_MEMORY", rows)
    made = write_sequence(tables(300, 7, shuffle=5), tmp_path / "pieces", 1, 64)
    assert ids(made) == ids(whole)
    assert made.digest == whole.digest
    assert sorted(p.name for p in made.folder.iterdir()) == [
        f"wave-{n:06d}.parquet" for n in range(5)
    ]


def test_the_digest_tells_other_rows(tmp_path):
    first = write_sequence(tables(20, 1), tmp_path / "a", 1, 64).digest
    changed = table([f"{n}.jpg" for n in range(20)])
    changed.loc[3, "stamp"] = "1-2"
    assert write_sequence([changed], tmp_path / "b", 1, 64).digest != first
    assert write_sequence(tables(21, 1), tmp_path / "c", 1, 64).digest != first


@pytest.mark.parametrize("rows", [10, 1000])
def test_marked_ids_are_left_out_or_the_only_ones(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(sequence, "ROWS_IN_MEMORY", rows)
    marks = pd.Series(["3.jpg", "17.jpg", "gone.jpg"])
    left = write_sequence(tables(40, 3), tmp_path / "a", 1, 64, Marked([marks]))
    kept = write_sequence(tables(40, 3), tmp_path / "b", 1, 64, Marked([marks], keep=True))
    assert sorted(ids(kept)) == ["17.jpg", "3.jpg"]
    assert sorted(ids(left) + ids(kept)) == sorted(f"{n}.jpg" for n in range(40))
    assert left.digest == kept.digest
    none = write_sequence(tables(4, 1), tmp_path / "c", 1, 64, Marked([], keep=True))
    assert (none.waves, none.files) == (0, 0)


def test_an_id_that_comes_twice_is_refused_in_any_table(tmp_path, monkeypatch):
    monkeypatch.setattr(sequence, "ROWS_IN_MEMORY", 3)
    with pytest.raises(DataError, match=r"found '2.jpg' again"):
        write_sequence([*tables(9, 2), table(["2.jpg"])], tmp_path / "a", 0, 4)


def test_paths_that_are_not_utf8_come_back_as_they_are(tmp_path):
    row = table(["a"]).assign(path=pd.Series(["/caf\udce9.jpg"], dtype=object))
    assert write_sequence([row], tmp_path / "a", 0, 4).wave(0)["path"][0] == "/caf\udce9.jpg"
