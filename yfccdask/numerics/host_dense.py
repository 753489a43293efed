"""What a dense visit does between its sums, on the host: BLAS and compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from yfccdask.backend.device import HOST
from yfccdask.geometry.rectangles import spans
from yfccdask.numerics import kernels
from yfccdask.numerics.bfloat16 import is_bfloat16, narrow, widen
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.host_visits import descend_alpha, descend_offset
from yfccdask.numerics.states import Objective, Rates, State

Array = Any
POSITION = (0, 0)
COLUMNS = 512  # inputs whose gradient is made and descended at once: (4096, 512) fit the cache


class HostDense:
    """`yfccdask.numerics.dense_visits.Operations` with NumPy arrays."""

    empty = staticmethod(HOST.empty)
    full = staticmethod(HOST.full)

    def alpha(self, state: State) -> float:
        """The scale of the code."""
        return float(state.alpha[POSITION])

    def fill(self, pieces: Pieces, images: slice, first: int, scale: float, x: Array) -> None:
        """Fill ``x`` (image, input) with scaled values of a region, from ``first`` on."""
        pieces.fill_inputs(images, first, x.dtype.type(scale), x)

    def times_rows(self, x: Array, w: Array, out: Array) -> Array:
        """``x W^T`` (image, unit)."""
        return np.matmul(x, w.T, out=out)

    def times(self, s: Array, w: Array, out: Array) -> Array:
        """``s W`` (image, input)."""
        return np.matmul(s, w, out=out)

    def code_terms(
        self, z: Array, alpha: float, objective: Objective, s: Array, slope: Array
    ) -> float:
        """`yfccdask.numerics.kernels.code_terms`."""
        kind = z.dtype.type
        terms = kind(objective.sparsity), kind(objective.epsilon)
        return kernels.code_terms(z, kind(alpha), *terms, s, slope)

    def residual_terms(self, r: Array, x: Array, offset: Array, by_offset: Array) -> float:
        """`yfccdask.numerics.kernels.residual_terms`."""
        return kernels.residual_terms(r, x, offset, by_offset)

    def code_gradient(
        self, h: Array, slope: Array, z: Array, alpha: float, s: Array, scaled: Array
    ) -> float:
        """`yfccdask.numerics.kernels.code_gradient`."""
        return kernels.code_gradient(h, slope, z, h.dtype.type(alpha), s, scaled)

    def gradient_buffer(self, units: int, dtype: Any) -> Array:
        """Memory for a block of columns of the gradient."""
        return np.empty(units * COLUMNS, dtype)

    def descend_leaf(
        self,
        state: State,
        part: slice,
        operand: Array,
        gs: Array,
        scale: Array,
        momentum: float,
        rate: Rates,
        buffer: Array,
    ) -> Array:
        """Descend a leaf's columns, a block at a time; the rows' squares (unit,) in float64.

        A momentum of bfloat16 is widened and rounded with every block.
        """
        w, m = state.weights[POSITION], state.weights_momentum[POSITION]
        kind, n = w.dtype.type, len(gs) // 2
        rates = kind(momentum), kind(1 / n), kind(rate.weights)
        squares, half = np.zeros(len(w)), is_bfloat16(m)
        wide = np.empty_like(buffer) if half else buffer
        for start, stop in spans(operand.shape[1], COLUMNS):
            gradient = buffer[: len(w) * (stop - start)].reshape(len(w), -1)
            np.matmul(gs.T, operand[:, start:stop], out=gradient)
            stored = m[:, part.start + start : part.start + stop]
            first = part.start + start
            moved, at = m, first
            if half:
                moved, at = wide[: gradient.size].reshape(gradient.shape), 0
                widen(stored, moved)
            kernels.descend_rows(w, first, moved, at, gradient, *rates, scale, squares)
            if half:
                narrow(moved, stored)
        return squares

    def descend_rest(
        self,
        state: State,
        by_offset: Array,
        by_alpha: float,
        images: int,
        momentum: float,
        rate: Rates,
    ) -> None:
        """Descend the offset and alpha."""
        descend_offset(state, POSITION, by_offset, 2 / images, momentum, rate.offset)
        descend_alpha(state, POSITION, by_alpha / images, momentum, rate.alpha)
