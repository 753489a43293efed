"""Where to cut a layer, and which worker has which chunk: neighbours together, work in balance.

Chunks are dealt out in contiguous runs along a serpentine (left to right, then right to left in the
next row of chunks), so that a worker's region is compact and, because every layer is cut and dealt
in the same way, lies over the same part of the image in every layer: only halos cross.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeVar

from yfccdask.errors import GeometryError
from yfccdask.geometry.layers import LayerGeometry
from yfccdask.geometry.layout import ChunkIndex, FieldLayout, Layout
from yfccdask.geometry.rectangles import Rectangle, spans

Worker = TypeVar("Worker", bound=Hashable)


def even_layout(layer: LayerGeometry, rows: int, columns: int = 1) -> Layout:
    """A local layer in about ``rows`` x ``columns`` chunks of equal steps.

    The last step may be shorter, and there may be fewer chunks than asked for: 5 rows of positions
    in steps of 2 are 3 chunks.
    """
    steps = (
        math.ceil(extent / min(wanted, extent))
        for extent, wanted in zip(layer.grid, (rows, columns), strict=True)
    )
    sizes = (
        tuple(stop - start for start, stop in spans(extent, step))
        for extent, step in zip(layer.grid, steps, strict=True)
    )
    return Layout(layer, *sizes)


def leaf_layout(layer: LayerGeometry, chunks: int) -> Layout:
    """A dense layer in about ``chunks`` chunks of whole leaves, equal but for the last."""
    leaves = math.ceil(layer.inputs / layer.leaf)
    step = math.ceil(leaves / min(chunks, leaves))
    return Layout(layer, (1,), (1,), tuple(stop - start for start, stop in spans(leaves, step)))


def serpentine(layout: Layout) -> Iterator[ChunkIndex]:
    """Every chunk, each row of chunks in the direction opposite to the one before."""
    columns = range(len(layout.columns))
    for i in range(len(layout.rows)):
        for j in columns if i % 2 == 0 else reversed(columns):
            for k in range(len(layout.leaves)):
                yield i, j, k


def chunk_weights(layout: Layout, index: ChunkIndex) -> int:
    """Weights in one chunk."""
    start, stop = layout.inputs_of(index[2])
    area = layout.rows[index[0]] * layout.columns[index[1]]
    return area * layout.layer.units * (stop - start)


def assign(
    layout: Layout, workers: int, shares: Sequence[float] | None = None
) -> dict[ChunkIndex, int]:
    """The worker (from 0) of every chunk of a layer.

    Parameters
    ----------
    layout : Layout
    workers : int
    shares : sequence of float, optional
        What part of the layer every worker is to have, in any unit; equal where not given. A worker
        with a share of 0 gets nothing.

    Returns
    -------
    dict of ChunkIndex to int
        In serpentine order, worker numbers never falling; every worker's work is within one chunk
        of its share, and none is idle where there are as many chunks as workers.

    Raises
    ------
    GeometryError
        If there is no worker, or the shares are not one per worker or all 0.

    Examples
    --------
    >>> from yfccdask.geometry import Field, local_layer
    >>> layer = local_layer(Field(8, 4, 1), window=2, stride=2, units=3, tile=(1, 1))
    >>> assign(even_layout(layer, rows=2, columns=2), workers=2)
    {(0, 0, 0): 0, (0, 1, 0): 0, (1, 1, 0): 1, (1, 0, 0): 1}
    """
    shares = _checked(workers, shares)
    busy = [number for number, share in enumerate(shares) if share > 0]
    order = list(serpentine(layout))
    edges = [0]
    for index in order:
        edges.append(edges[-1] + chunk_weights(layout, index))
    cuts = _cuts(edges, [shares[number] for number in busy])
    return {
        index: number
        for number, (start, stop) in zip(busy, pairwise(cuts), strict=True)
        for index in order[start:stop]
    }


def _checked(workers: int, shares: Sequence[float] | None) -> Sequence[float]:
    if workers < 1:
        raise GeometryError(f"expected at least 1 worker, found {workers}")
    shares = [1.0] * workers if shares is None else shares
    if len(shares) != workers or min(shares) < 0 or not any(shares):
        raise GeometryError(
            f"expected {workers} shares, none below 0 and some above, found {shares}"
        )
    return shares


def _cuts(edges: list[int], shares: list[float]) -> list[int]:
    """Where the runs begin and end: each cut the nearest to where the shares would have it."""
    chunks, runs = len(edges) - 1, len(shares)
    total, done, cuts = sum(shares), 0.0, [0]
    for number, share in enumerate(shares, start=1):
        done += share
        cut = _nearest(edges, edges[-1] * done / total)
        if chunks >= runs:  # nobody is left without a chunk
            cut = min(max(cut, cuts[-1] + 1), chunks - (runs - number))
        cuts.append(max(cut, cuts[-1]))
    cuts[-1] = chunks
    return cuts


def _nearest(edges: list[int], place: float) -> int:
    above = min(bisect_left(edges, place), len(edges) - 1)
    below = max(0, above - 1)
    return below if place - edges[below] < edges[above] - place else above


def touched(field: FieldLayout, region: Rectangle) -> list[tuple[int, int]]:
    """The chunks of a field that share a pixel with ``region``, as `FieldLayout.touching` says.

    It looks only where they can be, which matters where thousands of chunks ask.
    """
    rows = _reached(field.rows, region.top, region.bottom)
    columns = _reached(field.columns, region.left, region.right)
    return [(i, j) for i in rows for j in columns]


@lru_cache(maxsize=4096)
def _reached(sizes: tuple[int, ...], start: int, stop: int) -> range:
    edges = tuple(accumulate(sizes, initial=0))
    return range(bisect_right(edges, start) - 1, min(bisect_left(edges, stop), len(sizes)))


def chunk_over(layout: Layout, place: Rectangle, field: FieldLayout) -> ChunkIndex:
    """The chunk whose positions lie over the centre of a place in the layer's input field."""
    whole, grid = field.whole, layout.layer.grid
    row = (place.top + place.bottom) * grid[0] // (2 * whole.bottom)
    column = (place.left + place.right) * grid[1] // (2 * whole.right)
    return _span_of(layout.rows, row), _span_of(layout.columns, column), 0


