"""Stores in the making: whole under their name, or not there; a killed one can be gone on with.

`STORE.partial` holds the request, a lock, the new part of the store as it will be, and `work`,
which is of no use once the store is whole. Its end is a rename, or for what is appended to a
store that exists, a merge: a list of renames that can be gone on with as well.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yfccdask.data.block_layout import GROUP, STATUS
from yfccdask.data.durable import publish, sync_folder, sync_tree, write_text
from yfccdask.errors import DataError, StoreError

try:
    import fcntl
except ImportError:  # no locks where the system has none
    fcntl = None  # type: ignore[assignment]

REQUEST, LOCK, WORK, WHOLE = "request.json", "lock", "work", "whole"
LISTING = "listing"
BEGUN = {LOCK, LISTING, f".{REQUEST}.partial"}  # all that there is before the request is written


def partial_of(path: Path) -> Path:
    """Where a store is made before it has its name."""
    return path.with_name(f"{path.name}.partial")


def replace_folder(source: Path, target: Path) -> Path:
    """Put a folder in the place of another one; return that place."""
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)
    return target


@contextmanager
def partial_store(path: Path, request: dict[str, Any]) -> Iterator[Path]:
    """Give an empty folder to write a store in; on leaving flush it and rename it to ``path``.

    Raises
    ------
    StoreError
        ``path`` is taken, or `path.partial` is not ours or is being written by another process.
    """
    if path.exists() or path.is_symlink():
        raise StoreError(f"expected nothing at {path}, found something: choose another path")
    with claimed(path) as partial:
        begin(partial, request, go_on=False)
        try:
            yield partial
        except DataError:
            discard(partial)
            raise
        finish_partial(partial)
        publish_partial(partial, path)


@contextmanager
def work_folder(path: Path, request: dict[str, Any]) -> Iterator[Path]:
    """Give a folder beside ``path`` to work in; it goes when the work is done.

    After an error or a kill it stays, and the same request goes on with what is in it; what another
    one has left is removed first.

    Raises
    ------
    StoreError
        `path.partial` is not ours or is being written by another process.
    """
    with claimed(path) as partial:
        begin(partial, request)
        yield partial / WORK
        discard(partial)


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Hold the lock of a store's partial folder, which must be ours or new.

    Raises
    ------
    StoreError
        It is neither, or another process holds it.
    """
    partial = partial_of(path)
    names = set(os.listdir(partial)) if partial.is_dir() else set()
    if partial.is_symlink() or (names - BEGUN and REQUEST not in names):
        raise StoreError(
            f"expected an unfinished store at {partial}, found something: move it away"
        )
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / LOCK).open("a") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another process is writing {partial}: wait for its end") from error
        try:
            yield partial
        finally:
            shutil.rmtree(partial / LISTING, ignore_errors=True)
            if partial.is_dir() and set(os.listdir(partial)) <= BEGUN:
                discard(partial)


def begin(partial: Path, request: dict[str, Any], go_on: bool = True) -> bool:
    """Make a claimed folder ready for a request; say whether it goes on with that very request.

    Raises
    ------
    StoreError
        Another request has finished waves there: nobody's work is thrown away unasked.
    """
    former = former_request(partial)
    if go_on and former == json.loads(json.dumps(request)):
        (partial / WORK).mkdir(exist_ok=True)
        return True
    if go_on and any((partial / WORK / "ledger").glob("wave-*.json")):
        others = [key for key in request if request[key] != (former or {}).get(key)]
        raise StoreError(
            f"expected to go on with the unfinished store {partial}, found that it is of another "
            f"{', '.join(others)}: run that ingest again to finish it, or remove the folder"
        )
    _empty(partial, LOCK, LISTING, REQUEST)
    write_text(partial / REQUEST, json.dumps(request))
    (partial / WORK).mkdir(exist_ok=True)
    return False


def former_request(partial: Path) -> dict[str, Any] | None:
    """What a folder was begun for; None where that isn't known."""
    path = partial / REQUEST
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found


def finish_partial(partial: Path) -> None:
    """Flush what was written and mark it as whole: from here on only renames are left."""
    for leftover in partial.rglob("*.partial"):  # of a writer that was killed
        leftover.unlink()
    write_text(partial / WHOLE, "")


def is_whole(partial: Path) -> bool:
    """Whether nothing is left to do but to give what was made its place."""
    return (partial / WHOLE).is_file()


def publish_partial(partial: Path, path: Path) -> None:
    """Give a whole store its name."""
    shutil.rmtree(partial / WORK, ignore_errors=True)
    publish(partial, path)
    tidy(path)


def tidy(path: Path) -> None:
    """Remove what a publication that was killed at its very end has left in the store."""
    for name in (WHOLE, REQUEST, LOCK):
        (path / name).unlink(missing_ok=True)


def merge_partial(partial: Path, path: Path) -> None:
    """Move what a whole partial folder adds into its store; can be killed and begun again.

    Chunks come first, which nobody sees before the metadata says so; then metadata, the group's
    own last.
    """
    shutil.rmtree(partial / WORK, ignore_errors=True)
    sync_tree(partial)
    top = Path(GROUP, "zarr.json")
    found = [path for root in (GROUP, STATUS) for path in (partial / root).rglob("*")]
    files = sorted({path.relative_to(partial) for path in found if path.is_file()} - {top})
    seen = [name for name in files if name.name == "zarr.json" or "block_" in str(name)]
    hidden = [name for name in files if name not in set(seen)]
    for name in [*hidden, *seen, top]:
        if (partial / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).replace(path / name)
    for folder in {(path / name).parent for name in (*files, top)}:
        sync_folder(folder)
    discard(partial)


def discard(partial: Path) -> None:
    """Remove a claimed folder: its request last, so that a kill leaves it ours."""
    _empty(partial, LOCK, REQUEST)
    shutil.rmtree(partial)


def _empty(folder: Path, *keep: str) -> None:
    """Empty a folder but for some names: first what says that the rest is of use."""
    found = sorted(folder.iterdir(), key=lambda path: path.name not in (WHOLE, WORK))
    for path in found:
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
