"""Up to which clusters the scheduler stays under 5 %: the paper's network on plan and measurement.

The scheduler's share of a block is ``tasks x seconds per task / seconds of the block``. The tasks
and the block's seconds are the plan's, for workers of a given speed; the seconds per task are those
that `benchmarks.scaling` has measured, as a straight line over the number of workers.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import takewhile
from typing import Any

import numpy as np

from benchmarks.thin_network import paper_config
from yfccdask.config import Config, network_geometry
from yfccdask.config.schema import Batching
from yfccdask.training.planning import Calibration, RunPlan, plan
from yfccdask.training.planning.calibration import kernel_key

MOST = 0.05  # of a block's time
WORKERS = (4, 8, 16, 24, 32, 48, 64, 80, 98)
SPEEDS = (100, 1_000, 10_000)  # Gflop/s of a worker in training; a core of today has about 100
CORE = 1e11  # operations per second at which the other stages are as fast as they were measured
NETWORK = 3.1e9  # bytes per second between two workers: 25 Gbit/s
TRAINING, FORWARD = 10, 2  # operations per weight and image
PAPER = (98, 5 * 1.39)  # workers and seconds per block of the published run
Figures = dict[str, Any]


def limits(cases: dict[str, Figures], speeds: Calibration) -> Figures:
    """What follows from the measured cases for the paper's network."""
    line = cost_line(cases)
    clusters = [
        share(_planned(paper_config(), workers, speeds, rate), line) | {"Gflops": rate}
        for workers in WORKERS
        for rate in SPEEDS
    ]
    return {
        "seconds_per_task": {"at_none": line[0], "per_worker": line[1]},
        "least_block": [least_block(case) for case in cases.values()],
        "clusters": clusters,
        "largest": {rate: largest(clusters, rate) for rate in SPEEDS},
        "published": published(cases),
        "remedies": remedies(speeds, line),
        "calibration": asdict(speeds),
    }


def largest(clusters: list[Figures], rate: int) -> int | None:
    """The most workers of a rate, of those tried, up to which the share stays below the limit."""
    same = [row for row in clusters if row["Gflops"] == rate]
    under = list(takewhile(lambda row: row["share"] <= MOST, same))
    return under[-1]["workers"] if under else None


def cost_line(cases: dict[str, Figures]) -> tuple[float, float]:
    """Scheduler seconds per task as a straight line: at no worker, and more per worker."""
    workers = [case["workers"] for case in cases.values()]
    costs = [block_of(case)["scheduler"] / block_of(case)["tasks"] for case in cases.values()]
    slope, start = np.polyfit(workers, costs, 1)
    return float(start), float(slope)


def block_of(case: Figures) -> Figures:
    """One block of every layer: the scheduler's seconds, and tasks."""
    return {
        name: sum(row[name] for row in case["layers"])
        for name in ("scheduler", "tasks", "planned_tasks", "chunks")
    }


def least_block(case: Figures) -> Figures:
    """How long a block has to last for the measured scheduler to stay below the limit.

    ``worker_Gflops`` is how fast the workers may be for the paper's network; ``weights`` how many a
    network of as many chunks has to have for workers of `CORE` and blocks of 960 images.
    """
    block, flop = block_of(case), block_flop(paper_config())
    seconds, workers = block["scheduler"] / MOST, case["workers"]
    images = paper_config().batching.data_block
    return {
        "workers": workers,
        **block,
        "seconds": seconds,
        "worker_Gflops": flop / seconds / workers / 1e9,
        "weights": seconds * workers * CORE / (TRAINING * images),
    }


def block_flop(config: Config) -> float:
    """Operations of training every layer on one block."""
    layers = network_geometry(config).layers
    return float(sum(layer.flop_per_image for layer in layers) * config.batching.data_block)