def _span_of(sizes: tuple[int, ...], place: int) -> int:
    return next(number for number, edge in enumerate(accumulate(sizes)) if place < edge)


def takers(layout: Layout, owners: Mapping[ChunkIndex, Worker]) -> list[Worker]:
    """The workers of a layer's chunks, each once, along the serpentine."""
    return list(dict.fromkeys(owners[index] for index in serpentine(layout)))


def tile_makers(
    layout: Layout, owners: Mapping[ChunkIndex, Worker], tiles: FieldLayout, turn: int
) -> dict[tuple[int, int], Worker]:
    """Who makes each tile of the field that a layer reads, for the block whose turn it is.

    The layer's workers take the tiles in their order along the serpentine, so that each has those
    near its positions, and in even shares: no two of them differ by more than one tile. Over as
    many turns as there are workers, each makes as many tiles as any other.

    Parameters
    ----------
    layout : Layout
    owners : mapping
        The worker of every chunk of the layer.
    tiles : FieldLayout
    turn : int
        Counts the blocks.

    Examples
    --------
    One tile and two workers:

    >>> from yfccdask.geometry import Field, local_layer
    >>> layer = local_layer(Field(8, 4, 1), window=2, stride=2, units=3, tile=(1, 1))
    >>> layout, tiles = even_layout(layer, rows=2), FieldLayout((8,), (4,), 1)
    >>> [tile_makers(layout, assign(layout, 2), tiles, turn) for turn in range(3)]
    [{(0, 0): 0}, {(0, 0): 1}, {(0, 0): 0}]
    """
    workers = takers(layout, owners)
    rank = {worker: number for number, worker in enumerate(workers)}
    nearest = {
        index: rank[owners[chunk_over(layout, place, tiles)]]
        for index, place in tiles.places.items()
    }
    order = sorted(tiles.places, key=lambda index: (nearest[index], index))
    shift = _shift(turn, len(order), len(workers))
    return {
        index: workers[(number * len(workers) + shift) // len(order)]
        for number, index in enumerate(order)
    }


def _shift(turn: int, tiles: int, workers: int) -> int:
    """Every number below ``workers`` once in as many turns, in steps of ``tiles``.

    Such a step hands every tile on to the next worker that had none, or fewer.
    """
    period = workers // math.gcd(tiles, workers)
    return (turn * tiles + turn % workers // period) % workers
