"""What the doctor tries on one machine: disks, folders, checks that hang."""

import asyncio
import os
import time

import pytest

from yfccdask.training.checkup import FAILURE, examination, probes
from yfccdask.training.checkup.probes import measured_disk, nearest_folder, unseen


def test_a_disk_test_leaves_nothing(tmp_path):
    facts = measured_disk(tmp_path, 3 << 20)
    assert facts["free"] > 0
    assert facts["write"] > 0
    assert facts["read"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_reads_other_bytes_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "write_all", lambda file, block: os.write(file, bytes(len(block))))
    facts = asyncio.run(probes.disk_facts(tmp_path, 1 << 20))
    assert "other bytes" in facts["error"]
    assert list(tmp_path.iterdir()) == []


def test_little_is_written_to_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(probes, "LOW_DISK", 1 << 62)
    monkeypatch.setattr(
        probes, "write_all", lambda file, block: written.append(os.write(file, block))
    )
    measured_disk(tmp_path, 64 << 20)
    assert sum(written) == 1 << 20


def test_the_nearest_folder_is_the_path_or_above_it(tmp_path):
    assert nearest_folder(tmp_path) == tmp_path
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        nearest_folder(tmp_path / "file" / "run")


def test_what_is_not_seen_is_looked_for_again(tmp_path, monkeypatch):
    late = tmp_path / "late"
    monkeypatch.setattr(time, "sleep", lambda pause: pause and late.touch())
    assert unseen([str(tmp_path), str(late), str(tmp_path / "never")]) == [str(tmp_path / "never")]


def test_a_check_that_hangs_or_breaks_is_a_failure():
    async def hangs():
        await asyncio.sleep(60)

    async def breaks():
        raise ZeroDivisionError("oh")

    (hung,) = asyncio.run(examination.limited("one", 0.01, hangs()))
    (broken,) = asyncio.run(examination.limited("two", 60, breaks()))
    assert (hung.name, hung.level) == ("one", FAILURE)
    assert "no answer within" in hung.found
    assert (broken.level, broken.found) == (FAILURE, "ZeroDivisionError: oh")
    assert hung.remedy == broken.remedy != ""


def test_a_thread_that_hangs_is_left_behind():
    with pytest.raises(TimeoutError):
        asyncio.run(probes.in_thread(0.01, time.sleep, 1))
