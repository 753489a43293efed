"""JPEGs broken on purpose: what is broken, and how, follows from a number alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image

Generator = np.random.Generator
HUGE = 1 / 50  # share of mutations whose sizes may be huge: they cost the most


@cache
def seeds() -> tuple[bytes, ...]:
    """Small whole JPEGs of every kind that is met in the wild."""
    y, x = np.mgrid[:72, :96]
    noise = np.random.default_rng(0).integers(0, 40, (72, 96, 3))
    planes = np.stack([255 * x / 96, 255 * y / 72, 127 + 80 * np.sin(x / 9 + y / 5)], axis=-1)
    picture = Image.fromarray(np.clip(planes + noise - 20, 0, 255).astype(np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[str, dict[str, object]]] = [
        ("RGB", {}),
        ("RGB", {"subsampling": 0, "quality": 95}),
        ("RGB", {"progressive": True}),
        ("RGB", {"restart_marker_rows": 1, "optimize": True}),
        ("RGB", {"exif": turned, "comment": b"a comment"}),
        ("RGB", {"keep_rgb": True, "subsampling": 0}),
        ("L", {}),
        ("L", {"progressive": True}),
        ("CMYK", {}),
        ("CMYK", {"progressive": True}),
    ]
    return tuple(_encoded(picture.convert(mode), options) for mode, options in kinds)


def _encoded(picture: Image.Image, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **options)
    return stream.getvalue()


def segments(content: bytes) -> list[slice]:
    """The marker segments of a whole JPEG, up to and with the header of its first scan."""
    found, at = [], 2
    while True:
        length = 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        found.append(slice(at, at + length))
        if content[at + 1] == 0xDA:
            return found
        at += length


def flip(content: bytes, rng: Generator) -> bytes:
    """Flip one to twenty bits."""
    broken = bytearray(content)
    for at in rng.integers(0, len(content), rng.integers(1, 21)):
        broken[at] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def truncate(content: bytes, rng: Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def splice(content: bytes, rng: Generator) -> bytes:
    """Put a segment of another file in place of one of this, or before it."""
    other = seeds()[rng.integers(len(seeds()))]
    theirs, ours = _any(segments(other), rng), _any(segments(content), rng)
    end = ours.stop if rng.random() < 0.5 else ours.start
    return content[: ours.start] + other[theirs] + content[end:]


def rearrange(content: bytes, rng: Generator) -> bytes:
    """Leave a segment out, or repeat it up to forty times."""
    one = _any(segments(content), rng)
    return content[: one.start] + content[one] * int(rng.choice([0, 2, 40])) + content[one.stop :]


def change_field(content: bytes, rng: Generator) -> bytes:
    """Write other bytes into one to four places of the headers."""
    broken, end = bytearray(content), segments(content)[-1].stop
    for at in rng.integers(2, end, rng.integers(1, 5)):
        broken[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    return bytes(broken)


def fill(content: bytes, rng: Generator) -> bytes:
    """Overwrite, or insert, a run of zeros, of 0xFF or of noise."""
    start, length = int(rng.integers(2, len(content))), int(rng.integers(1, 400))
    runs = [bytes(length), b"\xff" * length, rng.bytes(length)]
    end = start + length if rng.random() < 0.5 else start
    return content[:start] + runs[rng.integers(3)] + content[end:]


def repeat_scan(content: bytes, rng: Generator) -> bytes:
    """Append the scans again, up to two hundred times."""
    start = segments(content)[-1].start
    return content[:-2] + content[start:-2] * int(rng.integers(1, 200)) + content[-2:]


def join(content: bytes, rng: Generator) -> bytes:
    """Begin with one file and end with another."""
    other = seeds()[rng.integers(len(seeds()))]
    return content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]


def enlarge(content: bytes, rng: Generator) -> bytes:
    """Claim another size, up to the largest that a JPEG can claim."""
    frame = next(one for one in segments(content) if content[one.start + 1] in (0xC0, 0xC1, 0xC2))
    height, width = (int(2 ** rng.uniform(0, 16)) for _ in range(2))
    at = frame.start + 5
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return content[:at] + size + content[at + 4 :]


MUTATIONS: Sequence[Callable[[bytes, Generator], bytes]] = (
    flip, truncate, splice, rearrange, change_field, fill, repeat_scan, join,
)  # fmt: skip


def mutated(number: int) -> tuple[str, bytes]:
    """Mutation `number`: what was done, and the file."""
    rng = np.random.default_rng([2026, number])
    content = seeds()[rng.integers(len(seeds()))]
    if rng.random() < HUGE:
        return "enlarge", enlarge(content, rng)
    mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
    return mutate.__name__, mutate(content, rng)


def _any(found: list[slice], rng: Generator) -> slice:
    return found[rng.integers(len(found))]
