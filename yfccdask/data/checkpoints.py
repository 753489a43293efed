"""A run's commits as a person handles them: list, verify, prune, pin."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yfccdask.data.commit_checks import Damage, load_manifest, pointer_damage, verify_commit
from yfccdask.data.commits import (
    Commit,
    commit_folder,
    commit_numbers,
    damaged_commits,
    pin_commit,
    pinned_commits,
    prune_commits,
    recent_commits,
    unpin_commit,
)
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError


@dataclass(frozen=True)
class CommitFacts:
    """A commit in a line: ``state`` is whole, damaged or set aside; ``bytes`` of all files."""

    number: int
    state: str
    pinned: bool = False
    damage: str = ""
    tick: int | None = None
    layers: int | None = None
    bytes: int | None = None
    written: float | None = None


@dataclass(frozen=True)
class CommitCheck:
    """All that is wrong with a commit, or with ``LATEST``."""

    name: str
    files: int
    damages: list[Damage]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        damages = [{**vars(damage), "text": str(damage)} for damage in self.damages]
        return {"name": self.name, "files": self.files, "damages": damages}


def list_commits(run: Run | str | Path) -> list[CommitFacts]:
    """A run's commits, the newest first; those that a resume has set aside come last."""
    run = open_run(run)
    pinned, found = pinned_commits(run.checkpoints), []
    numbers = commit_numbers(run.checkpoints)
    for number, commit in zip(numbers, recent_commits(run.path), strict=True):
        if isinstance(commit, Commit):
            state, facts = commit.state, (commit.bytes, commit.written)
            line = CommitFacts(
                number, "whole", number in pinned, "", state["tick"], commit.layers, *facts
            )
        else:
            line = CommitFacts(number, "damaged", number in pinned, str(commit))
        found.append(line)
    return found + [
        CommitFacts(int(path.stem), "set aside") for path in damaged_commits(run.checkpoints)
    ]


def verify_run(run: Run | str | Path, deep: bool = False) -> list[CommitCheck]:
    """Compare a run's commits and ``LATEST`` with what was written.

    Parameters
    ----------
    run : Run or path
    deep : bool
        Read every byte; otherwise chunks are compared by their sizes.
    """
    run = open_run(run)
    checks = [
        _checked(commit_folder(run.checkpoints, number), deep)
        for number in commit_numbers(run.checkpoints)
    ]
    damage = pointer_damage(run.path) if checks else None
    pointer = [CommitCheck("LATEST", 1, [damage])] if damage else []
    return checks + pointer


def _checked(folder: Path, deep: bool) -> CommitCheck:
    damages = verify_commit(folder, deep)
    manifest = {} if damages else load_manifest(folder)
    return CommitCheck(folder.name, len(manifest.get("files", ())), damages)


def prune_run(run: Run | str | Path, keep: int | None = None, damaged: bool = False) -> list[str]:
    """Remove all but the newest ``keep`` whole commits and the pinned ones; returns their names.

    ``damaged`` removes those, too, that a resume has set aside.
    """
    run = open_run(run)
    gone = prune_commits(run.checkpoints, keep or run.config.checkpoints.keep)
    names = [f"{number:08d}" for number in gone]
    for path in damaged_commits(run.checkpoints) if damaged else ():
        shutil.rmtree(path)
        names.append(path.name)
    return names


def pin(run: Run | str | Path, number: int) -> None:
    """Keep a commit until it is unpinned; RunError if there is none of that number."""
    checkpoints = _with_commit(run, number)
    pin_commit(checkpoints, number)


def unpin(run: Run | str | Path, number: int) -> None:
    """Let a commit go as others do."""
    unpin_commit(_with_commit(run, number), number)


def _with_commit(run: Run | str | Path, number: int) -> Path:
    run = open_run(run)
    numbers = commit_numbers(run.checkpoints)
    if number not in numbers:
        raise RunError(f"{run.path}: expected one of the commits {numbers}, found {number}")
    return run.checkpoints
