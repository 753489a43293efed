"""From the bytes of image files to squares of pixels: pure functions around Pillow, and a task.

Rules, in the order in which they apply:

- Only the formats of `FORMATS` are tried; of several frames the first is taken.
- The header is read first. At most `PIXEL_CAP` pixels are decoded: larger JPEGs are scaled
  down by 2, 4 or 8 while decoding, other formats are refused.
- Every byte that the pixels need must be there: truncated files are refused.
- 16-bit grey keeps its high byte, palettes are looked up, CMYK is converted without a colour
  profile, transparency is laid on white; 32-bit and floating pixels are refused.
- Squares are cut and scaled in floating source coordinates, so nothing shifts by half a pixel,
  and then turned as the EXIF orientation says. An image is enlarged at most `ENLARGE` times.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, UnidentifiedImageError

from yfccdask.data.partial_stores import replace_file
from yfccdask.data.sources import file_stamp
from yfccdask.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
PIXEL_CAP = 24_000_000
BYTES_CAP = 512 * 2**20
ENLARGE = 2
PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OURS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"RIFF": "WEBP"}
OTHERS = {b"8BPS": "Photoshop", b"%PDF": "PDF", b"\x00\x00\x00\x0cjP": "JPEG 2000"}
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class Rejected(DataError):
    """A file that gives no image; the reason starts with one of a few fixed categories.

    The categories: not an image, unsupported format, truncated, damaged, too small, too large,
    cannot read file. What follows the colon is detail.
    """

    def __init__(self, category: str, detail: str, width: int = 0, height: int = 0):
        super().__init__(f"{category}: {detail}")
        self.category, self.width, self.height = category, width, height

    @property
    def reason(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Cut:
    """What is cut out of every image.

    Attributes
    ----------
    size : int
        Height and width of a square, in pixels.
    channels : int
        3 for RGB, 1 for grey.
    crops : int
        1 for the centre square, more for that many random squares.
    seed : int
        Seed of the random squares.
    """

    size: int = 300
    channels: int = 3
    crops: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise DataError(f"expected 1 or 3 channels, found {self.channels}")
        if min(self.crops, self.size) < 1 or self.seed < 0:
            raise DataError(
                "expected size and crops_per_image of at least 1 and a seed of at least 0, found "
                f"{self.size}, {self.crops} and {self.seed}"
            )


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
    picture = _open(content)
    width, height = picture.size
    try:
        _limit(picture, cut.size)
        _load(picture)
        turn = _orientation(picture)
        plain = _plain(picture, cut.channels)
    except Rejected as error:
        error.width, error.height = width, height
        raise
    boxes = crop_boxes(plain.width, plain.height, identity, cut)
    squares = [_square(plain, box, cut.size, turn) for box in boxes]
    shape = (len(squares), cut.size, cut.size, cut.channels)
    return Decoded(np.stack(squares).reshape(shape), width, height)


def _former_rows(listed: Path, asked: str) -> list[tuple[str, str, int, int]] | None:
    """The rows of a batch that an earlier ingest has finished, if its images are there too."""
    if not listed.is_file():
        return None
    found = json.loads(listed.read_text())
    rows = [tuple(row) for row in found["rows"]]
    whole = listed.with_suffix(".npy").is_file() or all(reason for reason, *_ in rows)
    return rows if whole and found["asked"] == asked else None


def decode_batch(
    staging: str, number: int, files: list[tuple[str, str]], cut: Cut
) -> list[tuple[str, str, int, int]]:
    """Decode some (id, path) into one array on disk; return (reason, SHA-256, width, height).

    A batch that an earlier ingest has finished is not decoded again.
    """
    listed = Path(staging, f"part-{number:05d}.json")
    asked = repr((files, [file_stamp(path) for _, path in files], cut))
    if (former := _former_rows(listed, asked)) is not None:
        return former
    rows, images = [], []
    for identity, path in files:
        digest = ""
        try:
            content = read_file(path)
            digest = hashlib.sha256(content).hexdigest()
            decoded = decode(content, identity, cut)
        except Rejected as why:
            rows.append((why.reason, digest, why.width, why.height))
        else:
            rows.append(("", digest, decoded.width, decoded.height))
            images.append(decoded.images)
    if images:
        squares = np.concatenate(images)
        replace_file(listed.with_suffix(".npy"), lambda stream: np.save(stream, squares))
    text = json.dumps({"asked": asked, "rows": rows})
    replace_file(listed, lambda stream: stream.write(text.encode()))
    return rows


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each image, (n, y, x, channel) of integers, as float32 (n,) each.

    Sums are exact integers, so neither order nor machine changes a bit.
    """
    flat = images.reshape(len(images), -1)
    count = flat.shape[1]
    wide = (row.astype(np.int64) for row in flat)
    sums = [(int(row.sum()), int(row @ row)) for row in wide]
    mean = np.array([total / count for total, _ in sums])
    spread = np.array([float(count * squares - total * total) for total, squares in sums])
    return mean.astype(np.float32), (np.sqrt(spread) / count).astype(np.float32)


