"""Filters and photographs as pictures: mosaics, outlined windows, data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from yfccdask.geometry import NetworkGeometry, Rectangle

Array = Any
MID, GAP = 128, 255  # grey of a weight of 0, and of the gaps between filters
OUTLINE = "#e0115f"


def filter_pictures(filters: Array) -> Array:
    """Filters as small pictures: mid grey is 0, each scaled to its own largest weight.

    Parameters
    ----------
    filters : array (filter, y, x, channel)
        In colour where there are three channels; of any other number the mean, in grey.

    Returns
    -------
    array (filter, y, x, 3 or 1) of uint8
        A filter of zeros is all mid grey.
    """
    filters = np.asarray(filters, np.float64)
    if filters.shape[-1] not in (1, 3):
        filters = filters.mean(axis=-1, keepdims=True)
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(filters, largest, out=np.zeros_like(filters), where=largest > 0)
    return np.rint(MID + 127 * scaled).astype(np.uint8)


def mosaic(pictures: Array, *, columns: int | None = None, zoom: int = 1, gap: int = 1) -> Any:
    """Small pictures side by side, row by row, with thin gaps.

    Parameters
    ----------
    pictures : array (picture, y, x, 3 or 1) of uint8
    columns : int, optional
        Pictures in a row; where not given, half as many again as there are rows.
    zoom : int
        Pixels per pixel, nearest neighbour.
    gap : int
        Pixels between pictures, after the zoom.

    Returns
    -------
    PIL.Image
        ``columns * width * zoom + (columns - 1) * gap`` pixels wide, and likewise high.
    """
    count, height, width, channels = pictures.shape
    columns = min(count, columns or wide_columns(count))
    rows = -(-count // columns)
    step = (height * zoom + gap, width * zoom + gap)
    canvas = np.full((rows * step[0] - gap, columns * step[1] - gap, channels), GAP, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * step[0], (number % columns) * step[1]
        large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
        canvas[top : top + height * zoom, left : left + width * zoom] = large
    return as_image(canvas)


def wide_columns(count: int) -> int:
    """Columns of a mosaic half as wide again as high; a divisor of ``count`` where one is near."""
    wanted = np.sqrt(1.5 * count)
    near = [n for n in range(1, count + 1) if count % n == 0 and wanted / 1.5 <= n <= wanted * 1.5]
    return min(near, key=lambda n: abs(n - wanted)) if near else int(np.ceil(wanted))


def as_image(pixels: Array) -> Any:
    """Pixels (y, x, channel) as a PIL image: 3 channels in colour, else the mean in grey.

    uint16 is brought to uint8.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype == np.uint16:
        pixels = pixels // 257
    if pixels.shape[-1] == 3:
        return Image.fromarray(pixels.astype(np.uint8))
    return Image.fromarray(np.rint(pixels.mean(axis=-1)).astype(np.uint8))


def photo_tile(photo: Array, side: int, window: Rectangle | None = None) -> Any:
    """A photograph ``side`` pixels high, the unit's window outlined and what lies outside paler.

    Parameters
    ----------
    photo : array (y, x, channel) of uint8 or uint16
    side : int
    window : Rectangle, optional
        In the photograph's pixels; nothing is outlined where not given.

    Returns
    -------
    PIL.Image
        In colour, ``side`` x ``side``.
    """
    zoom = side / photo.shape[0]
    large = as_image(photo).convert("RGB").resize((side, side), _resampling(zoom))
    if window is None:
        return large
    box = [round(edge * zoom) for edge in (window.left, window.top, window.right, window.bottom)]
    pale = Image.blend(large, Image.new("RGB", large.size, "white"), 0.45)
    pale.paste(large.crop(box), box[:2])
    corners = (box[0], box[1], box[2] - 1, box[3] - 1)
    ImageDraw.Draw(pale).rectangle(corners, outline=OUTLINE, width=2)
    return pale


def close_up(photo: Array, side: int, window: Rectangle) -> Any:
    """What lies in a window of a photograph (y, x, channel), in colour, ``side`` pixels high."""
    part = as_image(photo[window.slices]).convert("RGB")
    size = (max(1, round(side * window.width / window.height)), side)
    return part.resize(size, _resampling(side / window.height))


def _resampling(zoom: float) -> Any:
    return Image.Resampling.BICUBIC if zoom > 1 else Image.Resampling.LANCZOS


def unit_window(geometry: NetworkGeometry, layer: int, position: tuple[int, int]) -> Rectangle:
    """The image's pixels that a position looks at through all layers below it.

    Without what normalisation and whitening add around them. ``layer`` counts from 0.
    """
    row, column = position
    region = Rectangle(row, row + 1, column, column + 1)
    for number in range(layer, 0, -1):
        read = geometry.layers[number].window_region(region)
        region = _positions_behind(geometry, number - 1, read)
    return geometry.layers[0].window_region(region)


def _positions_behind(geometry: NetworkGeometry, layer: int, pixels: Rectangle) -> Rectangle:
    """The positions of a layer that write these pixels of its normalised field."""
    below = geometry.layers[layer]
    (height, width), trim = below.tile, below.trim // 2
    return Rectangle(
        (pixels.top + trim) // height,
        -(-(pixels.bottom + trim) // height),
        (pixels.left + trim) // width,
        -(-(pixels.right + trim) // width),
    )


def data_uri(image: Any, *, photo: bool = False) -> str:
    """An image as a ``data:`` URI, PNG, or JPEG for a photograph."""
    buffer = io.BytesIO()
    if photo:
        image.save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
    else:
        image.save(buffer, "PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
