"""Photographs in a folder tree, with their credits where a list of them lies there."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from yfccdask.data.sources.manifest_rows import COLUMNS, printable
from yfccdask.errors import DataError

CREDITS = "CREDITS.tsv"
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
    paths = sorted((relative.as_posix(), relative) for relative in folder_files(root))
    known = folder_credits(root)
    rows = [
        (printable(name), str(root / relative), *known.get(name, ("", "")))
        for name, relative in paths
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def folder_files(root: Path) -> list[Path]:
    """List the relative paths of a folder's files, in no particular order.

    Raises
    ------
    DataError
        As `folder_manifest`.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(
            f"expected a folder of photographs at {root}, found {found}: check the path"
        )
    if not (paths := list(_files(root))):
        raise DataError(
            f"expected photographs in {root}, found no file (hidden ones are left out): "
            "put photographs there or name another folder"
        )
    return paths


def folder_credits(root: Path) -> dict[str, tuple[str, str]]:
    """Read (credit, licence) per file; nothing where there is no such list."""
    path = root / CREDITS
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


def _files(root: Path) -> Iterator[Path]:
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


def _credit(row: dict[str, str]) -> str:
    """Say where a photograph comes from: "package version: path (whom)"."""
    return f"{row['package']} {row['version']}: {row['path']} ({row['credit']})"
