"""One file to its squares: header, pixels, squares, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yfccdask.data.decoding.crops import Cut, crop_boxes
from yfccdask.data.decoding.headers import SCALES, Header, orientation, read_header
from yfccdask.data.decoding.jpegs import decode_jpeg
from yfccdask.data.decoding.pixels import load_pixels
from yfccdask.data.decoding.placeholders import refuse_placeholder
from yfccdask.data.decoding.rejections import Rejected
from yfccdask.numerics.resampling import resample

BYTES_CAP = 512 * 2**20
LEAST_SIDE = 8


@dataclass(frozen=True)
class Decoded:
    """The squares of one file, uint8 (n, size, size, channels), and its size in its header."""

    images: np.ndarray
    width: int
    height: int


def read_file(path: str) -> bytes:
    """Read a whole file.

    Raises
    ------
    Rejected
        It cannot be read, or it has more than `BYTES_CAP` bytes.
    """
    try:
        if (found := Path(path).stat().st_size) > BYTES_CAP:
            raise Rejected("too large", f"{found} bytes")
        return Path(path).read_bytes()
    except OSError as error:
        raise Rejected("cannot read file", error.strerror or type(error).__name__) from error


def decode(content: bytes, identity: str, cut: Cut) -> Decoded:
    """Decode one image file and cut its squares.

    Parameters
    ----------
    content : bytes
        The whole file.
    identity : str
        The file's id, which together with the seed and a crop's number fixes that crop.
    cut : Cut
        What to cut.

    Returns
    -------
    Decoded
        ``images`` uint8 (cut.crops, size, size, channels).

    Raises
    ------
    Rejected
        The file gives no image; `Rejected` names the categories.
    """
    header = read_header(content, cut.size)
    boxes = crop_boxes(*header.scaled(header.scale), identity, cut)
    further = _further_scale(header, boxes, cut)
    try:
        pixels = _pixels(content, header, header.scale * further, cut.channels)
        refuse_placeholder(len(content), pixels)
    except Rejected as error:
        error.width, error.height = header.width, header.height
        raise
    turn = orientation(header.picture)
    images = np.empty((len(boxes), cut.size, cut.size, pixels.shape[2]), np.uint8)
    for square, box in zip(images, boxes / further, strict=True):
        resample(pixels, box, cut.size, square)
        if turn > 1:
            square[:] = _upright(square.copy(), turn)
    if pixels.shape[2] < cut.channels:
        images = images.repeat(cut.channels, axis=3)
    return Decoded(images, header.width, header.height)


def _pixels(content: bytes, header: Header, scale: int, channels: int) -> np.ndarray:
    """Decode the whole picture, uint8 (y, x, 1 or 3)."""
    if header.is_jpeg:
        pixels = decode_jpeg(content, header, scale, channels)
        if pixels is not None:
            return pixels
    return load_pixels(header, scale, channels)


def _further_scale(header: Header, boxes: np.ndarray, cut: Cut) -> int:
    """In the fast mode, the largest scale beyond the header's at which no box is enlarged."""
    if cut.decode == "exact" or not header.is_jpeg:
        return 1
    side = (boxes[:, 2] - boxes[:, 0]).min()
    fits = (s for s in SCALES if s * header.scale <= SCALES[-1])
    return max((s for s in fits if side >= s * max(cut.size, LEAST_SIDE)), default=1)


def _upright(square: np.ndarray, turn: int) -> np.ndarray:
    """Turn a square (y, x, channel) as EXIF's orientation says."""
    if turn >= 5:  # rows and columns are exchanged
        square = square.transpose(1, 0, 2)
    if turn in (2, 3, 6, 7):
        square = square[:, ::-1]
    return square[::-1] if turn in (3, 4, 7, 8) else square
