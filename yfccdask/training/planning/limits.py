"""What a plan refuses, what it warns of, and the nearest configurations that fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from yfccdask.config import Config
from yfccdask.errors import PlanRefused
from yfccdask.training.planning.calibration import Calibration
from yfccdask.training.planning.chunk_sizes import chunk_bytes, initial_bytes, visit_bytes
from yfccdask.training.planning.chunking import Choice, Recipe, Request, best_cut, recipe_cut
from yfccdask.training.planning.counting import scratch_bytes
from yfccdask.training.planning.device_floors import LINK
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.records import USED, DiskPlan, RunPlan, Site
from yfccdask.training.planning.tables import size_text

Change = tuple[str, str, str | int]  # section, key and value
MOST_WORKERS = 4096  # looked at for a suggestion
BUSY_SCHEDULER = 0.05  # share of a core above which a plan warns


def refuse(plan: RunPlan) -> None:
    """Raise what a plan refuses, if anything.

    Raises
    ------
    PlanRefused
        Every figure that is over its limit, and the nearest configurations that fit.
    """
    if not plan.refusals:
        return
    lines = ["the plan is refused:", *plan.refusals]
    if plan.suggestions:
        lines += ["it would fit with:", *plan.suggestions]
    raise PlanRefused("\n  ".join(lines) + "\nnothing was started; --force goes on all the same")


def refusals_of(request: Request, choice: Choice, site: Site, disk: DiskPlan) -> Iterator[str]:
    """Every figure that is over its limit."""
    if choice.peak > request.most:
        yield from _big_chunks(request, choice.cut)
        rest = "the driver has the rest" if choice.cut.on_gpu else "Dask ends it above that"
        yield (
            f"memory: expected at most {size_text(request.most)} on a worker ({USED:.0%} of "
            f"{size_text(request.memory or 0)}: {rest}), found a projected peak of "
            f"{size_text(choice.peak)}"
        )
    if choice.host_peak > request.most_on_host:
        yield (
            f"host memory: expected at most {size_text(max(0, request.most_on_host))} of streamed "
            f"weights beside a GPU ({USED:.0%} of {size_text(request.host_memory or 0)}, less the "
            f"process), found {size_text(choice.host_peak)}"
        )
    if site.folder_free is not None and disk.checkpoints > site.folder_free:
        yield (
            f"{site.folder}: expected {disk.checkpoints:,} bytes free for checkpoints, found "
            f"{site.folder_free:,}: make room, name another folder with --run, or lower "
            "checkpoints.keep"
        )
    scratch = most_scratch(choice.cut, request.images)
    if site.scratch_free is not None and scratch > site.scratch_free:
        yield (
            f"scratch: expected {scratch:,} bytes free on every worker's disk, found "
            f"{site.scratch_free:,}: make room, name another folder with engine.scratch, or use "
            "more workers"
        )


def _big_chunks(request: Request, cut: NetworkCut) -> Iterator[str]:
    """Chunks that the configuration asks for and that no worker of this memory can visit."""
    engine = request.config.engine
    for layer in cut.layers:
        dense = cut.layer(layer).dense
        key = "engine.chunk_leaves" if dense else "engine.chunk"
        value = engine.chunk_leaves if dense else engine.chunk
        index = (0, 0, 0)
        needed = chunk_bytes(cut, layer, index) + visit_bytes(cut, layer, index)
        if value is not None and needed + request.calibration.idle_bytes > request.most:
            yield (
                f"{key}: expected chunks that a worker can visit in {size_text(request.most)}, "
                f"found {value}, which takes {size_text(needed)} in layer {layer + 1}: use a "
                f"smaller {key}, or null"
            )


def most_scratch(cut: NetworkCut, images: int | None) -> int:
    """Bytes on the disk of the worker with the most."""
    from_layers = [scratch_bytes(cut, layer, images) for layer in cut.layers]
    return max(map(sum, zip(*from_layers, strict=True)))


def suggestions_of(request: Request, choice: Choice) -> Iterator[str]:
    """What would fit, each change by itself; every one of them has been planned."""
    if choice.fits(request):
        return
    tried = [request.config]
    for changes in _changes(request.config):
        changed = replace(request, config=_changed(request.config, changes))
        if changed.config in tried:
            continue
        tried.append(changed.config)
        if fits(changed):
            yield " ".join(f"--set {section}.{key}={value}" for section, key, value in changes)
    memory = least_memory(request, choice)
    if memory is not None:
        yield f"{request.workers} workers of {size_text(memory)} (--memory {memory})"
    workers = least_workers(request)
    if workers is not None:
        yield f"{workers} workers of {size_text(request.memory or 0)} (--workers {workers})"


def _changes(config: Config) -> list[tuple[Change, ...]]:
    """What may make a run fit: each change by itself, on a GPU also some that go together.

    Those that change no bit come first.
    """
    staged = ("engine", "stage_fields", "recompute")
    if config.arithmetic.device != "gpu":
        return [(staged,), (("engine", "weights", "disk"),)]
    host, one_block = ("engine", "weights", "host"), ("engine", "blocks_in_flight", 1)
    fields, momentum = ("arithmetic", "fields", "half"), ("arithmetic", "momentum", "half")
    apart = [(staged,), (one_block,), (host,), (host, one_block), (fields,), (momentum,)]
    return [*apart, (one_block, fields), (momentum, one_block), (momentum, one_block, fields)]


def _changed(config: Config, changes: tuple[Change, ...]) -> Config:
    for section, key, value in changes:
        part = getattr(config, section).model_copy(update={key: value})
        config = config.model_copy(update={section: part})
    return config


def fits(request: Request) -> bool:
    """Whether the best cut's peaks are within the memory."""
    return best_cut(request, any_that_fits=True).fits(request)


