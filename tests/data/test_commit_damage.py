"""Damage to a commit is seen, named by layer, array and chunk, and never read as data."""

import json
import pickle
import pickletools
import shutil
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import pytest
import zarr

from yfccdask.data.commit_checks import (
    MANIFEST,
    POINTER,
    SEAL,
    pointer_damage,
    sealed,
    verify_commit,
)
from yfccdask.data.commit_reading import read_array, read_state
from yfccdask.data.commit_writing import begin_commit, create_layer, finish_commit
from yfccdask.data.commits import array_shapes, chunk_slices, layer_path, open_commit
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


def test_the_commit_is_whole_and_its_words_are_as_documented(commit):
    assert verify_commit(commit, deep=True) == []
    assert open_commit(commit).layers == 2
    words = {words_for(name) for name in chunks_of(commit)}
    assert {
        "layer 1, weights, chunk (0, 1, 0, 0)",
        "layer 2, offset_momentum, chunk (0, 0, 1)",
        "copy of layer 2, alpha, chunk (0, 0)",
    } <= words
    assert {name.split("/")[0] for name in files_of(commit)} == set(WORDS)


# --- flipped bits -------------------------------------------------------------------------------


def test_a_thousand_flipped_bits_are_all_seen_and_named(commit):
    random, names = Random(7), files_of(commit)
    sizes = [(commit / name).stat().st_size for name in names]
    chosen = names + random.choices(names, sizes, k=FLIPS - len(names))
    assert len(chosen) == FLIPS
    for name in chosen:
        byte, bit = random.randrange(sizes[names.index(name)]), random.randrange(8)
        with changed(commit / name, lambda was, at=(byte, bit): flipped(was, *at)):
            assert_named(commit, name, deep=True)
    assert verify_commit(commit, deep=True) == []


def test_a_flipped_bit_in_a_small_file_is_seen_without_reading_chunks(commit):
    random = Random(8)
    for name in set(files_of(commit)) - set(chunks_of(commit)):
        if name.startswith("whitening.zarr/filter/c"):
            continue
        with changed(commit / name, lambda was: flipped(was, random.randrange(len(was)), 3)):
            assert_named(commit, name)
            assert_refused(commit, name)


@pytest.mark.parametrize("place", ["data", "checksum"])
def test_a_flipped_bit_in_a_chunk_is_never_read_as_data(commit, place):
    random = Random(9)
    for name in chunks_of(commit):
        size = (commit / name).stat().st_size
        byte = random.randrange(size - 4) if place == "data" else size - random.randint(1, 4)
        change = (byte, random.randrange(8))
        with changed(commit / name, lambda was, at=change: flipped(was, *at)), refused(name):
            read(commit, name)


@pytest.mark.parametrize("group", GROUPS)
def test_a_flipped_bit_stops_a_worker_that_reads_its_part(commit, group):
    layout = GROUPS[group]
    for index in layout.indices():
        where = chunk_slices(layout, index)
        assert read_state(commit / group, layout.layer, where).weights.size
        name = f"{group}/offset_momentum/c/{index[0]}/{index[1]}/{index[2]}"
        with changed(commit / name, lambda was: flipped(was, 5, 5)), refused(name):
            read_state(commit / group, layout.layer, where)


def test_damage_elsewhere_does_not_stop_a_worker(commit):
    name = "layer-1.zarr/weights/c/0/1/0/0"
    where = chunk_slices(LOCAL, (0, 0, 0))
    with changed(commit / name, lambda was: flipped(was, 0, 0)):
        assert read_state(commit / "layer-1.zarr", LOCAL.layer, where).weights.any()


# --- files that are gone, cut short or strange ----------------------------------------------------


def test_every_chunk_that_is_gone_is_named(commit):
    for name in chunks_of(commit):
        with changed(commit / name, lambda was: None):
            assert_named(commit, name)
            assert_refused(commit, name)


def test_a_chunk_that_is_gone_is_never_read_as_zeros(commit):
    for name in chunks_of(commit):
        with changed(commit / name, lambda was: None), refused(name):
            read(commit, name)


