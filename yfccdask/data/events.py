"""``events.jsonl``: what happened in a run, one JSON object a line; the only source of curves.

Every event has ``event`` (its kind), ``time`` (seconds since the epoch) and, where it concerns
one, ``layer`` (counted from 1) and ``tick``. Kinds:

======== ==========================================================================================
start    a run begins; ``visits`` are the blocks that every layer is to train on
scale    what a layer's input is multiplied by
block    a layer has trained on a block: objectives of its mini-batches
commit   the whole state is on disk under ``number``
resume   a session goes on from ``commit`` at ``tick``; later ticks were trained again
warning  ``text``: something to know; the run goes on
lost     a worker is gone; the session goes on from the last commit, or ends
pause    the run waits until it is told to go on
unpause  it was told so
diverged an objective was not finite
end      the session is over; ``reason`` (finished, stopped, failed, ...) and ``text`` say why
======== ==========================================================================================
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from yfccdask.data.durable import writing

Event = dict[str, Any]


def append_event(path: Path, kind: str, **fields: Any) -> Event:
    """Add an event to the end of the log, on a line of its own, and return it.

    Raises
    ------
    DiskFull, RunError
        If it can't be written.
    """
    event = {"event": kind, "time": time.time(), **fields}
    line = json.dumps(event).encode() + b"\n"
    with writing(path, len(line)), path.open("ab") as file:
        file.write(line if _ends_whole(path) else b"\n" + line)
    return event


def _ends_whole(path: Path) -> bool:
    """Whether nothing cut a log's last line short."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def read_events(path: Path) -> list[Event]:
    """All whole events of a log; a line that a kill or a full disk cut short is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events


def without_replayed(events: list[Event]) -> list[Event]:
    """The events of a run as if it had never stopped: what a resume trained again is left out."""
    kept: list[Event] = []
    for event in events:
        if event["event"] in ("start", "resume"):
            first = event.get("tick", 0)
            kept = [past for past in kept if past.get("tick", -1) < first]
        kept.append(event)
    return kept
