"""Every kind of pixels that Pillow reads, as 8-bit RGB or grey.

16-bit grey keeps its high byte, palettes are looked up, CMYK is converted without a colour
profile, transparency is laid on white; 32-bit and floating pixels are refused.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from yfccdask.data.decoding.headers import Header
from yfccdask.data.decoding.rejections import Rejected, rejecting

PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
STRIP = 2**20


def load_pixels(header: Header, scale: int, channels: int) -> np.ndarray:
    """Decode every pixel with Pillow, which refuses what is cut off.

    Returns
    -------
    numpy.ndarray
        uint8 (y, x, channels).

    Raises
    ------
    Rejected
        Bytes are missing or wrong, or the pixels are of a kind that isn't read.
    """
    picture = header.picture
    with rejecting():
        if scale > 1:
            picture.draft(None, (header.width // scale, header.height // scale))
        picture.load()
        return _plain(picture, channels)


def _plain(picture: Image.Image, channels: int) -> np.ndarray:
    """Convert strip by strip, so that a large picture is never held three times."""
    deep = picture.mode in SIXTEEN_BIT or (picture.format, picture.mode) == ("PPM", "I")
    if not deep and picture.mode not in PLAIN and not picture.has_transparency_data:
        raise Rejected("unsupported format", f"{picture.format} with {picture.mode} pixels")
    width, height = picture.size
    out = np.empty((height, width, channels), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = picture.crop((0, top, width, bottom))
        strip = _convert(_high_byte(strip) if deep else strip, channels)
        out[top:bottom] = np.asarray(strip).reshape(bottom - top, width, channels)
    return out


def _high_byte(picture: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits; Pillow gives a deep PGM as 32-bit numbers up to 65535."""
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _convert(picture: Image.Image, channels: int) -> Image.Image:
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture.convert("RGBA"))
        picture = white
    wanted = "RGB" if channels == 3 else "L"
    return picture if picture.mode == wanted else picture.convert(wanted)
