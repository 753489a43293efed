"""The dense layer: one position over a whole field, its inputs cut into fixed leaves.

A chunk holds whole leaves. Each mini-batch has three phases per chunk, and between them three sums
over all leaves, taken up the one tree of `yfccdask.geometry.leaves`:

1. ``z = W x``                         -> sum over leaves -> ``make_head``: the code and its terms
2. ``r = W^T s + b - x``, ``h = r W^T`` -> sum over leaves -> ``make_descent``: the code's gradient
3. ``M``, ``W``, ``b`` descend          -> sum over leaves of the rows' squares -> their scale

Rows are not rescaled in phase 3 but carry a scale into the next mini-batch, which saves a pass over
the weights; `finish` applies it at the end of a visit. A chunk of all leaves does the same
additions by itself (`train_dense_visit`), so the bits don't depend on how leaves are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.geometry import tree_fold, tree_nodes
from yfccdask.numerics.kernels import (
    code_gradient,
    code_terms,
    descend_rows,
    residual_terms,
    squared_norms,
)
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
POSITION = (0, 0)


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


def tree_sums(parts: Mapping[int, Array], leaves: Leaves) -> Sums:
    """The sums of the tree's nodes that the chunk's leaves make up, each in the tree's order."""
    known = {(leaf, leaf + 1): part for leaf, part in parts.items()}
    nodes = tree_nodes(leaves.total, leaves.start, leaves.stop)
    return {node: tree_fold(node, known, np.add) for node in nodes}


def total_of(sums: list[Sums], leaves: int) -> Array:
    """The sum over all leaves from every chunk's nodes."""
    known = {node: part for chunk in sums for node, part in chunk.items()}
    return tree_fold((0, leaves), known, np.add)


@diverging
def code_sums(state: State, x: Array, leaves: Leaves) -> Sums:
    """Phase 1: ``W x`` over the chunk's leaves; ``x`` (image, input) is scaled already."""
    use_one_blas_thread()
    weights = state.weights[POSITION]
    slices = leaves.slices(weights.shape[1])
    parts = {leaf: x[:, part] @ weights[:, part].T for leaf, part in slices.items()}
    return tree_sums(parts, leaves)


@diverging
def make_head(z: Array, alpha: float, scale: Array, objective: Objective) -> Head:
    """The code of a mini-batch from ``W x`` over all leaves, with rows still to be scaled."""
    z = z * scale
    s, slope = np.empty_like(z), np.empty_like(z)
    kind = z.dtype.type
    cost = code_terms(z, kind(alpha), kind(objective.sparsity), kind(objective.epsilon), s, slope)
    return Head(z, s, slope, scale, alpha, objective.sparsity * cost)


@diverging
def residual_sums(state: State, x: Array, head: Head, leaves: Leaves) -> tuple[Array, Array, Sums]:
    """Phase 2: the residual r (image, input), its sum (input,), and sums over leaves.

    The sums are pairs: ``r W^T`` (image, unit) and ``sum r^2`` in float64.
    """
    use_one_blas_thread()
    weights, offset = state.weights[POSITION], state.offset[POSITION]
    r, by_offset = np.empty_like(x), np.empty_like(offset)
    scaled = head.s * head.scale
    parts = {}
    for leaf, part in leaves.slices(weights.shape[1]).items():
        piece = scaled @ weights[:, part]
        cost = residual_terms(
            piece, np.ascontiguousarray(x[:, part]), offset[part], by_offset[part]
        )
        r[:, part] = piece
        parts[leaf] = _Pair(piece @ weights[:, part].T, cost)
    known = {(leaf, leaf + 1): pair for leaf, pair in parts.items()}
    nodes = tree_nodes(leaves.total, leaves.start, leaves.stop)
    return r, by_offset, {node: tree_fold(node, known, _add_pairs) for node in nodes}


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
    x: Array,
    r: Array,
    by_offset: Array,
    descent: Descent,
    leaves: Leaves,
    momentum: float,
    rate: Rates,
) -> Sums:
    """Phase 3, in place: weights, offsets, alpha and momenta; returns sums of the rows' squares.

    The rows that it leaves are not of unit norm: multiply by ``row_scale`` of all leaves' sums.
    """
    use_one_blas_thread()
    weights, kind = state.weights[POSITION], state.weights.dtype.type
    n = len(x)
    parts = {}
    for leaf, part in leaves.slices(weights.shape[1]).items():
        operand = np.concatenate([x[:, part], r[:, part]])
        gradient = descent.gs.T @ operand
        descend_rows(
            weights[:, part],
            state.weights_momentum[POSITION][:, part],
            gradient,
            kind(momentum),
            kind(1 / n),
            kind(rate.weights),
            descent.scale,
        )
        parts[leaf] = np.empty(len(weights))
        squared_norms(weights[:, part], parts[leaf])
    descend_offset(state, POSITION, by_offset, 2 / n, momentum, rate.offset)
    descend_alpha(state, POSITION, descent.by_alpha / n, momentum, rate.alpha)
    return tree_sums(parts, leaves)


def row_scale(squares: Array, dtype: Any) -> Array:
    """What brings rows with these squared norms (unit,) to unit norm."""
    return (1.0 / np.sqrt(squares)).astype(dtype)


@diverging
def finish(state: State, scale: Array) -> State:
    """The state whose rows have unit norm; freshly made."""
    weights = state.weights * scale[:, None]
    return state._replace(weights=weights)


@diverging
def train_dense_visit(
    state: State,
    field: Array,
    scale: float,
    leaf: int,
    objective: Objective,
    rates: tuple[Rates, ...],
) -> tuple[State, Array]:
    """Train a dense layer that is one chunk on every mini-batch of a data block.

    ``field`` (image, y, x, map) is the whole input field. Returns the fresh state and costs
    (mini_batch, 1, 1, 2), averaged over images, like `train_visit`.
    """
    state = State(*(np.array(part) for part in state))
    inputs, dtype = state.weights.shape[-1], state.weights.dtype
    total = -(-inputs // leaf)
    leaves = Leaves(0, total, total, leaf)
    images = mini_batch_size(field, rates)
    factor = np.ones(state.weights.shape[2], dtype)
    costs = np.empty((len(rates), 1, 1, 2))
    for step, rate in enumerate(rates):
        x = flatten(field[step * images : (step + 1) * images], scale, dtype)
        z = total_of([code_sums(state, x, leaves)], total)
        head = make_head(z, float(state.alpha[POSITION]), factor, objective)
        r, by_offset, sums = residual_sums(state, x, head, leaves)
        descent, costs[step, 0, 0] = make_descent([sums], head, total)
        squares = descend_chunk(state, x, r, by_offset, descent, leaves, objective.momentum, rate)
        factor = row_scale(total_of([squares], total), dtype)
    return finish(state, factor), costs / max(images, 1)


def flatten(field: Array, scale: float, dtype: Any) -> Array:
    """A mini-batch's inputs (image, input) from its field, scaled."""
    return (field.reshape(len(field), -1) * dtype.type(scale)).astype(dtype, copy=False)


def forward_sums(state: State, x: Array, leaves: Leaves, rows: int) -> Sums:
    """``W x`` over a chunk's leaves for a whole block, in BLAS calls of ``rows`` images."""
    padded = np.zeros((-(-len(x) // rows) * rows, x.shape[1]), x.dtype)
    padded[: len(x)] = x
    calls = [
        code_sums(state, padded[start : start + rows], leaves)
        for start in range(0, len(padded), rows)
    ]
    return {node: np.concatenate([call[node] for call in calls])[: len(x)] for node in calls[0]}
