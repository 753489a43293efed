"""What can't be written is an error that says where and how much; nothing is lost."""

import errno
import os
import shutil

import numpy as np
import pytest

from tests.data.made_commits import INDEX, LAYOUT, committed, failing, state_of, value_of, written
from yfccdask.data import commit_writing
from yfccdask.data.commit_writing import begin_commit, create_layer, finish_commit, write_chunk
from yfccdask.data.commits import (
    latest_commit,
    layer_path,
)
from yfccdask.errors import DiskFull, RunError

# --- full disks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_chunk_for_which_there_is_no_room_says_where_and_how_much(run, monkeypatch, number):
    partial = begin_commit(run / "checkpoints", 1)
    create_layer(layer_path(partial, 0), LAYOUT, np.float32)
    monkeypatch.setattr(commit_writing, "sync_file", failing(number))
    with pytest.raises(DiskFull) as caught:
        write_chunk(layer_path(partial, 0), LAYOUT, INDEX, state_of(1.0))
    text = str(caught.value)
    assert text.startswith(f"{layer_path(partial, 0) / 'weights/c/0/0/0/0'}: expected to write 64 ")
    assert os.strerror(number) in text
    assert "bytes free: make room, then `yfccdask resume RUN`" in text


def test_a_chunk_that_cannot_be_written_for_another_reason_is_no_full_disk(run, monkeypatch):
    partial = begin_commit(run / "checkpoints", 1)
    create_layer(layer_path(partial, 0), LAYOUT, np.float32)
    monkeypatch.setattr(commit_writing, "sync_file", failing(errno.EIO))
    with pytest.raises(RunError, match="64 bytes, found Input/output error: put that right") as bad:
        write_chunk(layer_path(partial, 0), LAYOUT, INDEX, state_of(1.0))
    assert not isinstance(bad.value, DiskFull)


@pytest.mark.parametrize("name", ["copyfile", "write_text", "publish"])
def test_a_disk_that_is_full_at_the_end_leaves_the_commit_before(run, monkeypatch, name):
    committed(run, 1.0)
    partial, digests = written(run, 2.0)
    owner = shutil if name == "copyfile" else commit_writing
    monkeypatch.setattr(owner, name, failing(errno.ENOSPC))
    with pytest.raises(DiskFull, match="make room"):
        finish_commit(partial, 2, {"layers": 1, "finished": False}, digests)
    monkeypatch.undo()
    assert value_of(latest_commit(run)) == 1.0
    assert value_of(committed(run, 3.0)) == 3.0


def test_a_chunk_that_zarr_cannot_write_is_an_error_of_the_run(run):
    partial = begin_commit(run / "checkpoints", 1)
    create_layer(layer_path(partial, 0), LAYOUT, np.float32)
    (layer_path(partial, 0) / "weights" / "c").write_text("in the way of a folder")
    with pytest.raises(RunError, match=r"weights.*expected to write 64 bytes, found"):
        write_chunk(layer_path(partial, 0), LAYOUT, INDEX, state_of(1.0))
