"""How late a scheduler's event loop gets while the controller trains on it.

``python -m benchmarks.controller [case ...]`` trains through the controller of a scheduler that was
started with ``--preload yfccdask.preload``: a small network on two real workers, and the paper's
graph (`benchmarks.thin_network`), staggered, on 32 and 98 simulated ones. `benchmarks.event_loop`
notes how late the loop wakes, and its stack where it does; the same watch in a process that does
nothing else says what the machine's other work costs. The bar: never 100 ms. A case's name may end
in ", 0.5 ms switches": what becomes of it if Python's threads take turns ten times as often.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.event_loop import Wake, start_probe, stop_probe
from benchmarks.many_workers import Processes, real_cluster, simulated_cluster
from benchmarks.recording import RESULTS, record
from benchmarks.scaling import cpu_seconds, transitions
from benchmarks.scaling_limits import CORE, at_rate
from benchmarks.thin_network import paper_config, thin_config, thin_store
from benchmarks.watched_run import noise_store
from yfccdask import train
from yfccdask.config import Config, parse_config
from yfccdask.data import BlockStore
from yfccdask.data.events import Event
from yfccdask.data.runs import Run
from yfccdask.training.planning import calibrate, plan

PRELOAD = "yfccdask.preload"
BAR = 0.100  # seconds late
BLOCKS_REAL, BLOCKS_THIN = 40, 5
STAGGERED = {"start": "after_blocks", "after_blocks": 2}
PERIOD_AFTER = 0.02  # seconds after a commit in which a wake still belongs to it
Figures = dict[str, Any]


def small_case(folder: Path) -> tuple[Config, BlockStore]:
    """Three layers, staggered, on blocks of 240 images; a commit every five seconds."""
    local = {"kind": "local", "window": 16, "stride": 8, "units": 96, "lcn": {"window": 5}}
    upper = {**local, "window": 8, "stride": 4}
    tree = {
        "images": {"size": 64},
        "batching": {"data_block": 240, "mini_batch": 48},
        "preprocessing": {"whitening": {"patch": 9, "samples": 5000}},
        "layers": [local, upper, {"kind": "dense", "units": 256, "sparsity": 0.01, "rate": 1e-4}],
        "pipeline": STAGGERED,
        "checkpoints": {"every_seconds": 5.0},
    }
    return parse_config(tree, "benchmark"), noise_store(folder, BLOCKS_REAL * 240, 64, 240)


def thin_case(workers: int, folder: Path, blocks: int = BLOCKS_THIN) -> tuple[Config, BlockStore]:
    """The thin network, staggered, cut about as the plan cuts the paper's for such a cluster."""
    paper = paper_config()
    full = plan(paper, workers=workers, calibration=at_rate(calibrate(paper), CORE))
    first, top = full.layouts[0], full.layouts[-1]
    thin = thin_config(paper).model_dump(mode="json")
    engine = {"chunk": [first.rows[0], first.columns[0]], "chunk_leaves": top.leaves[0]}
    config = parse_config({**thin, "engine": engine, "pipeline": STAGGERED}, "benchmark")
    return config, thin_store(config, blocks, folder)


SWITCHES = {"0.5 ms switches": 0.5e-3}  # Python's own is 5 ms
Case = tuple[Callable[..., Any], int, Callable[[Path], tuple[Config, BlockStore]]]
CASES: dict[str, Case] = {
    "2": (real_cluster, 2, small_case),
    "32 simulated": (simulated_cluster, 32, lambda folder: thin_case(32, folder)),
    "98 simulated": (simulated_cluster, 98, lambda folder: thin_case(98, folder)),
}


