"""Files that are there whole or not at all (fsync, rename, fsync of the folder); full disks."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from yfccdask.errors import DiskFull, RunError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to disk, and the folder itself."""
    for root, _, files in os.walk(folder):
        for name in files:
            sync_file(Path(root) / name)
        sync_folder(Path(root))


def write_text(path: Path, text: str) -> None:
    """Replace a file by ``text``: at any moment it holds the old text or the new, whole."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place, force it to the disk and rename it."""
    working = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with working.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        working.replace(path)
    except OSError:
        working.unlink(missing_ok=True)
        raise


def publish(partial: Path, final: Path) -> None:
    """Flush a finished folder and give it its name."""
    sync_tree(partial)
    partial.rename(final)
    sync_folder(final.parent)


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """Around what writes ``size`` bytes of a run at ``path``: an OSError becomes one with advice.

    Raises
    ------
    DiskFull
        If the disk, or one's share of it, has no room.
    RunError
        If it can't be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise _write_error(path, size, error) from None


def _write_error(path: Path, size: int | None, error: OSError) -> RunError:
    amount = "files" if size is None else f"{size:,} bytes"
    text = f"{path}: expected to write {amount}, found {error.strerror or error}"
    if error.errno not in NO_ROOM:
        return RunError(f"{text}: put that right, then `yfccdask resume RUN`")
    where = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(where).free
    return DiskFull(f"{text}, {free:,} bytes free: make room, then `yfccdask resume RUN`")
