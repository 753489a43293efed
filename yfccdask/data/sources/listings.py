"""One source, whatever it is, as tables of rows: a listing is made once, never inside a task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd

from yfccdask.data.metadata.manifests import manifest_batches
from yfccdask.data.sources.archive_index import archive_rows, companions, is_archive, lost
from yfccdask.data.sources.contents import Access
from yfccdask.data.sources.folders import folder_credits, folder_files
from yfccdask.data.sources.manifest_rows import (
    WHOLE,
    checked,
    in_tables,
    printable,
    stamp_text,
    whole_files,
)
from yfccdask.errors import DataError

Source = str | os.PathLike[str] | pd.DataFrame


@dataclass(frozen=True)
class Listing:
    """A source: what it is in words, how tasks reach it, and its rows.

    Attributes
    ----------
    described : str
    local : str
        The folder or file that it is on this machine, or "".
    access : Access
    tables : callable
        Lists the source anew: tables of `ROW_COLUMNS`, in any order.
    """

    described: str
    local: str
    access: Access
    tables: Callable[[], Iterator[pd.DataFrame]]


def listing(
    source: Source,
    *,
    root: str | None = None,
    where: str | None = None,
    storage: dict[str, Any] | None = None,
) -> Listing:
    """Say how a source is listed.

    Parameters
    ----------
    source : path, address or pandas.DataFrame
        A folder of photographs and archives, an archive, a Parquet set as `metadata convert` writes
        it, each as a path or as an address that fsspec knows, or a manifest.
    root : str, optional
        What a manifest's sources are relative to: a folder or an address.
    where : str, optional
        A condition on the columns of a Parquet set.
    storage : dict, optional
        How fsspec reaches addresses, e.g. ``{"anon": True}``.

    Raises
    ------
    DataError
        ``root`` or ``where`` is given for what has none.
    """
    options = dict(storage or {})
    if isinstance(source, pd.DataFrame):
        return _of_frame(source, root, options)
    text = os.fspath(source)
    text = text if "://" in text else os.path.abspath(text)
    if text.rstrip("/").endswith(".parquet"):
        return _of_parquet(text, root, where, options)
    if root or where:
        raise DataError(
            f"expected --root and --where with a Parquet set of metadata only, found {text}: "
            "make one with `yfccdask metadata convert`"
        )
    local = "" if "://" in text else text
    walk = _bucket_tables if not local else _folder_tables
    tables = _archive_tables if is_archive(text) else walk
    return Listing(printable(text), local, Access(local, options), lambda: tables(text, options))


def _of_frame(manifest: pd.DataFrame, root: str | None, options: dict[str, Any]) -> Listing:
    def tables() -> Iterator[pd.DataFrame]:
        yield whole_files(_below(checked(manifest), root))

    local = root if root and "://" not in root else ""
    described = f"a manifest of {len(manifest)} files" + (f" below {root}" if root else "")
    return Listing(described, "", Access(local, options), tables)


def _of_parquet(path: str, root: str | None, where: str | None, options: dict[str, Any]) -> Listing:
    if not root:
        raise DataError(
            f"expected --root with {path}, found none: name the folder or the address that holds "
            "the images, e.g. s3://multimedia-commons/data/images"
        )
    root = root if "://" in root else os.path.abspath(root)

    def tables() -> Iterator[pd.DataFrame]:
        for batch in manifest_batches(path, where):
            yield whole_files(_below(checked(batch), root))

    condition = f" where {where}" if where else ""
    local = "" if "://" in root else root
    return Listing(f"{path}{condition}, images in {root}", path, Access(local, options), tables)


def _below(manifest: pd.DataFrame, root: str | None) -> pd.DataFrame:
    """Put the root before a manifest's sources."""
    if root is None:
        return manifest
    start = root.rstrip("/")
    return manifest.assign(source=[f"{start}/{name}" for name in manifest["source"]])


def _archive_tables(path: str, options: dict[str, Any]) -> Iterator[pd.DataFrame]:
    if "://" not in path and not os.path.isfile(path):
        raise DataError(f"expected an archive at {path}, found nothing: check the path")
    yield from archive_rows(path, os.path.basename(path), options)


def _folder_tables(folder: str, options: dict[str, Any]) -> Iterator[pd.DataFrame]:
    root = Path(folder)
    files = folder_files(root)
    archives = {root / name for name in files if is_archive(name.name)}
    beside = {path for archive in archives for path in companions(archive)}
    known = folder_credits(root)
    plain = [name for name in files if root / name not in archives | beside]
    yield from in_tables(_file_row(root, name, known) for name in plain)
    for archive in sorted(archives):
        yield from archive_rows(str(archive), archive.relative_to(root).as_posix(), options)


def _file_row(root: Path, name: Path, known: dict[str, tuple[str, str]]) -> tuple[object, ...]:
    path, plain = str(root / name), name.as_posix()
    credit = known.get(plain, ("", ""))
    place = (path, -1, -1, WHOLE, "", stamp_text(path))
    return (printable(plain), printable(path), *credit, *place)


def _bucket_tables(address: str, options: dict[str, Any]) -> Iterator[pd.DataFrame]:
    """List what lies below an address; its archives are opened."""
    try:
        reached, start = fsspec.core.url_to_fs(address, **options)
        found = reached.find(start, detail=True)
    except Exception as error:  # clients of object stores raise what they like
        raise lost(address, error) from error
    if not found:
        raise DataError(f"expected photographs at {address}, found nothing: check the address")
    names = {name: name.removeprefix(start).lstrip("/") or os.path.basename(name) for name in found}
    shown = [n for n in found if not any(p.startswith(".") for p in names[n].split("/"))]
    archives = sorted(name for name in shown if is_archive(name))
    inside = set(archives)
    plain = ((names[n], reached.unstrip_protocol(n), found[n]) for n in shown if n not in inside)
    yield from in_tables(_object_row(*each) for each in plain)
    for name in archives:
        yield from archive_rows(reached.unstrip_protocol(name), names[name], options)


def _object_row(name: str, address: str, facts: dict[str, Any]) -> tuple[object, ...]:
    stamp = f"{facts.get('size')}-{facts.get('ETag', facts.get('mtime', ''))}"
    return (printable(name), printable(address), "", "", address, -1, -1, WHOLE, "", stamp)
