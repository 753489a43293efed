"""One session at a time trains a run: a lock that the system frees, however a process ends."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yfccdask.errors import RunHeld

Holder = dict[str, Any]


@contextmanager
def hold_run(path: Path, holder: Holder) -> Iterator[None]:
    """Hold the run at ``path``; ``holder`` says who does (host, pid, scheduler, since).

    Raises
    ------
    RunHeld
        If another session holds it.
    """
    with (path / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunHeld(held_text(path, _read(file))) from None
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        yield


def held_text(path: Path, holder: Holder) -> str:
    """What to say of a run that somebody holds."""
    return (
        f"{path}: expected a run that nobody trains, found it held ({holder_text(holder)}): "
        f"`yfccdask attach {path}` follows it, `yfccdask stop {path}` ends it"
    )


def holder_text(holder: Holder) -> str:
    """Who holds a run, in a few words."""
    return ", ".join(
        f"{key} {holder[key]}" for key in ("host", "pid", "scheduler") if key in holder
    )


def holder_of(path: Path) -> Holder | None:
    """Who holds the run at ``path``; None if nobody does."""
    try:
        with (path / "lock").open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
    except FileNotFoundError:
        pass
    return None


def _read(file: Any) -> Holder:
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except ValueError:  # it is being written
        return {}
