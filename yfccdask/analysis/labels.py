"""Labels of a store's images: a table of id and label, folder names, or the metadata's tags.

An image may have several labels, or none. Images that a table says nothing about are left out of
whatever labels are for: nobody knows what they are not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from yfccdask.analysis.metadata.hostile_texts import displayable
from yfccdask.analysis.store_photos import known_photos, listed_photos, metadata_keys
from yfccdask.data.blocks import BlockStore
from yfccdask.data.metadata.columns import FORMAT as METADATA_FORMAT
from yfccdask.data.metadata.engine import opened
from yfccdask.data.status_tables import WRITTEN, read_status
from yfccdask.errors import DataError

FOLDER = "folder"  # instead of a file: the name of the folder that a photograph lay in
COLUMNS = ["id", "label"]
EXAMPLES = 3  # of ids that match nothing, in messages
MOST_LABELS, MEMBER_BYTES = 2000, 1 << 30  # of more labels the most frequent are kept
LabelSource = str | os.PathLike[str] | pd.DataFrame


@dataclass(frozen=True)
class Labels:
    """Which labels every image has, in the store's order.

    Attributes
    ----------
    names : tuple of str
        The labels, sorted.
    images : DataFrame
        The labelled images, one row each: ``row`` (of the store), ``image`` and ``photo`` (ids).
    members : bool array (image, label)
    match : dict
        ``source``; ``ids`` in it, those ``matched``, ``unmatched`` and some ``examples`` of these;
        ``images`` that are labelled and ``unlabelled`` ones; ``rarer``, labels that were left out
        since there are too many.
    """

    names: tuple[str, ...]
    images: pd.DataFrame
    members: np.ndarray
    match: dict[str, Any]

    @property
    def rows(self) -> np.ndarray:
        """The labelled images' rows of the store, int64 (image,)."""
        return self.images["row"].to_numpy()

    @property
    def counts(self) -> np.ndarray:
        """Images with each label, int64 (label,)."""
        return self.members.sum(axis=0)

    def of(self, names: Sequence[str]) -> Labels:
        """Some of the labels, of the same images."""
        chosen = [self.names.index(name) for name in names]
        return Labels(tuple(names), self.images, self.members[:, chosen], self.match)

    def frequent(self, least: int, most: int) -> Labels:
        """The labels of at least ``least`` images, and of these the ``most`` frequent."""
        counts = self.counts
        order = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= least][:most]
        return self.of([self.names[i] for i in sorted(order)])

    def single(self) -> Labels:
        """The images that have exactly one label: what a classifier can be trained on."""
        keep = self.members.sum(axis=1) == 1
        images = self.images[keep].reset_index(drop=True)
        return Labels(self.names, images, self.members[keep], self.match)

    def matched_line(self) -> str:
        """How ids and images met, in one line."""
        match = self.match
        text = (
            f"{match['matched']:,} of {match['ids']:,} ids in {match['source']} are in the store; "
            f"{match['images']:,} images labelled, {match['unlabelled']:,} not"
        )
        if match["examples"]:
            text += f"; not in the store, for example: {', '.join(match['examples'])}"
        if match["rarer"]:
            text += f"; {match['rarer']:,} rarer labels left out"
        return text


def read_labels(
    source: LabelSource, store: BlockStore, blocks: Sequence[int] | None = None
) -> Labels:
    """The labels of a store's images.

    Parameters
    ----------
    source : path, "folder" or DataFrame
        CSV or Parquet with the columns id and label; several rows of an id give it several
        labels, a row with an empty label says that it has none of them. "folder" takes the name
        of the folder that each photograph lay in. Metadata that `metadata convert` wrote gives the
        tags, in small letters. An id is a photograph's, for all of its crops, or an image's own.
    store : BlockStore
    blocks : sequence of int, optional
        Only images of these.

    Raises
    ------
    DataError
        The table can't be read, has not these columns, or none of its ids is in the store.
    """
    photos = listed_photos(store, blocks)
    if isinstance(source, pd.DataFrame):
        table, name = _checked(source, "the table"), "the table"
    elif str(source) == FOLDER:
        table, name = folder_labels(store), "the folders' names"
    elif is_metadata(Path(source)):
        table, name = tag_labels(Path(source), photos), str(source)
    else:
        table, name = _checked(_read_table(Path(source)), str(source)), str(source)
    return match_labels(table, photos, name)


def match_labels(table: pd.DataFrame, photos: pd.DataFrame, source: str = "the table") -> Labels:
    """Bring a table of ids and labels together with a store's images."""
    own = table[table["id"].isin(photos["photo"])].merge(photos, left_on="id", right_on="photo")
    rest = table[~table["id"].isin(photos["photo"])]
    named = rest.merge(photos, left_on="id", right_on="image")  # single crops
    pairs = pd.concat([own, named], ignore_index=True)[["row", "id", "label"]]
    known = set(pairs["id"])
    missing = pd.unique(table.loc[~table["id"].isin(known), "id"])
    if not known:
        raise _no_match(table, photos, source)
    images = photos[photos["row"].isin(pairs["row"])].reset_index(drop=True)
    given = pairs[pairs["label"] != ""]
    kept = _frequent(given, len(images))
    names, members = _members(kept, images["row"].to_numpy())
    match = {
        "source": source,
        "ids": int(table["id"].nunique()),
        "matched": len(known),
        "unmatched": len(missing),
        "examples": _examples(missing),
        "images": len(images),
        "unlabelled": len(photos) - len(images),
        "rarer": given["label"].nunique() - len(names),
    }
    return Labels(names, images, members, match)


