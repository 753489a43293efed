"""Activations on disk are the network's, whole or absent, and a killed call goes on."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
from distributed import Client
from PIL import Image

from tests.conftest import threads_cluster
from yfccdask.analysis import activation_files, encoding
from yfccdask.analysis.activation_files import (
    DIMENSIONS,
    Labels,
    LayerShape,
    write_part,
    writer_of,
)
from yfccdask.analysis.encoding import encode
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.results import read_result
from yfccdask.data import open_store
from yfccdask.data.ingestion import ingest
from yfccdask.errors import PlanRefused, RunError, StoreError


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def expected(tiny_run, tiny_store):
    return {layer: activations(tiny_run, tiny_store, layer).compute() for layer in (1, 3)}


def test_zarr_holds_labelled_activations(own_run, tiny_store, tmp_path, client, expected):
    sizes, paces = [], []
    how = {"on_size": sizes.append, "on_block": lambda *pace: paces.append(pace)}
    done = encode(own_run, tiny_store, tmp_path / "out", layers=[1, 3], client=client, **how)
    assert (done.images, done.bytes) == (50, 50 * (128 + 6) * 4)
    assert (sizes[0].bytes, sizes[0].images) == (done.bytes, 50)
    assert [pace[:2] for pace in paces] == [(n, 50) for n in (12, 24, 36, 48, 50)]
    for layer in (1, 3):
        found = xr.open_zarr(done.path / f"layer-{layer}.zarr", consolidated=False)
        np.testing.assert_array_equal(found["activation"].values, expected[layer].values)
        assert found["activation"].dims == expected[layer].dims
        assert found["activation"].attrs["commit"] == 3
        assert found["image"].values.tolist() == list(range(50))
        assert found["image_id"].values.tolist() == tiny_store.ids(range(50))
    result = read_result(own_run, "encode", own_run.commit(), tiny_store)
    assert result.parameters["layers"] == [1, 3]
    again = encode(own_run, tiny_store, done.path, layers=[3, 1], client=client)
    assert (again.images, again.images_per_second) == (50, None)
    with pytest.raises(RunError, match="another request"):
        encode(own_run, tiny_store, done.path, layers=[1], client=client)


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_other_formats_hold_the_same(own_run, tiny_store, tmp_path, client, expected, kind):
    done = encode(own_run, tiny_store, tmp_path / "out", layers=[1], format=kind, client=client)
    values = expected[1].values
    if kind == "npy":
        np.testing.assert_array_equal(np.load(done.path / "layer-1.npy"), values)
        table = pq.read_table(done.path / "layer-1.images.parquet")
    else:
        table = pq.read_table(done.path / "layer-1.parquet")
        flat = np.stack(table["activation"].to_numpy())
        np.testing.assert_array_equal(flat, values.reshape(50, -1))
    assert table["image_id"].to_pylist() == tiny_store.ids(range(50))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["zarr", pytest.param("parquet", marks=SLOW), pytest.param("npy", marks=SLOW)]
)
def test_a_killed_call_goes_on_with_the_block_it_was_at(
    own_run, tiny_store, tmp_path, client, expected, kind, monkeypatch
):
    write, blocks = encoding.write_text, []

    def killed(path, text):
        if path.name == "done.json":
            blocks.append(text)
            if len(blocks) == 3:
                raise KeyboardInterrupt
        write(path, text)

    how = {"layers": [3], "format": kind, "client": client}
    monkeypatch.setattr(activation_files, "PART_BYTES", 100)  # four images
    monkeypatch.setattr(encoding, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        encode(own_run, tiny_store, tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()
    done = encode(own_run, tiny_store, tmp_path / "out", **how)
    assert blocks == ["1", "2", "3", "3", "4", "5"]
    assert not (tmp_path / "out.partial").exists()
    if kind == "zarr":
        found = xr.open_zarr(done.path / "layer-3.zarr", consolidated=False)["activation"].values
    elif kind == "npy":
        found = np.load(done.path / "layer-3.npy")
    else:
        rows = pq.read_table(done.path / "layer-3.parquet")["activation"].to_numpy()
        found = np.stack(rows).reshape(50, 1, 1, 6)
    np.testing.assert_array_equal(found, expected[3].values)


def files_of(folder):
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(n): (folder / n).read_bytes() for n in names if n.parts[0].startswith("layer")}


@pytest.mark.parametrize("kind", ["zarr", "npy"])
def test_files_do_not_depend_on_how_many_workers_write(
    own_run, tiny_store, tmp_path, client, expected, kind, monkeypatch
):
    monkeypatch.setattr(activation_files, "PART_BYTES", 12 * 128 * 4 // 8)
    how = {"layers": [1], "format": kind}
    alone = encode(own_run, tiny_store, tmp_path / "one", client=client, **how)
    with threads_cluster(3) as cluster, Client(cluster, set_as_default=False) as three:
        together = encode(own_run, tiny_store, tmp_path / "three", client=three, **how)
    assert files_of(alone.path) == files_of(together.path)
    if kind == "zarr":
        found = xr.open_zarr(alone.path / "layer-1.zarr", consolidated=False)["activation"]
        np.testing.assert_array_equal(found.values, expected[1].values)
        assert found.encoding["chunks"] == (12, 1, 2, 8)


def test_chunks_that_two_blocks_share_are_written_in_turn(own_run, tmp_path, client, rng):
    for number in range(7):
        folder = tmp_path / ("first" if number < 5 else "then")
        folder.mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    shape = {"size": 20, "channels": 3, "block_size": 4, "client": client}
    ingest(tmp_path / "first", tmp_path / "store", **shape)
    ingest(tmp_path / "then", tmp_path / "store", append=True, **shape)
    store = open_store(tmp_path / "store")
    assert store.counts == (4, 1, 2)
    done = encode(own_run, store, tmp_path / "out", layers=[1], client=client)
    found = xr.open_zarr(done.path / "layer-1.zarr", consolidated=False)
    assert found["image"].values.tolist() == [0, 1, 2, 3, 4, 8, 9]
    expected = activations(own_run, store, 1).compute()
    np.testing.assert_array_equal(found["activation"].values, expected.values)


def test_workers_that_do_not_see_the_folder_are_named(
    own_run, tiny_store, tmp_path, client, monkeypatch
):
    monkeypatch.setattr(encoding, "unseen", lambda paths: paths)
    with pytest.raises(RunError, match="1 of 1 don't"):
        encode(own_run, tiny_store, tmp_path / "out", client=client)
    shape = LayerShape(1, DIMENSIONS, (4, 1, 1, 2), 4, "float32", {})
    part = (np.zeros((4, 1, 1, 2)), Labels(0, np.arange(4), list("abcd")), (slice(0, 1),) * 3)
    for kind in ("zarr", "parquet", "npy"):
        writer = writer_of(tmp_path / "elsewhere", shape, kind)
        with pytest.raises(RunError, match="found nothing on one"):
            write_part(part[0], writer, *part[1:])


def test_a_folder_of_images_is_encoded_at_the_run_s_own_size(own_run, tmp_path, client, rng):
    for name in ("b", "a"):
        pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    done = encode(own_run, tmp_path / "photos", tmp_path / "out", pooling="rms", client=client)
    found = xr.open_zarr(done.path / "layer-3.zarr", consolidated=False)
    assert found["activation"].dims == ("image", "grid_y", "grid_x")
    assert sorted(found["image_id"].values.tolist()) == ["a.png", "b.png"]
    assert {path.name for path in tmp_path.iterdir()} >= {"out", "photos"}
    assert not (tmp_path / "out.partial").exists()


def test_what_would_fill_the_disk_is_refused_before_anything_is_written(
    own_run, tiny_store, tmp_path, client, monkeypatch
):
    monkeypatch.setattr(encoding, "MOST_OF_DISK", 1e-12)
    with pytest.raises(PlanRefused, match="expected at most 0 bytes of activations"):
        encode(own_run, tiny_store, tmp_path / "out", client=client)
    assert not list((tmp_path / "out.partial").glob("layer-*"))


def test_what_is_not_there_is_named(own_run, tiny_store, tmp_path):
    with pytest.raises(StoreError, match="block store or a folder of images"):
        encode(own_run, tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError, match="expected nothing at"):
        encode(own_run, tiny_store, tmp_path / "taken")
    with pytest.raises(RunError, match="expected layers from 1 to 3"):
        encode(own_run, tiny_store, tmp_path / "out", layers=[4])
    assert not list(tmp_path.glob("out*"))
