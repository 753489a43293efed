"""Runs on disk at a glance: state, blocks per layer, last commit, and why each ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yfccdask.data.commits import has_finished, recent_commits
from yfccdask.data.events import Event, read_events
from yfccdask.data.run_locks import holder_of, holder_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import DamagedCommit, RunError, YfccdaskError
from yfccdask.training.tally import LayerTally, Tally

SESSION_STARTS = ("start", "resume")


@dataclass(frozen=True)
class RunOverview:
    """What a person wants to know of a run without opening it.

    Attributes
    ----------
    run : str
        Its folder.
    state : str
        ``training``, ``paused``, ``finished``, ``stopped``, ``failed``, ``interrupted`` (killed, or
        the machine went down) or ``unreadable``.
    layers : list of LayerTally
        Blocks trained of all, last objective, images/s.
    commit : int or None
        The newest commit that opens; ``committed`` is when, in seconds since the epoch.
    reason : str
        Who trains it, why it ended, or what is wrong with it.
    """

    run: str
    state: str
    layers: list[LayerTally] = field(default_factory=list)
    commit: int | None = None
    committed: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def list_runs(folder: str | Path) -> list[RunOverview]:
    """The runs in a folder (and the folder itself, if it is one), by name.

    Raises
    ------
    RunError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder with runs in it, found no such folder")
    found = [folder, *sorted(folder.iterdir())]
    return [overview(path) for path in found if (path / "config.yaml").is_file()]


def overview(path: str | Path) -> RunOverview:
    """One run at a glance; what is wrong with it is in ``reason``."""
    try:
        run = open_run(path)
        events = read_events(run.path / "events.jsonl")
    except (YfccdaskError, OSError) as error:
        return RunOverview(str(path), "unreadable", reason=str(error))
    tally, (state, reason) = Tally(), _state_of(run, events)
    for event in events:
        tally.add(event)
    damage, commit = _commits(run)
    where = {"commit": commit.number, "committed": commit.written} if commit else {}
    return RunOverview(
        str(path), state, tally.layers, **where, reason="; ".join(filter(None, (reason, damage)))
    )


def _state_of(run: Run, events: list[Event]) -> tuple[str, str]:
    """A run's state in a word, and why."""
    kinds = [event["event"] for event in events]
    holder = holder_of(run.path)
    if holder is not None:
        marks = [kind for kind in kinds if kind in ("pause", "unpause", *SESSION_STARTS)]
        paused = marks[-1:] == ["pause"]
        return ("paused" if paused else "training"), holder_text(holder)
    if has_finished(run.path):
        return "finished", ""
    end = _last_end(events)
    if end is None:
        return "interrupted", "its last session ended without a word: it was killed"
    return end["reason"], end.get("text", "")


def _last_end(events: list[Event]) -> Event | None:
    """How the last session ended; None if nothing was said."""
    for event in reversed(events):
        if event["event"] in SESSION_STARTS:
            return None
        if event["event"] == "end":
            return event
    return None


def _commits(run: Run) -> tuple[str, Any]:
    """What is wrong with the newest commits, and the newest one that opens."""
    damage = ""
    for commit in recent_commits(run.path):
        if not isinstance(commit, DamagedCommit):
            return damage, commit
        damage = damage or str(commit)
    return damage, None
