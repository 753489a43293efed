"""What Flickr serves in place of a photograph that is gone: a few kB, nearly all of one colour."""

from __future__ import annotations

import numpy as np

from yfccdask.data.decoding.rejections import Rejected

BYTES, SIDE = 16_384, 75
SHARE, LEVELS = 0.95, 2
FEW, MANY, MARGIN = 2_048, 65_536, 0.05


def refuse_placeholder(length: int, pixels: np.ndarray) -> None:
    """Refuse a small file whose pixels are nearly all of one colour.

    Parameters
    ----------
    length : int
        Bytes of the file: more than `BYTES`, and its pixels aren't looked at.
    pixels : numpy.ndarray
        uint8 (y, x, channel). Less than `SIDE` on a side is smaller than anything of Flickr's.

    Raises
    ------
    Rejected
        Of `MANY` pixels, evenly spread, the share `SHARE` lies within `LEVELS` grey levels of one
        colour, the median of `FEW` of them.
    """
    if length > BYTES or min(pixels.shape[:2]) < SIDE:
        return
    flat = pixels.reshape(-1, pixels.shape[2])
    few = _every(flat, FEW)
    common = np.median(few, axis=0)
    if _share(few, common) < SHARE - MARGIN:  # a photograph: no need to look at more
        return
    if (share := _share(_every(flat, MANY), common)) >= SHARE:
        raise Rejected("placeholder", f"{length} bytes, {100 * share:.0f} % of one colour")


def _every(flat: np.ndarray, count: int) -> np.ndarray:
    """At most so many pixels, evenly spread."""
    return flat[:: -(-len(flat) // count)]


def _share(flat: np.ndarray, common: np.ndarray) -> float:
    return float((np.abs(flat - common) <= LEVELS).all(axis=1).mean())
