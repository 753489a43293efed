"""Damage to manifests, seals and the pointer; and nothing that is read is run."""

import json
import pickle
import pickletools
import shutil
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from tests.data.damaged_commits import (
    GROUPS,
    assert_named,
    assert_refused,
    changed,
    chunks_of,
    files_of,
    flipped,
    read,
    refused,
)
from yfccdask.data.commit_checks import (
    MANIFEST,
    POINTER,
    SEAL,
    pointer_damage,
    sealed,
    verify_commit,
)
from yfccdask.data.commits import open_commit
from yfccdask.errors import DamagedCommit

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