@pytest.mark.parametrize("left", [0, 4, -1])
def test_a_chunk_that_is_cut_short_is_named_and_never_read(commit, left):
    for name in chunks_of(commit):
        with changed(commit / name, lambda was: was[:left]):
            assert_named(commit, name)
            with refused(name):
                read(commit, name)


@pytest.mark.parametrize("change", [lambda was: None, lambda was: was[:-1]], ids=["gone", "cut"])
def test_every_other_file_that_is_gone_or_cut_short_is_named(commit, change):
    for name in set(files_of(commit)) - set(chunks_of(commit)):
        with changed(commit / name, change):
            assert_named(commit, name)
            assert_refused(commit, name)


def test_an_array_without_its_description_is_not_read(commit):
    name = "layer-1.zarr/alpha/zarr.json"
    for change in (lambda was: None, lambda was: was[:-1], lambda was: b"[]"):
        with changed(commit / name, change), refused(name):
            read(commit, name)


@pytest.mark.parametrize("name", ["notes.txt", "layer-1.zarr/weights/c/9/9/0/0", "layer-3.zarr/x"])
def test_a_file_that_is_not_the_commits_own_is_named(commit, tmp_path, name):
    copy = shutil.copytree(commit, tmp_path / commit.name)
    assert verify_commit(copy, deep=True) == []
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"x")
    damages = verify_commit(copy)
    assert [damage.file for damage in damages] == [name]
    assert "expected no such file, found one" in str(damages[0])


def test_all_that_is_damaged_is_named_and_the_first_is_raised(commit):
    names = ["config.yaml", *chunks_of(commit)[:2]]
    with (
        changed(commit / names[0], lambda was: b""),
        changed(commit / names[1], lambda was: None),
        changed(commit / names[2], lambda was: was + b"x"),
    ):
        assert {damage.file for damage in verify_commit(commit)} == set(names)
        with pytest.raises(DamagedCommit, match=r"\(and 2 more\)"):
            open_commit(commit)


# --- manifests ----------------------------------------------------------------------------------


@contextmanager
def manifest_of(commit, text):
    """Another manifest under a digest that fits it."""
    seal = sealed({"manifest_sha256": sha256(text.encode()).hexdigest()}).encode()
    with (
        changed(commit / MANIFEST, lambda was: text.encode()),
        changed(commit / SEAL, lambda was: seal),
    ):
        yield


@pytest.mark.parametrize(("key", "value"), [("format_version", 2), ("format", "another")])
def test_a_commit_of_another_format_says_what_can_read_it(commit, key, value):
    fields = json.loads((commit / MANIFEST).read_text())
    with manifest_of(commit, json.dumps({**fields, key: value})):
        assert_named(commit, MANIFEST)
        assert_refused(commit, MANIFEST)
        with pytest.raises(DamagedCommit, match="use the yfccdask that wrote it"):
            open_commit(commit)


def test_an_older_commit_without_a_seal_says_what_can_read_it(commit):
    fields = json.loads((commit / MANIFEST).read_text())
    text = json.dumps({**fields, "format_version": 1})
    with (
        changed(commit / MANIFEST, lambda was: text.encode()),
        changed(commit / SEAL, lambda was: None),
        pytest.raises(DamagedCommit, match=r"version 3, found .* version 1: use the yfccdask"),
    ):
        open_commit(commit)


@pytest.mark.parametrize("text", ["", "{", "not JSON", "[]", "3", "null", '{"files": {}}'])
@pytest.mark.parametrize("fitting", [True, False], ids=["under its digest", "under another"])
def test_a_manifest_that_is_none_is_named(commit, text, fitting):
    context = (
        manifest_of(commit, text)
        if fitting
        else changed(commit / MANIFEST, lambda was: text.encode())
    )
    with context:
        assert_named(commit, MANIFEST)
        assert_refused(commit, MANIFEST)


