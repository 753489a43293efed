"""Which photographs there are: folders and manifests.

A manifest is a `pandas.DataFrame` with one row per file and the columns of `COLUMNS`. Listing
happens here, once, and never inside a task; ingest asks nothing else of a source.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from yfccdask.errors import DataError

CREDITS = "CREDITS.tsv"
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


def files_digest(manifest: pd.DataFrame) -> str:
    """SHA-256 over ids, paths, sizes and times of change of a manifest's files, in its order."""
    pairs = zip(manifest["id"], manifest["source"], strict=True)
    lines = [repr((identity, path, file_stamp(path))) for identity, path in pairs]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_stamp(path: str) -> tuple[int, int]:
    """A file's size and time of change in nanoseconds; zeros where it can't be asked."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


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
