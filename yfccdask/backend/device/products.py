"""Strided-batched matrix products as cuBLAS takes them, described without calling it.

cuBLAS sees memory column by column, so an array (batch, row, column) is to it a batch of matrices
of ``column`` rows, whose leading dimension is what lies between two rows of the array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
PRECISIONS = ("fp32", "tf32", "bf16")
NAMES = {"float32": "float", "float16": "half", "uint16": "brain"}  # of types, in kernels' names
BRAIN = np.dtype(np.uint16)  # bfloat16 as its bits: NumPy has no such type


class Operand(NamedTuple):
    """A batch of matrices: the array that begins with the first one, in elements."""

    array: Array
    leading: int
    stride: int


class Product(NamedTuple):
    """``C <- alpha op(A) op(B) + beta C`` for every matrix of a batch, column by column.

    operation : "TN", "NN" or "NT"
        Which of A and B is transposed.
    sizes : (m, n, k)
    """

    operation: str
    sizes: tuple[int, int, int]
    a: Operand
    b: Operand
    c: Operand
    alpha: float
    beta: float
    batch: int
    precision: str


def operand_dtype(precision: str) -> np.dtype[Any]:
    """The type of A and B: float32, or bfloat16's bits. C is float32 always."""
    return BRAIN if precision == "bf16" else np.dtype(np.float32)


def product(
    operation: str,
    a: Array,
    b: Array,
    c: Array,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    precision: str = "fp32",
) -> Product:
    """A product of arrays (batch, row, column), whose last axis is contiguous.

    In terms of rows, TN is ``C = alpha B A^T + beta C``, NN is ``B A``, NT is ``B^T A``.

    Raises
    ------
    ValueError
        If the shapes don't fit, or a last axis is not contiguous.
    """
    m, inner_a = (a.shape[2], a.shape[1]) if operation[0] == "N" else (a.shape[1], a.shape[2])
    n, inner_b = (b.shape[1], b.shape[2]) if operation[1] == "N" else (b.shape[2], b.shape[1])
    shapes = a.shape, b.shape, c.shape
    if inner_a != inner_b or c.shape[1:] != (n, m) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"expected shapes that {operation} multiplies, found {shapes}")
    sizes, operands = (m, n, inner_a), (_operand(a), _operand(b), _operand(c))
    return Product(operation, sizes, *operands, alpha, beta, len(a), precision)


def _operand(array: Array) -> Operand:
    batch, row, column = (step // array.dtype.itemsize for step in array.strides)
    if column != 1:
        raise ValueError(f"expected a contiguous last axis, found strides {array.strides}")
    return Operand(array, row, batch)
