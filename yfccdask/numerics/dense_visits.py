"""The dense layer: one position over a whole field, its inputs cut into fixed leaves.

A chunk holds whole leaves. Each mini-batch has three phases per chunk, and between them three sums
over all leaves, taken up the one tree of `yfccdask.geometry.leaves`:

1. ``z = W x``                         -> sum over leaves -> ``make_head``: the code and its terms
2. ``r = W^T s + b - x``, ``h = r W^T`` -> sum over leaves -> ``make_descent``: the code's gradient
3. ``M``, ``W``, ``b`` descend          -> sum over leaves of the rows' squares -> their scale

Rows are not rescaled in phase 3 but carry a scale into the next mini-batch, which saves a pass over
the weights; `finish` applies it at the end of a visit. A chunk of all leaves does the same
additions by itself (`train_dense_visit`), so the bits don't depend on how leaves are grouped.

Inputs are read from the pieces of the field, leaf by leaf. Sums go up the tree as leaves are done,
in place, so that as many partial sums are alive as the tree is deep; the gradient is made and
descended in blocks of columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.geometry import tree_fold, tree_nodes
from yfccdask.geometry.leaves import split
from yfccdask.geometry.rectangles import spans
from yfccdask.numerics.fields import Pieces, as_pieces
from yfccdask.numerics.kernels import code_gradient, code_terms, descend_rows, residual_terms
from yfccdask.numerics.local_visits import (
    Objective,
    Rates,
    State,
    descend_alpha,
    descend_offset,
    diverging,
    mini_batch_size,
)

Array = Any
Node = tuple[int, int]
Sums = dict[Node, Array]
Operands = dict[int, Array]
T = TypeVar("T")
POSITION = (0, 0)
COLUMNS = 512  # inputs whose gradient is made and descended at once: (4096, 512) fit the cache


class Leaves(NamedTuple):
    """Which leaves a chunk holds: ``start:stop`` of ``total``, of ``size`` inputs each."""

    start: int
    stop: int
    total: int
    size: int

    def slices(self, inputs: int) -> dict[int, slice]:
        """Each leaf's inputs within the chunk's ``inputs``; the last leaf may be shorter."""
        return {
            leaf: slice(at, min(at + self.size, inputs))
            for leaf, at in zip(
                range(self.start, self.stop), range(0, inputs, self.size), strict=True
            )
        }


class Inputs(NamedTuple):
    """A chunk's inputs within the region of a field, whole rows; its first one is ``first``."""

    pieces: Pieces
    first: int
    scale: float

    def fill(self, images: slice, part: slice, x: Array) -> None:
        """Fill ``x`` (image, input) with the scaled inputs ``part``, as far as there are images."""
        first, scale = self.first + part.start, x.dtype.type(self.scale)
        count = min(images.stop, self.pieces.images) - images.start
        self.pieces.fill_inputs(images, first, scale, x[:count])


class Head(NamedTuple):
    """What all chunks need for phase 2: arrays (image, unit), and the code's cost."""

    z: Array
    s: Array
    slope: Array
    scale: Array
    alpha: float
    sparsity: float


class Descent(NamedTuple):
    """What all chunks need for phase 3: stacked [alpha g; 2 s] (2 image, unit), and sum g z."""

    gs: Array
    scale: Array
    by_alpha: float


class _Spare:
    """Arrays (image, unit) to be used again once they have been added to another."""

    def __init__(self, shape: tuple[int, int], dtype: Any) -> None:
        self.shape, self.dtype, self.arrays = shape, dtype, list[Array]()

    def take(self) -> Array:
        return self.arrays.pop() if self.arrays else np.empty(self.shape, self.dtype)

    def add(self, one: Array, other: Array) -> Array:
        """The sum, in the first array; the other is spare from now on."""
        np.add(one, other, out=one)
        self.arrays.append(other)
        return one


def chunk_sums(leaves: Leaves, term: Callable[[int], T], add: Callable[[T, T], T]) -> dict[Node, T]:
    """The sums of the tree's nodes that the chunk's leaves make up, each in the tree's order.

    ``term`` makes a leaf's term, and is called leaf by leaf in order.
    """
    nodes = tree_nodes(leaves.total, leaves.start, leaves.stop)
    return {node: _fold(node, term, add) for node in nodes}


