"""One visit of a chunk of positions: all mini-batches of a data block, in place on a copy.

Per position and mini-batch there are four BLAS calls (the two outer products of the gradient are
stacked into one); everything between them is compiled. Patches are copied from the pieces of the
field that a window touches straight into the buffers, which are made once per visit and used again
for every position, so that the allocator's settings don't matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.geometry import Rectangle
from yfccdask.numerics.counter_random import initial_weights
from yfccdask.numerics.fields import Part, Pieces, as_pieces, fill_patch
from yfccdask.numerics.kernels import (
    code_gradient,
    code_terms,
    descend_and_normalise,
    residual_terms,
)

Array = Any
# What is no longer finite shows in the next cost, which ends the run; NumPy need not warn as well.
diverging = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class State(NamedTuple):
    """What a chunk of positions knows; never changed once made.

    weights, weights_momentum : (grid_y, grid_x, unit, input)
    offset, offset_momentum : (grid_y, grid_x, input)
    alpha, alpha_momentum : (grid_y, grid_x)
    """

    weights: Array
    offset: Array
    alpha: Array
    weights_momentum: Array
    offset_momentum: Array
    alpha_momentum: Array


class Rates(NamedTuple):
    """Learning rates of one mini-batch."""

    weights: float
    offset: float
    alpha: float


class Objective(NamedTuple):
    """The constants of a layer's objective and its descent, in the units of its input."""

    sparsity: float
    epsilon: float
    momentum: float


class Windows(NamedTuple):
    """How a chunk's positions lie in the region that its visit is given, in pixels."""

    size: tuple[int, int]
    stride: int

    def at(self, index: tuple[int, ...]) -> Rectangle:
        """The window of the position at ``index``, from the region's corner."""
        top, left = index[0] * self.stride, index[1] * self.stride
        return Rectangle(top, top + self.size[0], left, left + self.size[1])


def initial_state(
    seed: int, layer: int, numbers: Array, units: int, inputs: int, alpha: float, dtype: Any
) -> State:
    """The state of a chunk of positions before training.

    ``numbers`` (grid_y, grid_x) are the positions' numbers, row by row over the whole grid.
    """
    grid = numbers.shape
    weights = np.empty((*grid, units, inputs), dtype)
    for index in np.ndindex(grid):
        weights[index] = initial_weights(seed, layer, int(numbers[index]), units, inputs, dtype)
    return fresh_state(weights, alpha)


def fresh_state(weights: Array, alpha: float) -> State:
    """Weights as a state at rest: offsets and momenta zero."""
    grid, inputs, dtype = weights.shape[:2], weights.shape[-1], weights.dtype
    return State(
        weights,
        np.zeros((*grid, inputs), dtype),
        np.full(grid, alpha, dtype),
        np.zeros_like(weights),
        np.zeros((*grid, inputs), dtype),
        np.zeros(grid, dtype),
    )


class _Buffers:
    """Working memory of one position's step, (2 n, D) and (2 n, K) as the stacked product wants."""

    def __init__(self, images: int, weights: Array) -> None:
        (units, inputs), dtype = weights.shape, weights.dtype
        self.xr = np.empty((2 * images, inputs), dtype)
        self.gs = np.empty((2 * images, units), dtype)
        self.z = np.empty((images, units), dtype)
        self.slope = np.empty((images, units), dtype)
        self.h = np.empty((images, units), dtype)
        self.by_weights = np.empty((units, inputs), dtype)
        self.by_offset = np.empty(inputs, dtype)
        self.images = images


@diverging
def train_visit(
    state: State,
    field: Array | Pieces,
    scale: float,
    windows: Windows,
    objective: Objective,
    rates: tuple[Rates, ...],
) -> tuple[State, Array]:
    """Train a chunk of positions on every mini-batch of a data block.

    Parameters
    ----------
    state : State
        The chunk before; it stays as it is.
    field : Pieces, or array (image, y, x, map)
        The part of the input field that the chunk's windows cover.
    scale : float
        What the field is multiplied by to have the layer's set deviation.
    windows, objective : Windows, Objective
    rates : tuple of Rates
        One per mini-batch; there are as many images as fill them.

    Returns
    -------
    state : State
        Freshly made.
    costs : array (mini_batch, grid_y, grid_x, 2) of float64
        Reconstruction and sparsity terms before each update, averaged over images.
    """
    use_one_blas_thread()
    pieces, grid = as_pieces(field), state.weights.shape[:2]
    images = mini_batch_size(pieces.images, rates)
    new = State(*(np.array(part) for part in state))
    costs = np.zeros((len(rates), *grid, 2))
    buffers = _Buffers(images, state.weights[0, 0])
    for index in np.ndindex(grid):
        parts = pieces.parts(windows.at(index))
        for step, rate in enumerate(rates):
            batch = slice(step * images, (step + 1) * images)
            fill_inputs(parts, batch, windows, scale, buffers.xr[:images])
            costs[(step, *index)] = _step(new, index, buffers, objective, rate)
    return new, costs / max(images, 1)