def crop_boxes(width: int, height: int, identity: str, cut: Cut) -> np.ndarray:
    """Place the squares of one image, in pixels of the image as it is stored.

    One crop is the largest centred square. Several are random: the side is log-uniform between
    ``cut.size`` and the smaller side (or the smaller side itself, if that is less), the
    position uniform. Crop k is the same whatever the number of crops.

    Returns
    -------
    numpy.ndarray
        float64 (cut.crops, 4): left, top, right, bottom.

    Examples
    --------
    >>> crop_boxes(5, 4, "a.jpg", Cut(size=4)).tolist()
    [[0.5, 0.0, 4.5, 4.0]]
    """
    smaller = min(width, height)
    draws = np.full((1, 3), 0.5)
    sides = np.array([float(smaller)])
    if cut.crops > 1:
        draws = _generator(identity, cut.seed).random((cut.crops, 3))
        sides = cut.size * max(1.0, smaller / cut.size) ** draws[:, 0]
        sides = np.minimum(sides, smaller)
    left, top = (width - sides) * draws[:, 1], (height - sides) * draws[:, 2]
    right, bottom = np.minimum(left + sides, width), np.minimum(top + sides, height)
    return np.stack([left, top, right, bottom], axis=1)


def store_order(files: pd.DataFrame, cut: Cut) -> pd.DataFrame:
    """Put all images in the store's order: columns file, crop, part and row within the part."""
    good = np.flatnonzero(files["reason"] == "")
    parts = files["part"].to_numpy()[good]
    first = np.arange(len(good)) - np.searchsorted(parts, parts)
    crops = pd.DataFrame(
        {
            "file": np.repeat(good, cut.crops),
            "crop": np.tile(np.arange(cut.crops), len(good)),
            "part": np.repeat(parts, cut.crops),
            "row": np.repeat(first * cut.crops, cut.crops),
        }
    )
    crops["row"] += crops["crop"]
    if cut.crops == 1:
        return crops
    order = np.random.default_rng([cut.seed, 1]).permutation(len(crops))
    return crops.iloc[order].reset_index(drop=True)


def count_categories(files: pd.DataFrame) -> dict[str, int]:
    """Count the files without an image by the category of the reason, most frequent first."""
    reasons = (reason.split(":")[0] for reason in files["reason"] if reason)
    return dict(Counter(reasons).most_common())


def refuse_none(files: pd.DataFrame) -> None:
    """Raise a DataError that lists the reasons if no file gave an image."""
    if (files["reason"] != "").all():
        text = ", ".join(f"{count} x {name}" for name, count in count_categories(files).items())
        raise DataError(
            f"expected at least one image among {len(files)} files, found none ({text}): "
            "nothing was written, choose another folder or a smaller size"
        )


def _generator(identity: str, seed: int) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(identity.encode()).digest(), dtype="<u4")
    return np.random.default_rng([seed, *words.tolist()])


def _open(content: bytes) -> Image.Image:
    """Read the header."""
    with _rejecting():
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise _unidentified(content) from error


@contextmanager
def _rejecting() -> Iterator[None]:
    """Turn what Pillow raises on a bad file into a reason."""
    try:
        yield
    except BOMBS as error:
        raise Rejected("too large", "far more pixels than can be decoded") from error
    except (MemoryError, Rejected):
        raise
    except Exception as error:  # plugins raise almost anything on hostile bytes
        raise _undecodable(error) from error


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


def _limit(picture: Image.Image, size: int) -> None:
    """Refuse what is too small or too large; let a large JPEG be scaled while it decodes."""
    _refuse_small(picture, size)
    width, height = picture.size
    if width * height <= PIXEL_CAP:
        return
    scale = next((s for s in (2, 4, 8) if (width // s) * (height // s) <= PIXEL_CAP), 0)
    if scale and picture.format in ("JPEG", "MPO"):
        picture.draft(None, (width // scale, height // scale))
        _refuse_small(picture, size)
    if picture.width * picture.height > 1.01 * PIXEL_CAP:
        found = f"{width} x {height} pixels as {picture.format}, at most {PIXEL_CAP} are decoded"
        raise Rejected("too large", found)


def _refuse_small(picture: Image.Image, size: int) -> None:
    if ENLARGE * min(picture.size) < size:
        found = f"{picture.width} x {picture.height} pixels for squares of {size}"
        raise Rejected("too small", found)


def _load(picture: Image.Image) -> None:
    """Decode every pixel; Pillow refuses what is cut off."""
    with _rejecting():
        picture.load()


def _undecodable(error: Exception) -> Rejected:
    text = str(error)[:120]
    category = "truncated" if "truncated" in text.lower() else "damaged"
    return Rejected(category, text or type(error).__name__)


def _orientation(picture: Image.Image) -> Image.Transpose | None:
    """Look up how the picture must be turned; EXIF that cannot be read turns nothing."""
    try:
        return ORIENTATIONS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # the pixels are whole, only the notes beside them are not
        return None


def _plain(picture: Image.Image, channels: int) -> Image.Image:
    """Convert any kind of pixels to 8-bit RGB or grey."""
    if picture.mode in SIXTEEN_BIT:
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture.convert("RGBA"))
        picture = white
    elif picture.mode not in PLAIN:
        raise Rejected("unsupported format", f"{picture.format} with {picture.mode} pixels")
    wanted = "RGB" if channels == 3 else "L"
    return picture if picture.mode == wanted else picture.convert(wanted)


def _square(
    plain: Image.Image, box: np.ndarray, size: int, turn: Image.Transpose | None
) -> np.ndarray:
    """Scale one box to a square of pixels and turn it upright."""
    small = plain.resize((size, size), Image.Resampling.BICUBIC, box=tuple(box.tolist()))
    return np.asarray(small if turn is None else small.transpose(turn))
