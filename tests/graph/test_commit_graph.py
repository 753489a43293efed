"""Commits: written by chunks in one layout, read in any other, with the same bits."""

import dask
import numpy as np
import pytest
from dask.sizeof import sizeof
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yfccdask.data.commit_writing import begin_commit, create_layer, finish_commit
from yfccdask.data.commits import layer_path, open_commit
from yfccdask.errors import RunError
from yfccdask.geometry import Field, dense_layer, layer_layout, local_layer
from yfccdask.graph import initial_chunks
from yfccdask.graph.commit_graph import loaded_chunks, written_chunks
from yfccdask.graph.state_chunks import chunks_at_rest

PARTS = ("weights", "offset", "alpha", "weights_momentum", "offset_momentum", "alpha_momentum")
LOCAL = local_layer(Field(14, 17, 2), window=5, stride=3, units=8, tile=(2, 2))
DENSE = dense_layer(Field(5, 6, 3), units=7, leaf=16)


def parts_of(states):
    return dask.compute(*(states.part(name) for name in PARTS), scheduler="synchronous")


def committed(folder, layout, dtype=np.float32):
    start = initial_chunks("start", layout, seed=3, layer=0, alpha=0.7, dtype=dtype)
    partial = begin_commit(folder / "checkpoints", 1)
    create_layer(layer_path(partial, 0), layout, dtype)
    written = written_chunks("written", start, layer_path(partial, 0)).compute(
        scheduler="synchronous"
    )
    digests = {}
    for part in written:
        digests |= part
    return start, finish_commit(partial, 1, {"layers": 1, "scales": [1.0]}, digests)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    written=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    read=st.tuples(st.integers(1, 4), st.integers(1, 5)),
)
def test_a_local_layer_is_read_in_any_layout(tmp_path_factory, written, read):
    folder = tmp_path_factory.mktemp("run")
    start, commit = committed(folder, layer_layout(LOCAL, chunk=written))
    layout = layer_layout(LOCAL, chunk=read)
    loaded = loaded_chunks("loaded", layer_path(commit.path, 0), layout, np.float32)
    for mine, theirs in zip(parts_of(loaded), parts_of(start), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("written", [1, 2, 6])
@pytest.mark.parametrize("read", [1, 3, 6])
def test_a_dense_layer_is_read_in_any_layout(tmp_path, written, read):
    start, commit = committed(tmp_path, layer_layout(DENSE, chunk_leaves=written))
    layout = layer_layout(DENSE, chunk_leaves=read)
    loaded = loaded_chunks("loaded", layer_path(commit.path, 0), layout, np.float32)
    for mine, theirs in zip(parts_of(loaded), parts_of(start), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_layer_at_rest_has_its_bits_in_half_the_memory_from_a_commit_as_well(tmp_path):
    layout = layer_layout(LOCAL, chunk=(2, 3))
    start, commit = committed(tmp_path, layout)
    path = layer_path(commit.path, 0)
    loaded = loaded_chunks("loaded", path, layout, np.float32, at_rest=True)
    for rested in (chunks_at_rest("rested", start), loaded):
        found = dict(zip(PARTS, parts_of(rested), strict=True))
        assert not found["weights_momentum"].any()
        for name, values in zip(PARTS, parts_of(start), strict=True):
            np.testing.assert_array_equal(found[name], values)
        assert rested.version != start.version
        sizes = [
            sum(map(sizeof, chunk.state))
            for states in (rested, start)
            for chunk in dask.compute(states, scheduler="synchronous")[0][:1]
        ]
        assert sizes[0] < 0.6 * sizes[1]


def test_the_manifest_digests_every_file(tmp_path):
    _, commit = committed(tmp_path, layer_layout(LOCAL, chunk=(2, 2)))
    files = {p.relative_to(commit.path).as_posix() for p in commit.path.rglob("*") if p.is_file()}
    assert open_commit(commit.path).number == 1
    text = (commit.path / "manifest.json").read_text()
    assert all(name in text for name in files - {"manifest.json", "manifest.sha256"})
    with pytest.raises(RunError, match="layer from 1 to 1"):
        commit.layer(2)


def test_a_commit_in_the_making_is_not_seen_and_is_cleared(tmp_path):
    partial = begin_commit(tmp_path / "checkpoints", 1)
    (partial / "half").write_text("x")
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
    assert not list(begin_commit(tmp_path / "checkpoints", 1).iterdir())
