"""The elementwise parts of a step, compiled: everything between the matrix products.

Sums over elements may be reassociated into vector lanes (``reassoc``): the order is then fixed by
the array's shape and the CPU's instruction set, both of which a run records. Scalars come in the
arrays' own dtype, so that nothing is promoted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uintp

Array = Any
_FAST = {"reassoc", "contract", "nsz"}
LARGEST = np.float32(3e38)  # isfinite can't be asked for where sums may be reassociated


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def code_terms(z: Array, alpha: Any, sparsity: Any, epsilon: Any, s: Array, slope: Array) -> float:
    """Fill the code ``s = alpha z`` and ``slope = sparsity s / sqrt(s^2 + epsilon)``.

    All arrays are (image, unit). Returns the sum of ``sqrt(s^2 + epsilon)`` in float64.
    """
    total = 0.0
    for i in range(z.shape[0]):
        row = 0.0
        for j in range(z.shape[1]):
            value = alpha * z[i, j]
            magnitude = np.sqrt(value * value + epsilon)
            s[i, j] = value
            slope[i, j] = sparsity * value / magnitude
            row += magnitude
        total += row
    return total


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def residual_terms(r: Array, x: Array, offset: Array, by_offset: Array) -> float:
    """Turn the reconstruction in ``r`` into the residual ``r + offset - x``, in place.

    ``r`` and ``x`` are (image, input); ``by_offset`` (input,) receives ``sum r`` over the images.
    Returns the sum of ``r^2`` in float64.
    """
    by_offset[:] = 0
    total = 0.0
    for i in range(r.shape[0]):
        row = 0.0
        for j in range(r.shape[1]):
            value = r[i, j] + offset[j] - x[i, j]
            r[i, j] = value
            by_offset[j] += value
            row += value * value
        total += row
    return total


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def code_gradient(h: Array, slope: Array, z: Array, alpha: Any, s: Array, scaled: Array) -> float:
    """Fill ``scaled = alpha g`` with ``g = 2 h + slope`` and double ``s``, for the outer product.

    ``h = r W^T``; all arrays are (image, unit). Returns ``sum g z`` in float64.
    """
    total = 0.0
    for i in range(h.shape[0]):
        row = 0.0
        for j in range(h.shape[1]):
            g = h[i, j] + h[i, j] + slope[i, j]
            row += g * z[i, j]
            scaled[i, j] = alpha * g
            s[i, j] = s[i, j] + s[i, j]
        total += row
    return total


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def descend_rows(
    w: Array,
    first: int,
    m: Array,
    m_first: int,
    gradient: Array,
    decay: Any,
    share: Any,
    rate: Any,
    scale: Array,
    squares: Array,
) -> None:
    """In place: ``m <- decay m + share gradient``, ``w <- scale w - rate m``, from a column on.

    ``w`` and ``m`` are (unit, input), ``gradient`` holds some of their columns: from ``first`` on
    of ``w``, from ``m_first`` on of ``m``.
    ``scale`` (unit,) is what rows are still to be multiplied by (1 where they are of unit norm).
    The squares of the new values are added to ``squares`` (unit,), float64.
    """
    start, m_start = uintp(first), uintp(m_first)
    for k in range(w.shape[0]):
        factor, total = scale[k], 0.0
        for j in range(uintp(gradient.shape[1])):
            step = decay * m[k, m_start + j] + share * gradient[k, j]
            m[k, m_start + j] = step
            value = factor * w[k, start + j] - rate * step
            w[k, start + j] = value
            total += np.float64(value) * np.float64(value)
        squares[k] += total


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def descend_and_normalise(
    w: Array, m: Array, gradient: Array, decay: Any, share: Any, rate: Any
) -> None:
    """In place: one step of descent on (unit, input), then every row scaled to unit norm.

    A row whose norm is zero or overflows becomes NaN, so that a divergence shows in the next cost.
    """
    for k in range(w.shape[0]):
        total = w.dtype.type(0)
        for j in range(w.shape[1]):
            step = decay * m[k, j] + share * gradient[k, j]
            m[k, j] = step
            value = w[k, j] - rate * step
            w[k, j] = value
            total += value * value
        factor = w.dtype.type(np.nan)
        if 0 < total < LARGEST:
            factor = w.dtype.type(1) / np.sqrt(total)
        for j in range(w.shape[1]):
            w[k, j] *= factor
