"""The phases of a local visit on a device: many positions at once, four products and six kernels.

Buffers are (position, image, input or unit). ``alpha`` differs per position and a strided-batched
product takes one scalar, so alpha goes into the operands, which are stacked along the images:
``XR = [alpha x; 2 r]`` and ``SG = [g; s]``. With W and the momentum M (position, unit, input):

- ``s = (alpha x) W^T``
- ``2 r = 2 s W + 2 (b - x)``, the last term put there by the gather
- ``g = 2 r W^T + sparsity s / sqrt(s^2 + epsilon)``, the last term put there by `code_terms`
- ``M = mu M + [g; s]^T [alpha x; 2 r] / n``, momentum and all

With operands of bfloat16 the stacks are bfloat16 and what the products write is float32 beside
them; the kernels that read it anyway round it into the stacks.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend.device import NAMES, Library, library_of, operand_dtype, product
from yfccdask.geometry.rectangles import spans
from yfccdask.numerics.bfloat16 import is_bfloat16
from yfccdask.numerics.device.rounding import round_into, rounded, widen_into
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.states import Objective, Rates, State, Windows

Array = Any
FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
THREADS = 256
COLUMNS = 128  # inputs per block where a thread goes down the images of one input
SLICES = 8  # blocks per position where its elements are summed up
MOST_TOGETHER = 1 << 30  # bytes of buffers: so many positions are taken together
MOST_BLOCKS = 65_535  # along a grid's second axis
ROW_IN_SHARED = 12_000  # inputs of a row of weights that shared memory (48 KiB) has room for


def apart(array: Array) -> int:
    """Elements between two positions of a buffer."""
    return int(array.strides[0] // array.dtype.itemsize)


def together(positions: int, images: int, units: int, inputs: int) -> int:
    """Positions whose stacked operands, in float32, fill the buffers."""
    each = 8 * max(images, 1) * (units + inputs)
    return min(positions, max(1, MOST_TOGETHER // each), MOST_BLOCKS)


def buffer_values(
    positions: int, images: int, units: int, inputs: int, rounded: bool, half_momentum: bool = False
) -> int:
    """Float32 values that a visit's buffers are as large as, for the plan."""
    own = together(positions, images, units, inputs)
    if half_momentum:
        without = buffer_values(positions, images, units, inputs, rounded)
        return without + own * units * inputs
    stacked = 2 * images * (units + inputs)
    if not rounded:
        return own * (stacked + inputs)
    written = images * (inputs + 2 * units)
    return own * (stacked // 2 + written + inputs + units * inputs // 2)


class _Buffers:
    """Working memory of a group of positions: what the products read, and what they write."""

    def __init__(
        self, library: Library, positions: int, images: int, sizes: tuple[int, int], precision: str
    ) -> None:
        (units, inputs), kind = sizes, operand_dtype(precision)
        self.xr = library.empty((positions, 2 * images, inputs), kind)
        self.gs = library.empty((positions, 2 * images, units), kind)
        self.x, self.r = self.xr[:, :images], self.xr[:, images:]
        self.g, self.s = self.gs[:, :images], self.gs[:, images:]
        self.rounded, self.written = kind != FLOAT, (self.r, self.g, self.s)
        if self.rounded:
            widths = (inputs, units, units)
            self.written = tuple(library.empty((positions, images, w), FLOAT) for w in widths)

    def first(self, positions: int) -> _Views:
        """The buffers of so many positions."""
        stacked = [each[:positions] for each in (self.xr, self.gs, self.x, self.r, self.g, self.s)]
        written = [each[:positions] for each in self.written]
        rounds = stacked[3:] if self.rounded else [None] * 3
        return _Views(*stacked, *written, *rounds)


class _Views(NamedTuple):
    """A group's buffers: operands of products, their float32 results, where those are rounded to.

    The third kind is None where results are operands as they are.
    """

    xr: Array
    gs: Array
    x: Array
    r: Array
    g: Array
    s: Array
    r_written: Array
    g_written: Array
    s_written: Array
    r_rounded: Array
    g_rounded: Array
    s_rounded: Array


class Gather(NamedTuple):
    """Launches the copy of a group's patches into its operands, one launch per piece of a field."""

    library: Library
    pieces: Pieces
    scale: float
    windows: Windows
    columns: int

    def launch(
        self, images: slice, first: int, alpha: Array, x: Array, offset: Array, r: Array
    ) -> None:
        """``x <- alpha scale field`` and, unless None, ``r <- 2 (offset - scale field)``."""
        blocks = (images.stop - images.start, len(x))
        grid = (first, self.columns, self.windows.stride, *self.windows.size)
        stride = 0 if r is None else apart(r)
        for array, place in zip(self.pieces.arrays, self.pieces.places, strict=True):
            name = f"gather_{NAMES[array.dtype.name]}_{NAMES[x.dtype.name]}"
            top, left = place.top - self.pieces.region.top, place.left - self.pieces.region.left
            where = (array, *array.shape[1:], images.start, top, left, *grid)
            to = (float(self.scale), alpha, offset, x, apart(x), r, stride)
            self.library.launch(name, blocks, THREADS, (*where, *to))


def flat_positions(part: Array) -> Array:
    """An array (grid_y, grid_x, …) as (position, …)."""
    return part.reshape(part.shape[0] * part.shape[1], *part.shape[2:])


class DeviceTraining:
    """`yfccdask.numerics.states.Training` with a device's arrays."""

    def __init__(
        self,
        state: State,
        pieces: Pieces,
        scale: float,
        windows: Windows,
        objective: Objective,
        images: int,
        steps: int,
        precision: str,
    ) -> None:
        self.whole, self.state = state, State(*(flat_positions(part) for part in state))
        self.library, self.precision = library_of(pieces.arrays[0]), precision
        self.objective, self.images = objective, images
        grid, self.sizes = state.weights.shape[:2], state.weights.shape[2:]
        self.together = together(len(self.state.weights), images, *self.sizes)
        pieces = pieces.contiguous()
        self.gathering = Gather(self.library, pieces, scale, windows, grid[1])
        self.costs = self.library.empty((steps, *grid, 2), DOUBLE)
        self.by_step = self.costs.reshape(steps, grid[0] * grid[1], 2)
        most = self.together
        self.buffers = _Buffers(self.library, most, images, self.sizes, precision)
        self.sums = self.library.empty((most, self.sizes[1]), FLOAT)
        self.half = is_bfloat16(state.weights_momentum)
        if self.half:
            self.widened = self.library.empty((most, *self.sizes), FLOAT)
        groups = -(-self.sizes[1] // COLUMNS)
        self.parts = [self.library.empty((most, n), DOUBLE) for n in (SLICES, groups, SLICES)]

    def groups(self) -> list[slice]:
        """As many positions as the buffers may be large."""
        positions = len(self.state.weights)
        return [slice(*span) for span in spans(positions, self.together)]

    def begin(self, group: slice) -> None:
        """Turn to a group; its weights are rounded where operands are."""
        self.turn_to(group, State(*(part[group] for part in self.state)))

    def turn_to(self, group: slice, own: State) -> None:
        """Turn to a group whose state lies on the device as ``own``."""
        self.group, self.own = group, own
        self.now = self.buffers.first(group.stop - group.start)
        self.operand, self.momentum = self.own.weights, self.own.weights_momentum
        if self.buffers.rounded:
            self.operand = rounded(self.library, self.own.weights)
        if self.half:
            self.momentum = self.widened[: group.stop - group.start]
            widen_into(self.library, self.own.weights_momentum, self.momentum)

    def gather(self, images: slice) -> None:
        """``XR <- [alpha x; 2 (b - x)]``."""
        now, own = self.now, self.own
        given = (own.alpha, now.x, own.offset, now.r_written)
        self.gathering.launch(images, self.group.start, *given)

    def find_codes(self) -> None:
        """``s``, and ``g``'s share of the sparsity."""
        now, size = self.now, self.images * self.sizes[0]
        self._multiply("TN", self.operand, now.x, now.s_written)
        terms = float(self.objective.sparsity), float(self.objective.epsilon)
        s, g = now.s_written, now.g_written
        to = (g, apart(g), *_rounding(now.s_rounded), self.parts[0])
        self._launch("code_terms", SLICES, (s, apart(s), size, *terms, *to))

    def find_residuals(self) -> None:
        """``2 r``, its sums over images and its squares."""
        now, r = self.now, self.now.r_written
        self._multiply("NN", self.operand, now.s, r, alpha=2.0, beta=1.0)
        given = (r, apart(r), self.images, self.sizes[1], self.sums)
        to = (*_rounding(now.r_rounded), self.parts[1])
        self._launch("residual_terms", -(-self.sizes[1] // COLUMNS), (*given, *to), COLUMNS)

    def find_gradients(self) -> None:
        """``g``, and the sum of g s, which is alpha times alpha's gradient."""
        now, size = self.now, self.images * self.sizes[0]
        g, s = now.g_written, now.s_written
        self._multiply("TN", self.operand, now.r, g, beta=1.0)
        given = (g, apart(g), s, apart(s), size, *_rounding(now.g_rounded), self.parts[2])
        self._launch("gradient_terms", SLICES, given)

    def descend(self, step: int, rate: Rates) -> None:
        """Momentum by the stacked product; weights, offsets, alphas and the step's costs."""
        now, own, decay = self.now, self.own, float(self.objective.momentum)
        share = 1.0 / max(self.images, 1)
        self._multiply("NT", now.xr, now.gs, self.momentum, alpha=share, beta=decay)
        self._update_rows(rate)
        size = len(own.weights) * self.sizes[1]
        values = (own.offset, own.offset_momentum, self.sums, size, decay, share)
        threads = (-(-size // THREADS),), THREADS
        self.library.launch("descend_values", *threads, (*values, float(rate.offset)))
        self._finish(step, decay, share, float(rate.alpha))

    def end(self) -> None:
        """Round the group's momentum, if it is stored in bfloat16."""
        if self.half:
            round_into(self.library, self.momentum, self.own.weights_momentum)

    def new(self) -> Any:
        """The state that was given, trained."""
        return self.whole

    def _update_rows(self, rate: Rates) -> None:
        units, inputs = self.sizes
        own, kept = self.own, inputs <= ROW_IN_SHARED
        copy = self.operand if self.buffers.rounded else None
        given = (own.weights, self.momentum, inputs, float(rate.weights), copy, int(kept))
        blocks = (len(own.weights) * units,)
        threads = THREADS if inputs > 1024 else THREADS // 2
        self.library.launch("update_rows", blocks, threads, given, 4 * inputs if kept else 0)

    def _finish(self, step: int, decay: float, share: float, rate: float) -> None:
        roots, squares, products = self.parts
        positions, own = len(self.own.weights), self.own
        given = (roots, products, SLICES, squares, squares.shape[1], positions)
        how = (float(self.objective.sparsity), decay, share, rate)
        to = (own.alpha, own.alpha_momentum, self.by_step[step, self.group])
        blocks = (-(-positions // THREADS),)
        self.library.launch("finish_step", blocks, THREADS, (*given, *how, *to))

    def _multiply(self, operation: str, a: Array, b: Array, c: Array, **factors: float) -> None:
        made = product(operation, a, b, c, **factors, precision=self.precision)
        self.library.multiply(made)

    def _launch(
        self, kernel: str, blocks: int, given: tuple[Any, ...], threads: int = THREADS
    ) -> None:
        self.library.launch(kernel, (blocks, len(self.own.weights)), threads, given)


def _rounding(target: Array) -> tuple[Array, int]:
    """A kernel's two arguments for where it rounds to, which may be nowhere."""
    return (None, 0) if target is None else (target, apart(target))


class DeviceForwarding:
    """`yfccdask.numerics.states.Forwarding` with a device's arrays."""

    def __init__(
        self,
        state: State,
        pieces: Pieces,
        scale: float,
        windows: Windows,
        tile: tuple[int, int],
        rows: int,
        stored: Any,
        precision: str,
    ) -> None:
        library, (grid_y, grid_x, units, inputs) = library_of(pieces.arrays[0]), state.weights.shape
        self.weights, self.alphas = flat_positions(state.weights), flat_positions(state.alpha)
        self.library, self.precision, self.rows = library, precision, rows
        pieces = pieces.contiguous()
        self.gathering = Gather(library, pieces, scale, windows, grid_x)
        maps = units // math.prod(tile)
        shape = (pieces.images, grid_y * tile[0], grid_x * tile[1], maps)
        self.out, self.tile = library.empty(shape, stored), (*tile, maps)
        kind = operand_dtype(precision)
        most = max(group.stop - group.start for group in self.groups())
        self.x = library.full((most, rows, inputs), 0, kind)
        self.s = library.empty((most, rows, units), FLOAT)

    def groups(self) -> list[slice]:
        """As many positions as the buffers may be large."""
        positions, units, inputs = self.weights.shape
        step = together(positions, self.rows, units, inputs)
        return [slice(*span) for span in spans(positions, step)]

    def begin(self, group: slice) -> None:
        """Turn to a group; its weights are rounded where operands are."""
        self.turn_to(group, self.weights[group], self.alphas[group])

    def turn_to(self, group: slice, weights: Array, alpha: Array) -> None:
        """Turn to a group whose weights and alphas lie on the device."""
        self.group, self.alpha, count = group, alpha, group.stop - group.start
        self.operand = rounded(self.library, weights) if self.x.dtype != FLOAT else weights
        self.now = self.x[:count], self.s[:count]

    def forward(self, images: slice) -> None:
        """Write the group's tiles of some images; rows beyond them are of no meaning."""
        (x, s), first = self.now, self.group.start
        self.gathering.launch(images, first, self.alpha, x, None, None)
        made = product("TN", self.operand, x, s, precision=self.precision)
        self.library.multiply(made)
        given = (s, apart(s), s.shape[2], first, self.gathering.columns, *self.tile)
        to = (self.out, images.start, *self.out.shape[1:3])
        name = f"scatter_{NAMES[self.out.dtype.name]}"
        blocks = (images.stop - images.start, len(s))
        self.library.launch(name, blocks, THREADS, (*given, *to))

    def end(self) -> None:
        """Nothing is left to do for a group."""