def test_a_commit_without_its_seal_is_damaged(commit):
    with changed(commit / SEAL, lambda was: None):
        assert_named(commit, SEAL, deep=True)
        assert_refused(commit, SEAL)


UNCHECKED = "unsealed() takes any fields under their digest; the next line asks for one by its key"


def test_a_seal_that_seals_something_else_is_damage(commit):
    with changed(commit / SEAL, lambda was: sealed({"commit": "00000001"}).encode()):
        assert_named(commit, SEAL)


def test_a_commits_seal_in_the_pointers_place_is_damage(commit):
    run = commit.parent.parent
    with changed(run / POINTER, lambda was: (commit / SEAL).read_bytes()):
        assert pointer_damage(run) is not None


# --- the pointer --------------------------------------------------------------------------------


def test_every_flipped_bit_of_the_pointer_is_seen(commit):
    run = commit.parent.parent
    size = (run / POINTER).stat().st_size
    assert pointer_damage(run) is None
    for byte in range(size):
        for bit in range(8):
            with changed(run / POINTER, lambda was, at=(byte, bit): flipped(was, *at)):
                damage = pointer_damage(run)
            assert damage is not None, (byte, bit)
            assert damage.file == POINTER
            assert "the pointer to the newest commit" in str(damage)


@pytest.mark.parametrize("change", [lambda was: None, lambda was: b"", lambda was: was[:-1]])
def test_a_pointer_that_is_gone_or_cut_short_is_seen(commit, change):
    run = commit.parent.parent
    with changed(run / POINTER, change):
        assert "or no such file" in str(pointer_damage(run))


def test_a_pointer_to_a_commit_that_is_gone_is_seen(commit):
    run, digest = commit.parent.parent, sha256((commit / MANIFEST).read_bytes()).hexdigest()
    gone = sealed({"commit": "00000002", "manifest_sha256": digest})
    with changed(run / POINTER, lambda was: gone.encode()):
        assert "found no such commit" in str(pointer_damage(run))


def test_a_pointer_to_a_commit_with_another_manifest_is_seen(commit):
    with changed(commit / MANIFEST, lambda was: was + b" "):
        assert "a manifest of SHA-256" in str(pointer_damage(commit.parent.parent))


# --- nothing that is read is run ------------------------------------------------------------------


class Bomb:
    """An object that makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def is_pickle(data):
    """Whether bytes are a pickle from the first to the last."""
    try:
        *_, (last, _, position) = pickletools.genops(data)
    except Exception:
        return False
    return last.name == "STOP" and position == len(data) - 1


def test_no_file_of_a_commit_is_a_pickle(commit):
    assert all(is_pickle(pickle.dumps([commit, 1.5], protocol)) for protocol in range(6))
    assert not any(is_pickle((commit / name).read_bytes()) for name in files_of(commit))


def test_a_pickle_in_a_files_place_is_damage_and_is_not_run(commit, tmp_path):
    file = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(file), protocol=0)
    for name in files_of(commit):
        with changed(commit / name, lambda was: bomb):
            assert_named(commit, name, deep=True)
            assert_refused(commit, name)
            if name.split("/")[0] in GROUPS and name.count("/") > 1:
                with refused(name):
                    read(commit, name)
    with changed(commit.parent.parent / POINTER, lambda was: bomb):
        assert pointer_damage(commit.parent.parent) is not None
    assert not file.exists()
    pickle.loads(bomb)
    assert file.exists()  # it would have gone off


def test_a_commit_of_nothing_but_pickles_is_refused_and_not_run(commit, tmp_path):
    copy, file = shutil.copytree(commit, tmp_path / commit.name), tmp_path / "exploded"
    for name in files_of(copy):
        (copy / name).write_bytes(pickle.dumps(Bomb(file)))
    with pytest.raises(DamagedCommit):
        open_commit(copy)
    assert verify_commit(copy, deep=True)
    for name in chunks_of(copy):
        with pytest.raises(DamagedCommit):
            read(copy, name)
    assert not file.exists()
