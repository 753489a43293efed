"""``events.jsonl``: what happened in a run, one JSON object a line; the only source of curves.

Every event has ``event`` (its kind), ``time`` (seconds since the epoch) and, where it concerns
one, ``layer`` (counted from 1) and ``tick``. Kinds: start, scale, block, commit, resume, warning,
diverged, end.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def append_event(path: Path, kind: str, **fields: Any) -> Event:
    """Add an event to the end of the log, and return it."""
    event = {"event": kind, "time": time.time(), **fields}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
    return event


def read_events(path: Path) -> list[Event]:
    """All whole events of a log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
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
