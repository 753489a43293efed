"""From the decoded batches of a wave to whole blocks, and to what is left for the next wave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from yfccdask.data.block_writing import has_block, write_block
from yfccdask.data.decoding import Cut
from yfccdask.data.durable import replace_file

CARRIED = -1  # the number of the part that the wave before has left


def wave_images(files: pd.DataFrame, cut: Cut, wave: int) -> pd.DataFrame:
    """Put the images of a wave in order: columns file, crop, part and row within the part.

    One crop a file keeps the files' order; several are mixed over the wave.

    Parameters
    ----------
    files : pandas.DataFrame
        Columns part, decoded (it gave images) and reason ("" if they are kept).
    """
    parts, decoded = files["part"].to_numpy(), files["decoded"].to_numpy()
    before = np.cumsum(decoded) - decoded  # images' files before each, over all parts
    within = before - before[np.searchsorted(parts, parts)]
    good = np.flatnonzero((files["reason"] == "").to_numpy())
    images = pd.DataFrame(
        {
            "file": np.repeat(good, cut.crops),
            "crop": np.tile(np.arange(cut.crops), len(good)),
            "part": np.repeat(parts[good], cut.crops),
            "row": np.repeat(within[good] * cut.crops, cut.crops),
        }
    )
    images["row"] += images["crop"]
    if cut.crops == 1:
        return images
    order = np.random.default_rng([cut.seed, 1, wave]).permutation(len(images))
    return images.iloc[order].reset_index(drop=True)


def gather_block(
    partial: str,
    folder: str,
    carry: str,
    b: int,
    parts: np.ndarray,
    rows: np.ndarray,
    texts: dict[str, list[str]],
) -> str:
    """Collect a block's images and write it; return its digest.

    Not again, if a killed ingest has written that very block in this wave.
    """
    done = Path(folder, f"block-{b:08d}.json")
    if done.is_file() and has_block(Path(partial), b):
        return str(json.loads(done.read_text())["digest"])
    digest = write_block(partial, b, gather(folder, carry, parts, rows), texts)
    text = json.dumps({"digest": digest})
    replace_file(done, lambda stream: stream.write(text.encode()))
    return digest


def gather_carry(folder: str, carry: str, parts: np.ndarray, rows: np.ndarray, target: str) -> int:
    """Collect the images that fill no block into a file of their own; return their number."""
    images = gather(folder, carry, parts, rows)
    replace_file(Path(target), lambda stream: np.save(stream, images))
    return len(images)


def gather(folder: str, carry: str, parts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Collect images, ``rows`` of the ``parts``, from a wave's batches and the former carry."""
    collected: np.ndarray | None = None
    for number in np.unique(parts).tolist():
        path = Path(carry) if number == CARRIED else Path(folder, f"part-{number:05d}.npy")
        decoded = np.load(path, mmap_mode="r")
        if collected is None:
            collected = np.empty((len(rows), *decoded.shape[1:]), decoded.dtype)
        here = parts == number
        collected[here] = decoded[rows[here]]
    assert collected is not None
    return collected
