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
in place, so that as many partial sums are alive as the tree is deep. Where the arrays lie decides
what does the products and what lies between them: `yfccdask.numerics.host_dense` or
`yfccdask.numerics.device.dense`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.backend.device import library_for, library_of
from yfccdask.geometry import tree_fold, tree_nodes
from yfccdask.geometry.leaves import split
from yfccdask.numerics import counter_random
from yfccdask.numerics.device.dense import DeviceDense
from yfccdask.numerics.device.weights import row_squares_on, unit_rows_on
from yfccdask.numerics.fields import Pieces, as_pieces, joined
from yfccdask.numerics.host_dense import COLUMNS, POSITION, HostDense
from yfccdask.numerics.local_visits import diverging
from yfccdask.numerics.states import Objective, Rates, State, mini_batch_size

__all__ = ["COLUMNS", "POSITION"]

Array = Any
Node = tuple[int, int]
Sums = dict[Node, Array]
Operands = dict[int, Array]
T = TypeVar("T")
Operations = HostDense | DeviceDense


def operations(array: Array, precision: str = "fp32") -> Operations:
    """What works on arrays like this one; ``precision`` is of a GPU's matrix products."""
    library = library_of(array)
    return DeviceDense(library, precision) if library.on_device else HostDense()


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

    def fill(self, own: Operations, images: slice, part: slice, x: Array) -> None:
        """Fill ``x`` (image, input) with the scaled inputs ``part``, as far as there are images."""
        count = min(images.stop, self.pieces.images) - images.start
        own.fill(self.pieces, images, self.first + part.start, self.scale, x[:count])


class Head(NamedTuple):
    """What all chunks need for phase 2: arrays (image, unit), and the code's cost.

    ``alpha`` and ``sparsity`` are floats, or on a GPU arrays of one value; so are ``by_alpha`` and
    other sums below.
    """

    z: Array
    s: Array
    slope: Array
    scale: Array
    alpha: Any
    sparsity: Any


class Descent(NamedTuple):
    """What all chunks need for phase 3: stacked [alpha g; 2 s] (2 image, unit), and sum g z."""

    gs: Array
    scale: Array
    by_alpha: Any


class _Spare:
    """Arrays (image, unit) to be used again once they have been added to another."""

    def __init__(self, own: Operations, shape: tuple[int, int], dtype: Any) -> None:
        self.empty: Callable[..., Array] = own.empty
        self.shape, self.dtype = shape, dtype
        self.arrays = list[Array]()

    def take(self) -> Array:
        return self.arrays.pop() if self.arrays else self.empty(self.shape, self.dtype)

    def add(self, one: Array, other: Array) -> Array:
        """The sum, in the first array; the other is spare from now on."""
        np.add(one, other, out=one)
        self.arrays.append(other)
        return one


def initial_squares(
    seed: int, layer: int, units: int, inputs: tuple[int, int], device: str
) -> Array:
    """The squares of some inputs' rows, as integers (unit,): add those of all chunks."""
    library = library_for(device)
    if library.on_device:
        given = (seed, layer, np.zeros((1, 1), np.int64), units, inputs)
        return row_squares_on(library, *given).reshape(units)
    return counter_random.row_squares(counter_random.random_integers(seed, layer, 0, units, inputs))


def initial_columns(
    seed: int,
    layer: int,
    units: int,
    inputs: tuple[int, int],
    squares: Array,
    dtype: Any,
    device: str,
) -> Array:
    """Initial weights (1, 1, unit, input) of some inputs, made on ``device``, the same bits there.

    ``squares`` (unit,) are of all inputs.
    """
    library = library_for(device)
    if library.on_device:
        given = (seed, layer, np.zeros((1, 1), np.int64), units, inputs, squares)
        return unit_rows_on(library, *given)
    integers = counter_random.random_integers(seed, layer, 0, units, inputs)
    return counter_random.unit_rows(integers, squares, dtype)[None, None]


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
def code_sums(
    state: State, inputs: Inputs, images: slice, leaves: Leaves, precision: str = "fp32"
) -> Sums:
    """Phase 1: ``W x`` (image, unit) over the chunk's leaves, for a mini-batch of a block."""
    use_one_blas_thread()
    weights, n = state.weights[POSITION], images.stop - images.start
    slices, own = leaves.slices(weights.shape[1]), operations(weights, precision)
    buffer = own.full((n * min(leaves.size, weights.shape[1]),), 0, weights.dtype)
    spare = _Spare(own, (n, len(weights)), weights.dtype)

    def product(leaf: int) -> Array:
        part = slices[leaf]
        x = buffer[: n * (part.stop - part.start)].reshape(n, -1)
        inputs.fill(own, images, part, x)
        return own.times_rows(x, weights[:, part], spare.take())

    return chunk_sums(leaves, product, spare.add)


