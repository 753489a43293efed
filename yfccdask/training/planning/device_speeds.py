"""How fast a GPU is with the kernels that a run uses; and, where none is there, what it can't beat.

Both give the plan the same figures: seconds of one mini-batch of one position or leaf, of one
image's LCN, of one image's tile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend import to_host
from yfccdask.backend.device import Library
from yfccdask.config import Config
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.device.images import contrast_on_device, whitened_on_device
from yfccdask.numerics.fields import as_pieces
from yfccdask.numerics.local_visits import Objective, Rates, State, Windows
from yfccdask.training.planning.device_floors import (
    Card,
    Shape,
    Stage,
    contrast_stages,
    dense_stages,
    forward_stages,
    local_stages,
    step_floor,
    tile_stages,
)

LEAST_SECONDS = 0.05  # of calls, after one to warm up, or two calls
MOST_BYTES = 1 << 30  # of the weights and fields that are measured with
MOST_FLOP = 1e12  # of one measured call
OBJECTIVE, RATE, SCALE = Objective(0.1, 1e-4, 0.9), Rates(1e-6, 1e-6, 1e-6), 0.1
LEAVES, IMAGES = 4, 16  # measured together: leaves of a dense layer, images of a field
Work = Callable[[], Any]


class Pair(NamedTuple):
    """Seconds of one mini-batch of one position or leaf: its training, and its forward pass."""

    visit: float
    forward: float


def waited_seconds(work: Work) -> float:
    """The least time by the clock until a call's result is on the host, after one to warm up."""
    to_host(work())
    found: list[float] = []
    while len(found) < 2 or sum(found) < LEAST_SECONDS:
        start = time.perf_counter()
        to_host(work())
        found.append(time.perf_counter() - start)
    return min(found)


class _Case(NamedTuple):
    """What is measured: some positions or leaves of a layer, and the rates of a visit's steps."""

    library: Library
    state: State
    layer: LayerGeometry
    config: Config
    rates: tuple[Rates, ...]
    leaf: int

    def field(self, height: int, width: int, maps: int) -> Any:
        """A field of the visit's images."""
        shape = (len(self.rates) * self.rows, height, width, maps)
        return self.library.full(shape, 0.1, np.float32)

    @property
    def rows(self) -> int:
        return self.config.batching.mini_batch

    @property
    def precision(self) -> str:
        return self.config.arithmetic.products


