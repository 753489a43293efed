"""Stores in the making: whole under their name or not there, one writer, ours alone."""

from pathlib import Path

import pytest

from yfccdask.data.partial_stores import begin, claimed, merge_partial, partial_store
from yfccdask.errors import StoreError


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_partial_store_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "store"
    with partial_store(path, {"kind": "test"}) as partial:
        touch(partial / "inside")
        assert not path.exists()
    assert [found.name for found in path.iterdir()] == ["inside"]
    assert not partial.exists()


def test_a_partial_folder_is_gone_on_with_only_for_the_same_request(tmp_path):
    seen = []
    for request in ({"n": 1}, {"n": 1}, {"n": 2}):
        with claimed(tmp_path / "s") as partial:
            same = begin(partial, request)
            seen.append((same, (partial / "half").exists()))
            touch(partial / "half")
    assert seen == [(False, False), (True, True), (False, False)]


def test_finished_waves_of_another_request_are_not_thrown_away(tmp_path):
    with claimed(tmp_path / "s") as partial:
        begin(partial, {"seed": 1})
        touch(partial / "work" / "ledger" / "wave-000000.json")
    with (
        claimed(tmp_path / "s") as partial,
        pytest.raises(StoreError, match="of another seed: run that ingest again"),
    ):
        begin(partial, {"seed": 2})
    assert (partial / "work" / "ledger" / "wave-000000.json").exists()


def test_a_folder_that_was_only_claimed_goes_away(tmp_path):
    with claimed(tmp_path / "s") as partial:
        touch(partial / "listing" / "wave-000000.parquet")
    assert not list(tmp_path.iterdir())


OLD = {"images.zarr/zarr.json": b"1", "images.zarr/images/c/0": b"a"}
NEW = {
    f"images.zarr/{name}": b"2"
    for name in ("images/c/1", "images/zarr.json", "block_images/c/0", "zarr.json")
} | {"status.parquet/part-000001.parquet": b"2"}


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("moment", range(len(NEW)))
def test_a_merge_that_was_killed_anywhere_goes_on(tmp_path, monkeypatch, moment):
    path, partial, moves, replace = tmp_path / "s", tmp_path / "s.partial", [], Path.replace
    for folder, contents in ((path, OLD), (partial, {**NEW, "request.json": b"{}"})):
        for name, content in contents.items():
            touch(folder / name, content)

    def killed(self, target):
        if len(moves) == moment:
            raise KeyboardInterrupt
        moves.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        merge_partial(partial, path)
    monkeypatch.undo()
    assert (path / "images.zarr/zarr.json").read_bytes() == b"1"  # the last to come
    merge_partial(partial, path)
    assert files(path) == {**OLD, **NEW}
    assert not partial.exists()


def test_partial_store_refuses_a_folder_that_is_not_its_own(tmp_path):
    touch(tmp_path / "s.partial" / "thesis.txt")
    with (
        pytest.raises(StoreError, match="move it away"),
        partial_store(tmp_path / "s", {}),
    ):
        pass
    assert (tmp_path / "s.partial" / "thesis.txt").exists()


def test_partial_store_is_written_by_one_process_at_a_time(tmp_path):
    with (
        partial_store(tmp_path / "s", {}),
        pytest.raises(StoreError, match="another process"),
        partial_store(tmp_path / "s", {}),
    ):
        pass
