"""What a dense visit does between its sums, on a device: products per leaf, and kernels.

Sums and alpha stay on the device, as arrays of one value. Operands of bfloat16 are rounded before
each product, weights too: a leaf of them at a time.
"""

from __future__ import annotations

from typing import Any

from yfccdask.backend.device import NAMES, Library, operand_dtype, product
from yfccdask.numerics.bfloat16 import is_bfloat16, narrow, widened
from yfccdask.numerics.device.rounding import rounded
from yfccdask.numerics.device.visits import DOUBLE, FLOAT, THREADS
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.states import Objective, Rates, State

Array = Any
SLICES = 256  # blocks that sum up the elements of an array (image, unit)


class DeviceDense:
    """`yfccdask.numerics.dense_visits.Operations` with a device's arrays."""

    def __init__(self, library: Library, precision: str) -> None:
        self.library, self.precision = library, precision
        self.empty, self.full = library.empty, library.full

    def alpha(self, state: State) -> Array:
        """The scale of the code, an array of one value."""
        return state.alpha.reshape(1)

    def fill(self, pieces: Pieces, images: slice, first: int, scale: float, x: Array) -> None:
        """Fill ``x`` (image, input) with scaled values of a region, from ``first`` on."""
        blocks, row = (-(-x.shape[1] // THREADS), len(x)), pieces.region.width * pieces.maps
        for array, place in zip(pieces.arrays, pieces.places, strict=True):
            name = f"inputs_{NAMES[array.dtype.name]}"
            corner = (place.top - pieces.region.top, place.left * pieces.maps)
            where = (array, place.height, place.width * pieces.maps, images.start, *corner)
            self._launch(name, blocks, (*where, first, x.shape[1], row, float(scale), x))

    def times_rows(self, x: Array, w: Array, out: Array) -> Array:
        """``x W^T`` (image, unit)."""
        return self._multiply("TN", w, x, out)

    def times(self, s: Array, w: Array, out: Array) -> Array:
        """``s W`` (image, input)."""
        return self._multiply("NN", w, s, out)

    def code_terms(
        self, z: Array, alpha: Array, objective: Objective, s: Array, slope: Array
    ) -> Array:
        """``s = alpha z``, the sparsity's slope, and the sum of its roots."""
        terms = float(objective.sparsity), float(objective.epsilon)
        parts = self.library.empty((SLICES,), DOUBLE)
        self._launch("dense_code_terms", (SLICES,), (z, z.size, alpha, *terms, s, slope, parts))
        return self._total(parts)

    def residual_terms(self, r: Array, x: Array, offset: Array, by_offset: Array) -> Array:
        """``r + b - x`` in place, its sums over images, and the sum of its squares."""
        images, inputs = r.shape
        parts = self.library.empty((-(-inputs // THREADS),), DOUBLE)
        given = (r, x, offset, images, inputs, by_offset, parts)
        self._launch("dense_residual_terms", parts.shape, given)
        return self._total(parts)

    def code_gradient(
        self, h: Array, slope: Array, z: Array, alpha: Array, s: Array, scaled: Array
    ) -> Array:
        """``alpha g`` with ``g = 2 h + slope``, s doubled, and the sum of g z."""
        parts = self.library.empty((SLICES,), DOUBLE)
        given = (h, slope, z, alpha, h.size, s, scaled, parts)
        self._launch("dense_code_gradient", (SLICES,), given)
        return self._total(parts)

    def gradient_buffer(self, units: int, dtype: Any) -> None:
        """None is needed: the product adds to the momentum."""

    def descend_leaf(
        self,
        state: State,
        part: slice,
        operand: Array,
        gs: Array,
        scale: Array,
        momentum: float,
        rate: Rates,
        buffer: None,
    ) -> Array:
        """Descend a leaf's columns; the rows' squares (unit,) in float64.

        A momentum of bfloat16 is widened and rounded with every leaf.
        """
        w, stored = (each[0, 0][:, part] for each in (state.weights, state.weights_momentum))
        m = widened(stored) if is_bfloat16(stored) else stored
        share = 1.0 / (len(gs) // 2)
        self._multiply("NT", operand, gs, m, alpha=share, beta=float(momentum))
        squares = self.library.empty((len(w),), DOUBLE)
        rows = (part for each in (w, m) for part in (each, each.strides[0] // FLOAT.itemsize))
        given = (*rows, w.shape[1], float(rate.weights), scale, squares)
        self._launch("descend_columns", (len(w),), given)
        if m is not stored:
            narrow(m, stored)
        return squares

    def descend_rest(
        self,
        state: State,
        by_offset: Array,
        by_alpha: Array,
        images: int,
        momentum: float,
        rate: Rates,
    ) -> None:
        """Descend the offset and alpha."""
        size, decay, n = by_offset.size, float(momentum), images
        values = (state.offset, state.offset_momentum, by_offset, size, decay, 2.0 / n)
        blocks = (-(-size // THREADS),)
        self._launch("descend_values", blocks, (*values, float(rate.offset)))
        scalars = (state.alpha, state.alpha_momentum, by_alpha, decay, 1.0 / n)
        self.library.launch("descend_alpha", (1,), 32, (*scalars, float(rate.alpha)))

    def _multiply(self, operation: str, a: Array, b: Array, out: Array, **factors: float) -> Array:
        one, other = a[None], b[None]
        if operand_dtype(self.precision) != FLOAT:
            one, other = rounded(self.library, one), rounded(self.library, other)
        made = product(operation, one, other, out[None], **factors, precision=self.precision)
        self.library.multiply(made)
        return out

    def _total(self, parts: Array) -> Array:
        """The parts' sum, an array of one value."""
        total = self.library.empty((1,), DOUBLE)
        self.library.launch("add_parts", (1,), 32, (parts, parts.size, total))
        return total

    def _launch(self, kernel: str, blocks: tuple[int, ...], given: tuple[Any, ...]) -> None:
        self.library.launch(kernel, blocks, THREADS, given)
