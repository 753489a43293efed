"""A result is there whole or not at all, says what it is of, and a killed one can go on."""

import json

import pytest

from yfccdask.analysis.results import chosen_commit, new_result, read_result
from yfccdask.errors import DiskFull, RunError, StoreError


def test_a_result_names_what_it_is_of(own_run, tiny_store, hostile_store):
    commit = own_run.commit()
    with new_result(own_run, "trial", commit, tiny_store, {"k": 5}) as draft:
        (draft.folder / "found.txt").write_text("found")
        (draft.work / "so-far.txt").write_text("kept until the end")
        assert read_result(own_run, "trial") is None
    result = read_result(own_run, "trial", commit, tiny_store)
    assert {path.name for path in result.path.iterdir()} == {"found.txt", "manifest.json"}
    assert (result.parameters, result.store["digest"]) == ({"k": 5}, tiny_store.digest)
    assert read_result(own_run, "trial", commit, hostile_store) is None
    older = chosen_commit(own_run, 2)
    assert read_result(own_run, "trial", older) is None
    assert not result.is_of(older)
    assert [path.name for path in own_run.analysis.iterdir()] == ["trial"]


def test_a_killed_draft_goes_on_for_the_same_request_only(own_run, tiny_store):
    commit = own_run.commit()

    def work(parameters, fail):
        with new_result(own_run, "trial", commit, tiny_store, parameters) as draft:
            found = sorted(path.name for path in draft.work.iterdir())
            (draft.work / "block-0").touch()
            if fail:
                raise KeyboardInterrupt
        return found

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work({"k": 5}, fail=True)
        assert read_result(own_run, "trial") is None
    assert work({"k": 5}, fail=False) == ["block-0"]
    with pytest.raises(KeyboardInterrupt):
        work({"k": 5}, fail=True)
    assert work({"k": 6}, fail=False) == []


def test_an_older_result_stays_until_the_new_one_is_whole(own_run):
    commit = own_run.commit()
    with new_result(own_run, "trial", commit, parameters={"n": 1}):
        pass
    with (
        pytest.raises(ZeroDivisionError),
        new_result(own_run, "trial", commit, parameters={"n": 2}),
    ):
        1 / 0  # noqa: B018
    assert read_result(own_run, "trial").parameters == {"n": 1}
    with new_result(own_run, "trial", commit, parameters={"n": 2}):
        pass
    assert read_result(own_run, "trial").parameters == {"n": 2}


def test_two_processes_never_work_on_one_result(own_run):
    commit = own_run.commit()
    with (
        new_result(own_run, "trial", commit),
        pytest.raises(StoreError, match="another process"),
        new_result(own_run, "trial", commit),
    ):
        pass


def test_what_cannot_be_read_is_no_result(own_run):
    with new_result(own_run, "trial", own_run.commit()):
        pass
    manifest = own_run.analysis / "trial" / "manifest.json"
    stored = json.loads(manifest.read_text())
    for text in ("{", "[]", json.dumps({**stored, "version": 99})):
        manifest.write_text(text)
        assert read_result(own_run, "trial") is None


def test_a_full_disk_is_an_error_with_advice(own_run):
    with (
        pytest.raises(DiskFull, match="make room, then run the same command again"),
        new_result(own_run, "trial", own_run.commit()),
    ):
        raise OSError(28, "No space left on device")


def test_a_commit_that_is_not_there_is_named(own_run):
    assert chosen_commit(own_run).number == 3
    with pytest.raises(RunError, match=r"expected a commit out of \[1, 2, 3\], found 7"):
        chosen_commit(own_run, 7)
