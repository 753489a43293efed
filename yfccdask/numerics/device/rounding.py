"""Matrices to bfloat16 and back on a device; a matrix may be some columns of a wider one."""

from __future__ import annotations

import math
from typing import Any

from yfccdask.backend.device import Library, operand_dtype

Array = Any
THREADS = 256
MOST_BLOCKS = 1 << 16


def rounded(library: Library, matrices: Array) -> Array:
    """Matrices (batch, row, column) in bfloat16; a single one may be some columns of another."""
    out = library.empty(matrices.shape, operand_dtype("bf16"))
    round_into(library, matrices, out)
    return out


def round_into(library: Library, values: Array, out: Array) -> None:
    """``out <- values`` to nearest, ties to even: float32 (…, row, column) into bfloat16's bits."""
    _launch(library, "round_to_brain", values, out)


def widen_into(library: Library, bits: Array, out: Array) -> None:
    """``out <- bits``, exactly: bfloat16's bits (…, row, column) into float32."""
    _launch(library, "widen_brain", bits, out)


def _launch(library: Library, kernel: str, source: Array, target: Array) -> None:
    rows, width = math.prod(source.shape[:-1]), source.shape[-1]
    blocks = (min(-(-rows * width // THREADS), MOST_BLOCKS),)
    given = (source, rows, width, _between_rows(source), target, _between_rows(target))
    library.launch(kernel, blocks, THREADS, given)


def _between_rows(matrix: Array) -> int:
    """Elements from one row to the next one."""
    return int(matrix.strides[-2] // matrix.dtype.itemsize)
