"""Damage to a commit's files is seen, named in words, and never read as data."""

import shutil
from random import Random

import pytest

from tests.data.damaged_commits import (
    FLIPS,
    GROUPS,
    LOCAL,
    WORDS,
    assert_named,
    assert_refused,
    changed,
    chunks_of,
    files_of,
    flipped,
    read,
    refused,
    words_for,
)
from yfccdask.data.commit_checks import (
    verify_commit,
)
from yfccdask.data.commit_reading import read_state
from yfccdask.data.commits import chunk_slices, open_commit
from yfccdask.errors import DamagedCommit


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
