"""What a chunk of positions knows, and the constants of a visit: no arithmetic."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from yfccdask.backend.device import library_of
from yfccdask.geometry import Rectangle

Array = Any


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

    def copied(self) -> State:
        """A fresh copy, where this one lies."""
        copy = library_of(self.weights).copy
        return State(*(copy(part) for part in self))


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


def fresh_state(weights: Array, alpha: float) -> State:
    """Weights as a state at rest: offsets and momenta zero, where the weights lie."""
    grid, inputs, dtype = weights.shape[:2], weights.shape[-1], weights.dtype
    full = library_of(weights).full
    return State(
        weights,
        full((*grid, inputs), 0, dtype),
        full(grid, alpha, dtype),
        full(weights.shape, 0, dtype),
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


class Forwarding(Protocol):
    """The forward pass of some positions at once."""

    out: Array  # (image, y, x, map)

    def groups(self) -> list[slice]:
        """Which positions are taken together, counted row by row."""

    def begin(self, group: slice) -> None:
        """Turn to a group."""

    def forward(self, images: slice) -> None:
        """Write the group's tiles of some images."""