@contextmanager
def idle_loop(found: Figures) -> Iterator[None]:
    """Meanwhile, watch the event loop of a process that does nothing."""
    command = [sys.executable, "-m", "benchmarks.event_loop"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield
        out, _ = process.communicate()
        found["idle"] = json.loads(out)


def trained(case: Case, folder: Path, switch: float | None = None) -> tuple[Run, Figures]:
    """Train a case through the controller; the run, and what was noted of the loops."""
    cluster, workers, network = case
    config, store = network(folder)
    found: Figures = {"workers": workers}
    with (
        cluster(workers, folder, PRELOAD) as processes,
        Client(scheduler_file=processes.scheduler_file, set_as_default=False) as client,
    ):
        client.wait_for_workers(workers, timeout=60)
        with idle_loop(found):
            client.run_on_scheduler(start_probe, switch)
            found["before"] = counted(client, processes)
            run = train(config, store, folder / "run", client=client)
            found["after"] = counted(client, processes)
            found["loop"] = client.run_on_scheduler(stop_probe)
    return run, found


def counted(client: Client, processes: Processes) -> Figures:
    """The clock, the scheduler's processor time and its transitions so far."""
    return {
        "clock": time.monotonic(),
        "scheduler": cpu_seconds(processes.scheduler),
        "transitions": client.run_on_scheduler(transitions),
    }


def phases_of(events: list[Event]) -> Callable[[float], str]:
    """What a run was doing at a time: planning, whitening, training, committing."""
    start = next(event["time"] for event in events if event["event"] == "start")
    scales = [event["time"] for event in events if event["event"] == "scale"]
    commits = [(e["time"] - e["seconds"], e["time"]) for e in events if e["event"] == "commit"]

    def phase(at: float) -> str:
        if at < start:
            return "planning"
        if at < scales[0]:
            return "whitening"
        if any(begin <= at <= end + PERIOD_AFTER for begin, end in commits):
            return "committing"
        return f"training {sum(time <= at for time in scales)} layers"

    return phase


def lateness(wakes: list[Wake]) -> Figures:
    """How late wakes were, in ms.

    ``own`` is without the time in which the loop's thread had no core (at most that is our fault),
    ``busy`` the part in which this process used one (at least that).
    """
    late, own = (1e3 * np.array([getattr(w, name) for w in wakes]) for name in ("late", "own"))
    busy = 1e3 * np.array([min(w.late, w.process) for w in wakes])
    return {
        "wakes": len(wakes),
        "median_ms": round(float(np.median(late)), 2),
        "p99_ms": round(float(np.percentile(late, 99)), 1),
        "max_ms": round(float(late.max()), 1),
        "over_bar": int((late > 1e3 * BAR).sum()),
        "own_p99_ms": round(float(np.percentile(own, 99)), 1),
        "own_max_ms": round(float(own.max()), 1),
        "own_over_bar": int((own > 1e3 * BAR).sum()),
        "busy_max_ms": round(float(busy.max()), 1),
        "busy_over_bar": int((busy > 1e3 * BAR).sum()),
    }


def by_phase(wakes: list[Wake], phase: Callable[[float], str]) -> dict[str, Figures]:
    """`lateness` of every phase, in order."""
    groups: dict[str, list[Wake]] = {}
    for wake in wakes:
        groups.setdefault(phase(wake.at), []).append(wake)
    return {name: lateness(group) for name, group in groups.items()}


def latest(loop: Figures, phase: Callable[[float], str], most: int = 12) -> list[Figures]:
    """The wakes latest by the scheduler's own fault: phase, processor seconds, stacks."""
    wakes = [Wake(*each) for each in loop["wakes"]]
    order = sorted(range(len(wakes)), key=lambda number: -wakes[number].own)
    rows = []
    for number in order[:most]:
        wake = wakes[number]
        garbage = sum(
            s for at, s in loop["collections"] if wake.at - wake.late - 0.02 < at <= wake.at
        )
        rows.append(
            {
                "phase": phase(wake.at),
                "late_ms": round(1e3 * wake.late, 1),
                "own_ms": round(1e3 * wake.own, 1),
                "loop_thread_ms": round(1e3 * wake.thread, 1),
                "other_threads_ms": round(1e3 * (wake.process - wake.thread), 1),
                "garbage_ms": round(1e3 * garbage, 1),
                "stacks": loop["stacks"].get(number, []),
            }
        )
    return rows


def figures_of(run: Run, found: Figures) -> Figures:
    """What is recorded of a case."""
    loop, phase = found["loop"], phases_of(run.events())
    wakes = [Wake(*each) for each in loop["wakes"]]
    idle = [Wake(*each) for each in found["idle"]["wakes"]]
    used = {name: found["after"][name] - found["before"][name] for name in found["before"]}
    commits = [event["seconds"] for event in run.events("commit")]
    events = Counter(event["event"] for event in run.events())
    return {
        "workers": found["workers"],
        "load": round(os.getloadavg()[0], 2),
        "seconds": round(used["clock"], 1),
        "blocks": events["block"],
        "commits": len(commits),
        "transitions": used["transitions"],
        "scheduler_share_of_a_core": round(used["scheduler"] / used["clock"], 3),
        "lateness": lateness(wakes),
        "idle_process": lateness(idle),
        "dask_tick_max_ms": round(1e3 * loop["dask_tick"], 1),
        "longest_calls_ms": {name: round(1e3 * s, 1) for name, s in loop["calls"].items()},
        "phases": by_phase(wakes, phase),
        "garbage_collections_max_ms": max(
            (round(1e3 * s, 1) for _, s in loop["collections"]), default=0
        ),
        "latest": latest(loop, phase),
    }


def print_case(name: str, figures: Figures) -> None:
    """A few lines."""
    print(f"\n{name} workers, load {figures['load']}, {figures['seconds']} s,", end=" ")
    print(f"scheduler {figures['scheduler_share_of_a_core']:.1%} of a core")
    for what in ("lateness", "idle_process"):
        print(f"  {what:28} {figures[what]}")
    print(f"  dask's tick-duration, max    {figures['dask_tick_max_ms']} ms")
    print(f"  scheduler's longest calls    {figures['longest_calls_ms']}")
    for phase, row in figures["phases"].items():
        print(f"  {phase:28} {row}")
    for row in figures["latest"][:5]:
        print(f"    {row}")
    sys.stdout.flush()


def main(*names: str) -> None:
    """Train, print and record; with names, only those cases, beside what is recorded of others."""
    recorded = RESULTS / "controller.json"
    cases = json.loads(recorded.read_text())["cases"] if names and recorded.exists() else {}
    for name in names or CASES:
        with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            case, _, switch = name.partition(", ")
            cases[name] = figures_of(*trained(CASES[case], Path(folder), SWITCHES.get(switch)))
        print_case(name, cases[name])
    print(record("controller", {"bar_ms": 1e3 * BAR, "cases": cases}))


if __name__ == "__main__":
    main(*sys.argv[1:])
