"""What lies on a worker's own disk between visits: weight chunks and fields, as plain files.

Scratch is not a checkpoint: files are not flushed and not digested, and a run that lost them goes
on from its last commit. A file or folder gets its name when it is whole, so a task that is run
again finds either nothing or all of it.
"""

from __future__ import annotations

import math
import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from yfccdask.errors import DataError
from yfccdask.numerics.device.streaming import Hosted
from yfccdask.numerics.local_visits import State

Array = Any
PARSING = threading.Lock()


class StoredState(NamedTuple):
    """A weight chunk's state that lies on disk: the session's folder, and its place in it."""

    folder: str
    place: str

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.place


class StoredPiece(NamedTuple):
    """A piece of a field that lies on disk."""

    path: str


def store_state(folder: str, place: str, state: State) -> StoredState:
    """Write a state's six arrays into ``folder/place``; a version that is there is replaced."""
    stored = StoredState(folder, place)
    partial = stored.path.with_name(f".{stored.path.name}.{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        for name, values in state._asdict().items():
            np.save(partial / f"{name}.npy", values)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise scratch_error(partial, error) from None
    if stored.path.exists():
        shutil.rmtree(stored.path)
    partial.rename(stored.path)
    return stored


def load_state(
    state: State | StoredState | Hosted, parts: tuple[str, ...] = State._fields
) -> State:
    """A state's arrays, read from disk if they lie there: only ``parts``, the others are None.

    What is on its way to the host's memory is waited for.
    """
    if isinstance(state, State):
        return state
    if isinstance(state, Hosted):
        return state.opened()
    try:
        found = {name: read_array(state.path / f"{name}.npy") for name in parts}
        return State(*(found.get(name) for name in State._fields))
    except OSError as error:
        raise scratch_error(state.path, error) from None


def kept_like(before: State | StoredState | Hosted, state: Any, place: str) -> Any:
    """A state's next version where the one before lies: in memory, or on disk at ``place``."""
    if isinstance(before, StoredState):
        return store_state(before.folder, place, state)
    return state


def store_piece(folder: str, place: str, values: Array) -> StoredPiece:
    """Write a piece of a field as ``folder/place.npy``."""
    path = Path(folder) / f"{place}.npy"
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(partial, values)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise scratch_error(path, error) from None
    return StoredPiece(str(path))


def read_array(path: str | Path) -> Array:
    """An array from disk; headers are read one at a time.

    NumPy parses them with `ast`, which in CPython 3.11 can fail where two threads do at once
    ("AST constructor recursion depth mismatch").
    """
    with open(path, "rb") as file:
        with PARSING:
            npy_format.read_magic(file)
            shape, by_column, dtype = npy_format.read_array_header_1_0(file)
        values = np.fromfile(file, dtype, math.prod(shape))
    return values.reshape(shape, order="F" if by_column else "C")


def load_piece(stored: StoredPiece) -> Array:
    """A piece of a field from disk."""
    try:
        return read_array(stored.path)
    except OSError as error:
        raise scratch_error(Path(stored.path), error) from None


def remove_places(folder: str, places: list[str]) -> None:
    """Remove what lies at ``places``; what is gone already is no error."""
    for place in places:
        shutil.rmtree(Path(folder) / place, ignore_errors=True)


def scratch_error(path: Path, error: OSError) -> DataError:
    """What to say when scratch can't be written or read."""
    where = path
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    return DataError(
        f"{path}: expected to write and read scratch there, found {os.strerror(error.errno or 0)} "
        f"with {free:,} bytes free: make room, or name another folder with engine.scratch"
    )
