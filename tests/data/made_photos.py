"""Small photographs of noise, and stores compared byte by byte."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image


def photo_bytes(seed: int, width: int = 30, height: int = 24) -> bytes:
    """A JPEG of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def photo_folder(folder: Path, count: int, first: int = 0) -> Path:
    """Write ``count`` photographs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"{seed:03d}.jpg").write_bytes(photo_bytes(seed))
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
