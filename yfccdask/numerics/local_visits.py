"""One visit of a chunk of positions: all mini-batches of a data block, in place on a copy.

Per mini-batch there are four matrix products (the two outer products of the gradient are stacked
into one). Where the chunk's arrays lie decides what does the phases between them: NumPy and numba
position by position (`yfccdask.numerics.host_visits`), or kernels of a GPU for many positions at
once (`yfccdask.numerics.device.visits`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.backend.device import library_for, library_of
from yfccdask.numerics.counter_random import initial_weights
from yfccdask.numerics.device.streamed_visits import StreamedForwarding, StreamedTraining
from yfccdask.numerics.device.streaming import Hosted
from yfccdask.numerics.device.visits import DeviceForwarding, DeviceTraining
from yfccdask.numerics.device.weights import initial_weights_on
from yfccdask.numerics.fields import Pieces, as_pieces
from yfccdask.numerics.host_visits import (
    HostForwarding,
    HostTraining,
    descend_alpha,
    descend_offset,
    fill_inputs,
)
from yfccdask.numerics.states import (
    Forwarding,
    Objective,
    Rates,
    State,
    Training,
    Windows,
    fresh_state,
    mini_batch_size,
)

__all__ = [
    "Objective",
    "Rates",
    "State",
    "Windows",
    "descend_alpha",
    "descend_offset",
    "diverging",
    "fill_inputs",
    "forward_visit",
    "fresh_state",
    "initial_state",
    "mini_batch_size",
    "train_visit",
]

Array = Any
# What is no longer finite shows in the next cost, which ends the run; NumPy need not warn as well.
diverging = np.errstate(over="ignore", invalid="ignore", divide="ignore")


def initial_state(
    seed: int,
    layer: int,
    numbers: Array,
    units: int,
    inputs: int,
    alpha: float,
    dtype: Any,
    device: str = "cpu",
    momentum: str = "full",
) -> State:
    """The state of a chunk of positions before training, made on ``device``, the same bits on each.

    ``numbers`` (grid_y, grid_x) are the positions' numbers, row by row over the whole grid;
    ``momentum`` is how that of the weights is stored, ``full`` or ``half``.
    """
    library = library_for(device)
    if library.on_device:
        made = initial_weights_on(library, seed, layer, numbers, units, inputs)
        return fresh_state(made, alpha, momentum)
    grid = numbers.shape
    weights = np.empty((*grid, units, inputs), dtype)
    for index in np.ndindex(grid):
        weights[index] = initial_weights(seed, layer, int(numbers[index]), units, inputs, dtype)
    return fresh_state(weights, alpha, momentum)


@diverging
def train_visit(
    state: State | Hosted,
    field: Array | Pieces,
    scale: float,
    windows: Windows,
    objective: Objective,
    rates: tuple[Rates, ...],
    precision: str = "fp32",
) -> tuple[Any, Array]:
    """Train a chunk of positions on every mini-batch of a data block.

    Parameters
    ----------
    state : State or Hosted
        The chunk before; it stays as it is. A hosted one is streamed through the device.
    field : Pieces, or array (image, y, x, map)
        The part of the input field that the chunk's windows cover: where the state lies, or on the
        device.
    scale : float
        What the field is multiplied by to have the layer's set deviation.
    windows, objective : Windows, Objective
    rates : tuple of Rates
        One per mini-batch; there are as many images as fill them.
    precision : "fp32", "tf32" or "bf16"
        Of a GPU's matrix products; a host's are of the state's type.

    Returns
    -------
    state : State or Hosted
        Freshly made, where the old one lies.
    costs : array (mini_batch, grid_y, grid_x, 2) of float64
        Reconstruction and sparsity terms before each update, averaged over images.
    """
    use_one_blas_thread()
    pieces = as_pieces(field)
    images = mini_batch_size(pieces.images, rates)
    how = (pieces, scale, windows, objective, images, len(rates))
    training = _training(state, how, precision)
    for group in training.groups():
        training.begin(group)
        for step, rate in enumerate(rates):
            training.gather(slice(step * images, (step + 1) * images))
            training.find_codes()
            training.find_residuals()
            training.find_gradients()
            training.descend(step, rate)
        training.end()
    return training.new(), training.costs / max(images, 1)


def _training(state: State | Hosted, how: Any, precision: str) -> Training:
    """What trains a fresh copy of a state, where that lies."""
    if isinstance(state, Hosted):
        return StreamedTraining(state, *how, precision)
    if library_of(state.weights).on_device:
        return DeviceTraining(state.copied(), *(*how, precision))
    return HostTraining(state.copied(), *how)


@diverging
def forward_visit(
    state: State | Hosted,
    field: Array | Pieces,
    scale: float,
    windows: Windows,
    tile: tuple[int, int],
    rows: int,
    precision: str = "fp32",
    stored: Any = None,
) -> Array:
    """Propagate a block through a chunk of positions: ``s = alpha W x``, laid out as tiles.

    ``rows`` images go into every product (the mini-batch; the last one is padded), so that an
    image's code has the same bits whichever block it is in. ``field`` and ``precision`` are as in
    `train_visit`; ``stored`` is the type of the result, the state's unless given.

    Returns
    -------
    array (image, y, x, map)
        The chunk's part of the output field.
    """
    use_one_blas_thread()
    pieces, kind = as_pieces(field), np.dtype(stored or state.weights.dtype)
    forwarding = _forwarding(state, (pieces, scale, windows, tile, rows, kind), precision)
    for group in forwarding.groups():
        forwarding.begin(group)
        for start in range(0, pieces.images, rows):
            forwarding.forward(slice(start, min(start + rows, pieces.images)))
        forwarding.end()
    return forwarding.out


def _forwarding(state: State | Hosted, how: Any, precision: str) -> Forwarding:
    """What propagates through a state, where that lies."""
    if isinstance(state, Hosted):
        return StreamedForwarding(state, *how, precision)
    if library_of(state.weights).on_device:
        return DeviceForwarding(state, *(*how, precision))
    return HostForwarding(state, *how)
