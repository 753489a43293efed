"""Batches on disk: taken again when whole, decoded again when a kill has left half of one."""

import numpy as np
from PIL import Image

from yfccdask.data.decoding import Cut
from yfccdask.data.ingesting.batches import decode_batch
from yfccdask.data.sources.contents import Access, Item

CUT = Cut(8, 3, 1, 0)


def photograph(path):
    Image.new("RGB", (20, 20), (200, 10, 10)).save(path)
    return [Item(path.name, str(path), -1, -1, "", "")]


def decoded(folder, items, cut=CUT):
    return decode_batch(str(folder), 0, items, cut, Access(), False)


def test_a_batch_without_its_images_is_decoded_again(tmp_path):
    items = photograph(tmp_path / "a.png")
    rows = decoded(tmp_path, items)
    images = np.load(tmp_path / "part-00000.npy")
    (tmp_path / "part-00000.npy").unlink()
    assert decoded(tmp_path, items) == rows
    np.testing.assert_array_equal(np.load(tmp_path / "part-00000.npy"), images)


def test_a_whole_batch_is_not_decoded_again(tmp_path):
    items = photograph(tmp_path / "a.png")
    rows = decoded(tmp_path, items)
    (tmp_path / "a.png").unlink()
    assert decoded(tmp_path, items) == rows


def test_a_batch_of_other_files_or_another_cut_is_decoded_again(tmp_path):
    items = photograph(tmp_path / "a.png")
    assert decoded(tmp_path, items)[0].reason == ""
    assert decoded(tmp_path, items, Cut(80, 3, 1, 0))[0].reason.startswith("too small")
    others = photograph(tmp_path / "b.png")
    assert decoded(tmp_path, others)[0].reason == ""
