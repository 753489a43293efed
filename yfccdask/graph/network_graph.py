"""The field that enters a layer: images forward through every layer below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef

from yfccdask.geometry import LayerGeometry, Layout, Rectangle
from yfccdask.geometry.rectangles import spans
from yfccdask.graph.contrast_graph import normalise_block
from yfccdask.graph.pieces import array_from_tasks, field_layout, pieces_of
from yfccdask.graph.state_chunks import StateChunks
from yfccdask.graph.visits import forward_block
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.fields import deviation_of, row_moments, stitch


class Forward(NamedTuple):
    """A trained layer as its successors see it.

    ``precision`` is of a GPU's matrix products; ``stored`` is the type of the fields that leave the
    layer, before and after LCN, the states' unless given.
    """

    states: StateChunks
    scale: float
    window: ContrastWindow | None
    floor: float
    precision: str = "fp32"
    stored: Any = None


def layer_input(name: str, preprocessed: da.Array, below: Sequence[Forward], rows: int) -> da.Array:
    """The field of a block that enters the layer above ``below``.

    Parameters
    ----------
    name : str
        Unique per run and block.
    preprocessed : dask array (image, y, x, channel)
    below : sequence of Forward
        The layers to go through, from the image upwards.
    rows : int
        Images per BLAS call, the mini-batch.
    """
    field = preprocessed
    for number, layer in enumerate(below):
        field = normalised_output(f"{name}-layer{number + 1}", layer, field, rows)
    return field


def normalised_output(name: str, layer: Forward, field: da.Array, rows: int) -> da.Array:
    """A layer's output field for a block, after its LCN."""
    given = (layer.states, field, layer.scale, rows, layer.precision, layer.stored)
    output = forward_block(f"forward-{name}", *given)
    if layer.window is None:
        return output
    how = (layer.window, layer.floor, *normalised_cuts(layer.states.layout))
    where = (layer.states.owners, layer.stored)
    return normalise_block(f"normalised-{name}", output, *how, *where)


def normalised_cuts(layout: Layout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows and columns of the normalised field's chunks: about as many as the weights have."""
    width = layout.layer.normalised.width
    return band_rows(layout.layer, len(layout.rows)), _even_sizes(width, len(layout.columns))


def band_rows(layer: LayerGeometry, bands: int) -> tuple[int, ...]:
    """Rows of the normalised field per band, for about as many bands as asked for."""
    return _even_sizes(layer.normalised.height, bands)


def _even_sizes(length: int, parts: int) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in spans(length, -(-length // parts)))


def field_deviation(name: str, field: da.Array) -> da.Array:
    """The standard deviation of a whole field over a block, in float64, as a scalar Dask array.

    Row by row over the whole width, in order: the same bits however the field is cut.
    """
    parts, layout = f"moments-{name}", field_layout(field)
    tasks: dict[Any, Task] = {}
    for i, (top, bottom) in enumerate(layout.row_spans):
        region = Rectangle(top, bottom, 0, layout.whole.right)
        tasks[(parts, i)] = Task((parts, i), band_moments, *pieces_of(field, region), region)
    every = List(*(TaskRef(key) for key in tasks))
    tasks[(name,)] = Task((name,), whole_deviation, every)
    return array_from_tasks(name, tasks, [field], (), np.float64)


def band_moments(
    pieces: list[np.ndarray], places: tuple[Rectangle, ...], region: Rectangle
) -> np.ndarray:
    """Task: the moments of a band of whole rows."""
    return row_moments(stitch(pieces, places, region))


def whole_deviation(moments: list[np.ndarray]) -> np.float64:
    """Task: the deviation from all chunks' row moments."""
    return np.float64(deviation_of(np.concatenate(moments)))
