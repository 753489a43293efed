"""Stores in the making: whole under their name or not there, one writer, ours alone."""

import pytest

from yfccdask.data.partial_stores import partial_store
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


def test_partial_store_goes_on_only_with_the_same_request(tmp_path):
    def interrupted(request):
        with partial_store(tmp_path / "s", request) as partial:
            seen.append((partial / "half").exists())
            touch(partial / "half")
            raise KeyboardInterrupt

    seen = []
    for request in ({"n": 1}, {"n": 1}, {"n": 2}):
        with pytest.raises(KeyboardInterrupt):
            interrupted(request)
    assert seen == [False, True, False]


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
