"""Stores in the making: whole under their name, or not there; a killed one can be gone on with."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from yfccdask.data.durable import publish, write_text
from yfccdask.errors import DataError, StoreError

try:
    import fcntl
except ImportError:  # no locks where the system has none
    fcntl = None  # type: ignore[assignment]

REQUEST, LOCK, STAGING = "request.json", "lock", "staging"


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place, force it to the disk and rename it."""
    working = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with working.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    working.replace(path)


@contextmanager
def partial_store(path: Path, request: dict[str, Any], go_on: bool = True) -> Iterator[Path]:
    """Give a folder to write a store in; on leaving flush it and rename it to ``path``.

    What a killed call with the same request has left is kept if ``go_on``, else removed.

    Raises
    ------
    StoreError
        ``path`` is taken, or `path.partial` is not ours or is being written by another process.
    """
    partial = path.with_name(f"{path.name}.partial")
    if path.exists() or path.is_symlink():
        raise StoreError(f"expected nothing at {path}, found something: choose another path")
    with _claimed(partial):
        if not go_on or not _same_request(partial / REQUEST, request):
            _remove(partial, LOCK)
        write_text(partial / REQUEST, json.dumps(request))
        (partial / STAGING).mkdir(exist_ok=True)
        try:
            yield partial
        except DataError:
            shutil.rmtree(partial)
            raise
        for leftover in partial.rglob("*.partial"):  # of a writer that was killed
            leftover.unlink()
        _remove_staging(partial / STAGING)
        publish(partial, path)
        for name in (REQUEST, LOCK):
            (path / name).unlink()


def _remove_staging(staging: Path) -> None:
    """Remove the batches: first what says that they are whole, then the rest."""
    for listed in staging.glob("*.json"):
        listed.unlink()
    shutil.rmtree(staging)


@contextmanager
def _claimed(partial: Path) -> Iterator[None]:
    """Hold the lock of a partial store, which must be ours or new."""
    names = set(os.listdir(partial)) if partial.is_dir() else set()
    if partial.is_symlink() or (names - {LOCK} and REQUEST not in names):
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
        yield


def _same_request(path: Path, request: dict[str, Any]) -> bool:
    return path.is_file() and json.loads(path.read_text()) == request


def _remove(folder: Path, *keep: str) -> None:
    """Empty a folder but for some names."""
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