def folder_labels(store: BlockStore) -> pd.DataFrame:
    """The name of the folder that each of a store's photographs lay in, by id.

    Raises
    ------
    DataError
        If the store doesn't know where its images came from, as one made of an array.
    """
    parts = []
    for part in read_status(Path(store.path), ["id", "source", "outcome"]):
        good = part[part["outcome"] == WRITTEN]
        label = good["source"].map(folder_of)
        parts.append(pd.DataFrame({"id": good["id"], "label": label}))
    table = pd.concat(parts, ignore_index=True)
    if not (table["label"] != "").any():
        raise DataError(
            f"{store.path}: expected the folders that its photographs came from, found none: "
            "give a CSV or Parquet file with the columns id and label"
        )
    return table


def folder_of(source: str | None) -> str:
    """The name of the folder that a file or an archive's member lies in, else the archive's.

    >>> folder_of("/photos/cats/1.jpg"), folder_of("/a.tar::dogs/2.jpg"), folder_of("/b.zip::3.jpg")
    ('cats', 'dogs', 'b.zip')
    """
    path, _, member = (source or "").partition("::")
    own = PurePosixPath(member).parent.name
    return own or (PurePosixPath(path).name if member else PurePosixPath(path).parent.name)


def is_metadata(path: Path) -> bool:
    """Whether a path is a metadata set as `metadata convert` writes it."""
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    try:
        labels = pq.read_schema(parts[0]).metadata or {}
    except (OSError, IndexError, pa.ArrowException):
        return False
    return labels.get(b"format", b"").decode() == METADATA_FORMAT


def tag_labels(metadata: Path, photos: pd.DataFrame) -> pd.DataFrame:
    """The tags of a store's photographs, and an empty label for those known to have none."""
    unique = photos.drop_duplicates("photo")["photo"].reset_index(drop=True)
    keys = metadata_keys(unique).assign(photo=np.arange(len(unique)))
    with opened(metadata) as connection:
        connection.register("photos", keys)
        every = "unnest(CASE WHEN len(tags) > 0 THEN tags ELSE [''] END) AS label"
        found = connection.sql(known_photos(f"photo, {every}")).df()
    label = found["label"].str.lower()
    return pd.DataFrame({"id": unique.to_numpy()[found["photo"]], "label": label}).drop_duplicates()


def _read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet table; ids stay as they are written."""
    if not path.is_file():
        raise DataError(
            f"expected labels at {path}, found no such file: give a CSV or Parquet file with the "
            f"columns id and label, or `{FOLDER}`"
        )
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path).to_pandas()
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        line = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: expected CSV or Parquet, found {line}") from None


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The two columns as texts, each pair once."""
    if absent := [column for column in COLUMNS if column not in table]:
        raise DataError(
            f"{name}: expected the columns id and label, found no {' and no '.join(absent)} among "
            f"{', '.join(map(str, table.columns[:10]))}"
        )
    known = table[table["id"].notna()]
    texts = {c: known[c].astype(object).where(known[c].notna(), "").map(str) for c in COLUMNS}
    return pd.DataFrame(texts, dtype=object).drop_duplicates(ignore_index=True)


def _frequent(pairs: pd.DataFrame, images: int) -> pd.DataFrame:
    """The pairs of the most frequent labels, as many as a matrix of members has room for."""
    most = max(2, min(MOST_LABELS, MEMBER_BYTES // max(1, images)))
    counts = pairs["label"].value_counts(sort=True)
    if len(counts) <= most:
        return pairs
    order = counts.sort_index().sort_values(ascending=False, kind="stable")
    return pairs[pairs["label"].isin(order.index[:most])]


def _examples(ids: Sequence[object]) -> list[str]:
    return [displayable(str(text)[:80]) for text in ids[:EXAMPLES]]


def _members(pairs: pd.DataFrame, rows: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, sorted, and which image (of these rows, ascending or not) has which label."""
    codes, names = pd.factorize(pairs["label"].to_numpy(object), sort=True)
    members = np.zeros((len(rows), len(names)), bool)
    order = np.argsort(rows, kind="stable")
    at = order[np.searchsorted(rows, pairs["row"].to_numpy(), sorter=order)]
    members[at, codes] = True
    return tuple(map(str, names)), members


def _no_match(table: pd.DataFrame, photos: pd.DataFrame, source: str) -> DataError:
    found = ", ".join(_examples(table["id"].to_numpy())) or "no id at all"
    wanted = ", ".join(_examples(photos["photo"].to_numpy()))
    return DataError(
        f"{source}: expected ids of the store's photographs, such as {wanted}; found {found}: "
        "none of them is in the store"
    )