@diverging
def make_head(z: Array, state: State, scale: Array | None, objective: Objective) -> Head:
    """The code of a mini-batch from ``W x`` over all leaves, with rows still to be scaled.

    Only alpha is read of the state; ``scale`` (unit,) is None where rows are of unit norm.
    """
    own = operations(z)
    if scale is None:
        scale = own.full(z.shape[1:], 1, z.dtype)
    z = z * scale
    s, slope = own.empty(z.shape, z.dtype), own.empty(z.shape, z.dtype)
    alpha = own.alpha(state)
    cost = own.code_terms(z, alpha, objective, s, slope)
    return Head(z, s, slope, scale, alpha, objective.sparsity * cost)


def operands_of(leaves: Leaves, weights: Array, images: int) -> Operands:
    """Memory for each leaf's stacked [x; r] (2 image, input) of a mini-batch."""
    slices, empty = leaves.slices(weights.shape[-1]), library_of(weights).empty
    return {
        leaf: empty((2 * images, part.stop - part.start), weights.dtype)
        for leaf, part in slices.items()
    }


@diverging
def residual_sums(
    state: State,
    inputs: Inputs,
    images: slice,
    head: Head,
    leaves: Leaves,
    operands: Operands | None = None,
    precision: str = "fp32",
) -> tuple[Operands, Array, Sums]:
    """Phase 2: the inputs with their residual r, its sum (input,), and sums over leaves.

    ``operands`` is memory to use again. The sums are pairs: ``r W^T`` (image, unit) and
    ``sum r^2`` in float64.
    """
    use_one_blas_thread()
    weights, offset = state.weights[POSITION], state.offset[POSITION]
    n, slices = images.stop - images.start, leaves.slices(len(offset))
    own = operations(weights, precision)
    stacked = operands or operands_of(leaves, weights, n)
    by_offset, scaled = own.empty(offset.shape, offset.dtype), head.s * head.scale
    spare = _Spare(own, (n, len(weights)), weights.dtype)

    def pair(leaf: int) -> _Pair:
        part, x, r = slices[leaf], stacked[leaf][:n], stacked[leaf][n:]
        inputs.fill(own, images, part, x)
        own.times(scaled, weights[:, part], r)
        cost = own.residual_terms(r, x, offset[part], by_offset[part])
        return _Pair(own.times_rows(r, weights[:, part], spare.take()), cost)

    def add(one: _Pair, other: _Pair) -> _Pair:
        return _Pair(spare.add(one.product, other.product), one.cost + other.cost)

    return stacked, by_offset, chunk_sums(leaves, pair, add)


class _Pair(NamedTuple):
    product: Array
    cost: Any


def _add_pairs(one: _Pair, other: _Pair) -> _Pair:
    return _Pair(one.product + other.product, one.cost + other.cost)


def make_descent(sums: list[Sums], head: Head, leaves: int) -> tuple[Descent, tuple[Any, Any]]:
    """The code's gradient from ``r W^T`` over all leaves, and the cost's two terms."""
    known = {node: part for chunk in sums for node, part in chunk.items()}
    h, reconstruction = tree_fold((0, leaves), known, _add_pairs)
    h, own = h * head.scale, operations(head.z)
    gs = own.empty((2 * len(h), h.shape[1]), h.dtype)
    g, s = gs[: len(h)], gs[len(h) :]
    s[...] = head.s
    by_alpha = own.code_gradient(h, head.slope, head.z, head.alpha, s, g)
    return Descent(gs, head.scale, by_alpha), (reconstruction, head.sparsity)


