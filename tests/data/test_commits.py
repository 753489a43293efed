"""Commits come and go: a kill at any step leaves the one before, no number is used twice."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.data.made_commits import INDEX, LAYOUT, committed, damaged, state_of, value_of, written
from yfccdask.data import commit_writing, durable
from yfccdask.data.commit_checks import POINTER, pointer_damage, verify_commit
from yfccdask.data.commit_writing import begin_commit, finish_commit, write_chunk
from yfccdask.data.commits import (
    Commit,
    commit_folder,
    commit_numbers,
    damaged_commits,
    has_finished,
    latest_commit,
    layer_path,
    next_number,
    pin_commit,
    pinned_commits,
    prune_commits,
    recent_commits,
    set_aside,
    unpin_commit,
)
from yfccdask.errors import DamagedCommit, RunError

# --- which are kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 2, 4, 9])
def test_pruning_keeps_the_newest(run, keep):
    for _ in range(4):
        committed(run)
    gone = prune_commits(run / "checkpoints", keep)
    assert gone == [3, 2, 1][keep - 1 :]
    assert commit_numbers(run / "checkpoints") == [4, 3, 2, 1][:keep]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        f"{number:08d}" for number in commit_numbers(run / "checkpoints")
    }


def test_pruning_keeps_the_pinned_until_they_are_unpinned(run):
    for _ in range(5):
        committed(run)
    pin_commit(run / "checkpoints", 2)
    assert prune_commits(run / "checkpoints", 2) == [3, 1]
    assert pinned_commits(run / "checkpoints") == {2}
    unpin_commit(run / "checkpoints", 2)
    assert prune_commits(run / "checkpoints", 2) == [2]
    assert commit_numbers(run / "checkpoints") == [5, 4]


def test_a_damaged_commit_does_not_count_as_kept(run):
    for _ in range(5):
        committed(run)
    damaged(run, 5)
    damaged(run, 3)
    assert prune_commits(run / "checkpoints", 2) == [1]
    assert commit_numbers(run / "checkpoints") == [5, 4, 3, 2]


def test_pruning_never_removes_the_only_commit_that_opens(run):
    for _ in range(4):
        committed(run)
    for number in (2, 3, 4):
        damaged(run, number)
    assert prune_commits(run / "checkpoints", 1) == []
    assert value_of(list(recent_commits(run))[-1]) == 1.0


def test_a_removal_that_was_killed_leaves_no_half_commit(run, monkeypatch):
    committed(run, 1.0)
    committed(run, 2.0)
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        prune_commits(run / "checkpoints", 1)
    monkeypatch.undo()
    assert [value_of(commit) for commit in recent_commits(run)] == [2.0]
    committed(run, 3.0)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["00000002", "00000003"]


# --- set aside ----------------------------------------------------------------------------------


def test_a_commit_that_is_set_aside_is_nobodys_newest(run):
    committed(run, 1.0)
    committed(run, 2.0)
    damaged(run, 2)
    with pytest.raises(DamagedCommit, match="layer 1, weights"):
        latest_commit(run)
    aside = set_aside(commit_folder(run / "checkpoints", 2))
    assert damaged_commits(run / "checkpoints") == [aside]
    assert value_of(latest_commit(run)) == 1.0
    assert prune_commits(run / "checkpoints", 1) == []
    assert (aside / "manifest.json").is_file()


def test_numbers_are_never_used_twice(run):
    checkpoints = run / "checkpoints"
    assert next_number(checkpoints) == 1
    assert [committed(run).number for _ in range(3)] == [1, 2, 3]
    prune_commits(checkpoints, 1)
    set_aside(commit_folder(checkpoints, 3))
    assert next_number(checkpoints) == 4
    assert committed(run).number == 4
    assert commit_numbers(checkpoints) == [4]


def test_the_number_of_a_pinned_commit_that_is_gone_is_not_used_again(run):
    committed(run)
    pin_commit(run / "checkpoints", 1)
    shutil.rmtree(commit_folder(run / "checkpoints", 1))
    assert committed(run).number == 2


def test_the_number_of_a_commit_that_was_set_aside_and_removed_is_not_used_again(run):
    committed(run)
    committed(run)
    shutil.rmtree(set_aside(commit_folder(run / "checkpoints", 2)))
    assert committed(run).number == 3


def test_a_commit_whose_number_was_taken_meanwhile_gets_the_next(run):
    partial, digests = written(run, 1.0)
    (run / "checkpoints" / "00000001").mkdir()
    commit = finish_commit(partial, 1, {"layers": 1, "finished": False}, digests)
    assert (commit.number, commit.path.name) == (2, "00000002")
    assert json.loads((commit.path / "manifest.json").read_text())["number"] == 2


# --- kills --------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing that handles errors may hold it up."""


def killed(*_, **__):
    raise Killed


def killed_at(call, function):
    """A function that works until its call of a number, at which the process ends."""
    calls = iter(range(call))

    def works_until_then(*arguments, **named):
        if next(calls, None) is None:
            raise Killed
        return function(*arguments, **named)

    return works_until_then


