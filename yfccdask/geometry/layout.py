"""How a layer is cut into chunks: rectangles of positions, or whole leaves of a dense layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from yfccdask.errors import GeometryError
from yfccdask.geometry.layers import LayerGeometry
from yfccdask.geometry.rectangles import Field, Rectangle, spans

ChunkIndex = tuple[int, int, int]
LEAST_POSITIONS = 4  # positions below which a visit is too short beside Dask's own costs


@lru_cache(maxsize=256)
def _edges(sizes: tuple[int, ...]) -> tuple[int, ...]:
    edges = [0]
    for size in sizes:
        edges.append(edges[-1] + size)
    return tuple(edges)


@dataclass(frozen=True)
class FieldLayout:
    """A field cut into chunks of ``rows`` x ``columns`` pixels, all maps in each."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    maps: int

    @property
    def field(self) -> Field:
        return Field(sum(self.rows), sum(self.columns), self.maps)

    @property
    def row_spans(self) -> tuple[tuple[int, int], ...]:
        """First row of every row of chunks, and the one after its last."""
        return tuple(pairwise(_edges(self.rows)))

    @property
    def whole(self) -> Rectangle:
        return Rectangle(0, sum(self.rows), 0, sum(self.columns))

    @cached_property
    def places(self) -> dict[tuple[int, int], Rectangle]:
        """Where every chunk (row, column) lies."""
        tops, lefts = _edges(self.rows), _edges(self.columns)
        return {
            (i, j): Rectangle(tops[i], tops[i + 1], lefts[j], lefts[j + 1])
            for i in range(len(self.rows))
            for j in range(len(self.columns))
        }

    def touching(self, region: Rectangle) -> list[tuple[tuple[int, int], Rectangle]]:
        """The chunks that share a pixel with ``region``, in order, and where they lie."""
        return [(index, place) for index, place in self.places.items() if place.meets(region)]


@dataclass(frozen=True)
class Layout:
    """A layer's weights cut into chunks.

    Attributes
    ----------
    layer : LayerGeometry
    rows, columns : tuple of int
        Positions per chunk along the grid.
    leaves : tuple of int
        Leaves per chunk of a dense layer; ``(1,)`` stands for all inputs of a local one.
    """

    layer: LayerGeometry
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    leaves: tuple[int, ...] = (1,)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Inputs per chunk."""
        if not self.layer.dense:
            return (self.layer.inputs,)
        return tuple(stop - start for start, stop in map(self.inputs_of, range(len(self.leaves))))

    def leaves_of(self, k: int) -> tuple[int, int]:
        """First leaf of chunk k and the one after its last."""
        edges = _edges(self.leaves)
        return edges[k], edges[k + 1]

    def inputs_of(self, k: int) -> tuple[int, int]:
        """First input of chunk k and the one after its last."""
        if not self.layer.dense:
            return 0, self.layer.inputs
        start, stop = self.leaves_of(k)
        return start * self.layer.leaf, min(stop * self.layer.leaf, self.layer.inputs)

    def indices(self) -> Iterator[ChunkIndex]:
        """Every chunk (grid row, grid column, input)."""
        for i in range(len(self.rows)):
            for j in range(len(self.columns)):
                for k in range(len(self.leaves)):
                    yield i, j, k

    def positions(self, i: int, j: int) -> Rectangle:
        """The positions of the chunks at (i, j)."""
        tops, lefts = _edges(self.rows), _edges(self.columns)
        return Rectangle(tops[i], tops[i + 1], lefts[j], lefts[j + 1])

    def region(self, index: ChunkIndex) -> Rectangle:
        """The pixels of the input field that a chunk needs."""
        if not self.layer.dense:
            return self.layer.window_region(self.positions(*index[:2]))
        start, stop = self.inputs_of(index[2])
        row = self.layer.input.width * self.layer.input.maps
        return Rectangle(start // row, -(-stop // row), 0, self.layer.input.width)

    @property
    def output(self) -> FieldLayout:
        """How the layer's tiles lie in its output field."""
        height, width = self.layer.tile
        return FieldLayout(
            tuple(size * height for size in self.rows),
            tuple(size * width for size in self.columns),
            self.layer.maps,
        )


def _sizes(length: int, step: int) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in spans(length, step))


def layer_layout(
    layer: LayerGeometry,
    workers: int = 1,
    chunk: tuple[int, int] | None = None,
    chunk_leaves: int | None = None,
) -> Layout:
    """Cut a layer for a number of workers; ``chunk`` and ``chunk_leaves`` decide where given.

    Local layers are cut into bands of whole rows, two per worker where there are enough
    positions, so that workers of unequal luck even out; a dense layer stays on one worker.
    """
    if workers < 1:
        raise GeometryError(f"expected at least 1 worker, found {workers}")
    if layer.dense:
        leaves = math.ceil(layer.inputs / layer.leaf)
        return Layout(layer, (1,), (1,), _sizes(leaves, chunk_leaves or leaves))
    rows, columns = chunk or _bands(layer, workers)
    return Layout(layer, _sizes(layer.grid[0], rows), _sizes(layer.grid[1], columns))


def _bands(layer: LayerGeometry, workers: int) -> tuple[int, int]:
    least = math.ceil(LEAST_POSITIONS / layer.grid[1])
    rows = max(least, math.ceil(layer.grid[0] / (2 * workers)))
    return min(rows, layer.grid[0]), layer.grid[1]
