"""Which chunks, and who has them: the fastest of a modest set of cuts that the memory holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from yfccdask.config import Config, network_geometry
from yfccdask.geometry import LayerGeometry, Layout, NetworkGeometry, layer_layout
from yfccdask.geometry.cuts import assign, even_layout, leaf_layout
from yfccdask.training.planning.calibration import Calibration, kernel_key
from yfccdask.training.planning.counting import host_peaks, late_bytes, worker_peaks
from yfccdask.training.planning.hosting import with_hosted
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.records import USED
from yfccdask.training.planning.timing import (
    SCHEDULER_SECONDS,
    TASK_SECONDS,
    LayerTime,
    layer_time,
    tick_seconds,
)

LEAST_VISIT = 100 * (TASK_SECONDS + SCHEDULER_SECONDS)  # seconds below which tasks cost too much
PER_WORKER = (2, 1, 4)  # chunks per worker that are tried, the liked number first
FINER = (8, 16, 32, 64)  # tried where none of those fits the memory
PROCESS = 2_000_000_000  # bytes of a worker's process on the host, with CUDA's context
SAME = 0.02  # cuts whose seconds differ by less than this share are equally good


@dataclass(frozen=True)
class Request:
    """What a plan is asked for.

    ``memory`` is bytes per worker, or None where there is no limit; ``images`` are those of the
    whole store, or None where they are not known; ``threads`` are tasks at once on one worker;
    ``host_memory`` is bytes beside each GPU, of which ``memory`` then is.
    """

    config: Config
    workers: int
    memory: int | None
    images: int | None
    calibration: Calibration
    threads: int = 1
    host_memory: int | None = None

    @cached_property
    def network(self) -> NetworkGeometry:
        return network_geometry(self.config)

    @property
    def most(self) -> float:
        """Bytes that a worker may hold."""
        return math.inf if self.memory is None else USED * self.memory

    @property
    def most_on_host(self) -> float:
        """Bytes of streamed chunks that a GPU's host may hold, beside the process itself."""
        if self.host_memory is None:
            return math.inf
        return USED * self.host_memory - PROCESS


@dataclass(frozen=True)
class Recipe:
    """What a cut is made from.

    ``rows`` x ``columns`` chunks of every local layer; ``dense`` chunks of a dense layer, over
    as many workers as there are; ``level`` gives the workers of dense chunks fewer positions.
    """

    rows: int
    columns: int
    dense: int
    level: bool


@dataclass(frozen=True)
class Choice:
    """A cut, its times, and how its worst worker stands."""

    recipe: Recipe
    cut: NetworkCut
    times: tuple[LayerTime, ...]
    seconds: float
    peak: int
    host_peak: int  # of chunks that are streamed
    short: bool  # whether a visit of a whole chunk lasts too little beside Dask's own costs

    def fits(self, request: Request) -> bool:
        """Whether no worker holds more than it may, on the device and beside it."""
        return self.peak <= request.most and self.host_peak <= request.most_on_host

    def rank(self, request: Request) -> tuple[float, ...]:
        """Less is better: what fits, then visits that are long enough, then the seconds."""
        over = 0.0 if self.peak <= request.most else float(self.peak)
        beside = 0.0 if self.host_peak <= request.most_on_host else float(self.host_peak)
        return over, beside, self.short, self.seconds


def best_cut(request: Request, any_that_fits: bool = False) -> Choice:
    """The fastest cut that fits; where none does, the one whose peak is least.

    Cuts whose visits last a hundred times what a task costs come first; among equally fast ones,
    two bands of whole rows per worker. A dense layer is in one chunk, or in as many as make it fit
    or make a block faster. Chunks of positions and of leaves are improved in turn.
    ``any_that_fits`` looks no further than the first one that does.
    """
    level = request.config.pipeline.start != "finished"
    first = next(grid_recipes(request, Recipe(1, 1, 1, level)))
    best, known = weigh(request, first), {first}
    for _ in range(2):
        for recipes in (grid_recipes, fine_recipes, dense_recipes, level_recipes):
            if recipes is fine_recipes and best.peak <= request.most:
                continue
            for recipe in recipes(request, best.recipe):
                if any_that_fits and best.fits(request):
                    return best
                if recipe not in known:
                    known.add(recipe)
                    best = better(request, best, weigh(request, recipe))
    return best


def better(request: Request, best: Choice, other: Choice) -> Choice:
    """The best so far, or another that is clearly better."""
    *first, seconds = other.rank(request)
    *former, longest = best.rank(request)
    return other if (*first, seconds) < (*former, longest * (1 - SAME)) else best


def weigh(request: Request, recipe: Recipe) -> Choice:
    """Count the time and memory of a recipe's cut."""
    cut = recipe_cut(request, recipe)
    if request.config.engine.weights == "host":
        cut = with_hosted(cut, request.most, lambda each: projected_peaks(request, each))
    times = tuple(layer_time(cut, layer, request.calibration) for layer in cut.layers)
    peak = max(projected_peaks(request, cut))
    beside = max(host_peaks(cut, request.images))
    return Choice(recipe, cut, times, tick_seconds(cut, times), peak, beside, _short(request, cut))