def mini_batch_size(images: int, rates: tuple[Rates, ...]) -> int:
    """Images per mini-batch of ``images`` that fill whole mini-batches only."""
    size, rest = divmod(images, len(rates))
    if rest:
        raise ValueError(f"expected {len(rates)} equal mini-batches, found {images} images")
    return size


def fill_inputs(parts: list[Part], images: slice, windows: Windows, scale: float, x: Array) -> None:
    """Fill ``x`` (image, input) with the scaled patches of one position's parts."""
    patch = x.reshape(len(x), *windows.size, -1)
    fill_patch(parts, images, x.dtype.type(scale), patch)


def _step(
    state: State, index: tuple[int, ...], buffers: _Buffers, objective: Objective, rate: Rates
) -> tuple[float, float]:
    """One mini-batch of one position, in place; returns the two terms of the cost."""
    n, kind = buffers.images, state.weights.dtype.type
    w, b, alpha = state.weights[index], state.offset[index], state.alpha[index]
    x, r = buffers.xr[:n], buffers.xr[n:]
    g, s = buffers.gs[:n], buffers.gs[n:]
    np.matmul(x, w.T, out=buffers.z)
    sparsity = code_terms(
        buffers.z, alpha, kind(objective.sparsity), kind(objective.epsilon), s, buffers.slope
    )
    np.matmul(s, w, out=r)
    reconstruction = residual_terms(r, x, b, buffers.by_offset)
    np.matmul(r, w.T, out=buffers.h)
    by_alpha = code_gradient(buffers.h, buffers.slope, buffers.z, alpha, s, g)
    np.matmul(buffers.gs.T, buffers.xr, out=buffers.by_weights)
    _descend(state, index, buffers, by_alpha, objective.momentum, rate)
    return reconstruction, objective.sparsity * sparsity


def _descend(
    state: State,
    index: tuple[int, ...],
    buffers: _Buffers,
    by_alpha: float,
    momentum: float,
    rate: Rates,
) -> None:
    kind, n = state.weights.dtype.type, buffers.images
    descend_and_normalise(
        state.weights[index],
        state.weights_momentum[index],
        buffers.by_weights,
        kind(momentum),
        kind(1 / n),
        kind(rate.weights),
    )
    descend_offset(state, index, buffers.by_offset, 2 / n, momentum, rate.offset)
    descend_alpha(state, index, by_alpha / n, momentum, rate.alpha)


def descend_offset(
    state: State, index: tuple[int, ...], total: Array, share: float, momentum: float, rate: float
) -> None:
    """Descend the offset of one position in place; ``share * total`` is its mean gradient."""
    kind = state.offset.dtype.type
    state.offset_momentum[index] *= kind(momentum)
    state.offset_momentum[index] += kind(share) * total
    state.offset[index] -= kind(rate) * state.offset_momentum[index]


def descend_alpha(
    state: State, index: tuple[int, ...], gradient: float, momentum: float, rate: float
) -> None:
    """Descend the alpha of one position in place, in float64 until it is stored."""
    step = momentum * float(state.alpha_momentum[index]) + gradient
    state.alpha_momentum[index] = step
    state.alpha[index] = float(state.alpha[index]) - rate * step


@diverging
def forward_visit(
    state: State,
    field: Array | Pieces,
    scale: float,
    windows: Windows,
    tile: tuple[int, int],
    rows: int,
) -> Array:
    """Propagate a block through a chunk of positions: ``s = alpha W x``, laid out as tiles.

    ``rows`` images go into every BLAS call (the mini-batch; the last call is padded), so that an
    image's code has the same bits whichever block it is in. ``field`` is as in `train_visit`.

    Returns
    -------
    array (image, y, x, map)
        The chunk's part of the output field.
    """
    use_one_blas_thread()
    pieces, (*grid, units, inputs) = as_pieces(field), state.weights.shape
    images, dtype = pieces.images, state.weights.dtype
    maps = units // (tile[0] * tile[1])
    out = np.empty((images, grid[0], tile[0], grid[1], tile[1], maps), dtype)
    x, z = np.zeros((rows, inputs), dtype), np.empty((rows, units), dtype)
    for index in np.ndindex(*grid):
        parts = pieces.parts(windows.at(index))
        for start in range(0, images, rows):
            batch = slice(start, min(start + rows, images))
            size = batch.stop - start
            fill_inputs(parts, batch, windows, scale, x[:size])
            np.matmul(x, state.weights[index].T, out=z)
            code = z[:size].reshape(size, *tile, maps)
            np.multiply(code, state.alpha[index], out=out[batch, index[0], :, index[1]])
    return out.reshape(images, grid[0] * tile[0], grid[1] * tile[1], maps)
