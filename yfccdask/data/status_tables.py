"""``STORE/status.parquet``: one row per file seen, and what became of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from yfccdask.data.sources import printable

STATUS_COLUMNS = (
    *("id", "source", "outcome", "reason", "images", "block", "index"),
    *("source_digest", "width", "height", "credit", "licence"),
)


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
