"""A store's images as photographs: ids without the number of the crop, halves, metadata's keys.

Crops of one photograph are no independent images. What is chosen on one part of a store and judged
on another is therefore split by photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from yfccdask.data.blocks import BlockStore
from yfccdask.data.metadata.engine import VIEW

FLICKR_NAME = r"^(\d{1,18})(?:_[0-9a-z]+)*$"  # 1234567_0a1b2c3d4e_o.jpg
HASH = r"^[0-9a-f]{16,32}$"  # of the metadata, the name of a file in the release's bucket


def listed_photos(store: BlockStore, blocks: Sequence[int] | None = None) -> pd.DataFrame:
    """All images of a store, or of some of its blocks, and whose photograph each one is.

    Returns
    -------
    DataFrame
        One row per image, in the blocks' order: ``row`` (int64, of the store), ``image`` (its id)
        and ``photo`` (the photograph's id: ``image`` without ``#crop``).
    """
    wanted = range(store.blocks) if blocks is None else blocks
    rows = [np.arange(store.block_images(b)) + b * store.block_size for b in wanted]
    ids = [pd.Series(store.ids(part), dtype=object) for part in rows if len(part)]
    image = pd.concat(ids, ignore_index=True) if ids else pd.Series([], dtype=object)
    found = pd.DataFrame({"row": np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)})
    found["image"] = image
    found["photo"] = image.str.rpartition("#")[0] if crops_of(store) > 1 else image
    return found


def first_blocks(store: BlockStore, images: int) -> list[int]:
    """The first blocks up to so many images, at least one; a fair sample of a shuffled store."""
    edges = np.cumsum([store.block_images(b) for b in range(store.blocks)])
    return list(range(max(1, int(np.searchsorted(edges, images, side="right")))))


def crops_of(store: BlockStore) -> int:
    """Images that a store holds of every photograph."""
    return int(store.attributes().get("crops_per_image") or 1)


def drawn_shares(photos: Sequence[str] | pd.Series, seed: int) -> np.ndarray:
    """A number in [0, 1) for every photograph, float64: it depends on id and seed alone.

    A split by it is the same whatever order the images come in, and doesn't part two crops.
    """
    values = np.asarray(photos, dtype=object)
    hashed = pd.util.hash_array(values, hash_key=f"yfccdask{seed % 10**8:08d}")
    return (hashed >> np.uint64(11)).astype(np.float64) / 2**53


def metadata_keys(photos: pd.Series) -> pd.DataFrame:
    """What YFCC100M's metadata may know a photograph by.

    Parameters
    ----------
    photos : Series of str
        Ids: a number at Flickr, or a file's name as Flickr or the release's bucket gives it.

    Returns
    -------
    DataFrame
        ``number`` (Int64, missing where there is none) and ``hash`` ("" where there is none).

    Examples
    --------
    >>> ids = pd.Series(["4711", "a/4711_00ff_o.jpg", "0a1/0a1b2c00112233445566.jpg", "cat.png"])
    >>> metadata_keys(ids)["number"].tolist()
    [4711, 4711, <NA>, <NA>]
    >>> metadata_keys(ids)["hash"].tolist()
    ['', '', '0a1b2c00112233445566', '']
    """
    stems = photos.map(lambda text: PurePosixPath(text).stem)
    number = stems.str.extract(FLICKR_NAME, expand=False)
    hashed = stems.where(stems.str.fullmatch(HASH) & number.isna(), "")
    numbers = pd.to_numeric(number, errors="coerce").astype("Int64")
    return pd.DataFrame({"number": numbers, "hash": hashed})


def known_photos(columns: str) -> str:
    """The query for columns of the metadata's rows of photographs.

    The connection must have a table ``photos`` of `metadata_keys`, whatever else is in it.
    """
    select = f"SELECT {columns} FROM {VIEW} JOIN photos ON"
    return f"{select} id = number UNION ALL {select} {VIEW}.hash = photos.hash WHERE number IS NULL"
