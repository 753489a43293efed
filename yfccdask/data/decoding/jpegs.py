"""JPEGs through libjpeg-turbo (simplejpeg), straight into an array.

simplejpeg is asked for, never replaced: another decoder would give other bits without a word.
What it can't decode, or only complains of, is left to Pillow, which depends on the file alone.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from yfccdask.data.decoding.headers import Header
from yfccdask.data.decoding.rejections import Rejected
from yfccdask.errors import DataError

try:
    import simplejpeg
except ImportError as _absent:  # said when the first JPEG is met, not by every command
    simplejpeg: Any = None  # type: ignore[no-redef]
    _WHY = str(_absent)
else:
    _WHY = ""

ROOM = 8 * 2**20
_kept = threading.local()
LOST = {
    "premature end": "truncated",
    "bad huffman code": "damaged",
    "bad arithmetic code": "damaged",
    "instead of rst": "damaged",
}


def decode_jpeg(content: bytes, header: Header, scale: int, channels: int) -> np.ndarray | None:
    """Decode a grey, YCbCr or RGB JPEG.

    Parameters
    ----------
    content : bytes
        The whole file.
    header : Header
        What `read_header` found in it.
    scale : int
        1, 2, 4 or 8: the picture is made so much smaller by the inverse DCT.
    channels : int
        3 for RGB, 1 for the luma plane. A grey file always gives 1.

    Returns
    -------
    numpy.ndarray or None
        uint8 (y, x, channel), or None: this kind of JPEG is Pillow's. The memory is this thread's,
        and the next call overwrites it.

    Raises
    ------
    Rejected
        The file ends early, or its entropy-coded data are broken.
    DataError
        simplejpeg can't be imported here.
    """
    if simplejpeg is None:
        raise DataError(
            f"expected simplejpeg, which decodes JPEGs, found none ({_WHY}): "
            "`pip install simplejpeg`. Another decoder would give other pixels."
        )
    if header.picture.mode not in ("L", "RGB"):
        return None
    grey = channels == 1 or header.picture.mode == "L"
    width, height = header.scaled(scale)
    limits = {"min_width": width, "min_height": height} if scale > 1 else {}
    space, kind = _space(width * height * (1 if grey else 3)), "GRAY" if grey else "RGB"
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(content, kind, buffer=space, **limits)
    except ValueError as error:
        _refuse_lost(str(error))
        return None
    return pixels if pixels.shape[:2] == (height, width) else None


def _space(length: int) -> np.ndarray:
    """Memory to decode into: fresh pages for every photograph would cost a third of the time."""
    if length > ROOM:
        return np.empty(length, np.uint8)
    if not hasattr(_kept, "space"):
        _kept.space = np.empty(ROOM, np.uint8)
    return _kept.space  # type: ignore[no-any-return]


def _refuse_lost(complaint: str) -> None:
    """Refuse a file whose pixels are lost; what is only odd is left to Pillow."""
    for words, category in LOST.items():
        if words in complaint.lower():
            raise Rejected(category, complaint[:120])
