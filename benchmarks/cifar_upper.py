"""One upper layer trained again and again on the field that it reads, which is kept in memory.

Minutes become seconds: the layers below are trained once, and their field of all images is
collected once. The visits, their order, their rates and the kernel are the engine's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yfccdask.config import Config, network_geometry
from yfccdask.errors import Diverged
from yfccdask.geometry import Field, LayerGeometry
from yfccdask.numerics.fields import deviation_of, row_moments
from yfccdask.numerics.local_visits import (
    State,
    Windows,
    forward_visit,
    initial_state,
    train_visit,
)
from yfccdask.training.pipeline.visits import block_order, layer_visits, objective_of, rates_of

Array = Any


@dataclass(frozen=True)
class Upper:
    """A layer of a configuration, counted from 0, over a field of another size where one is given.

    A dense layer is trained as the one position that it is: its sums over leaves are rounded
    otherwise than the engine's, which is all that differs.
    """

    config: Config
    number: int
    field: Field | None = None

    @property
    def geometry(self) -> LayerGeometry:
        return geometry_over(self.config, self.number, self.field)

    @property
    def windows(self) -> Windows:
        return Windows(self.geometry.window, self.geometry.stride)


@dataclass(frozen=True)
class Learned:
    """What training left: the layer's state, its input's scale, and its cost in every pass."""

    state: State
    scale: float
    costs: list[float]


def geometry_over(config: Config, number: int, field: Field | None) -> LayerGeometry:
    """The geometry of a layer, over ``field`` in place of what the layers below leave."""
    if field is None:
        return network_geometry(config).layers[number]
    images = config.images.model_copy(update={"size": field.height, "channels": field.maps})
    plain = config.preprocessing.model_copy(update={"whitening": None})
    alone = {"images": images, "preprocessing": plain, "layers": (config.layers[number],)}
    return network_geometry(config.model_copy(update=alone)).layers[0]


def begin(upper: Upper) -> State:
    """The layer's random weights."""
    layer, config = upper.geometry, upper.config
    numbers = np.arange(layer.positions).reshape(layer.grid)
    size, alpha = (layer.units, layer.inputs), config.layers[upper.number].alpha
    return initial_state(config.seed, upper.number, numbers, *size, alpha, config.dtype)


def blocks_of(images: int, size: int) -> list[slice]:
    """The images of every data block."""
    return [slice(start, min(start + size, images)) for start in range(0, images, size)]


def scale_of(upper: Upper, field: Array) -> float:
    """What brings a field (image, y, x, map) to the set deviation, as the first block says."""
    blocks = blocks_of(len(field), upper.config.batching.data_block)
    first = blocks[block_order(upper.config.seed, 0, len(blocks))[0]]
    wanted = upper.config.layers[upper.number].input_deviation
    return wanted / deviation_of(row_moments(field[first]))


def learn(upper: Upper, field: Array) -> Learned:
    """Train a layer on a field (image, y, x, map), from its random weights.

    Raises
    ------
    Diverged
        If a cost is no number any more.
    """
    learning, state, scale = upper.config.layers[upper.number], begin(upper), scale_of(upper, field)
    blocks = blocks_of(len(field), upper.config.batching.data_block)
    costs: list[list[float]] = [[] for _ in range(learning.passes)]
    sizes = [block.stop - block.start for block in blocks]
    for visit in layer_visits(upper.config, upper.number, sizes):
        rates = rates_of(learning, upper.geometry, visit)
        start = blocks[visit.block].start
        images = field[start : start + len(rates) * upper.config.batching.mini_batch]
        given = (images, scale, upper.windows, objective_of(learning), rates)
        state, found = train_visit(state, *given)
        costs[visit.sweep].append(float(found.sum(axis=-1).mean()))
        if not np.isfinite(found).all():
            raise Diverged(f"layer {upper.number + 1}: the cost is no number any more")
    return Learned(state, scale, [float(np.mean(one)) for one in costs])


def untrained(upper: Upper, field: Array) -> Learned:
    """The layer's random weights over a field (image, y, x, map)."""
    return Learned(begin(upper), scale_of(upper, field), [])


def respond(upper: Upper, learned: Learned, field: Array) -> Array:
    """The layer's responses to a field (image, y, x, map), as its output field likewise."""
    how = upper.windows, upper.geometry.tile, upper.config.batching.mini_batch
    return forward_visit(learned.state, field, learned.scale, *how)
