"""Weights of a commit's layer are read position by position, whatever they are cut into."""

import pickle
import tracemalloc

import numpy as np
import pytest

from yfccdask.data import stored_weights
from yfccdask.data.commit_writing import create_layer, write_chunk
from yfccdask.data.commits import chunk_slices
from yfccdask.data.stored_weights import StoredWeights
from yfccdask.errors import DamagedCommit
from yfccdask.geometry import Field, LayerGeometry, Layout
from yfccdask.numerics.states import State

LOCAL = LayerGeometry(Field(20, 20, 3), (8, 8), 2, (7, 7), (2, 2), 16)
DENSE = LayerGeometry(Field(10, 10, 8), (10, 10), 1, (1, 1), (1, 1), 24, leaf=100)


@pytest.fixture
def group(tmp_path):
    """A commit's layer in the making, written in chunks; returns its folder and its weights."""

    def make(layer, rows, columns, leaves=(1,)):
        path, layout = tmp_path / "layer-1.zarr", Layout(layer, rows, columns, leaves)
        rng = np.random.default_rng(2)
        weights = rng.normal(size=(*layer.grid, layer.units, layer.inputs)).astype(np.float32)
        offset, alpha = weights[:, :, 0], weights[:, :, 0, 0]
        create_layer(path, layout, "float32")
        for index in layout.indices():
            where = chunk_slices(layout, index)
            place, inputs = (where["grid_y"], where["grid_x"]), where["input"]
            parts = [weights[place][..., inputs], offset[place][..., inputs], alpha[place]]
            names = ("weights", "offset", "alpha")
            values = {
                full: part
                for name, part in zip(names, parts, strict=True)
                for full in (name, f"{name}_momentum")
            }
            write_chunk(path, layout, index, State(**values))
        return path, weights

    return make


def whole(stored, index):
    return np.concatenate([part for _, part in stored.parts(index)], axis=1)


def test_a_position_and_a_unit_are_what_was_written(group):
    path, weights = group(LOCAL, (3, 3, 1), (4, 3))
    stored = StoredWeights(path)
    for index in np.ndindex(LOCAL.grid):
        np.testing.assert_array_equal(whole(stored, index), weights[index])
    np.testing.assert_array_equal(stored.row((6, 2, 9)), weights[6, 2, 9])


def test_a_dense_layer_comes_in_parts_that_its_chunks_do_not_decide(group, monkeypatch):
    path, weights = group(DENSE, (1,), (1,), (3, 3, 2))
    monkeypatch.setattr(stored_weights, "PART_BYTES", 24 * 4 * 128)
    stored = StoredWeights(path)
    assert [where.stop - where.start for where, _ in stored.parts((0, 0))] == [128] * 6 + [32]
    np.testing.assert_array_equal(whole(stored, (0, 0)), weights[0, 0])
    np.testing.assert_array_equal(stored.row((0, 0, 23)), weights[0, 0, 23])


def test_no_more_than_was_asked_for_stays_in_memory(group):
    path, weights = group(LOCAL, (7,), (7,))
    one = weights[0, 0].nbytes
    stored = StoredWeights(path, keep=2 * one)
    tracemalloc.start()
    for index in np.ndindex(LOCAL.grid):
        whole(stored, index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert weights.nbytes > 40 * one
    assert 2 * one <= peak < 6 * one + (1 << 22), "the checksum is made of pieces of 4 MB"
    again = pickle.loads(pickle.dumps(stored))
    assert len(pickle.dumps(stored)) < 1000
    np.testing.assert_array_equal(whole(again, (1, 1)), weights[1, 1])


def test_a_damaged_chunk_is_named(group):
    path, _ = group(LOCAL, (7,), (7,))
    file = path / "weights" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedCommit, match="another checksum"):
        StoredWeights(path).row((0, 0, 0))
    file.unlink()
    with pytest.raises(DamagedCommit, match="No such file"):
        StoredWeights(path).row((0, 0, 0))
