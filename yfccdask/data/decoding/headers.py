"""What a file's header says, before a single pixel is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from yfccdask.data.decoding.rejections import Rejected, rejecting

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
PIXEL_CAP = 24_000_000
COEFFICIENT_CAP = 256 * 2**20
SCAN_CAP, SCANNED_CAP = 500, 40 * PIXEL_CAP
ENLARGE = 2
SCALES = (1, 2, 4, 8)
OURS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"RIFF": "WEBP"}
OTHERS = {b"8BPS": "Photoshop", b"%PDF": "PDF", b"\x00\x00\x00\x0cjP": "JPEG 2000"}
START_OF_SCAN, BARE_MARKERS = 0xDA, {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True)
class Header:
    """An opened file: its picture, which isn't loaded, and the scale that its size asks for."""

    picture: Image.Image
    width: int
    height: int
    scale: int

    @property
    def is_jpeg(self) -> bool:
        return self.picture.format in ("JPEG", "MPO")

    def scaled(self, scale: int) -> tuple[int, int]:
        """Width and height of the picture when 1 of `scale` x `scale` pixels is decoded."""
        return -(-self.width // scale), -(-self.height // scale)


def read_header(content: bytes, size: int) -> Header:
    """Open a file and refuse what is no image, too small for squares of `size`, or too large.

    A JPEG of more than `PIXEL_CAP` pixels is scaled while it is decoded.

    Raises
    ------
    Rejected
        With the file's width and height, where they are known.
    """
    picture = _open(content)
    width, height = picture.size
    try:
        header = Header(picture, width, height, _scale(picture))
        if header.is_jpeg:
            _refuse_costly(content, header)
        _refuse_small(*header.scaled(header.scale), size)
    except Rejected as error:
        error.width, error.height = width, height
        raise
    return header


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; EXIF that cannot be read turns nothing."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    except MemoryError:
        raise
    except Exception:  # the pixels are whole, only the notes beside them are not
        return 1


def _open(content: bytes) -> Image.Image:
    with rejecting():
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise _unidentified(content) from error


def _unidentified(content: bytes) -> Rejected:
    """Tell a cut-off header from another format and from no image at all."""
    if not content:
        return Rejected("not an image", "the file is empty")
    for start, name in OURS.items():
        if content.startswith(start):
            return Rejected("truncated", f"the {name} header is not whole")
    for start, name in OTHERS.items():
        if content.startswith(start):
            return Rejected("unsupported format", name)
    if content[4:8] == b"ftyp":
        return Rejected("unsupported format", "HEIC, AVIF or video")
    return Rejected("not an image", "no known format begins like this")


def _scale(picture: Image.Image) -> int:
    """The least scale at which the pixels are few enough."""
    width, height = picture.size
    allowed = SCALES if picture.format in ("JPEG", "MPO") else SCALES[:1]
    for scale in allowed:
        if (width // scale) * (height // scale) <= PIXEL_CAP:
            return scale
    found = f"{width} x {height} pixels as {picture.format}, at most {PIXEL_CAP} are decoded"
    raise Rejected("too large", found)


def _refuse_small(width: int, height: int, size: int) -> None:
    if ENLARGE * min(width, height) < size:
        raise Rejected("too small", f"{width} x {height} pixels for squares of {size}")


def _refuse_costly(content: bytes, header: Header) -> None:
    """Refuse a JPEG whose scans need too much memory or time, whatever the scale."""
    components, pixels = len(header.picture.getbands()), header.width * header.height
    progressive = "progressive" in header.picture.info
    if not progressive and _components_in_scan(content) in (0, components):
        return
    if (needed := 2 * pixels * components) > COEFFICIENT_CAP:
        raise Rejected("too large", f"{needed >> 20} MiB of coefficients in several scans")
    scans = content.count(b"\xff\xda")
    if scans > SCAN_CAP or scans * pixels > SCANNED_CAP:
        raise Rejected("too large", f"{scans} scans of {header.width} x {header.height} pixels")


def _components_in_scan(content: bytes) -> int:
    """How many components the first scan of a JPEG holds; 0 if there is none."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 < len(content):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            return content[at + 4]
        if marker in (0x00, 0xFF) or marker in BARE_MARKERS:
            at += 1
        else:
            at += 2 + length
    return 0
