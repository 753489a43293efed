"""What is cut out of a picture, and where."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yfccdask.errors import DataError

MODES = ("exact", "fast")


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
    decode : {"exact", "fast"}
        "fast" lets a JPEG be scaled by 1/2, 1/4 or 1/8 while it is decoded, as long as no square
        has to be enlarged for it: about 1 grey level away from "exact".
    """

    size: int = 300
    channels: int = 3
    crops: int = 1
    seed: int = 0
    decode: Literal["exact", "fast"] = "exact"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise DataError(f"expected 1 or 3 channels, found {self.channels}")
        if min(self.crops, self.size) < 1 or self.seed < 0:
            raise DataError(
                "expected size and crops_per_image of at least 1 and a seed of at least 0, found "
                f"{self.size}, {self.crops} and {self.seed}"
            )
        if self.decode not in MODES:
            raise DataError(f"expected decode to be exact or fast, found {self.decode!r}")


def crop_boxes(width: int, height: int, identity: str, cut: Cut) -> np.ndarray:
    """Place the squares of one image, in pixels of the image as it is stored.

    One crop is the largest centred square. Several are random: the side is log-uniform between
    ``cut.size`` and the smaller side (or the smaller side itself, if that is less), the
    position uniform. Crop k is the same whatever the number of crops, and in both modes.

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
    if cut.crops == 1:
        x, y = (width - smaller) / 2, (height - smaller) / 2
        return np.array([[x, y, x + smaller, y + smaller]])
    draws = _generator(identity, cut.seed).random((cut.crops, 3))
    sides = cut.size * max(1.0, smaller / cut.size) ** draws[:, 0]
    sides = np.minimum(sides, smaller)
    left, top = (width - sides) * draws[:, 1], (height - sides) * draws[:, 2]
    right, bottom = np.minimum(left + sides, width), np.minimum(top + sides, height)
    return np.stack([left, top, right, bottom], axis=1)


def _generator(identity: str, seed: int) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(identity.encode()).digest(), dtype="<u4")
    return np.random.default_rng([seed, *words.tolist()])