def _fold(node: Node, term: Callable[[int], T], add: Callable[[T, T], T]) -> T:
    """The sum at a node. (A closure that called itself would keep the buffers until collected.)"""
    if node[1] - node[0] == 1:
        return term(node[0])
    middle = split(*node)
    left = _fold((node[0], middle), term, add)
    return add(left, _fold((middle, node[1]), term, add))


def total_of(sums: list[Sums], leaves: int) -> Array:
    """The sum over all leaves from every chunk's nodes."""
    known = {node: part for chunk in sums for node, part in chunk.items()}
    return tree_fold((0, leaves), known, np.add)


@diverging
def code_sums(state: State, inputs: Inputs, images: slice, leaves: Leaves) -> Sums:
    """Phase 1: ``W x`` (image, unit) over the chunk's leaves, for a mini-batch of a block."""
    use_one_blas_thread()
    weights, n = state.weights[POSITION], images.stop - images.start
    slices = leaves.slices(weights.shape[1])
    buffer = np.zeros(n * min(leaves.size, weights.shape[1]), weights.dtype)
    spare = _Spare((n, len(weights)), weights.dtype)

    def product(leaf: int) -> Array:
        part = slices[leaf]
        x = buffer[: n * (part.stop - part.start)].reshape(n, -1)
        inputs.fill(images, part, x)
        return np.matmul(x, weights[:, part].T, out=spare.take())

    return chunk_sums(leaves, product, spare.add)


@diverging
def make_head(z: Array, alpha: float, scale: Array, objective: Objective) -> Head:
    """The code of a mini-batch from ``W x`` over all leaves, with rows still to be scaled."""
    z = z * scale
    s, slope = np.empty_like(z), np.empty_like(z)
    kind = z.dtype.type
    cost = code_terms(z, kind(alpha), kind(objective.sparsity), kind(objective.epsilon), s, slope)
    return Head(z, s, slope, scale, alpha, objective.sparsity * cost)


def operands_of(leaves: Leaves, inputs: int, images: int, dtype: Any) -> Operands:
    """Memory for each leaf's stacked [x; r] (2 image, input) of a mini-batch."""
    slices = leaves.slices(inputs)
    return {
        leaf: np.empty((2 * images, part.stop - part.start), dtype) for leaf, part in slices.items()
    }


@diverging
def residual_sums(
    state: State,
    inputs: Inputs,
    images: slice,
    head: Head,
    leaves: Leaves,
    operands: Operands | None = None,
) -> tuple[Operands, Array, Sums]:
    """Phase 2: the inputs with their residual r, its sum (input,), and sums over leaves.

    ``operands`` is memory to use again. The sums are pairs: ``r W^T`` (image, unit) and
    ``sum r^2`` in float64.
    """
    use_one_blas_thread()
    weights, offset = state.weights[POSITION], state.offset[POSITION]
    n, slices = images.stop - images.start, leaves.slices(len(offset))
    stacked = operands or operands_of(leaves, len(offset), n, weights.dtype)
    by_offset, scaled = np.empty_like(offset), head.s * head.scale
    spare = _Spare((n, len(weights)), weights.dtype)

    def pair(leaf: int) -> _Pair:
        part, x, r = slices[leaf], stacked[leaf][:n], stacked[leaf][n:]
        inputs.fill(images, part, x)
        np.matmul(scaled, weights[:, part], out=r)
        cost = residual_terms(r, x, offset[part], by_offset[part])
        return _Pair(np.matmul(r, weights[:, part].T, out=spare.take()), cost)

    def add(one: _Pair, other: _Pair) -> _Pair:
        return _Pair(spare.add(one.product, other.product), one.cost + other.cost)

    return stacked, by_offset, chunk_sums(leaves, pair, add)


class _Pair(NamedTuple):
    product: Array
    cost: float


def _add_pairs(one: _Pair, other: _Pair) -> _Pair:
    return _Pair(one.product + other.product, one.cost + other.cost)


def make_descent(sums: list[Sums], head: Head, leaves: int) -> tuple[Descent, tuple[float, float]]:
    """The code's gradient from ``r W^T`` over all leaves, and the cost's two terms."""
    known = {node: part for chunk in sums for node, part in chunk.items()}
    h, reconstruction = tree_fold((0, leaves), known, _add_pairs)
    h = h * head.scale
    gs = np.empty((2 * len(h), h.shape[1]), h.dtype)
    gs[len(h) :] = head.s
    kind = h.dtype.type
    by_alpha = code_gradient(h, head.slope, head.z, kind(head.alpha), gs[len(h) :], gs[: len(h)])
    return Descent(gs, head.scale, by_alpha), (float(reconstruction), head.sparsity)


