"""Files: which photographs there are, what became of them, and folders that are whole or absent.

A manifest is a `pandas.DataFrame` with one row per file and the columns of `COLUMNS`. Listing
happens here, once, and never inside a task; ingest asks nothing else of a source.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from yfccdask.data.durable import publish, write_text
from yfccdask.errors import DataError, StoreError

try:
    import fcntl
except ImportError:  # no locks where the system has none
    fcntl = None  # type: ignore[assignment]

CREDITS = "CREDITS.tsv"
STATUS_COLUMNS = (
    *("id", "source", "outcome", "reason", "images", "block", "index"),
    *("source_digest", "width", "height", "credit", "licence"),
)
REQUEST, LOCK, STAGING = "request.json", "lock", "staging"
COLUMNS = ("id", "source", "credit", "licence")
CREDIT_COLUMNS = ("file", "package", "version", "path", "licence", "credit")


def folder_manifest(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """List the files below a folder, sorted by their path within it.

    Hidden files and folders are left out, and so are links to folders and links whose target
    lies outside. If the folder holds a `CREDITS.tsv` (see `data.sample_photos`), it gives the
    credits and licences and is not itself a photograph.

    Parameters
    ----------
    folder : path

    Returns
    -------
    pandas.DataFrame
        One row per file, all columns str: ``id`` (relative POSIX path), ``source`` (absolute
        path), ``credit`` and ``licence`` ("" where unknown).

    Raises
    ------
    DataError
        The folder is absent, not a folder, or holds no file.
    """
    root = Path(os.path.abspath(folder))
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(
            f"expected a folder of photographs at {root}, found {found}: check the path"
        )
    paths = sorted((relative.as_posix(), relative) for relative in _files(root))
    if not paths:
        raise DataError(
            f"expected photographs in {root}, found no file (hidden ones are left out): "
            "put photographs there or name another folder"
        )
    known = _credits(root / CREDITS)
    rows = [
        (printable(name), str(root / relative), *known.get(name, ("", "")))
        for name, relative in paths
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def listed(source: str | os.PathLike[str] | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """List a source, a folder or a manifest, sorted by id, and say in words what it is."""
    if isinstance(source, pd.DataFrame):
        return _checked(source), f"a manifest of {len(source)} files"
    folder = os.path.abspath(source)
    return _checked(folder_manifest(folder)), printable(folder)


def _checked(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return a manifest's known columns sorted by id, or say what is wrong with it.

    Raises
    ------
    DataError
        A column is missing, an id appears twice or is empty, or there is no row.
    """
    if absent := [name for name in COLUMNS[:2] if name not in manifest.columns]:
        raise DataError(f"expected the columns id and source in a manifest, found no {absent}")
    if manifest.empty:
        raise DataError("expected at least one file in the manifest, found none: add rows")
    whole = manifest.reindex(columns=list(COLUMNS), fill_value="").fillna("").astype(str)
    whole["id"] = [printable(text) for text in whole["id"]]
    if twice := sorted(whole["id"][whole["id"].duplicated()]):
        raise DataError(f"expected every id once in the manifest, found {twice[0]!r} again: rename")
    if (whole["id"] == "").any():
        raise DataError("expected an id for every file in the manifest, found an empty one")
    return whole.astype(object).sort_values("id", ignore_index=True)


def files_status(files: pd.DataFrame, crops: pd.DataFrame, block_size: int) -> pd.DataFrame:
    """Say what became of every file, one row each, sorted by id.

    Parameters
    ----------
    files : pandas.DataFrame
        A manifest with the columns reason ("" if written), source_digest, width and height.
    crops : pandas.DataFrame
        One row per image in the store's order, with columns file and crop. A file's ``index``
        is the row of its crop 0.
    block_size : int
        Images per data block.
    """
    good = (files["reason"] == "").to_numpy()
    index = np.full(len(files), -1, dtype=np.int64)
    first = (crops["crop"] == 0).to_numpy()
    index[crops["file"][first]] = np.flatnonzero(first)
    found = files.assign(
        source=[printable(path) for path in files["source"]],
        outcome=np.where(good, "written", "skipped"),
        images=np.bincount(crops["file"], minlength=len(files)),
        index=index,
        block=np.where(good, index // block_size, -1),
    )
    return found[list(STATUS_COLUMNS)].sort_values("id", ignore_index=True)


def array_status(texts: dict[str, list[str]], size: int, block_size: int) -> pd.DataFrame:
    """Say of every image of an array that it was written, one row each."""
    index = np.arange(len(texts["image_id"]))
    known = {"id": texts["image_id"], "credit": texts["credit"], "licence": texts["licence"]}
    numbers = {"images": 1, "index": index, "block": index // block_size}
    fixed = {"source": "", "outcome": "written", "reason": "", "source_digest": ""}
    shape = {"width": size, "height": size}
    return pd.DataFrame({**known, **numbers}).assign(**fixed, **shape)[list(STATUS_COLUMNS)]


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
        shutil.rmtree(partial / STAGING)
        (partial / REQUEST).unlink()
        (partial / LOCK).unlink()
        for leftover in partial.rglob("*.partial"):  # of a writer that was killed
            leftover.unlink()
        publish(partial, path)


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


def ids_digest(manifest: pd.DataFrame) -> str:
    """SHA-256 over the ids of a manifest, in its order."""
    return hashlib.sha256("\n".join(manifest["id"]).encode()).hexdigest()


def printable(text: str) -> str:
    """Spell a file name that is not valid UTF-8 with backslashes, so that it can be stored."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _files(root: Path) -> Iterator[Path]:
    """Yield the relative paths of the files to ingest, in no particular order."""
    real = root.resolve()
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            relative = path.relative_to(root)
            if not name.startswith(".") and relative != Path(CREDITS) and _inside(path, real):
                yield relative


def _inside(path: Path, root: Path) -> bool:
    """Whether a path is a regular file, or a link to one that stays below the root."""
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root))


def _credits(path: Path) -> dict[str, tuple[str, str]]:
    """Read (credit, licence) per file; nothing where there is no such list."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", restval="")
        if absent := set(CREDIT_COLUMNS) - set(reader.fieldnames or ()):
            raise DataError(
                f"expected the columns {', '.join(CREDIT_COLUMNS)} in {path}, found no "
                f"{', '.join(sorted(absent))}: correct that file or rename it"
            )
        return {row["file"]: (_credit(row), row["licence"]) for row in reader}


def _credit(row: dict[str, str]) -> str:
    """Say where a photograph comes from: "package version: path (whom)"."""
    return f"{row['package']} {row['version']}: {row['path']} ({row['credit']})"
