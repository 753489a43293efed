"""What an analysis leaves with its run: ``RUN/analysis/<command>/``, whole or absent.

The folder's ``manifest.json`` names format, version and command, the commit and the store that the
analysis is of, and what it was asked for. Its other files are the analysis' own. While it is made
the folder is called ``<command>.partial``; what a killed analysis has put into ``work`` there is
kept, and the same request goes on with it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import Commit, commit_folder, commit_numbers, open_commit
from yfccdask.data.durable import NO_ROOM, write_text
from yfccdask.data.partial_stores import WORK, begin, claimed, publish_partial
from yfccdask.data.runs import Run
from yfccdask.errors import DiskFull, RunError

FORMAT, VERSION = "yfccdask-analysis", 1
KIND = [FORMAT, VERSION]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Result:
    """A finished analysis: its folder and its manifest.

    ``commit`` (number, sha256 of its manifest) and ``store`` (path, digest, images; None for an
    analysis that looks at no images) are what it is of, ``parameters`` what it was asked for.
    """

    path: Path
    command: str
    commit: dict[str, Any]
    store: dict[str, Any] | None
    parameters: dict[str, Any]

    def is_of(self, commit: Commit | None = None, store: BlockStore | None = None) -> bool:
        """Whether it is of this commit and of this store, by their digests; of any where None."""
        same_commit = commit is None or self.commit.get("sha256") == commit_digest(commit)
        return same_commit and (store is None or (self.store or {}).get("digest") == store.digest)


@dataclass(frozen=True)
class Draft:
    """An analysis in the making: ``folder`` will be the result, ``work`` goes with the end."""

    folder: Path
    work: Path


def result_folder(run: Run, command: str) -> Path:
    """Where a command's result lies."""
    return run.analysis / command


def read_result(
    run: Run, command: str, commit: Commit | None = None, store: BlockStore | None = None
) -> Result | None:
    """A command's finished result; None where there is none, or none of this commit and store.

    Without ``commit`` and ``store`` it may be of any.
    """
    result = read_folder(result_folder(run, command))
    if result is None or result.command != command:
        return None
    return result if result.is_of(commit, store) else None


def read_folder(folder: Path) -> Result | None:
    """The result in a folder; None where there is none that can be read."""
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or [stored.get(k) for k in ("format", "version")] != KIND:
        return None
    parts = (stored[key] for key in ("command", "commit", "store", "parameters"))
    return Result(folder, *parts)


def result_manifest(
    command: str, commit: Commit, store: BlockStore | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """What a result's manifest says, but for when it was made."""
    of_store = None
    if store is not None:
        of_store = {"path": store.path, "digest": store.digest, "images": store.images}
    return {
        "format": FORMAT,
        "version": VERSION,
        "command": command,
        "yfccdask": version("yfccdask"),
        "commit": {"number": commit.number, "sha256": commit_digest(commit)},
        "store": of_store,
        "parameters": dict(parameters),
    }


@contextmanager
def new_result(
    run: Run,
    command: str,
    commit: Commit,
    store: BlockStore | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Iterator[Draft]:
    """Give a folder to write a result in; on leaving it becomes the command's result, whole.

    It takes the place of a former one only then. After an error or a kill the draft stays, and the
    same request (command, commit, store, parameters) finds its ``work`` and its files again;
    another request starts from nothing.

    Parameters
    ----------
    run : Run
    command : str
        The folder's name.
    commit : Commit
        What the result is of.
    store : BlockStore, optional
        Whose images were looked at.
    parameters : mapping, optional
        What was asked for, as JSON can hold it.

    Raises
    ------
    StoreError
        If another process is at work on the same result.
    DiskFull
        If there is no room for it.
    """
    manifest = result_manifest(command, commit, store, parameters or {})
    with whole_folder(result_folder(run, command), manifest) as draft:
        yield draft


@contextmanager
def whole_folder(final: Path, manifest: Mapping[str, Any]) -> Iterator[Draft]:
    """The same for a folder anywhere, whose ``manifest`` says what it is of."""
    with needing_room(final), claimed(final) as partial:
        begin(partial, dict(manifest))
        yield Draft(partial, partial / WORK)
        whole = {**manifest, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        write_text(partial / MANIFEST, json.dumps(whole, indent=1) + "\n")
        _set_aside(final)
        publish_partial(partial, final)
        shutil.rmtree(_former(final), ignore_errors=True)


@contextmanager
def needing_room(path: Path) -> Iterator[None]:
    """Around what writes an analysis at ``path``: a full disk becomes an error with advice.

    Raises
    ------
    DiskFull
        If the disk, or one's share of it, has no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = next(folder for folder in path.absolute().parents if folder.exists())
        free = shutil.disk_usage(where).free
        raise DiskFull(
            f"{path}: expected room for the result, found {free:,} bytes free: make room, then run "
            "the same command again"
        ) from None


def chosen_commit(run: Run, number: int | None = None) -> Commit:
    """The commit of this number, or the latest.

    Raises
    ------
    RunError
        If there is none.
    """
    if number is None:
        return run.commit()
    there = commit_numbers(run.checkpoints)
    if number not in there:
        raise RunError(
            f"{run.path}: expected a commit out of {sorted(there)}, found {number}: "
            "`yfccdask checkpoint ls RUN` lists them"
        )
    return open_commit(commit_folder(run.checkpoints, number))


def commit_digest(commit: Commit) -> str:
    """What identifies a commit's content: the SHA-256 of its manifest."""
    return hashlib.sha256((commit.path / "manifest.json").read_bytes()).hexdigest()


def _former(final: Path) -> Path:
    return final.with_name(f".{final.name}.former")


def _set_aside(final: Path) -> None:
    """Make room for a new result; a kill between here and its rename leaves none."""
    shutil.rmtree(_former(final), ignore_errors=True)
    if final.exists():
        final.rename(_former(final))
