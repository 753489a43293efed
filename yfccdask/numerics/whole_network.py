"""A whole network on whole images, forward and backward, as plain products per position.

The readable form of what the engine computes in chunks. Weights are looked at position by position,
and only where a window isn't blank, so that they may be an array or read from elsewhere. A dense
layer is the one position whose window is the whole field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.contrast_gradient import (
    Normalised,
    Passes,
    contrast_passes,
    normalised,
    normalised_gradient,
)
from yfccdask.numerics.whitening import filter_images, normalise_contrast

Array = Any


class PartedWeights(Protocol):
    """Weights (grid_y, grid_x, unit, input) that need not be in memory all at once."""

    shape: tuple[int, ...]
    dtype: Any

    def parts(self, index: tuple[int, ...]) -> Iterator[tuple[slice, Array]]:
        """A position's weights (unit, input) in parts along its inputs, and where each lies."""

    def row(self, unit: tuple[int, int, int]) -> Array:
        """One unit's weights (input,)."""


class WholeLayer(NamedTuple):
    """A trained layer.

    weights : (grid_y, grid_x, unit, input), an array or `PartedWeights`
    alpha : (grid_y, grid_x)
    scale : what brings its input field to the set deviation
    window, tile : (int, int), pixels that a position reads, and writes
    stride : pixels between positions
    size : (int, int, int), the output field's height, width and maps
    contrast : the LCN of its output, None for none
    floor : LCN's least divisor
    """

    weights: Array | PartedWeights
    alpha: Array
    scale: float
    window: tuple[int, int]
    tile: tuple[int, int]
    stride: int
    contrast: ContrastWindow | None
    floor: float

    @property
    def grid(self) -> tuple[int, int]:
        """Positions per column and per row."""
        height, width = self.alpha.shape
        return int(height), int(width)

    @property
    def output(self) -> tuple[int, int, int]:
        """Height, width and maps of the field that it writes."""
        (height, width), tile, units = self.grid, self.tile, self.weights.shape[2]
        return height * tile[0], width * tile[1], units // (tile[0] * tile[1])

    def passes(self) -> Passes | None:
        """The LCN of its output field."""
        if self.contrast is None:
            return None
        return contrast_passes(self.contrast, self.output[:2], self.weights.dtype)


class WholeNetwork(NamedTuple):
    """Preprocessing and layers, from the image upwards.

    floor : contrast normalisation's floor, as a share of ``full``, the largest stored value
    whitening : (fy, fx, channel_in, channel_out), or None
    """

    floor: float
    full: float
    whitening: Array | None
    layers: tuple[WholeLayer, ...]

    @property
    def dtype(self) -> Any:
        return self.layers[0].weights.dtype if self.layers else np.dtype(np.float32)


class Trace(NamedTuple):
    """What a pass through all layers leaves for the way back."""

    outputs: list[Array]
    contrasts: list[Normalised | None]


def contrast_of(network: WholeNetwork, images: Array) -> Array:
    """Stored images (image, y, x, channel) after contrast normalisation, before whitening."""
    flat = images.reshape(len(images), -1)
    mean, deviation = flat.mean(axis=1, dtype=np.float64), flat.std(axis=1, dtype=np.float64)
    moments = mean.astype(np.float32), deviation.astype(np.float32)
    return normalise_contrast(images, *moments, network.floor, network.full, network.dtype)


