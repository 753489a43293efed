"""What `benchmarks.gpu` says of the link to the host, streamed visits, and a staggered tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu_cases import OBJECTIVE, RATE, SCALE, Case, HostClock, local_case, made_field
from yfccdask.backend.device import Library
from yfccdask.config import Config, load_config, network_geometry
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.contrast import normalise_field
from yfccdask.numerics.device.streaming import Hosted, moved_to_host
from yfccdask.numerics.states import State, Windows
from yfccdask.training.inputs import contrast_window
from yfccdask.training.planning.device_floors import (
    Shape,
    contrast_stages,
    dense_stages,
    forward_stages,
    local_stages,
    step_floor,
)

CHAIN = 4  # visits in a row: the first group of one travels while the last one is worked on
STREAMED_ROWS = 4  # of layer 2's positions that are streamed
SIZE = 96  # pixels of the images of the staggered tick's network
Figures = dict[str, Any]


def link_speeds(device: Library, clock: HostClock, size: int) -> dict[str, float]:
    """Bytes per second through page-locked memory: each way by itself, and each way of both."""
    host = [device.pinned((size,), np.uint8) for _ in range(2)]
    there = [device.full((size,), 0, np.uint8) for _ in range(2)]

    def copied(*ways: str) -> None:
        compute = device.stream("compute")
        begun = compute.record()
        for way in ways:
            stream, number = device.stream(way), ("up", "down").index(way)
            stream.wait(begun)
            pair = (host[number], there[number])
            stream.copy(*(pair if way == "up" else pair[::-1]))
        for way in ways:
            compute.wait(device.stream(way).record())

    return {
        "to the device": size / clock.seconds(lambda: copied("up")),
        "to the host": size / clock.seconds(lambda: copied("down")),
        "each way, both at once": size / clock.seconds(lambda: copied("up", "down")),
    }


def streamed_case(
    device: Library, layer: LayerGeometry, rows: int, images: int, steps: int
) -> Case:
    """Some rows of a local layer, in the host's memory."""
    case = local_case(device, "streamed", layer, rows, images, steps)
    return case._replace(state=moved_to_host(device, case.state))


def state_bytes(state: State | Hosted) -> int:
    """Bytes of a state's arrays, wherever they lie."""
    arrays = state.state if isinstance(state, Hosted) else state
    return sum(int(part.nbytes) for part in arrays)


def streamed(
    case: Case, precision: str, clock: HostClock, bandwidth: float, rate: float, link: float
) -> Figures:
    """A streamed visit against the longer of its computation's and its bytes' floor."""

    def chain() -> None:
        following = case
        for _ in range(CHAIN):
            following = following._replace(state=following.train(precision)[0])

    compute = case.shape.steps * step_floor(case.stages(case.shape, precision), bandwidth, rate)
    travel = state_bytes(case.state) / link
    seconds = clock.seconds(chain, 3) / CHAIN
    return {
        "visit, ms": 1e3 * seconds,
        "computation's floor, ms": 1e3 * compute,
        "link's floor, ms": 1e3 * travel,
        "visit / floor": seconds / max(compute, travel),
    }


class StaggeredTick:
    """A network whose layers all train: each one's block goes through the layers below it."""

    def __init__(self, device: Library, config: Config) -> None:
        self.config, self.layers = config, network_geometry(config).layers
        self.images = config.batching.mini_batch
        self.steps = config.batching.data_block // self.images
        first = self.layers[0].input
        block = self.images * self.steps
        self.block = made_field(device, block, first.height, first.width, first.maps)
        self.states = [initial(number, layer) for number, layer in enumerate(self.layers)]

    def once(self, precision: str) -> None:
        """A tick: upper layers first, with the copies of the layers below as they are."""
        for number in reversed(range(len(self.layers))):
            field = self.block
            for below in range(number):
                field = self.passed(below, field, precision)
            self.trained(number, field, precision)

    def passed(self, number: int, field: Any, precision: str) -> Any:
        """A field through a layer and its LCN."""
        layer, (window, floor) = self.layers[number], contrast_window(self.config, number)
        how = (SCALE, Windows(layer.window, layer.stride), layer.tile, self.images, precision)
        field = local_visits.forward_visit(self.states[number], field, *how)
        return field if window is None else normalise_field(field, window, floor)

    def trained(self, number: int, field: Any, precision: str) -> None:
        """A visit of a whole layer."""
        layer, rates = self.layers[number], (RATE,) * self.steps
        visit: Callable[..., Any] = local_visits.train_visit
        how: Any = Windows(layer.window, layer.stride)
        if layer.dense:
            visit, how = dense_visits.train_dense_visit, layer.leaf
        made = visit(self.states[number], field, SCALE, how, OBJECTIVE, rates, precision)
        self.states[number] = made[0]

    def floor(self, precision: str, bandwidth: float, rate: float) -> float:
        """Seconds that no tick can beat."""
        total, own = 0.0, (bandwidth, rate)
        for number, layer in enumerate(self.layers):
            shape = Shape(
                layer.positions,
                self.images,
                layer.units,
                layer.inputs,
                layer.input.size,
                self.steps,
            )
            stages = dense_stages if layer.dense else local_stages
            total += self.steps * step_floor(stages(shape, precision), *own)
            above = len(self.layers) - 1 - number
            passing = self.steps * step_floor(forward_stages(shape, precision), *own)
            if contrast_window(self.config, number)[0] is not None:
                block = self.images * self.steps
                lcn = contrast_stages(layer.output.size, layer.normalised.size)
                passing += block * step_floor(lcn, *own)
            total += above * passing
        return total


def small_network() -> Config:
    """The paper's layers over images of `SIZE` pixels."""
    return load_config("paper", [f"images.size={SIZE}"])


def initial(number: int, layer: LayerGeometry) -> State:
    """A whole layer's state before training, on the GPU."""
    if not layer.dense:
        positions = np.arange(layer.positions).reshape(layer.grid)
        how = (positions, layer.units, layer.inputs, 1.0, "f4", "gpu")
        return local_visits.initial_state(0, number, *how)
    given = (0, number, layer.units, (0, layer.inputs))
    squares = dense_visits.initial_squares(*given, "gpu")
    return local_visits.fresh_state(dense_visits.initial_columns(*given, squares, "f4", "gpu"), 1.0)


def tick_figures(
    tick: StaggeredTick, precision: str, clock: HostClock, bandwidth: float, rate: float
) -> Figures:
    """A staggered tick against its floor."""
    seconds = clock.seconds(lambda: tick.once(precision), 3)
    return {
        "tick, ms": 1e3 * seconds,
        "tick / floor": seconds / tick.floor(precision, bandwidth, rate),
        "images per second": tick.images * tick.steps / seconds,
    }
