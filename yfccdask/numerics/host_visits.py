"""The phases of a local visit on the host: one position at a time, BLAS and compiled kernels.

Patches are copied from the pieces of the field that a window touches straight into the buffers,
which are made once per visit and used again for every position, so that the allocator's settings
don't matter. The two outer products of the gradient are stacked into one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yfccdask.numerics.bfloat16 import is_bfloat16, narrow, widen
from yfccdask.numerics.fields import Part, Pieces, fill_patch
from yfccdask.numerics.kernels import (
    code_gradient,
    code_terms,
    descend_and_normalise,
    residual_terms,
)
from yfccdask.numerics.states import Objective, Rates, State, Windows

Array = Any
Index = tuple[int, ...]


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
        self.x, self.r = self.xr[:images], self.xr[images:]
        self.g, self.s = self.gs[:images], self.gs[images:]


def fill_inputs(parts: list[Part], images: slice, windows: Windows, scale: float, x: Array) -> None:
    """Fill ``x`` (image, input) with the scaled patches of one position's parts."""
    patch = x.reshape(len(x), *windows.size, -1)
    fill_patch(parts, images, x.dtype.type(scale), patch)


def one_by_one(grid: tuple[int, ...]) -> list[slice]:
    """Groups of one position."""
    return [slice(number, number + 1) for number in range(int(np.prod(grid)))]


class HostTraining:
    """`yfccdask.numerics.states.Training` with NumPy arrays."""

    def __init__(
        self,
        state: State,
        pieces: Pieces,
        scale: float,
        windows: Windows,
        objective: Objective,
        images: int,
        steps: int,
    ) -> None:
        self.state, self.pieces, self.windows = state, pieces, windows
        self.scale, self.objective, self.images = scale, objective, images
        self.grid = state.weights.shape[:2]
        self.costs = np.zeros((steps, *self.grid, 2))
        self.buffers = _Buffers(images, state.weights[0, 0])
        self.kind = state.weights.dtype.type
        self.index: Index = (0, 0)
        self.half = is_bfloat16(state.weights_momentum)
        self.momentum = np.empty_like(state.weights[0, 0]) if self.half else None

    def groups(self) -> list[slice]:
        """One position each."""
        return one_by_one(self.grid)

    def begin(self, group: slice) -> None:
        """Turn to a position, and find what each piece has of its window."""
        self.index = divmod(group.start, self.grid[1])
        self.parts = self.pieces.parts(self.windows.at(self.index))
        stored = self.state.weights_momentum[self.index]
        if self.half:
            widen(stored, self.momentum)
        else:
            self.momentum = stored

    def gather(self, images: slice) -> None:
        """The patches of a mini-batch."""
        fill_inputs(self.parts, images, self.windows, self.scale, self.buffers.x)

    def find_codes(self) -> None:
        """``z = x W^T`` and what the code alone says."""
        state, own, kind = self.state, self.buffers, self.kind
        np.matmul(own.x, state.weights[self.index].T, out=own.z)
        terms = kind(self.objective.sparsity), kind(self.objective.epsilon)
        self.magnitude = code_terms(own.z, state.alpha[self.index], *terms, own.s, own.slope)

    def find_residuals(self) -> None:
        """``r = s W + b - x``."""
        state, own = self.state, self.buffers
        np.matmul(own.s, state.weights[self.index], out=own.r)
        self.squares = residual_terms(own.r, own.x, state.offset[self.index], own.by_offset)

    def find_gradients(self) -> None:
        """``h = r W^T``, and by it ``alpha g`` beside ``2 s``."""
        state, own = self.state, self.buffers
        np.matmul(own.r, state.weights[self.index].T, out=own.h)
        alpha = state.alpha[self.index]
        self.by_alpha = code_gradient(own.h, own.slope, own.z, alpha, own.s, own.g)

    def descend(self, step: int, rate: Rates) -> None:
        """The stacked outer product, and the descent of everything."""
        state, own, index, kind = self.state, self.buffers, self.index, self.kind
        decay, n = self.objective.momentum, self.images
        np.matmul(own.gs.T, own.xr, out=own.by_weights)
        rates = kind(decay), kind(1 / n), kind(rate.weights)
        descend_and_normalise(state.weights[index], self.momentum, own.by_weights, *rates)
        descend_offset(state, index, own.by_offset, 2 / n, decay, rate.offset)
        descend_alpha(state, index, self.by_alpha / n, decay, rate.alpha)
        self.costs[(step, *index)] = self.squares, self.objective.sparsity * self.magnitude

    def end(self) -> None:
        """Round the position's momentum, if it is stored in bfloat16."""
        if self.half:
            narrow(self.momentum, self.state.weights_momentum[self.index])

    def new(self) -> State:
        """The state that was given, trained."""
        return self.state


def descend_offset(
    state: State, index: Index, total: Array, share: float, momentum: float, rate: float
) -> None:
    """Descend the offset of one position in place; ``share * total`` is its mean gradient."""
    kind = state.offset.dtype.type
    state.offset_momentum[index] *= kind(momentum)
    state.offset_momentum[index] += kind(share) * total
    state.offset[index] -= kind(rate) * state.offset_momentum[index]


def descend_alpha(
    state: State, index: Index, gradient: float, momentum: float, rate: float
) -> None:
    """Descend the alpha of one position in place, in float64 until it is stored."""
    step = momentum * float(state.alpha_momentum[index]) + gradient
    state.alpha_momentum[index] = step
    state.alpha[index] = float(state.alpha[index]) - rate * step


class HostForwarding:
    """`yfccdask.numerics.states.Forwarding` with NumPy arrays; ``rows`` images per BLAS call."""

    def __init__(
        self,
        state: State,
        pieces: Pieces,
        scale: float,
        windows: Windows,
        tile: tuple[int, int],
        rows: int,
        stored: Any,
    ) -> None:
        (*self.grid, units, inputs), dtype = state.weights.shape, state.weights.dtype
        self.state, self.pieces, self.windows, self.scale = state, pieces, windows, scale
        self.x, self.z = np.zeros((rows, inputs), dtype), np.empty((rows, units), dtype)
        (grid_y, grid_x), (height, width) = self.grid, tile
        maps = units // (height * width)
        self.tiles = np.empty((pieces.images, grid_y, height, grid_x, width, maps), stored)
        self.out = self.tiles.reshape(pieces.images, grid_y * height, grid_x * width, maps)
        self.tile = (*tile, maps)

    def groups(self) -> list[slice]:
        """One position each."""
        return one_by_one(tuple(self.grid))

    def begin(self, group: slice) -> None:
        """Turn to a position, and find what each piece has of its window."""
        self.index = divmod(group.start, self.grid[1])
        self.parts = self.pieces.parts(self.windows.at(self.index))

    def forward(self, images: slice) -> None:
        """Write the position's tiles of some images."""
        size, (i, j) = images.stop - images.start, self.index
        fill_inputs(self.parts, images, self.windows, self.scale, self.x[:size])
        np.matmul(self.x, self.state.weights[self.index].T, out=self.z)
        code, out = self.z[:size].reshape(size, *self.tile), self.tiles[images, i, :, j]
        np.multiply(code, self.state.alpha[self.index], out=out, casting="same_kind")

    def end(self) -> None:
        """Nothing is left to do for a position."""
