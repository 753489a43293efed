"""Does a long run stay as small as it began? ``python -m benchmarks.lineage [blocks]``

A small network trains on 2,000 blocks, two layers staggered, through the controller; at every 20th
block the tasks and the memory of the scheduler and the workers are read, and how many task groups
Dask's spans remember (the controller prunes them). The scheduler's process is this one: its memory
is also the controller's and the follower's. Results: the figures, and a page with the plot.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from bokeh.layouts import column
from bokeh.plotting import figure, output_file, save
from distributed import Client, LocalCluster, Scheduler
from distributed.worker import Worker

from benchmarks.recording import RESULTS, record
from benchmarks.watched_run import noise_store
from yfccdask import train
from yfccdask.config import Config, parse_config
from yfccdask.data.events import Event
from yfccdask.training.clusters import TRAINING_SETTINGS, ClusterRequest, embedded_options

EVERY, WARM_UP, BLOCKS_OF_STORE = 20, 0.2, 10
LAYER = {"kind": "local", "window": 8, "stride": 4, "units": 16, "tile": [2, 2]}


def config_of(blocks: int) -> Config:
    """Two local layers, staggered, that train on so many blocks together."""
    layer = {
        **LAYER,
        "lcn": {"window": 3, "mode": "same"},
        "passes": blocks // BLOCKS_OF_STORE // 2,
    }
    tree = {
        "images": {"size": 32},
        "batching": {"data_block": 24, "mini_batch": 12},
        "preprocessing": {"whitening": {"patch": 5, "samples": 500}},
        "layers": [layer, {**layer, "window": 4, "stride": 2}],
        "pipeline": {"start": "after_blocks", "after_blocks": 10},
        "checkpoints": {"every_blocks": 200},
    }
    return parse_config(tree, "benchmark")


def worker_size(dask_worker: Worker) -> tuple[int, int]:
    """On a worker: its tasks and its resident bytes."""
    return len(dask_worker.state.tasks), psutil.Process().memory_info().rss


def remembered_groups(scheduler: Scheduler) -> int:
    """Task groups in Dask's spans, of tasks that are there and of those long forgotten."""
    spans = scheduler.extensions["spans"].spans.values()
    return sum(len(span.groups) for span in spans)


class Watch:
    """Samples of a run: block, tasks and bytes of the scheduler and of the fullest worker."""

    def __init__(self, client: Client) -> None:
        self.client, self.samples, self.blocks = client, [], 0  # type: ignore[var-annotated]

    def on_event(self, event: Event) -> None:
        """Count blocks, and read all sizes after every few."""
        if event["event"] == "block":
            self.blocks += 1
            if self.blocks % EVERY == 0:
                self.sample()

    def sample(self) -> None:
        """Read all sizes once."""
        workers = self.client.run(worker_size).values()
        scheduler = self.client.cluster.scheduler
        sizes = (len(scheduler.tasks), psutil.Process().memory_info().rss)
        most = map(max, zip(*workers, strict=True))
        self.samples.append((self.blocks, *sizes, *most, remembered_groups(scheduler)))


def sampled(blocks: int, folder: Path) -> np.ndarray:
    """All samples of a run, (sample, 6)."""
    store = noise_store(folder, 24 * BLOCKS_OF_STORE, 32, 24)
    options = embedded_options(ClusterRequest(workers=2))
    with (
        dask.config.set(TRAINING_SETTINGS),
        LocalCluster(**options) as cluster,
        Client(cluster) as client,
    ):
        watch = Watch(client)
        how = {"client": client, "on_event": watch.on_event}
        train(config_of(blocks), store, folder / "run", **how)
        return np.array(watch.samples)


SIZES = ("scheduler_tasks", "scheduler_bytes", "worker_tasks", "worker_bytes")
NAMES = (*SIZES, "remembered_task_groups")


def figures_of(samples: np.ndarray) -> dict[str, Any]:
    """Each size's mean over the first and the last fifth after the warm-up, and their ratio."""
    steady = samples[int(WARM_UP * len(samples)) :]
    fifth, found = max(1, len(steady) // 5), {}
    for number, name in enumerate(NAMES, start=1):
        early, late = steady[:fifth, number].mean(), steady[-fifth:, number].mean()
        found[name] = {
            "early": round(float(early), 1),
            "late": round(float(late), 1),
            "late_of_early": round(float(late / early), 3),
            "most": int(steady[:, number].max()),
        }
    groups = samples[:, len(NAMES)]
    ever = np.maximum(np.diff(groups, prepend=0), 0).sum()  # without the prunings
    found["most_groups_of_all"] = round(float(groups.max() / ever), 3)
    return {"blocks": int(samples[-1, 0]), **found}


def plotted(samples: np.ndarray) -> Path:
    """A page with tasks and memory against blocks."""
    path = RESULTS / "lineage.html"
    plots = []
    for what, numbers, unit in (("tasks", (1, 3), 1), ("memory in MB", (2, 4), 1e6)):
        plot = figure(width=900, height=320, x_axis_label="blocks trained", y_axis_label=what)
        for number, name, colour in zip(
            numbers, ("scheduler", "fullest worker"), ("#1f77b4", "#d62728"), strict=True
        ):
            plot.line(samples[:, 0], samples[:, number] / unit, legend_label=name, color=colour)
        plot.y_range.start = 0
        plot.legend.location = "bottom_right"
        plots.append(plot)
    output_file(path, title="What a cluster remembers of a long run", mode="inline")
    save(column(*plots))
    return path


def main(blocks: int = 2000) -> None:
    """Train, print, plot and record."""
    with tempfile.TemporaryDirectory() as folder:
        samples = sampled(blocks, Path(folder))
    figures = figures_of(samples)
    for name, value in figures.items():
        print(f"{name:20} {value}")
    print(plotted(samples), record("lineage", {**figures, "samples": samples.tolist()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