def whitened(network: WholeNetwork, field: Array) -> Array:
    """Contrast-normalised images after the whitening filter, borders mirrored."""
    if network.whitening is None:
        return field
    halo = (network.whitening.shape[0] // 2, network.whitening.shape[1] // 2)
    edges = ((halo[0], halo[0]), (halo[1], halo[1]))
    return filter_images(field, network.whitening, edges)


def whitened_gradient(network: WholeNetwork, by_field: Array) -> Array:
    """The gradient by the images, from the one by their whitened field."""
    if network.whitening is None:
        return by_field
    fy, fx = network.whitening.shape[:2]
    padded = np.pad(by_field, ((0, 0), (fy - 1, fy - 1), (fx - 1, fx - 1), (0, 0)))
    reverse = np.ascontiguousarray(network.whitening[::-1, ::-1].transpose(0, 1, 3, 2))
    with_halo = filter_images(padded, reverse)
    return _folded(_folded(with_halo, fy // 2, 1), fx // 2, 2)


def _folded(values: Array, halo: int, axis: int) -> Array:
    """Add what lies in a mirrored halo to where it was mirrored from."""
    if halo == 0:
        return values
    moved = np.moveaxis(values, axis, 0)
    out = moved[halo:-halo].copy()
    out[1 : halo + 1] += moved[:halo][::-1]
    out[-halo - 1 : -1] += moved[-halo:][::-1]
    return np.moveaxis(out, 0, axis)


def layer_output(layer: WholeLayer, field: Array) -> Array:
    """A layer's output field (image, y, x, map), ``s = alpha W x`` as tiles, before LCN."""
    use_one_blas_thread()
    out = np.zeros((len(field), *layer.output), layer.weights.dtype)
    for index in np.ndindex(layer.grid):
        x = field[(slice(None), *_read(layer, index))].reshape(len(field), -1)
        if not x.any():
            continue
        code = sum(x[:, where] @ part.T for where, part in _parts(layer.weights, index))
        code = code * layer.weights.dtype.type(_gain(layer, index))
        out[(slice(None), *_written(layer, index))] = code.reshape(len(field), *layer.tile, -1)
    return out


def layer_gradient(layer: WholeLayer, by_output: Array, size: tuple[int, ...]) -> Array:
    """The gradient by a layer's input field of ``size``, from the one by its output field."""
    by_field = np.zeros((len(by_output), *size), by_output.dtype)
    for index in np.ndindex(layer.grid):
        g = by_output[(slice(None), *_written(layer, index))].reshape(len(by_output), -1)
        if not g.any():
            continue
        by_patch = np.concatenate([g @ part for _, part in _parts(layer.weights, index)], axis=1)
        by_patch *= layer.weights.dtype.type(_gain(layer, index))
        where = (slice(None), *_read(layer, index))
        by_field[where] += by_patch.reshape(len(by_output), *layer.window, -1)
    return by_field


def _parts(weights: Array | PartedWeights, index: tuple[int, ...]) -> Iterator[tuple[slice, Array]]:
    """A position's weights in parts along its inputs; an array's in one."""
    if isinstance(weights, np.ndarray):
        yield slice(None), weights[index]
    else:
        yield from weights.parts(index)


def _row(weights: Array | PartedWeights, unit: tuple[int, int, int]) -> Array:
    return weights[unit] if isinstance(weights, np.ndarray) else weights.row(unit)


def _gain(layer: WholeLayer, index: tuple[int, ...]) -> float:
    return layer.scale * float(layer.alpha[index])


def _read(layer: WholeLayer, index: tuple[int, ...]) -> tuple[slice, slice]:
    top, left = index[0] * layer.stride, index[1] * layer.stride
    return slice(top, top + layer.window[0]), slice(left, left + layer.window[1])


def _written(layer: WholeLayer, index: tuple[int, ...]) -> tuple[slice, slice]:
    (row, column), (height, width) = index, layer.tile
    return slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)


def forward_images(network: WholeNetwork, images: Array) -> list[Array]:
    """Every layer's output field for contrast-normalised images (image, y, x, channel)."""
    return forward_trace(network, images).outputs


def forward_trace(network: WholeNetwork, images: Array) -> Trace:
    """The same, with what the way back needs."""
    trace, field = trace_below(network, images)
    trace.outputs.append(layer_output(network.layers[-1], field))
    trace.contrasts.append(None)
    return trace


def trace_below(network: WholeNetwork, images: Array) -> tuple[Trace, Array]:
    """The way through all layers but the top one, and the field (image, y, x, map) it reads."""
    field, trace = whitened(network, images), Trace([], [])
    for layer in network.layers[:-1]:
        trace.outputs.append(layer_output(layer, field))
        passes = layer.passes()
        one = None if passes is None else normalised(trace.outputs[-1], passes, layer.floor)
        trace.contrasts.append(one)
        field = trace.outputs[-1] if one is None else one.out
    return trace, field


def image_gradient(network: WholeNetwork, trace: Trace, by_top: Array) -> Array:
    """The gradient by the contrast-normalised images, from the one by the top layer's output.

    Parameters
    ----------
    network : WholeNetwork
    trace : Trace
        Of the images, by `forward_trace`.
    by_top : array (image, y, x, map)
    """
    number = len(network.layers) - 1
    size = _input_size(network, trace, number)
    return gradient_below(network, trace, layer_gradient(network.layers[number], by_top, size))


def gradient_below(network: WholeNetwork, trace: Trace, by_field: Array) -> Array:
    """The same from the gradient by the field that the top layer reads (image, y, x, map).

    ``trace`` is `trace_below`'s, or `forward_trace`'s.
    """
    gradient, layers = by_field, network.layers
    for number in range(len(layers) - 2, -1, -1):
        gradient = _through_contrast(layers[number], trace.contrasts[number], gradient)
        gradient = layer_gradient(layers[number], gradient, _input_size(network, trace, number))
    return whitened_gradient(network, gradient)


def _through_contrast(layer: WholeLayer, one: Normalised | None, by_out: Array) -> Array:
    passes = layer.passes()
    if one is None or passes is None:
        return by_out
    return normalised_gradient(by_out, one, passes, layer.floor)


def _input_size(network: WholeNetwork, trace: Trace, number: int) -> tuple[int, ...]:
    """Height, width and maps of the field that a layer (counted from 0) reads."""
    layer = network.layers[number]
    if number > 0:
        one = trace.contrasts[number - 1]
        shape = trace.outputs[number - 1].shape if one is None else one.out.shape
        return tuple(shape[1:])
    sides = [
        (count - 1) * layer.stride + side
        for count, side in zip(layer.grid, layer.window, strict=True)
    ]
    return (*sides, layer.weights.shape[3] // (layer.window[0] * layer.window[1]))


def unit_gradients(
    layer: WholeLayer, units: Sequence[tuple[int, int, int]], size: tuple[int, ...]
) -> Array:
    """The gradient of one unit's response (grid_y, grid_x, unit) per image by the layer's input.

    A response is linear in what the layer reads: it is the product of a field (image, y, x, map) of
    this ``size`` with its gradient. No weights but these units' are looked at.
    """
    by_field = np.zeros((len(units), *size), layer.weights.dtype)
    for gradient, unit in zip(by_field, units, strict=True):
        row = _row(layer.weights, unit) * layer.weights.dtype.type(_gain(layer, unit[:2]))
        gradient[_read(layer, unit[:2])] = row.reshape(*layer.window, -1)
    return by_field


def unit_values(layer: WholeLayer, output: Array, units: Sequence[tuple[int, int, int]]) -> Array:
    """The response of one unit (grid_y, grid_x, unit) per image, (image,)."""
    return np.array(
        [output[image][_place(layer, unit)] for image, unit in enumerate(units)], output.dtype
    )


def unit_directions(layer: WholeLayer, units: Sequence[tuple[int, int, int]]) -> Array:
    """The gradient of `unit_values`' sum by the output field (image, y, x, map): ones and zeros."""
    by_output = np.zeros((len(units), *layer.output), layer.weights.dtype)
    for image, unit in enumerate(units):
        by_output[image][_place(layer, unit)] = 1
    return by_output


def _place(layer: WholeLayer, unit: tuple[int, int, int]) -> tuple[int, int, int]:
    """Row, column and map of a unit in the output field."""
    y, x, number = unit
    within, map_ = divmod(number, layer.output[2])
    row, column = divmod(within, layer.tile[1])
    return y * layer.tile[0] + row, x * layer.tile[1] + column, map_