def measured_layer(library: Library, layer: LayerGeometry, config: Config) -> Pair:
    """A layer's position or leaf, measured on a device: many together, as in a visit."""
    steps = _steps(config)
    images = steps * config.batching.mini_batch
    count, inputs = _measured_together(layer, images)
    grid = (1, 1) if layer.dense else (1, count)
    weights = library.full((*grid, layer.units, inputs), 0.01, np.float32)
    state = local_visits.fresh_state(weights, 1.0)
    case = _Case(library, state, layer, config, (RATE,) * steps, inputs // count)
    works = _dense_work(case) if layer.dense else _local_work(case)
    return Pair(*(waited_seconds(work) / (steps * count) for work in works))


def _steps(config: Config) -> int:
    return max(1, config.batching.data_block // config.batching.mini_batch)


def _local_work(case: _Case) -> tuple[Work, Work]:
    """A row of positions: their training, and their forward pass."""
    layer, rows, precision = case.layer, case.rows, case.precision
    width = (case.state.weights.shape[1] - 1) * layer.stride + layer.window[1]
    given = (case.state, case.field(layer.window[0], width, layer.input.maps), SCALE)
    windows, rates = Windows(layer.window, layer.stride), case.rates
    return (
        lambda: local_visits.train_visit(*given, windows, OBJECTIVE, rates, precision)[1],
        lambda: local_visits.forward_visit(*given, windows, layer.tile, rows, precision)[:1, :1],
    )


def _dense_work(case: _Case) -> tuple[Work, Work]:
    """Some leaves of a dense layer: their training, and their share of a forward pass."""
    state, leaf, precision = case.state, case.leaf, case.precision
    width = state.weights.shape[3]
    field = case.field(1, 1, width)
    leaves = dense_visits.Leaves(0, width // leaf, width // leaf, leaf)
    inputs = dense_visits.Inputs(as_pieces(field), 0, SCALE)

    def train() -> Any:
        given = (state, field, SCALE, leaf, OBJECTIVE, case.rates, precision)
        return dense_visits.train_dense_visit(*given)[1]

    def forward() -> Any:
        sums = dense_visits.forward_sums(state, inputs, leaves, case.rows, precision)
        return dense_visits.total_of([sums], leaves.total)[:1]

    return train, forward


def _measured_together(layer: LayerGeometry, images: int) -> tuple[int, int]:
    """How many positions or leaves are measured in one call, and all their inputs per position."""
    each = min(layer.leaf, layer.inputs) if layer.dense else layer.inputs
    bytes_each = 4 * (4 * layer.units * each + 2 * images * (each + layer.units))
    most = min(MOST_BYTES / bytes_each, MOST_FLOP / (10 * layer.units * each * images))
    there = layer.inputs // each if layer.dense else layer.grid[1]
    count = max(1, min(int(most), there, LEAVES if layer.dense else there))
    return count, count * each if layer.dense else each


def measured_contrast(library: Library, layer: LayerGeometry, window: ContrastWindow) -> float:
    """Seconds of LCN for one image of a layer's output, measured on a device."""
    out = layer.output
    images = max(1, min(IMAGES, MOST_BYTES // (16 * out.size)))
    field = library.full((images, out.height, out.width, out.maps), 0.5, np.float32)
    return waited_seconds(lambda: normalise_field(field, window, 1e-4)[:1, :1, :1]) / images


def measured_tile(library: Library, config: Config, side: int, patch: int) -> float:
    """Seconds of contrast and whitening for one tile of one image, measured on a device."""
    channels = config.images.channels
    shape = (IMAGES, side + patch - 1, side + patch - 1, channels)
    pixels = library.upload(np.ones(shape, config.images.dtype))
    factors = np.full((2, IMAGES), 0.01, np.float32)
    whitening, mirror = np.full((patch, patch, channels, channels), 0.01), ((0, 0), (0, 0))

    def work() -> Any:
        if patch == 1:
            return contrast_on_device(library, pixels, *factors)[:1]
        return whitened_on_device(library, pixels, *factors, whitening, mirror)[:1]

    return waited_seconds(work) / IMAGES


def least_layer(card: Card, layer: LayerGeometry, config: Config) -> Pair:
    """A layer's position or leaf by the floors of a card: what no kernel can beat."""
    steps = _steps(config)
    precision, images = config.arithmetic.products, config.batching.mini_batch
    inputs = min(layer.leaf, layer.inputs) if layer.dense else layer.inputs
    field = inputs if layer.dense else layer.input.size / layer.positions
    shape = Shape(1, images, layer.units, inputs, field, steps)
    stages = dense_stages if layer.dense else local_stages
    return Pair(
        least(card, precision, stages(shape, precision)),
        least(card, precision, forward_stages(shape, precision)),
    )


def least(card: Card, precision: str, stages: dict[str, Stage]) -> float:
    """Seconds of stages whose products are of a precision."""
    return step_floor(stages, card.bandwidth, card.rate(precision))


def least_contrast(card: Card, layer: LayerGeometry) -> float:
    """Seconds of LCN for one image of a layer's output, by the floors of a card."""
    stages = contrast_stages(layer.output.size, layer.normalised.size)
    return least(card, "fp32", stages)


def least_tile(card: Card, config: Config, side: int, patch: int) -> float:
    """Seconds of contrast and whitening for one tile of one image, by the floors of a card."""
    return least(card, "fp32", tile_stages(math.prod((side, side)), config.images.channels, patch))
