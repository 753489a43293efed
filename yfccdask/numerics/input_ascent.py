"""The input of unit norm that excites a unit most, by gradient ascent through the whole network.

An input is a contrast-normalised image of a set norm that is 0 outside its unit's window; where the
window is the whole image its mean is 0 too, as every photograph's is after contrast normalisation.
Ascent goes along great circles of the sphere of that norm: a step turns the input by an angle
towards its gradient. The angle grows after a step that helped and halves after one that did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yfccdask.numerics.whole_network import (
    WholeNetwork,
    gradient_below,
    trace_below,
    unit_gradients,
)

Array = Any
Unit = tuple[int, int, int]
FIRST_ANGLE, LARGEST_ANGLE, LEAST_ANGLE = 0.5, 1.0, 1e-4  # radians
GROWTH = 1.3  # of the angle after a step that helped


class Optimum(NamedTuple):
    """The best inputs (image, y, x, channel), and the units' responses to them (image,)."""

    inputs: Array
    responses: Array


def on_sphere(images: Array, windows: Array) -> Array:
    """Images alone in their windows, at a root mean square of 1 there; blank ones stay blank.

    Parameters
    ----------
    images : array (image, y, x, channel)
    windows : array (image, y, x, 1) of bool
        What each unit looks at.

    Returns
    -------
    array (image, y, x, channel)
        0 outside the windows, and of mean 0 where the window is the whole image.
    """
    alone = _admissible(images, windows)
    norm = np.sqrt(windows.sum(axis=(1, 2, 3), keepdims=True) * images.shape[-1])
    return _of_length(alone, norm.astype(images.dtype))


def responses_at(network: WholeNetwork, units: Sequence[Unit], images: Array) -> Array:
    """The response of each top-layer unit to its image (image, y, x, channel), (image,)."""
    _, field = trace_below(network, images)
    return _values(field, unit_gradients(network.layers[-1], units, field.shape[1:]))


def seeded_starts(
    network: WholeNetwork, units: Sequence[Unit], noise: Array, windows: Array
) -> Array:
    """Where to start from: the gradients at random inputs, brought onto the sphere.

    LCN makes a network blind to the scale of its input, so noise that no unit sees would never
    leave an input that began with it; a gradient has none.
    """
    trace, field = trace_below(network, on_sphere(noise, windows))
    directions = unit_gradients(network.layers[-1], units, field.shape[1:])
    return on_sphere(gradient_below(network, trace, directions), windows)


def ascend(
    network: WholeNetwork, units: Sequence[Unit], starts: Array, windows: Array, steps: int
) -> Optimum:
    """Climb from one start per unit of the network's top layer, never downwards.

    Parameters
    ----------
    network : WholeNetwork
    units : sequence of (grid_y, grid_x, unit)
    starts : array (unit, y, x, channel)
        As `seeded_starts` or `on_sphere` give them.
    windows : array (unit, y, x, 1) of bool
    steps : int
        At most so many; ends where no unit's angle is worth a step any more.
    """
    inputs, norm = starts, _lengths(starts)
    trace, field = trace_below(network, inputs)
    directions = unit_gradients(network.layers[-1], units, field.shape[1:])
    values = _values(field, directions)
    angles = np.full(len(units), FIRST_ANGLE)
    for _ in range(steps):
        gradient = _admissible(gradient_below(network, trace, directions), windows)
        tangent = _tangent(gradient, inputs, norm)
        tried = _turned(inputs, tangent, angles, norm)
        there, field = trace_below(network, tried)
        found = _values(field, directions)
        better = found > values
        inputs = np.where(better[:, None, None, None], tried, inputs)
        values = np.where(better, found, values)
        angles = np.where(better, np.minimum(angles * GROWTH, LARGEST_ANGLE), angles / 2)
        if not (angles > LEAST_ANGLE).any():
            break
        trace = there if better.all() else trace_below(network, inputs)[0]
    return Optimum(inputs, values)


def _values(field: Array, directions: Array) -> Array:
    """Responses (image,): what the top layer reads along their gradients, added in float64."""
    return (field * directions).sum(axis=(1, 2, 3), dtype=np.float64).astype(field.dtype)


def _admissible(images: Array, windows: Array) -> Array:
    """The part of images (or gradients) that an input can have."""
    whole = windows.all(axis=(1, 2, 3), keepdims=True)
    return (images - np.where(whole, images.mean(axis=(1, 2, 3), keepdims=True), 0)) * windows


def _lengths(images: Array) -> Array:
    return np.sqrt(np.square(images).sum(axis=(1, 2, 3), keepdims=True))


def _of_length(images: Array, norm: Array) -> Array:
    lengths = _lengths(images)
    return images * np.divide(norm, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _tangent(gradient: Array, inputs: Array, norm: Array) -> Array:
    """The gradient along the sphere, as long as the inputs are."""
    outward = (gradient * inputs).sum(axis=(1, 2, 3), keepdims=True)
    share = np.divide(outward, norm * norm, out=np.zeros_like(norm), where=norm > 0)
    return _of_length(gradient - share * inputs, norm)


def _turned(inputs: Array, tangent: Array, angles: Array, norm: Array) -> Array:
    """Inputs turned towards tangents; near an optimum these are rounding errors, not tangents."""
    turn = angles[:, None, None, None].astype(inputs.dtype)
    return _of_length(np.cos(turn) * inputs + np.sin(turn) * tangent, norm)
