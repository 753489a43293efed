"""Folders of unfinished work beside what they become; one process at a time, gone on with later."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from yfccdask.data.durable import write_text
from yfccdask.errors import StoreError

REQUEST, LOCK, STAGING = "request.json", "lock", "staging"


@contextmanager
def work_folder(out: Path, request: dict[str, Any]) -> Iterator[Path]:
    """Give a folder to work in; it goes when the work is done, and stays after an error or a kill.

    What another request has left is removed first.

    Raises
    ------
    StoreError
        The folder is not ours, or another process works in it.
    """
    folder = out.with_name(f"{out.name}.partial")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.is_symlink() or names - {REQUEST, LOCK, STAGING}:
        raise StoreError(f"expected unfinished work at {folder}, found something: move it away")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another process is writing {folder}: wait for its end") from None
        if not _same_request(folder / REQUEST, request):
            shutil.rmtree(folder / STAGING, ignore_errors=True)
            write_text(folder / REQUEST, json.dumps(request))
        (folder / STAGING).mkdir(exist_ok=True)
        yield folder / STAGING
        shutil.rmtree(folder)


def _same_request(path: Path, request: dict[str, Any]) -> bool:
    text = path.read_text() if path.is_file() else "null"
    return bool(json.loads(text) == json.loads(json.dumps(request)))


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place, force it to the disk and rename it."""
    working = path.with_name(f"{path.name}.writing")
    with working.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    working.replace(path)
