"""Initial weights made on a device: the bits of `yfccdask.numerics.counter_random`."""

from __future__ import annotations

from typing import Any

import numpy as np

from yfccdask.backend.device import Library

Array = Any
THREADS = 256
FLOAT, INTEGER = np.dtype(np.float32), np.dtype(np.int64)


def initial_weights_on(
    library: Library,
    seed: int,
    layer: int,
    numbers: np.ndarray[Any, Any],
    units: int,
    inputs: int,
) -> Array:
    """Initial weights (grid_y, grid_x, unit, input) of positions, rows of unit norm.

    ``numbers`` (grid_y, grid_x) are the positions' numbers.
    """
    squares = row_squares_on(library, seed, layer, numbers, units, (0, inputs))
    return unit_rows_on(library, seed, layer, numbers, units, (0, inputs), squares)


def row_squares_on(
    library: Library,
    seed: int,
    layer: int,
    numbers: np.ndarray[Any, Any],
    units: int,
    inputs: tuple[int, int],
) -> Array:
    """The exact sum of squares of every row's integers, int64 (grid_y, grid_x, unit)."""
    squares = library.empty((*numbers.shape, units), INTEGER)
    given = _counter(library, seed, layer, numbers, units, inputs)
    library.launch("row_squares", (squares.size,), THREADS, (*given, squares))
    return squares


def unit_rows_on(
    library: Library,
    seed: int,
    layer: int,
    numbers: np.ndarray[Any, Any],
    units: int,
    inputs: tuple[int, int],
    squares: Array,
) -> Array:
    """The integers of ``inputs`` over the root of the whole rows' squares."""
    weights = library.empty((*numbers.shape, units, inputs[1] - inputs[0]), FLOAT)
    given = _counter(library, seed, layer, numbers, units, inputs)
    library.launch("unit_rows", (squares.size,), THREADS, (*given, squares, weights))
    return weights


def _counter(
    library: Library,
    seed: int,
    layer: int,
    numbers: np.ndarray[Any, Any],
    units: int,
    inputs: tuple[int, int],
) -> tuple[Any, ...]:
    """What both kernels count by."""
    positions = library.upload(np.ascontiguousarray(numbers, INTEGER))
    return positions, units, inputs[0], inputs[1] - inputs[0], seed, layer
