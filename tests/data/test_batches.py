"""Batches on disk: taken again when whole, decoded again when a kill has left half of one."""

import numpy as np
from PIL import Image

from yfccdask.data.decoding import Cut, decode_batch
from yfccdask.data.partial_stores import STAGING, partial_store

CUT = Cut(8, 3, 1, 0)


def photograph(path):
    Image.new("RGB", (20, 20), (200, 10, 10)).save(path)
    return [(path.name, str(path))]


def test_a_batch_without_its_images_is_decoded_again(tmp_path):
    files = photograph(tmp_path / "a.png")
    rows = decode_batch(str(tmp_path), 0, files, CUT)
    images = np.load(tmp_path / "part-00000.npy")
    (tmp_path / "part-00000.npy").unlink()
    assert decode_batch(str(tmp_path), 0, files, CUT) == rows
    np.testing.assert_array_equal(np.load(tmp_path / "part-00000.npy"), images)


def test_a_batch_of_changed_files_is_decoded_again(tmp_path):
    files = photograph(tmp_path / "a.png")
    (_, digest, _, _) = decode_batch(str(tmp_path), 0, files, CUT)[0]
    Image.new("RGB", (30, 20), (1, 2, 3)).save(tmp_path / "a.png")
    assert decode_batch(str(tmp_path), 0, files, CUT)[0][1] != digest


def test_a_finished_store_keeps_nothing_of_its_making(tmp_path):
    with partial_store(tmp_path / "store", {"kind": "test"}) as partial:
        (partial / STAGING / "part-00000.json").write_text("{}")
        (partial / "kept").write_text("x")
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["kept"]
    assert not (tmp_path / "store.partial").exists()
