"""The first layer's filters as they form: one position's, in a mosaic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from yfccdask.dashboard.live.component import Component
from yfccdask.dashboard.live.plot_style import calm_figure, waiting_label
from yfccdask.dashboard.live.readings import Reading

TITLE = "First-layer filters"
HEIGHT, GAP = 320, 1  # pixels; of nothing between filters
WIDE = 2.4  # the picture's width by its height, about that of its place on the page
NO_FILTERS = "nothing yet: filters are looked at from the first 16 ticks on"


class FilterPicture(Component):
    """Filters of the position in the middle of the first layer; mid grey is 0."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"image": [], "width": [], "height": []})
        self.root = calm_figure(TITLE, HEIGHT, match_aspect=True)
        self.root.x_range.range_padding = self.root.y_range.range_padding = 0
        self.root.image_rgba("image", x=0, y=0, dw="width", dh="height", source=self.source)
        self.root.axis.visible = self.root.grid.visible = False
        self.waiting = waiting_label(self.root, NO_FILTERS)
        self.seen: float | None = None

    def update(self, reading: Reading) -> None:
        """Show the last filters that were looked at."""
        filters = (reading.history or {}).get("filters")
        self.waiting.visible = filters is None
        if filters is None or filters["time"] == self.seen:
            return
        self.seen = filters["time"]
        picture = filter_mosaic(filters["values"], tuple(filters["shape"]))
        height, width, _ = picture.shape
        self.source.data = {"image": [as_pixels(picture)], "width": [width], "height": [height]}
        self.root.title.text = filters_title(filters)


def filters_title(filters: dict[str, Any]) -> str:
    """Which filters they are, and after how many mini-batches."""
    row, column = filters["position"]
    shown, done = filters["shape"][0], filters["mini_batches"]
    return f"{shown} first-layer filters at position ({row}, {column}), {done:,} mini-batches"


def filter_mosaic(values: bytes, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Filters side by side, as pixels.

    Parameters
    ----------
    values : bytes
        int8 of ``shape`` (filter, y, x, channel); 127 is a filter's largest weight.

    Returns
    -------
    array (y, x, 4) of uint8
        Red, green, blue and opacity: in colour where there are three channels; of any other number
        the mean, in grey.
    """
    filters = np.frombuffer(values, np.int8).reshape(shape).astype(np.float64)
    if shape[3] != 3:
        filters = filters.mean(axis=3, keepdims=True).repeat(3, axis=3)
    pixels = np.rint(filters + 128).clip(0, 255).astype(np.uint8)
    columns = math.ceil(math.sqrt(WIDE * len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    high, wide = shape[1] + GAP, shape[2] + GAP
    canvas = np.zeros((rows * high - GAP, columns * wide - GAP, 4), np.uint8)
    for number, picture in enumerate(pixels):
        top, left = number // columns * high, number % columns * wide
        place = canvas[top : top + shape[1], left : left + shape[2]]
        place[..., :3], place[..., 3] = picture, 255
    return canvas


def as_pixels(picture: np.ndarray) -> np.ndarray:
    """A picture (y, x, 4) as Bokeh draws it: (y, x) of uint32, the lowest row first."""
    return np.ascontiguousarray(picture[::-1]).view(np.uint32)[..., 0]
