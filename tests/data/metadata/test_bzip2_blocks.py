import bz2
import itertools
import random

import pytest

from yfccdask.data.metadata import bzip2_blocks
from yfccdask.data.metadata.bzip2_blocks import bzip2_chunks
from yfccdask.errors import DataError


@pytest.fixture(scope="module")
def text():
    random_ = random.Random(0)
    return b"".join(b"%d\t%x\n" % (n, random_.getrandbits(80)) for n in range(60_000))


def packed(text, streams):
    step = -(-len(text) // streams)
    parts = (text[at : at + step] for at in range(0, len(text), step))
    return b"".join(bz2.compress(part, 1) for part in parts)


@pytest.mark.parametrize("streams", [1, 4])
def test_pieces_of_a_file_unpack_to_all_its_bytes(tmp_path, text, streams):
    path = tmp_path / "a.bz2"
    path.write_bytes(packed(text, streams))
    size = path.stat().st_size
    cuts = [0, 1, size // 3, size // 3 + 1, size // 2, size - 3, size]
    found = b""
    for start, stop in itertools.pairwise(cuts):
        found += b"".join(chunk for chunk, own in bzip2_chunks(str(path), start, stop) if own)
    assert found == text


@pytest.mark.parametrize("start", [0, 100_000])
def test_a_piece_goes_on_into_the_next(tmp_path, text, start):
    path = tmp_path / "a.bz2"
    path.write_bytes(packed(text, 2))
    whole = b"".join(chunk for chunk, _ in bzip2_chunks(str(path), start, start + 10))
    assert text.endswith(whole)
    assert start > 0 or whole == text


def test_small_reads_find_the_same_blocks(tmp_path, text, monkeypatch):
    monkeypatch.setattr(bzip2_blocks, "CHUNK", 1000)
    path = tmp_path / "a.bz2"
    path.write_bytes(packed(text, 3))
    assert b"".join(c for c, _ in bzip2_chunks(str(path), 0, path.stat().st_size)) == text


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_an_error(tmp_path, text, damage):
    data = bytearray(packed(text, 1))
    if damage == "cut":
        del data[-40:]
    else:
        data[len(data) // 2] ^= 16
    path = tmp_path / "a.bz2"
    path.write_bytes(data)
    with pytest.raises(DataError, match="whole bzip2 block"):
        list(bzip2_chunks(str(path), 0, len(data)))
