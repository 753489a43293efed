"""A commit of every kind of array, harmed and put right again."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr

from yfccdask.data.commit_checks import (
    MANIFEST,
    SEAL,
    verify_commit,
)
from yfccdask.data.commit_reading import read_array
from yfccdask.data.commit_writing import begin_commit, create_layer, finish_commit
from yfccdask.data.commits import array_shapes, layer_path, open_commit
from yfccdask.errors import DamagedCommit
from yfccdask.geometry import Field, dense_layer, layer_layout, local_layer
from yfccdask.graph import initial_chunks
from yfccdask.graph.commit_graph import written_chunks

LOCAL = layer_layout(
    local_layer(Field(14, 17, 2), window=5, stride=3, units=8, tile=(2, 2)), chunk=(4, 3)
)
DENSE = layer_layout(dense_layer(Field(5, 6, 3), units=7, leaf=16), chunk_leaves=3)
WHOLE = layer_layout(DENSE.layer, chunk_leaves=6)
GROUPS = {"layer-1.zarr": LOCAL, "layer-2.zarr": DENSE, "copy-2.zarr": WHOLE}
WORDS = {
    "layer-1.zarr": "layer 1",
    "layer-2.zarr": "layer 2",
    "copy-2.zarr": "copy of layer 2",
    "config.yaml": "the configuration",
    "whitening.zarr": "the whitening filter",
    MANIFEST: "the manifest",
    SEAL: "the manifest's digest",
}
FLIPS = 1000


@pytest.fixture(scope="module")
def commit(tmp_path_factory) -> Path:
    """A local layer, and a dense one with a copy in another layout; leave it as it was."""
    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text("seed: 3\n")
    filters = zarr.open_group(run / "whitening.zarr", mode="w", zarr_format=3)
    filters.create_array("filter", data=np.eye(9).reshape(3, 3, 3, 3))
    partial, digests = begin_commit(run / "checkpoints", 1), {}
    for number, layer, copy in [(0, LOCAL, False), (1, DENSE, False), (1, WHOLE, True)]:
        path = layer_path(partial, number, copy)
        chunks = initial_chunks("start", layer, seed=3, layer=number, alpha=0.7, dtype=np.float32)
        create_layer(path, layer, np.float32)
        for part in written_chunks("written", chunks, path).compute(scheduler="synchronous"):
            digests |= part
    return finish_commit(partial, 1, {"layers": 2, "finished": False}, digests).path


def files_of(commit):
    return sorted(p.relative_to(commit).as_posix() for p in commit.rglob("*") if p.is_file())


def chunks_of(commit):
    """The files of the layers' chunks."""
    return [name for name in files_of(commit) if name.split("/")[0] in GROUPS and "/c/" in name]


def words_for(name):
    """What a person is to be told of a file."""
    group, *inside = name.split("/")
    if group not in GROUPS:
        return WORDS[group]
    array, last = inside[:-1][:1], inside[-1]
    if "c" in inside:
        last = f"chunk ({', '.join(inside[2:])})"
    return ", ".join([WORDS[group], *array, last])


@contextmanager
def changed(file, change):
    """A file with other bytes, or none at all; as it was afterwards."""
    was = file.read_bytes()
    now = change(was)
    file.unlink() if now is None else file.write_bytes(now)
    try:
        yield
    finally:
        file.write_bytes(was)


def flipped(was, byte, bit):
    return was[:byte] + bytes([was[byte] ^ 1 << bit]) + was[byte + 1 :]


def assert_named(commit, name, deep=False):
    damages = verify_commit(commit, deep)
    assert [(damage.file, damage.where) for damage in damages] == [(name, words_for(name))]
    assert str(damages[0]).startswith(f"{words_for(name)} ({name}): expected ")


def assert_refused(commit, name):
    with pytest.raises(DamagedCommit) as caught:
        open_commit(commit)
    assert words_for(name) in str(caught.value)
    assert name in str(caught.value)


@contextmanager
def refused(name):
    """Within, reading raises and names a chunk, or an array's description."""
    with pytest.raises(DamagedCommit) as caught:
        yield
    assert f"{words_for(name)} ({name}): expected it as it was written, found" in str(caught.value)


def read(commit, name):
    """Read the whole array that a file belongs to."""
    group, array, *_ = name.split("/")
    shape = array_shapes(GROUPS[group].layer)[array][1]
    return read_array(commit / group, array, tuple(slice(0, size) for size in shape))
