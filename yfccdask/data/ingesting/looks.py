"""Perceptual hashes: what a picture looks like in 64 bits, from imagehash (extra `duplicates`)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from yfccdask.data.decoding import Cut, Decoded, decode
from yfccdask.errors import DataError

try:
    import imagehash
except ImportError:  # only those who ask for near-duplicates need it
    imagehash = None

LOOK_SIZE = 64


def require_looks() -> None:
    """Raise a DataError if imagehash isn't there."""
    if imagehash is None:
        raise DataError(
            "expected the package imagehash for near-duplicates, found none: "
            "pip install 'yfccdask[duplicates]'"
        )


def look_of(content: bytes, identity: str, cut: Cut, decoded: Decoded) -> str:
    """Hash the centre square of a picture: 16 hexadecimal digits.

    Random crops of one picture look different, so with those its centre is decoded once more.
    """
    if cut.crops > 1:
        decoded = decode(content, identity, Cut(LOOK_SIZE, 3))
    pixels = decoded.images[0]
    grey = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return str(imagehash.phash(Image.fromarray(np.ascontiguousarray(grey))))
