"""How fast photographs become squares: ``python -m benchmarks.decoding [FOLDER OF PHOTOGRAPHS]``.

Without a folder the 63 sample photographs are fetched. They are scaled to Flickr's sizes (500 and
1024 pixels on the longest side) and stored as JPEG of quality 90. The reference is plain Pillow:
open, convert to RGB, crop the centre in whole pixels, resize to 300 x 300 with BICUBIC; ours is the
whole of `decode`, header, EXIF and placeholder check included. Process CPU time of one core, for
every group of 8 photographs the best of several rounds in which all take turns. Differences are to
Pillow's resize of the same floating box. "native" is the photographs that have at least 1000 pixels
as they come: enlarged ones have less detail, hence fewer coefficients, than what a camera leaves.

Two processes are timed by the wall clock, best of several, on a machine on which nothing else
may run.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.recording import record
from yfccdask.data import fetch_samples
from yfccdask.data.decoding import Cut, crop_boxes, decode

SIZES, ROUNDS, GROUP, SQUARE = (500, 1024), 9, 8, 300
BICUBIC = Image.Resampling.BICUBIC
MODES = {"exact": Cut(SQUARE), "fast": Cut(SQUARE, decode="fast")}
Make = Callable[[bytes], np.ndarray]


def photographs(folder: Path) -> list[Image.Image]:
    """Every photograph of a folder, as RGB."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]
    return [Image.open(path).convert("RGB") for path in paths]


def as_jpeg(picture: Image.Image, longest: int) -> bytes:
    """The picture as Flickr would serve it at this size."""
    scale = longest / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    stream = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def plain_pillow(content: bytes) -> np.ndarray:
    """The reference that is timed."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((SQUARE, SQUARE), BICUBIC))


def exact_box(content: bytes) -> np.ndarray:
    """The reference that is compared: Pillow's resize of the floating box."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    box = tuple(crop_boxes(*picture.size, "id", MODES["exact"])[0].tolist())
    return np.asarray(picture.resize((SQUARE, SQUARE), BICUBIC, box=box))


def ours(content: bytes, mode: str = "exact") -> np.ndarray:
    return decode(content, "id", MODES[mode]).images[0]


def seconds(makes: dict[str, Make], contents: list[bytes]) -> dict[str, float]:
    """Process CPU seconds of each, the best of rounds in which they take turns."""
    best = dict.fromkeys(makes, float("inf"))
    for _ in range(ROUNDS):
        for name, make in makes.items():
            start = time.process_time()
            for content in contents:
                make(content)
            best[name] = min(best[name], time.process_time() - start)
    return best


def ratios(contents: list[bytes]) -> dict[str, float]:
    """Images per second of plain Pillow, and how many times faster each mode is."""
    makes: dict[str, Make] = {"pillow": plain_pillow}
    makes |= {mode: lambda content, mode=mode: ours(content, mode) for mode in MODES}
    rows = [seconds(makes, group) for group in batched(contents, GROUP)]
    total = {name: sum(row[name] for row in rows) for name in makes}
    faster = {f"{mode}, times faster": total["pillow"] / total[mode] for mode in MODES}
    return {"pillow, images per second": len(contents) / total["pillow"], **faster}


def batched(items: list[bytes], size: int) -> list[list[bytes]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def differences(contents: list[bytes]) -> dict[str, float]:
    """Mean and largest difference to Pillow, in grey levels, over all photographs."""
    found = {}
    for mode in MODES:
        apart = [np.abs(ours(one, mode) - exact_box(one).astype(int)) for one in contents]
        found[f"{mode}, mean difference"] = float(np.mean([one.mean() for one in apart]))
        found[f"{mode}, largest mean of a photograph"] = float(max(one.mean() for one in apart))
        found[f"{mode}, largest difference"] = float(max(one.max() for one in apart))
    return found


def work(contents: list[bytes]) -> int:
    """What a process does: decode everything once."""
    return sum(ours(content).shape[0] for content in contents)


def two_processes(contents: list[bytes], share: int = 4) -> float:
    """How many times more two processes decode than one, in the same time."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        list(pool.map(work, [contents[:4]] * 8))
        alone, both = [], []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(share):
                pool.submit(work, contents).result()
            alone.append(time.perf_counter() - start)
            start = time.perf_counter()
            list(pool.map(work, [contents] * (2 * share)))
            both.append(time.perf_counter() - start)
    return 2 * min(alone) / min(both)


def figures(folder: Path) -> dict[str, Any]:
    """Everything that is measured, in one run."""
    pictures = photographs(folder)
    found: dict[str, Any] = {}
    for size in SIZES:
        contents = [as_jpeg(picture, size) for picture in pictures]
        works = {"bytes per photograph": sum(map(len, contents)) / len(contents)}
        found[f"{size} pixels"] = works | ratios(contents) | differences(contents)
    native = [as_jpeg(picture, 1024) for picture in pictures if max(picture.size) >= 1000]
    works = {"bytes per photograph": sum(map(len, native)) / len(native)}
    found["1024 pixels, native"] = works | ratios(native)
    small = [as_jpeg(picture, SIZES[0]) for picture in pictures]
    return found | {"two processes": {"times one": two_processes(small)}}


def main() -> None:
    """Print and record the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch, "samples")
        if len(sys.argv) < 2:
            fetch_samples(folder)
        found = figures(folder)
    for part, values in found.items():
        print(part)
        for name, value in values.items():
            values[name] = float(f"{value:.4g}")
            print(f"  {name:40} {values[name]}")
    print(record("decoding", found))


if __name__ == "__main__":
    main()