def least_memory(request: Request, choice: Choice) -> int | None:
    """Bytes per worker, in whole MB, at which this number of workers is enough."""
    memory = math.ceil(choice.peak / USED / 1e6) * 1_000_000
    return memory if fits(replace(request, memory=memory)) else None


def least_workers(request: Request) -> int | None:
    """The least number of workers of this memory that are enough, within 10 %, or None.

    From what the model alone needs upwards, doubling, and then halving the gap.
    """
    room = request.most - request.calibration.idle_bytes
    most = min(MOST_WORKERS, most_chunks(request))
    if smallest_visit(request) > room or request.workers >= most:
        return None
    model = 0
    if request.config.engine.weights == "memory":
        model = 2 * request.network.parameters * np.dtype(request.config.dtype).itemsize
    low = min(max(request.workers, math.ceil(model / room) - 1), most - 1)
    high = low + 1
    while not fits(replace(request, workers=high)):
        if high == most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(replace(request, workers=middle)) else (middle, high)
    return high


def smallest_visit(request: Request) -> int:
    """Bytes that a worker needs for the finest chunks that there are, one of each layer in turn."""
    finest = Recipe(*finest_grid(request), most_chunks(request), False)
    cut, first = recipe_cut(request, finest), (0, 0, 0)
    work = [max(visit_bytes(cut, n, first), initial_bytes(cut, n, first)) for n in cut.layers]
    return max(chunk_bytes(cut, n, first) + work[n] for n in cut.layers)


def finest_grid(request: Request) -> tuple[int, int]:
    """Rows and columns of the layers with the most."""
    grids = [layer.grid for layer in request.network.layers]
    return max(rows for rows, _ in grids), max(columns for _, columns in grids)


def most_chunks(request: Request) -> int:
    """Workers beyond which nobody would have a chunk of the most finely cut layer."""
    return max(
        math.ceil(layer.inputs / layer.leaf) if layer.dense else layer.positions
        for layer in request.network.layers
    )


def warnings_of(scheduler_share: float, calibration: Calibration, cut: NetworkCut) -> Iterator[str]:
    """What goes, but not well, and what is not known."""
    if any(map(cut.hosted_of, cut.layers)):
        yield (
            f"seconds: streamed weights are counted at {LINK / 1e9:.0f} GB/s each way at once "
            "between host and GPU, which is assumed, not measured"
        )
    if card := calibration.machine.get("card"):
        rates = ", ".join(f"{card[kind] / 1e12:.0f} in {kind}" for kind in ("fp32", "tf32", "bf16"))
        yield (
            f"seconds: arithmetic, for a card of {card['bandwidth'] / 1e12:.1f} TB/s and Tflop/s "
            f"of {rates}, which no kernel can beat; on a machine with a GPU they are measured"
        )
    if scheduler_share > BUSY_SCHEDULER:
        yield (
            f"scheduler: expected at most {BUSY_SCHEDULER:.0%} of a core, found "
            f"{scheduler_share:.1%}: larger chunks (engine.chunk) or larger blocks need fewer tasks"
        )