@diverging
def descend_chunk(
    state: State,
    operands: Operands,
    by_offset: Array,
    descent: Descent,
    leaves: Leaves,
    momentum: float,
    rate: Rates,
    precision: str = "fp32",
) -> Sums:
    """Phase 3, in place: weights, offsets, alpha and momenta; returns sums of the rows' squares.

    The rows that it leaves are not of unit norm: multiply by `row_scale` of all leaves' sums.
    """
    use_one_blas_thread()
    n, slices = len(descent.gs) // 2, leaves.slices(len(by_offset))
    own = operations(by_offset, precision)
    buffer = own.gradient_buffer(state.weights.shape[2], state.weights.dtype)
    how = (descent.gs, descent.scale, momentum, rate, buffer)

    def squares(leaf: int) -> Array:
        return own.descend_leaf(state, slices[leaf], operands[leaf], *how)

    sums = chunk_sums(leaves, squares, lambda one, other: np.add(one, other, out=one))
    own.descend_rest(state, by_offset, descent.by_alpha, n, momentum, rate)
    return sums


def row_scale(squares: Array, dtype: Any) -> Array:
    """What brings rows with these squared norms (unit,) to unit norm."""
    return (1.0 / np.sqrt(squares)).astype(dtype)


def costs_of_steps(terms: Sequence[tuple[Any, Any]], images: int, like: Array) -> Array:
    """Every mini-batch's two terms as costs (mini_batch, 1, 1, 2), averaged over images."""
    costs = library_of(like).empty((len(terms), 1, 1, 2), np.dtype(np.float64))
    for step, pair in enumerate(terms):
        for number, term in enumerate(pair):
            costs[step, 0, 0, number : number + 1] = term
    return costs / max(images, 1)


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
    precision: str = "fp32",
) -> tuple[State, Array]:
    """Train a dense layer that is one chunk on every mini-batch of a data block.

    ``field`` is the whole input field: `Pieces`, or an array (image, y, x, map). Returns the fresh
    state and costs (mini_batch, 1, 1, 2), averaged over images, like `train_visit`.
    """
    width, dtype = state.weights.shape[3], state.weights.dtype
    total = -(-width // leaf)
    leaves, inputs = Leaves(0, total, total, leaf), Inputs(as_pieces(field).contiguous(), 0, scale)
    images = mini_batch_size(inputs.pieces.images, rates)
    state, factor, terms = state.copied(), None, list[tuple[Any, Any]]()
    operands = operands_of(leaves, state.weights, images)
    for step, rate in enumerate(rates):
        batch = slice(step * images, (step + 1) * images)
        z = total_of([code_sums(state, inputs, batch, leaves, precision)], total)
        head = make_head(z, state, factor, objective)
        found = residual_sums(state, inputs, batch, head, leaves, operands, precision)
        descent, costs = make_descent([found[2]], head, total)
        terms.append(costs)
        operands, by_offset, _ = found
        how = (leaves, objective.momentum, rate, precision)
        squares = descend_chunk(state, operands, by_offset, descent, *how)
        factor = row_scale(total_of([squares], total), dtype)
    if factor is not None:
        np.multiply(state.weights, factor[:, None], out=state.weights)
    return state, costs_of_steps(terms, images, state.weights)


def forward_sums(
    state: State, inputs: Inputs, leaves: Leaves, rows: int, precision: str = "fp32"
) -> Sums:
    """``W x`` over a chunk's leaves for a whole block, in BLAS calls of ``rows`` images.

    The last call has fewer images, and rows of no meaning in their place.
    """
    images = inputs.pieces.images
    calls = [
        code_sums(state, inputs, slice(start, start + rows), leaves, precision)
        for start in range(0, images, rows)
    ]
    return {node: joined([call[node] for call in calls])[:images] for node in calls[0]}
