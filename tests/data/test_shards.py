"""Tiles read without Zarr are those that Zarr reads, and damage is named."""

import json
import os
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from yfccdask.data import block, open_store, write_store
from yfccdask.data.block_reading import read_images
from yfccdask.data.shards import read_index, shard_path
from yfccdask.errors import StoreError

SIZE, BLOCK = 68, 400  # tiles of 34, inner chunks of 100 images


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    pixels = np.random.default_rng(5).integers(0, 256, (550, SIZE, SIZE, 1), np.uint8)
    return write_store(pixels, tmp_path_factory.mktemp("shards") / "store", block_size=BLOCK)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pixels = np.random.default_rng(6).integers(0, 60000, (9, 32, 32, 2), np.uint16)
    return write_store(pixels, tmp_path_factory.mktemp("shards") / "small", block_size=6)


@pytest.fixture
def small(made, tmp_path):
    return open_store(shutil.copytree(made.path, tmp_path / "small"))


def metadata(store):
    return Path(store.path, "images.zarr", "images", "zarr.json")


def change(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        file.write(content)


@settings(max_examples=30)
@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.data())
def test_any_rows_of_any_tile_are_those_that_zarr_reads(store, b, i, j, data):
    start = data.draw(st.integers(0, store.block_images(b) - 1))
    stop = data.draw(st.integers(start + 1, store.block_images(b)))
    found = read_images(store.part(b), slice(start, stop), 34 * i, 34 * j)
    array = zarr.open_array(metadata(store).parent, mode="r")
    rows = slice(b * BLOCK + start, b * BLOCK + stop)
    np.testing.assert_array_equal(found, array[rows, 34 * i : 34 * i + 34, 34 * j : 34 * j + 34])
    assert found.dtype == np.uint8


def test_sixteen_bits_and_several_channels(small):
    array = zarr.open_array(metadata(small).parent, mode="r")
    np.testing.assert_array_equal(block(small, 1).compute(), array[6:])
    assert block(small, 1).compute().dtype == np.uint16


def test_damage_is_named_by_its_inner_chunk(store):
    content = Path(shard_path(store.path, 0)).read_bytes()
    with open(shard_path(store.path, 0), "rb") as file:
        offset, length = read_index(file.fileno(), store.layout)[2, 0, 1].tolist()
    assert length == 100 * 34 * 34 + 4
    try:
        change(shard_path(store.path, 0), offset + 7, bytes([content[offset + 7] ^ 1]))
        with pytest.raises(StoreError, match=r"inner chunk \(2, 0, 1, 0\): expected CRC32C"):
            read_images(store.part(0), slice(250, 260), 0, 34)
        read_images(store.part(0), slice(0, 200), 0, 34)
        read_images(store.part(0), slice(0, 400), 0, 0)
    finally:
        Path(shard_path(store.path, 0)).write_bytes(content)


def rewritten_index(store, entry):
    """Change an inner chunk's entry in a shard's index, whose CRC32C is then right."""
    path = shard_path(store.path, 0)
    with open(path, "rb") as file:
        index = read_index(file.fileno(), store.layout)
    index[0, 0, 0] = entry
    content = index.tobytes()
    content += google_crc32c.value(content).to_bytes(4, "little")
    change(path, -len(content), content)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((2**64 - 1, 2**64 - 1), "expected 24580 bytes in the index, found none"),
        ((0, 100), "expected 24580 bytes in the index, found 100"),
        ((10**6, 24580), "expected 24576 bytes at 1000000, found 0"),
    ],
)
def test_an_inner_chunk_that_is_not_where_it_should_be_is_an_error(small, entry, message):
    rewritten_index(small, entry)
    with pytest.raises(StoreError, match=f"found damage .*{message}"):
        block(small, 0).compute()


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["codecs"][0]["configuration"]["codecs"].append({"name": "zstd"}),
        lambda m: m["codecs"][0]["configuration"].update(chunk_shape=[1, 32, 32, 2]),
        lambda m: m["codecs"][0]["configuration"].update(index_location="start"),
        lambda m: m["codecs"][0]["configuration"]["codecs"][0].update(
            configuration={"endian": "big"}
        ),
        lambda m: m.update(data_type="int16"),
    ],
)
def test_pixels_that_something_else_encoded_are_refused(small, edit):
    found = json.loads(metadata(small).read_text())
    edit(found)
    metadata(small).write_text(json.dumps(found))
    with pytest.raises(StoreError, match="written by something else"):
        block(open_store(small.path), 0).compute()


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"codecs": [{}]}'])
def test_damaged_metadata_is_an_error(small, content):
    metadata(small).write_text(content)
    with pytest.raises(StoreError, match="expected the pixels' metadata"):
        block(small, 0).compute()


def test_a_shard_that_cannot_be_read_is_an_error(small):
    path = Path(shard_path(small.path, 0))
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=r"expected to read .*Is a directory"):
        block(small, 0).compute()
