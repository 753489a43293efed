"""What a chunk of positions knows, and the constants of a visit: no arithmetic."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from yfccdask.backend.device import library_of
from yfccdask.geometry import Rectangle
from yfccdask.numerics.bfloat16 import BITS, is_bfloat16, narrowed, widened

Array = Any


class State(NamedTuple):
    """What a chunk of positions knows; never changed once made.

    weights, weights_momentum : (grid_y, grid_x, unit, input)
        The momentum may be stored as bfloat16's bits (`yfccdask.numerics.bfloat16`).
    offset, offset_momentum : (grid_y, grid_x, input)
    alpha, alpha_momentum : (grid_y, grid_x)
    """

    weights: Array
    offset: Array
    alpha: Array
    weights_momentum: Array
    offset_momentum: Array
    alpha_momentum: Array

    def copied(self) -> State:
        """A fresh copy, where this one lies."""
        copy = library_of(self.weights).copy
        return State(*(copy(part) for part in self))

    def whole(self) -> State:
        """The state with the momentum of its weights in float32, as it is written to files."""
        if not is_bfloat16(self.weights_momentum):
            return self
        return self._replace(weights_momentum=widened(self.weights_momentum))

    def stored(self, momentum: str) -> State:
        """The state as ``arithmetic.momentum``, ``full`` or ``half``, has it between visits."""
        if momentum == "full" or is_bfloat16(self.weights_momentum):
            return self
        return self._replace(weights_momentum=narrowed(self.weights_momentum))

    def at_rest(self) -> State:
        """The state without the momentum of its weights, which nothing will ask for again.

        Its place is taken by zeros that take no memory, on the host; the other parts are shared.
        """
        zero = np.zeros((), self.weights.dtype)
        return self._replace(weights_momentum=np.broadcast_to(zero, self.weights.shape))


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


def fresh_state(weights: Array, alpha: float, momentum: str = "full") -> State:
    """Weights before training: offsets and momenta zero, where the weights lie."""
    grid, inputs, dtype = weights.shape[:2], weights.shape[-1], weights.dtype
    full = library_of(weights).full
    return State(
        weights,
        full((*grid, inputs), 0, dtype),
        full(grid, alpha, dtype),
        full(weights.shape, 0, BITS if momentum == "half" else dtype),
        full((*grid, inputs), 0, dtype),
        full(grid, 0, dtype),
    )


def mini_batch_size(images: int, rates: tuple[Rates, ...]) -> int:
    """Images per mini-batch of ``images`` that fill whole mini-batches only."""
    size, rest = divmod(images, len(rates))
    if rest:
        raise ValueError(f"expected {len(rates)} equal mini-batches, found {images} images")
    return size


class Training(Protocol):
    """A step of some positions at once, in place: the same phases on a host and on a device.

    Between them lie the four matrix products. Nothing here looks at a value.
    """

    costs: Array  # (mini_batch, grid_y, grid_x, 2) of float64, summed over images

    def groups(self) -> list[slice]:
        """Which positions are taken together, counted row by row."""

    def begin(self, group: slice) -> None:
        """Turn to a group."""

    def gather(self, images: slice) -> None:
        """The group's patches of a mini-batch."""

    def find_codes(self) -> None:
        """``s = alpha W x`` and the sparsity's cost and slope."""

    def find_residuals(self) -> None:
        """``r = W^T s + b - x`` and its squares."""

    def find_gradients(self) -> None:
        """``g = 2 W r + slope`` and alpha's gradient."""

    def descend(self, step: int, rate: Rates) -> None:
        """Momenta, weights, offsets, alphas; the costs of mini-batch ``step``."""

    def end(self) -> None:
        """Turn from a group: its momentum is rounded where it is stored so."""

    def new(self) -> Any:
        """The state after all groups, where the one before lies."""


class Forwarding(Protocol):
    """The forward pass of some positions at once."""

    out: Array  # (image, y, x, map)

    def groups(self) -> list[slice]:
        """Which positions are taken together, counted row by row."""

    def begin(self, group: slice) -> None:
        """Turn to a group."""

    def forward(self, images: slice) -> None:
        """Write the group's tiles of some images."""

    def end(self) -> None:
        """Turn from a group."""