def projected_peaks(request: Request, cut: NetworkCut) -> list[int]:
    """The most bytes that every worker holds at once, what it holds when idle included."""
    idle = request.calibration.idle_bytes
    seconds = [request.calibration.visits[kernel_key(cut.layer(n), cut.config)] for n in cut.layers]
    late = [late_bytes(cut, n, seconds[n]) for n in cut.layers]
    return [
        peak + idle + max(extra)
        for peak, extra in zip(
            worker_peaks(cut, request.images), zip(*late, strict=True), strict=True
        )
    ]


def _short(request: Request, cut: NetworkCut) -> bool:
    """Whether a local layer has more chunks than workers although their visits are too short."""
    for layer in cut.layers:
        geometry, layout = cut.layer(layer), cut.layouts[layer]
        chunk = layout.rows[0] * layout.columns[0]
        seconds = request.calibration.visits[kernel_key(geometry, cut.config)]
        brief = chunk * seconds * cut.mini_batches < LEAST_VISIT
        if brief and not geometry.dense and len(cut.owners[layer]) > request.workers:
            return True
    return False


def fine_recipes(request: Request, recipe: Recipe) -> Iterator[Recipe]:
    """Smaller chunks, which take less memory while they are visited, and more tasks."""
    return grid_recipes(request, recipe, FINER)


def grid_recipes(
    request: Request, recipe: Recipe, per_worker: Sequence[int] = PER_WORKER
) -> Iterator[Recipe]:
    """Numbers of chunk rows and columns for every local layer; whole-width bands come first."""
    tallest = max((layer.grid[0] for layer in request.network.layers), default=1)
    widest = max((layer.grid[1] for layer in request.network.layers), default=1)
    if request.config.engine.chunk is not None:
        yield replace(recipe, rows=tallest, columns=widest)
        return
    seen = set()
    for each in per_worker:
        chunks = each * request.workers
        for columns in _columns(chunks, tallest, widest):
            rows = min(tallest, math.ceil(chunks / columns))
            if (rows, columns) not in seen:
                seen.add((rows, columns))
                yield replace(recipe, rows=rows, columns=columns)


def _columns(chunks: int, tallest: int, widest: int) -> list[int]:
    """Columns to try for so many chunks: one, the fewest that leave enough rows, about square."""
    fewest, square = math.ceil(chunks / tallest), math.isqrt(chunks)
    return sorted({min(widest, columns) for columns in (1, fewest, square) if columns})


def dense_recipes(request: Request, recipe: Recipe) -> Iterator[Recipe]:
    """Numbers of chunks of the dense layers: doubling."""
    leaves = [math.ceil(each.inputs / each.leaf) for each in request.network.layers if each.dense]
    most = max(leaves, default=1)
    for chunks in sorted({min(most, 2**n) for n in range(most.bit_length() + 1)}):
        yield replace(recipe, dense=chunks)


def level_recipes(request: Request, recipe: Recipe) -> Iterator[Recipe]:
    """The other way to share out positions, where there is a dense layer to level with."""
    if any(layer.dense for layer in request.network.layers):
        yield replace(recipe, level=not recipe.level)


def recipe_cut(request: Request, recipe: Recipe) -> NetworkCut:
    """The layouts and owners that a recipe says."""
    layouts = tuple(chosen_layout(request, layer, recipe) for layer in request.network.layers)
    owners = tuple(
        assign(layout, request.workers, _shares(request, layouts, layout, recipe))
        for layout in layouts
    )
    return NetworkCut(request.config, request.workers, layouts, owners, request.threads)


def chosen_layout(request: Request, layer: LayerGeometry, recipe: Recipe) -> Layout:
    """A layer's layout: as the configuration says, else as the recipe does."""
    engine = request.config.engine
    if layer.dense:
        if engine.chunk_leaves is not None:
            return layer_layout(layer, request.workers, None, engine.chunk_leaves)
        return leaf_layout(layer, recipe.dense)
    if engine.chunk is not None:
        chunk = (min(engine.chunk[0], layer.grid[0]), min(engine.chunk[1], layer.grid[1]))
        return layer_layout(layer, request.workers, chunk)
    return even_layout(layer, recipe.rows, recipe.columns)


def _shares(
    request: Request, layouts: tuple[Layout, ...], layout: Layout, recipe: Recipe
) -> list[float] | None:
    """What part of a layer every worker is to have; the last workers have the dense chunks."""
    workers = request.workers
    if layout.layer.dense:
        holders = min(workers, len(layout.leaves))
        return [0.0] * (workers - holders) + [1.0] * holders
    if not recipe.level:
        return None
    dense = [0.0] * workers
    for each in layouts:
        holders = min(workers, len(each.leaves))
        for worker in range(workers - holders, workers) if each.layer.dense else ():
            dense[worker] += each.layer.weights / holders
    mean = request.network.weights / workers
    shares = [max(0.0, mean - each) for each in dense]
    return shares if any(shares) else None