@diverging
def descend_chunk(
    state: State,
    operands: Operands,
    by_offset: Array,
    descent: Descent,
    leaves: Leaves,
    momentum: float,
    rate: Rates,
) -> Sums:
    """Phase 3, in place: weights, offsets, alpha and momenta; returns sums of the rows' squares.

    The rows that it leaves are not of unit norm: multiply by `row_scale` of all leaves' sums.
    """
    use_one_blas_thread()
    n, slices = len(descent.gs) // 2, leaves.slices(len(by_offset))
    rates = momentum, 1 / n, rate.weights
    gradient = np.empty(state.weights.shape[2] * COLUMNS, state.weights.dtype)

    def squares(leaf: int) -> Array:
        return _descend_leaf(state, slices[leaf].start, operands[leaf], descent, rates, gradient)

    sums = chunk_sums(leaves, squares, lambda one, other: np.add(one, other, out=one))
    descend_offset(state, POSITION, by_offset, 2 / n, momentum, rate.offset)
    descend_alpha(state, POSITION, descent.by_alpha / n, momentum, rate.alpha)
    return sums


def _descend_leaf(
    state: State,
    first: int,
    operand: Array,
    descent: Descent,
    rates: tuple[float, float, float],
    buffer: Array,
) -> Array:
    """Descend a leaf's columns, a block at a time; the rows' squares (unit,) in float64."""
    w, m = state.weights[POSITION], state.weights_momentum[POSITION]
    decay, share, rate = (w.dtype.type(each) for each in rates)
    squares = np.zeros(len(w))
    for start, stop in spans(operand.shape[1], COLUMNS):
        gradient = buffer[: len(w) * (stop - start)].reshape(len(w), -1)
        np.matmul(descent.gs.T, operand[:, start:stop], out=gradient)
        descend_rows(w, m, first + start, gradient, decay, share, rate, descent.scale, squares)
    return squares


def row_scale(squares: Array, dtype: Any) -> Array:
    """What brings rows with these squared norms (unit,) to unit norm."""
    return (1.0 / np.sqrt(squares)).astype(dtype)


@diverging
def finish(state: State, scale: Array) -> State:
    """The state whose rows have unit norm; its weights are freshly made."""
    weights = state.weights * scale[:, None]
    return state._replace(weights=weights)


@diverging
def train_dense_visit(
    state: State,
    field: Array | Pieces,
    scale: float,
    leaf: int,
    objective: Objective,
    rates: tuple[Rates, ...],
) -> tuple[State, Array]:
    """Train a dense layer that is one chunk on every mini-batch of a data block.

    ``field`` is the whole input field: `Pieces`, or an array (image, y, x, map). Returns the fresh
    state and costs (mini_batch, 1, 1, 2), averaged over images, like `train_visit`.
    """
    (units, width), dtype = state.weights.shape[2:], state.weights.dtype
    total = -(-width // leaf)
    leaves, inputs = Leaves(0, total, total, leaf), Inputs(as_pieces(field).contiguous(), 0, scale)
    images = mini_batch_size(inputs.pieces.images, rates)
    state, factor = State(*(np.array(part) for part in state)), np.ones(units, dtype)
    operands = operands_of(leaves, width, images, dtype)
    costs = np.empty((len(rates), 1, 1, 2))
    for step, rate in enumerate(rates):
        batch = slice(step * images, (step + 1) * images)
        z = total_of([code_sums(state, inputs, batch, leaves)], total)
        head = make_head(z, float(state.alpha[POSITION]), factor, objective)
        found = residual_sums(state, inputs, batch, head, leaves, operands)
        descent, costs[step, 0, 0] = make_descent([found[2]], head, total)
        squares = descend_chunk(state, *found[:2], descent, leaves, objective.momentum, rate)
        factor = row_scale(total_of([squares], total), dtype)
    np.multiply(state.weights, factor[:, None], out=state.weights)
    return state, costs / max(images, 1)


def forward_sums(state: State, inputs: Inputs, leaves: Leaves, rows: int) -> Sums:
    """``W x`` over a chunk's leaves for a whole block, in BLAS calls of ``rows`` images.

    The last call has fewer images, and rows of no meaning in their place.
    """
    images = inputs.pieces.images
    calls = [
        code_sums(state, inputs, slice(start, start + rows), leaves)
        for start in range(0, images, rows)
    ]
    return {node: np.concatenate([call[node] for call in calls])[:images] for node in calls[0]}
