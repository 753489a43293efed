"""``events.jsonl``: what happened in a run, one JSON object a line; the only source of curves.

Every event has ``event`` (its kind), ``time`` (seconds since the epoch) and, where it concerns
one, ``layer`` (counted from 1). Kinds: start, scale, block, commit, diverged, end.
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
