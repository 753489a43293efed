"""The dense layer's fixed leaves, and the one binary tree over them.

Sums over the dense layer's inputs are taken leaf by leaf and then up one tree over leaf
indices. The tree depends on the number of leaves alone, so whichever chunk holds which leaves,
and however many workers there are, the same additions happen in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from yfccdask.geometry.rectangles import spans

Node = tuple[int, int]
T = TypeVar("T")


def leaf_ranges(inputs: int, leaf: int) -> tuple[tuple[int, int], ...]:
    """The (start, stop) of every leaf over ``inputs`` values; the last may be shorter."""
    return spans(inputs, leaf)


def split(start: int, stop: int) -> int:
    """Where the node over leaves ``start:stop`` divides: after its largest power of two."""
    half = 1
    while half * 2 < stop - start:
        half *= 2
    return start + half


def tree_nodes(leaves: int, start: int, stop: int) -> tuple[Node, ...]:
    """The fewest nodes of the tree over ``leaves`` that make up the leaves ``start:stop``.

    A chunk that holds these leaves can finish the sums of these nodes alone.

    >>> tree_nodes(8, 2, 7)
    ((2, 4), (4, 6), (6, 7))
    """

    def inside(node: Node) -> tuple[Node, ...]:
        low, high = node
        if high <= start or stop <= low:
            return ()
        if start <= low and high <= stop:
            return (node,)
        middle = split(low, high)
        return inside((low, middle)) + inside((middle, high))

    return inside((0, leaves))


def tree_fold(node: Node, known: Mapping[Node, T], add: Callable[[T, T], T]) -> T:
    """The sum at ``node``, from the nodes whose sums are ``known``, in the tree's order."""
    if node in known:
        return known[node]
    middle = split(*node)
    left = tree_fold((node[0], middle), known, add)
    return add(left, tree_fold((middle, node[1]), known, add))
