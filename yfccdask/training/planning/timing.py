"""Seconds of a block on every worker, and of a whole run, from measured parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from yfccdask.geometry import ChunkIndex
from yfccdask.training.inputs import contrast_window
from yfccdask.training.pipeline.start_rules import earliest_starts
from yfccdask.training.planning.calibration import (
    Calibration,
    contrast_key,
    kernel_key,
    tile_key,
)
from yfccdask.training.planning.chunk_sizes import chunk_bytes, weight_bytes
from yfccdask.training.planning.device_floors import LINK
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.stages import transfers
from yfccdask.training.planning.traffic import (
    making_moved,
    making_tasks,
    visit_moved,
    visit_tasks,
)

TASK_SECONDS = 1.2e-3  # of a worker's processor, per task
SCHEDULER_SECONDS = 0.45e-3  # of the scheduler's, per task
Seconds = list[float]


@dataclass(frozen=True)
class LayerTime:
    """One block of a layer on every worker, in seconds.

    ``making`` is what its input takes, ``visit`` its training; ``tasks`` are all of the cluster's.
    """

    making: Seconds
    visit: Seconds
    making_tasks: int
    visit_tasks: int

    def whole(self, made: bool = True) -> Seconds:
        """All of it; or the visit alone where the input is there already."""
        if not made:
            return self.visit
        return [sum(pair) for pair in zip(self.making, self.visit, strict=True)]

    def tasks(self, made: bool = True) -> int:
        return self.visit_tasks + self.making_tasks * made


def layer_time(cut: NetworkCut, layer: int, calibration: Calibration) -> LayerTime:
    """What one block of a layer takes."""
    making, visit = making_tasks(cut, layer), visit_tasks(cut, layer)

    def whole(work: Seconds, tasks: Sequence[int], moved: Sequence[int]) -> Seconds:
        return [
            (seconds + count * TASK_SECONDS) / cut.threads + size / calibration.network_rate
            for seconds, count, size in zip(work, tasks, moved, strict=True)
        ]

    return LayerTime(
        whole(making_seconds(cut, layer, calibration), making, making_moved(cut, layer)),
        whole(visit_seconds(cut, layer, calibration), visit, visit_moved(cut, layer)),
        sum(making),
        sum(visit),
    )


def visit_seconds(cut: NetworkCut, layer: int, calibration: Calibration) -> Seconds:
    """The kernels' time of a layer's visits on every worker, and its weights' way to the disk."""
    each = calibration.visits[kernel_key(cut.layer(layer), cut.config)] * cut.mini_batches
    seconds = [each * units for units in _kernel_calls(cut, layer)]
    if cut.config.engine.weights == "host":
        return _or_streaming(cut, layer, seconds, chunk_bytes)
    if cut.config.engine.weights == "memory":
        return seconds
    return [
        work + 2 * sum(chunk_bytes(cut, layer, index) for index in held) / calibration.disk_rate
        for work, held in zip(seconds, cut.per_worker(layer), strict=True)
    ]


def _or_streaming(
    cut: NetworkCut, layer: int, seconds: Seconds, size: Callable[..., int]
) -> Seconds:
    """What a worker's chunks take, or their hosted ones' way through the link if that is longer.

    Both ways are used at once.
    """
    hosted = cut.hosted_of(layer)
    return [
        max(work, sum(size(cut, layer, index) for index in held if index in hosted) / LINK)
        for work, held in zip(seconds, cut.per_worker(layer), strict=True)
    ]


def _kernel_calls(cut: NetworkCut, layer: int) -> list[float]:
    """Positions of every worker, or leaves of a dense layer."""
    return [
        sum(_positions_or_leaves(cut, layer, index) for index in held)
        for held in cut.per_worker(layer)
    ]


