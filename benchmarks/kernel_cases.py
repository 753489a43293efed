"""What the kernel benchmarks run on, and how they measure: chunks of the paper's layers."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend import use_one_blas_thread
from yfccdask.geometry import Field, LayerGeometry, dense_layer, local_layer
from yfccdask.numerics.dense_visits import train_dense_visit
from yfccdask.numerics.local_visits import (
    Objective,
    Rates,
    State,
    Windows,
    initial_state,
    train_visit,
)

MINI_BATCH, MINI_BATCHES = 192, 5
SCALE, OBJECTIVE = 0.1, Objective(0.1, 1e-3, 0.9)
RATES = (Rates(1e-3, 1e-3, 1e-5),) * MINI_BATCHES
LAYER_1 = local_layer(Field(44, 28, 3), window=16, stride=4, units=384)  # 8 x 4 positions, D 768
LAYER_2 = local_layer(Field(20, 24, 24), window=16, stride=4, units=384)  # 2 x 3, D 6144
DENSE = dense_layer(Field(1, 2048, 16), units=4096, leaf=16384)  # two leaves


class Case(NamedTuple):
    """A layer's chunk with a state and a block that enters it."""

    layer: LayerGeometry
    state: State
    field: Any

    @property
    def flop(self) -> float:
        """Floating-point operations of a visit: 10 per weight per image."""
        return float(self.layer.flop_per_image * len(self.field))

    def visit(self) -> tuple[State, Any]:
        """One training visit by our kernels."""
        windows = Windows(self.layer.window, self.layer.stride)
        if self.layer.dense:
            return train_dense_visit(
                self.state, self.field, SCALE, self.layer.leaf, OBJECTIVE, RATES
            )
        return train_visit(self.state, self.field, SCALE, windows, OBJECTIVE, RATES)


def case(layer: LayerGeometry) -> Case:
    """A chunk of all positions of a layer."""
    size = (MINI_BATCH * MINI_BATCHES, layer.input.height, layer.input.width, layer.input.maps)
    field = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    numbers = np.arange(layer.positions).reshape(layer.grid)
    units, inputs = layer.units, layer.inputs
    state = initial_state(0, 0, numbers, units, inputs, 1.0, np.dtype(np.float32))
    return Case(layer, state, field)


def best(
    work: Callable[[], Any], times: int = 4, clock: Callable[[], float] | None = None
) -> float:
    """The least time of several calls, after one to warm up: process CPU time by default."""
    clock, found = clock or time.process_time, []
    work()
    for _ in range(times):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


def sgemm_rate(size: int = 2048, times: int = 4) -> float:
    """Floating-point operations per second of a square float32 product on one core."""
    use_one_blas_thread()
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    return 2 * size**3 / best(lambda: np.matmul(a, b, out=out), times)


def sgemm_peak() -> tuple[float, int]:
    """The best rate over a few sizes, and the size that reached it."""
    return max((sgemm_rate(size), size) for size in (1024, 2048, 4096))


def touch_memory(size: float = 4e9) -> None:
    """Use memory once: a virtual machine's pages are slow the first time they are ever used."""
    np.ones(int(size // 4), np.float32)


def working_memory(chunk: Case) -> float:
    """MB that a visit has at its peak beyond the old state, the new state and the block."""
    chunk.visit()
    tracemalloc.start()
    try:
        result = chunk.visit()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return (peak - sum(part.nbytes for part in result[0])) / 1e6