def at_rate(speeds: Calibration, rate: float) -> Calibration:
    """The paper's network on workers that train with so many operations per second.

    Visits and forward passes take their operations' time, whatever was measured; LCN and
    preprocessing the measured one, scaled alike.
    """
    config, visits, forwards = paper_config(), {}, {}
    for layer in network_geometry(config).layers:
        inputs = layer.leaf if layer.dense else layer.inputs
        products = layer.units * inputs * config.batching.mini_batch
        visits[kernel_key(layer, config)] = TRAINING * products / rate
        forwards[kernel_key(layer, config)] = FORWARD * products / rate
    rest = {
        kind: {key: seconds * CORE / rate for key, seconds in getattr(speeds, kind).items()}
        for kind in ("contrasts", "preprocessing")
    }
    return replace(speeds, visits=visits, forwards=forwards, network_rate=NETWORK, **rest)


def _planned(config: Config, workers: int, speeds: Calibration, gflops: float) -> RunPlan:
    return plan(config, workers=workers, calibration=at_rate(speeds, gflops * 1e9))


def share(found: RunPlan, line: tuple[float, float]) -> Figures:
    """The scheduler's share of a planned block."""
    workers = found.site.workers
    busy = found.tasks * (line[0] + line[1] * workers)
    return {
        "workers": workers,
        "chunks": [len(owners) for owners in found.owners],
        "tasks": found.tasks,
        "seconds": found.seconds,
        "scheduler": busy,
        "share": busy / found.seconds,
    }


def published(cases: dict[str, Figures]) -> Figures | None:
    """The scheduler's share if a block took as long as in the published run."""
    workers, seconds = PAPER
    same = [block_of(case) for case in cases.values() if case["workers"] == workers]
    if not same:
        return None
    return {"workers": workers, "seconds": seconds, "share": same[0]["scheduler"] / seconds}


def remedies(speeds: Calibration, line: tuple[float, float]) -> list[Figures]:
    """98 workers of 1 Tflop/s: what changes the share."""
    paper = paper_config()
    long = paper.model_copy(update={"batching": Batching(data_block=9600, mini_batch=192)})
    engine = paper.engine.model_copy(update={"chunk_leaves": 9})
    few = {"engine": engine}
    cases = {
        "as planned": paper,
        "dense layer in 8 chunks": paper.model_copy(update=few),
        "blocks of 9600 images": long,
        "both": long.model_copy(update=few),
    }
    return [
        {"how": name, "images": config.batching.data_block}
        | share(_planned(config, 98, speeds, 1_000), line)
        for name, config in cases.items()
    ]


def print_limits(found: Figures) -> None:
    """The tables of docs/scaling.md."""
    line = found["seconds_per_task"]
    print(f"\nscheduler: {line['at_none'] * 1e3:.3f} ms a task", end=" ")
    print(f"+ {line['per_worker'] * 1e6:.2f} us for every worker")
    print("\n| workers | chunks | tasks | scheduler, s | least s | Gflop/s a worker | weights |")
    for row in found["least_block"]:
        print(
            f"| {row['workers']} | {row['chunks']} | {row['tasks']:,.0f} | {row['scheduler']:.2f} "
            f"| {row['seconds']:.0f} | {row['worker_Gflops']:,.0f} | {row['weights']:.2g} |"
        )
    print("\n| workers |", *(f"{rate:,} Gflop/s a worker |" for rate in SPEEDS))
    for workers in WORKERS:
        same = [row for row in found["clusters"] if row["workers"] == workers]
        print(f"| {workers} |", *(f"{_cell(row)} |" for row in same))
    print("largest:", found["largest"])
    if found["published"]:
        print(f"\nat the published {PAPER[1]:.2f} s a block: {found['published']['share']:.0%}")
    print("\n| 98 workers of 1 Tflop/s | tasks | s per 960 images | scheduler's share |")
    for row in found["remedies"]:
        seconds = row["seconds"] * 960 / row["images"]
        print(f"| {row['how']} | {row['tasks']:,} | {seconds:.1f} | {row['share']:.1%} |")


def _cell(row: Figures) -> str:
    return f"{row['tasks']:,} tasks, {row['seconds']:.3g} s: {row['share']:.1%}"