def _positions_or_leaves(cut: NetworkCut, layer: int, index: ChunkIndex) -> float:
    layout, geometry = cut.layouts[layer], cut.layer(layer)
    if not geometry.dense:
        return layout.rows[index[0]] * layout.columns[index[1]]
    start, stop = layout.inputs_of(index[2])
    return (stop - start) / min(geometry.leaf, geometry.inputs)


def making_seconds(cut: NetworkCut, layer: int, calibration: Calibration) -> Seconds:
    """The kernels' time on every worker for a layer's input: tiles, forward passes, LCN."""
    seconds = [0.0] * cut.workers
    for worker in transfers(cut, 0)[1].stage.takers:
        seconds[worker] += _tile_seconds(cut, calibration)
    for below in range(layer):
        each = calibration.forwards[kernel_key(cut.layer(below), cut.config)] * cut.mini_batches
        contrast = _contrast_seconds(cut, below, calibration)
        calls = _kernel_calls(cut, below)
        total = sum(calls)
        forward = _or_streaming(cut, below, [each * count for count in calls], weight_bytes)
        for worker, count in enumerate(calls):
            seconds[worker] += forward[worker] + contrast * count / total
    return seconds


def _tile_seconds(cut: NetworkCut, calibration: Calibration) -> float:
    """A worker's time for its share of a block's tiles.

    Workers take turns, so that tiles of all the blocks in flight are made side by side.
    """
    stage = transfers(cut, 0)[1].stage
    share = max(len(stage.makers) / len(stage.takers), 1 / cut.config.engine.blocks_in_flight)
    return calibration.preprocessing[tile_key(cut.config)] * cut.images * share


def _contrast_seconds(cut: NetworkCut, layer: int, calibration: Calibration) -> float:
    """LCN of a whole block after a layer; every worker does its share of the field."""
    if contrast_window(cut.config, layer)[0] is None:
        return 0.0
    return calibration.contrasts[contrast_key(cut.layer(layer), cut.config)] * cut.images


@dataclass(frozen=True)
class Span:
    """Ticks of the pipeline during which the same layers train, and what one of them takes."""

    first: int
    stop: int
    layers: tuple[int, ...]
    seconds: float
    tasks: int

    @property
    def scheduler_share(self) -> float:
        """The scheduler's processor time as a share of the tick."""
        return self.tasks * SCHEDULER_SECONDS / self.seconds if self.seconds else 0.0


def spans_of(cut: NetworkCut, times: Sequence[LayerTime], blocks: int) -> list[Span]:
    """The whole run: ``blocks`` are those of one pass."""
    visits = [cut.passes(layer) * blocks for layer in cut.layers]
    starts = earliest_starts(cut.config, visits)
    ends = [start + count for start, count in zip(starts, visits, strict=True)]
    firsts = [start + blocks for start in starts]  # later passes may find their input made
    edges = sorted({0, *starts, *ends, *firsts})
    found = []
    for first, stop in pairwise(edges):
        active = [n for n in cut.layers if starts[n] <= first < ends[n]]
        if active:
            made = {n: cut.staged(n) == "recompute" or first < firsts[n] for n in active}
            found.append(_span(first, stop, times, made))
    return found


def _span(first: int, stop: int, times: Sequence[LayerTime], made: dict[int, bool]) -> Span:
    """A tick lasts as long as its busiest worker, and no less than the scheduler needs."""
    work = [sum(parts) for parts in zip(*(times[n].whole(made[n]) for n in made), strict=True)]
    tasks = sum(times[n].tasks(made[n]) for n in made)
    return Span(first, stop, tuple(made), max(*work, tasks * SCHEDULER_SECONDS), tasks)


def tick_seconds(cut: NetworkCut, times: Sequence[LayerTime]) -> float:
    """One block of every layer: side by side where layers are staggered, else after each other."""
    groups = [list(cut.layers)] if cut.staggered else [[n] for n in cut.layers]
    return sum(_span(0, 1, times, dict.fromkeys(group, True)).seconds for group in groups)