STEPS = {
    "the copies": (shutil, "copyfile"),
    "the manifest and the pointer": (commit_writing, "write_text"),
    "publishing": (commit_writing, "publish"),
    "flushing a tree": (durable, "sync_tree"),
    "renaming": (Path, "rename"),
    "replacing": (Path, "replace"),
    "fsync": (os, "fsync"),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run with a commit of 1.0, and what the next ones are to hold, by value."""
    run, next_ones = tmp_path_factory.mktemp("prepared") / "run", {}
    run.mkdir()
    (run / "config.yaml").write_text("seed: 3\n")
    committed(run, 1.0)
    for value in (2.0, 3.0):
        partial, digests = written(run, value)
        next_ones[value] = (shutil.copytree(partial, run.parent / str(value)), digests)
    shutil.rmtree(partial)
    return run, next_ones


def copied(prepared, folder):
    return shutil.copytree(prepared[0], folder)


def make_next(prepared, run, value):
    """Make the next commit of a copy of the prepared run."""
    files, digests = prepared[1][value]
    partial = begin_commit(run / "checkpoints", 2, "session")
    shutil.copytree(files, partial, dirs_exist_ok=True)
    return partial, {**digests}


def cut_off(prepared, run, step, call):
    """Make a commit of 2.0 that ends at a call of a step; whether the step was reached."""
    partial, digests = make_next(prepared, run, 2.0)
    owner, name = STEPS[step]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, killed_at(call, getattr(owner, name)))
        try:
            finish_commit(partial, 2, {"layers": 1, "finished": False}, digests)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_the_commit_before_and_the_pointer(prepared, tmp_path, step):
    call, run = 0, copied(prepared, tmp_path / "0")
    while cut_off(prepared, run, step, call):
        assert_goes_on(prepared, run)
        call, run = call + 1, copied(prepared, tmp_path / str(call + 1))
    assert call >= 1
    assert value_of(latest_commit(run)) == 2.0


def assert_goes_on(prepared, run):
    """All that is seen is whole, the old commit among it, and the next one clears what is left."""
    found = list(recent_commits(run))
    assert all(isinstance(commit, Commit) for commit in found)
    values = [value_of(commit) for commit in found]
    assert values in ([1.0], [2.0, 1.0])  # the new one has its name only once it is whole
    assert value_of(latest_commit(run)) == values[0]
    assert all(verify_commit(commit.path, deep=True) == [] for commit in found)
    assert pointer_damage(run) is None
    if values == [1.0]:
        assert (run / POINTER).read_bytes() == (prepared[0] / POINTER).read_bytes()
    partial, digests = make_next(prepared, run, 3.0)
    commit = finish_commit(partial, 2, {"layers": 1, "finished": False}, digests)
    assert value_of(latest_commit(run)) == 3.0
    assert commit.number == len(values) + 1
    assert verify_commit(commit.path, deep=True) == []
    assert pointer_damage(run) is None
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {f"{number + 1:08d}" for number in range(len(values) + 1)}
    assert not list(run.glob(".*.partial"))


def test_a_kill_before_the_new_name_leaves_the_old_commit_the_newest(prepared, tmp_path):
    run = copied(prepared, tmp_path / "run")
    assert cut_off(prepared, run, "renaming", 0)
    assert [value_of(commit) for commit in recent_commits(run)] == [1.0]
    assert len(list((run / "checkpoints").glob("*.partial"))) == 1


def test_a_kill_before_the_pointer_leaves_the_new_commit_the_newest(prepared, tmp_path):
    run = copied(prepared, tmp_path / "run")
    assert cut_off(prepared, run, "the manifest and the pointer", 2)
    assert value_of(latest_commit(run)) == 2.0
    assert json.loads((run / POINTER).read_text())["commit"] == "00000001"


def test_everything_is_flushed_before_a_commit_has_its_name(run, monkeypatch):
    partial, digests = written(run, 1.0)
    flushed, fsync, rename, seen = set(), os.fsync, Path.rename, {}

    def noted(handle):
        flushed.add(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def renamed(path, target):
        seen.update({str(file): str(file) in flushed for file in [path, *path.rglob("*")]})
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", renamed)
    commit = finish_commit(partial, 1, {"layers": 1, "finished": False}, digests)
    assert len(seen) > 20
    assert all(seen.values())
    assert str(commit.path.parent) in flushed
    assert str(run) in flushed  # LATEST


def test_a_writer_of_an_earlier_session_finds_no_folder(run):
    partial, _ = written(run, 1.0, "earlier")
    later = begin_commit(run / "checkpoints", 1, "later")
    assert not partial.exists()
    with pytest.raises(RunError, match="expected to write"):
        write_chunk(layer_path(partial, 0), LAYOUT, INDEX, state_of(9.0))
    assert [path.name for path in (run / "checkpoints").iterdir()] == [later.name]


# --- the newest ---------------------------------------------------------------------------------


def test_there_is_no_newest_commit_before_the_first(run):
    assert latest_commit(run) is None
    assert not has_finished(run)
    assert list(recent_commits(run)) == []


def test_an_older_commit_is_never_taken_for_the_newest(run):
    committed(run, 1.0)
    committed(run, 2.0)
    damaged(run, 2)
    with pytest.raises(DamagedCommit, match=r"00000002: layer 1, weights, chunk \(0, 0, 0, 0\)"):
        latest_commit(run)
    newest, before = recent_commits(run)
    assert isinstance(newest, DamagedCommit)
    assert value_of(before) == 1.0


def test_the_newest_commit_that_opens_says_whether_a_run_has_finished(run):
    committed(run)
    assert not has_finished(run)
    committed(run, finished=True)
    assert has_finished(run)
    damaged(run, 2)
    assert not has_finished(run)
