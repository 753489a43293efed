"""The block store: what is written is what is read, and damage is never silent."""

import json
import pickle
import shutil
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from distributed import Client, get_worker

from tests.conftest import threads_cluster
from yfccdask.data import block, block_moments, open_store, write_store
from yfccdask.data.blocks import Layout
from yfccdask.errors import StoreError


def pictures(count=23, size=32, channels=3, dtype=np.uint8):
    high = np.iinfo(dtype).max + 1
    rng = np.random.default_rng(count)
    return rng.integers(0, high, (count, size, size, channels), dtype)


@pytest.fixture
def store(tmp_path):
    return write_store(pictures(), tmp_path / "store", block_size=10)


def shard(store, b):
    return store.path + f"/images.zarr/images/c/{b}/0/0/0"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_give_back_the_images(tmp_path, dtype, channels):
    images = pictures(23, 32, channels, dtype)
    store = write_store(images, tmp_path / "s", block_size=10)
    assert (store.images, store.blocks, store.counts) == (23, 3, (10, 10, 3))
    assert (store.size, store.channels, store.dtype) == (32, channels, dtype)
    found = np.concatenate([block(store, b).compute(scheduler="sync") for b in range(3)])
    np.testing.assert_array_equal(found, images)
    assert found.dtype == dtype


def test_a_dask_array_gives_the_same_store_as_a_numpy_array(tmp_path, store):
    lazy = da.from_array(pictures(), chunks=(7, 16, 16, 3))
    assert write_store(lazy, tmp_path / "lazy", block_size=10).digest == store.digest


@pytest.mark.parametrize(
    ("size", "tile"), [(300, 60), (64, 64), (32, 32), (96, 48), (8, 8), (67, 67), (128, 64)]
)
def test_tiles_are_the_largest_divisor_within_bounds(size, tile):
    assert Layout(960, size, 3, "uint8").tile == tile


def test_inner_chunks_hold_at_most_192_images():
    assert Layout(960, 300, 3, "uint8").chunk == (192, 60, 60, 3)
    assert Layout(500, 300, 3, "uint8").chunk == (125, 60, 60, 3)
    assert Layout(10, 300, 3, "uint8").chunk == (10, 60, 60, 3)


def test_one_shard_file_per_block_of_the_expected_length(tmp_path):
    images = np.zeros((9, 96, 96, 1), np.uint8)  # zeros, which zarr would like to leave out
    store = write_store(images, tmp_path / "s", block_size=6)
    files = [path for path in (tmp_path / "s/images.zarr/images/c").rglob("*") if path.is_file()]
    assert {str(path) for path in files} == {shard(store, 0), shard(store, 1)}
    for b, images in enumerate((6, 3)):
        assert Path(shard(store, b)).stat().st_size == store.layout.shard_bytes(images)
        assert block(store, b).compute().shape == (images, 96, 96, 1)
        assert (block_moments(store, b).compute() == 0).all()
    assert store.credits([0, 8]) == ["", ""]


def test_a_block_has_one_task_and_chunk_per_stored_tile(tmp_path):
    store = write_store(pictures(8, 96), tmp_path / "s", block_size=5)
    lazy = block(store, 1)
    assert lazy.chunks == ((3,), (48, 48), (48, 48), (3,))
    assert len(lazy.__dask_graph__()) == 4
    assert lazy.dtype == np.uint8
    np.testing.assert_array_equal(lazy[:, 40:60].compute(), pictures(8, 96)[5:, 40:60])


def test_keys_depend_on_the_content_and_the_block_alone(tmp_path, store):
    copy = shutil.copytree(store.path, tmp_path / "copy")
    other = write_store(pictures(22), tmp_path / "other", block_size=10)
    assert block(open_store(copy), 1).name == block(store, 1).name
    names = {block(store, 0).name, block(store, 1).name, block(other, 1).name}
    assert len(names | {block_moments(store, 0).name}) == 4


def test_moments_are_those_of_numpy(store):
    found = np.concatenate([block_moments(store, b).compute() for b in range(3)])
    plain = pictures().reshape(23, -1).astype(np.float64)
    oracle = np.stack([plain.mean(axis=1), plain.std(axis=1)], axis=1).astype(np.float32)
    np.testing.assert_allclose(found, oracle, rtol=1e-6)
    assert found.dtype == np.float32
    assert len(block_moments(store, 0).__dask_graph__()) == 1


