"""The log of events: whole lines, whatever cut one short."""

import errno
from pathlib import Path

import pytest

from tests.data.made_commits import failing
from yfccdask.data.events import append_event, read_events
from yfccdask.errors import DiskFull

# --- events -------------------------------------------------------------------------------------


def test_a_line_that_was_cut_short_does_not_swallow_the_next_event(tmp_path):
    log = tmp_path / "events.jsonl"
    append_event(log, "start", tick=0)
    begins = log.stat().st_size
    append_event(log, "block", tick=1, text="a ≠ b")
    whole = log.read_bytes()
    for size in range(begins, len(whole) + 1):
        log.write_bytes(whole[:size])
        append_event(log, "resume", tick=0)
        kinds = [event["event"] for event in read_events(log)]
        complete = size >= len(whole) - 1  # but for the end of the line, perhaps
        assert kinds == ["start", *["block"] * complete, "resume"]
        assert log.read_bytes().startswith(whole[:size])


def test_the_first_event_makes_the_log(tmp_path):
    log = tmp_path / "events.jsonl"
    assert read_events(log) == []
    event = append_event(log, "start", tick=0)
    assert read_events(log) == [event]


def test_bytes_that_are_no_text_cost_no_other_event(tmp_path):
    log = tmp_path / "events.jsonl"
    append_event(log, "start")
    with log.open("ab") as file:
        file.write(b"\xff\x00{]\n3\n[]\n\n")
    append_event(log, "end")
    assert [event["event"] for event in read_events(log)] == ["start", "end"]


def test_an_event_for_which_there_is_no_room_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", failing(errno.ENOSPC))
    with pytest.raises(DiskFull, match=r"events.jsonl: expected to write \d+ bytes"):
        append_event(tmp_path / "events.jsonl", "start")