def test_read_takes_rows_in_any_order_with_repeats(tmp_path):
    names = [f"photo {i}.jpg" for i in range(23)]
    store = write_store(
        pictures(), tmp_path / "s", block_size=10, ids=names, credits=names, licences=["CC0"] * 23
    )
    rows = [22, 0, 11, 0]
    np.testing.assert_array_equal(store.read(rows), pictures()[rows])
    assert store.ids(rows) == store.credits(rows) == [names[row] for row in rows]
    assert store.licences([3]) == ["CC0"]
    assert store.read([]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("row", [-1, 23, 29, 1000])
def test_rows_beyond_the_real_images_are_refused(store, row):
    with pytest.raises(StoreError, match=f"found {row}"):
        store.read([0, row])


def test_blocks_beyond_the_last_are_refused(store):
    with pytest.raises(StoreError, match=r"expected a block in 0..2"):
        block(store, 3)


def test_plain_xarray_opens_the_group_without_a_warning(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(store.path + "/images.zarr")
        np.testing.assert_array_equal(found["images"].values, pictures())
        assert set(found.coords) == {"image_id", "credit", "licence"}
        assert found["image_id"].values[2] == "00000002"
    plain = xr.open_zarr(store.path + "/images.zarr", consolidated=False)
    assert plain.attrs["format"] == "yfccdask-blocks"
    assert dict(found.sizes) == {"image": 23, "y": 32, "x": 32, "channel": 3, "block": 3}


def test_dataset_is_lazy_and_chunked_as_the_blocks(store):
    data = store.dataset()
    assert data["images"].chunks == ((10, 10, 3), (32,), (32,), (3,))
    assert data["block_images"].values.tolist() == [10, 10, 3]


def test_status_has_a_row_per_image(store):
    status = store.status()
    assert status["index"].tolist() == list(range(23))
    assert status["block"].tolist() == [row // 10 for row in range(23)]
    assert set(status["outcome"]) == {"written"}


def test_a_store_is_picklable_and_small(store):
    data = pickle.dumps(store)
    assert pickle.loads(data) == store
    assert len(data) < 1000


def test_the_repr_escapes_what_users_wrote(tmp_path):
    store = write_store(pictures(2), tmp_path / "<b>x", block_size=2)
    assert "<b>x" not in store._repr_html_()
    assert "&lt;b&gt;x" in store._repr_html_()
    assert "2, each 32 x 32 x 3 uint8" in repr(store)


@pytest.mark.parametrize("place", [0, 5000, -1, -30])
def test_a_flipped_bit_in_a_shard_raises(store, place):
    with open(shard(store, 1), "r+b") as file:
        content = bytearray(file.read())
        content[place] ^= 4
        file.seek(0)
        file.write(content)
    block(store, 0).compute()
    with pytest.raises(StoreError, match="found damage"):
        block(store, 1).compute()
    with pytest.raises(StoreError, match="found damage"):
        store.read([12])


def test_a_deleted_or_shortened_shard_raises(store, tmp_path):
    with open(shard(store, 1), "r+b") as file:
        file.truncate(5000)
    with pytest.raises(StoreError, match="found 5000: the store has lost data"):
        block(store, 1).compute()
    (tmp_path / "store/images.zarr/images/c/2/0/0/0").unlink()
    with pytest.raises(StoreError, match="found 0: the store has lost data"):
        block(store, 2).compute()
    with pytest.raises(StoreError, match="lost data"):
        store.read([0, 22])


@pytest.mark.parametrize("name", ["mean", "image_id"])
def test_a_deleted_coordinate_raises(store, tmp_path, name):
    (tmp_path / f"store/images.zarr/{name}/c/0").unlink()
    with pytest.raises(StoreError, match="lost data"):
        _ = block_moments(store, 0).compute() if name == "mean" else store.ids([0])


def test_a_store_that_took_the_place_of_another_is_noticed(store):
    block(store, 0).compute()
    shutil.rmtree(store.path)
    new = write_store(255 - pictures(), store.path, block_size=10)
    with pytest.raises(StoreError, match="replaced, open it again"):
        block(store, 0).compute()
    np.testing.assert_array_equal(block(new, 0).compute(), 255 - pictures()[:10])


def edit(store, **changes):
    path = Path(store.path, "images.zarr", "zarr.json")
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content["attributes"].pop(key)
        content["attributes"].update({key: value} if value is not None else {})
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "found another Zarr group"),
        ({"format_version": 1}, "expected format_version 2 in .*, found 1"),
        ({"digest": None}, "found parts of one"),
        ({"digest": "0" * 64}, "metadata is damaged"),
    ],
)
def test_other_stores_are_refused(store, changes, message):
    edit(store, **changes)
    with pytest.raises(StoreError, match=message):
        open_store(store.path)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="found nothing"):
        open_store(tmp_path / "no")
    with pytest.raises(StoreError, match="found something else"):
        open_store(tmp_path)
    zarr.create_group(tmp_path / "z" / "images.zarr")
    with pytest.raises(StoreError, match="another Zarr group"):
        open_store(tmp_path / "z")
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(StoreError, match=r"unfinished one beside it .*run the same ingest again"):
        open_store(tmp_path / "half")


def test_write_store_leaves_what_is_there_alone(store):
    with pytest.raises(StoreError, match="choose another path"):
        write_store(pictures(), store.path)
    assert open_store(store.path) == store


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 8, 9, 3), np.uint8), {}, "expected square images"),
        (np.zeros((0, 8, 8, 3), np.uint8), {}, "expected square images"),
        (np.zeros((2, 8, 8, 3), np.float32), {}, "expected uint8 or uint16"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"ids": ["a"]}, "expected one image_id"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"block_size": 0}, "block_size"),
    ],
)
def test_write_store_refuses_what_does_not_fit(tmp_path, images, options, message):
    with pytest.raises(StoreError, match=message):
        write_store(images, tmp_path / "s", **options)
    assert not list(tmp_path.iterdir())


def test_a_dask_array_is_written_by_the_workers_and_never_comes_to_the_client(tmp_path, store):
    lazy = da.from_array(pictures(), chunks=(7, 16, 16, 3)).map_blocks(noted, dtype=np.uint8)
    with threads_cluster(2) as cluster, Client(cluster):
        made = write_store(lazy, tmp_path / "lazy", block_size=10)
        assert made.digest == store.digest
        with pytest.raises(ZeroDivisionError):
            write_store(lazy.map_blocks(failing, dtype=np.uint8), tmp_path / "no", block_size=10)
    assert not (tmp_path / "no").exists()


def noted(pixels):
    if pixels.size:
        get_worker()  # raises outside a worker
    return pixels


def failing(pixels):
    return pixels // 0 if not pixels.size else 1 // 0


def test_any_number_of_channels_and_sixteen_bits_go_through_dask(tmp_path):
    images = pictures(11, 20, 7, np.uint16)
    store = write_store(da.from_array(images, chunks=(4, 20, 20, 3)), tmp_path / "s", block_size=4)
    np.testing.assert_array_equal(store.read(store.rows()), images)
