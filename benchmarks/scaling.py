"""What 98 workers cost the scheduler: ``python -m benchmarks.scaling``.

Trains the thin network (`benchmarks.thin_network`), cut as the plan cuts the paper's network for as
many workers, on simulated clusters (`benchmarks.many_workers`). Counts per block of every layer:
tasks and bytes between workers beside the plan's, processor time of the scheduler, the workers and
the client, and how late the scheduler's event loop was. `benchmarks.scaling_limits` says what
follows for real clusters; ``python -m benchmarks.scaling recorded`` does so anew, from the cases
that were recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from distributed import Client

from benchmarks.many_workers import Processes, simulated_cluster
from benchmarks.recording import RESULTS, record
from benchmarks.scaling_limits import CORE, at_rate, limits, print_limits
from benchmarks.thin_network import paper_config, thin_config, thin_cut, thin_store
from yfccdask.data import BlockStore
from yfccdask.data.runs import create_run
from yfccdask.training.clusters import ClusterRequest, computed, connect
from yfccdask.training.inputs import Inputs, prepared_whitening
from yfccdask.training.loop import Trainer
from yfccdask.training.pipeline.messages import (
    Begun,
    Event,
    Instruction,
    Settled,
    Tick,
    TickDone,
)
from yfccdask.training.planning import Calibration, RunPlan, at_addresses, calibrate, plan
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.sites import workers_of
from yfccdask.training.planning.stages import transfers
from yfccdask.training.planning.traffic import moved_bytes, sigma_moved, tasks_of
from yfccdask.training.provenance import run_provenance, worker_facts
from yfccdask.training.submission import Costs

CASES = {"8": (8, None), "32": (32, None), "32, of 10 GB": (32, "10GB"), "98": (98, None)}
WARM, COUNTED = 1, 3  # blocks at a layer's start, and those after them that are measured
BLOCKS = WARM + COUNTED + 1  # the last one is followed by the check of the layer's weights
KINDS = {  # how the keys of a field's stages begin
    "image-block": "stored",
    "preprocessed": "preprocessed",
    "forward": "output",
    "contrast": "measured",
    "row-sums": "measured",
    "mean-sigma": "measured",
    "normalised": "normalised",
}
IDLE = 5.0  # seconds without work
Figures = dict[str, Any]


@dataclass
class MeasuredTrainer(Trainer):
    """Trains layer after layer, and measures each between two moments with nothing under way."""

    processes: Processes | None = None
    found: list[Figures] = field(default_factory=list)
    given: deque[Instruction] = field(default_factory=deque)

    async def session(self) -> str:
        """As a trainer's, but every layer's blocks in three groups, each to its end."""
        white = await prepared_whitening(self.client, self.run, self.store, self.token)
        where = (self.layouts[0], self.owners[0])
        inputs = Inputs(self.config, self.store, white, self.token, *where)
        self.tell(Begun(time.monotonic()))
        for layer in range(len(self.layouts)):
            await self.blocks(inputs, WARM)
            before = await self.settled_readings()
            await self.blocks(inputs, COUNTED)
            after = await self.readings()
            self.found.append({"layer": layer + 1} | per_block(before, after))
            await self.blocks(inputs, 1)
            seconds = await self.settle(self.given.popleft())
            self.tell(Settled(time.monotonic(), seconds))
        return "finished"

    def tell(self, event: Event) -> None:
        """Tell the pipeline, and keep what it says until it is wanted."""
        self.given.extend(self.machine.handle(event))

    async def blocks(self, inputs: Inputs, number: int) -> None:
        """So many ticks as a trainer submits and records them, and the end of the last."""
        under_way: deque[tuple[Tick, Costs]] = deque()
        while number or under_way:
            while number and self.given:
                tick, number = self.given.popleft(), number - 1
                under_way.append((tick, await self.submission.submit(inputs, tick)))
            tick, costs = under_way.popleft()
            objectives = await self.record(tick, costs)
            self.tell(TickDone(tick.number, objectives, time.monotonic()))
        await computed(self.client, *self.network.states.values())  # costs may be there before

    async def settled_readings(self) -> Figures:
        """Readings at the start of a window: the counters first, then the processors' times."""
        counts = await self.counts()
        await self.client.run_on_scheduler(forget_lag)
        return counts | self.times()

    async def readings(self) -> Figures:
        """Readings at the end of a window: the other way round."""
        times = self.times()
        lag = await self.client.run_on_scheduler(largest_lag)
        return times | await self.counts() | {"lag": lag}

    async def counts(self) -> Figures:
        """What the workers and the scheduler have counted so far."""
        total: Counter[str] = Counter()
        for counted in (await self.client.run(counted_so_far)).values():
            total.update(counted)
        return dict(total) | {"transitions": await self.client.run_on_scheduler(transitions)}

    def times(self) -> Figures:
        """Processor seconds so far of every part, and the clock."""
        assert self.processes is not None
        return {
            "scheduler": cpu_seconds(self.processes.scheduler),
            "workers": cpu_seconds(self.processes.workers),
            "client": cpu_seconds(psutil.Process()),
            "clock": time.monotonic(),
        }


def per_block(before: Figures, after: Figures) -> Figures:
    """What was counted between two readings, per block; the largest lag of all."""
    counted = {name: (after[name] - before.get(name, 0)) / COUNTED for name in after}
    return counted | {"lag": after["lag"]}


def cpu_seconds(process: psutil.Process) -> float:
    """Processor seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def counted_so_far(dask_worker: Any) -> dict[str, int]:
    """On a worker: its tasks, the transfers that it asked for, and their bytes."""
    log = dask_worker.transfer_incoming_log
    if log.maxlen is not None:  # from now on, all of them
        dask_worker.transfer_incoming_log = log = deque(log)
    pieces = [piece for each in log for piece in each["keys"].items()]
    found = Counter(
        tasks=dask_worker.state.executed_count,
        transfers=dask_worker.state.transfer_incoming_count_total,
        pieces=len(pieces),
        bytes=sum(size for _, size in pieces),
    )
    for key, size in pieces:
        found[f"{kind_of(key)} bytes"] += size
    return dict(found)


def kind_of(key: Any) -> str:
    """What a key's value is, in the plan's words: a stage of a field, or something else."""
    name = str(key[0] if isinstance(key, tuple) else key)
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), "other")


def transitions(dask_scheduler: Any) -> int:
    """On the scheduler: transitions of tasks so far."""
    return int(dask_scheduler.transition_counter)


def forget_lag(dask_scheduler: Any) -> None:
    """On the scheduler: measure its event loop's largest lag from now on."""
    dask_scheduler.digests_max["tick-duration"] = 0


def largest_lag(dask_scheduler: Any) -> float:
    """On the scheduler: the most seconds between two ticks that should be 20 ms apart."""
    return float(dask_scheduler.digests_max["tick-duration"])


async def trained(
    processes: Processes, plan: RunPlan, cut: NetworkCut, store: BlockStore, path: Path
) -> tuple[list[Figures], float]:
    """Train the thin network; every layer's figures, and the idle scheduler's share of a core."""
    async with connect(ClusterRequest(scheduler_file=processes.scheduler_file)) as client:
        addresses = sorted(await workers_of(client))
        run = create_run(path, cut.config, run_provenance(store, await worker_facts(client)))
        owners = at_addresses(plan, addresses)
        idle = await idle_share(client, processes)
        trainer = MeasuredTrainer(client, run, store, list(cut.layouts), owners)
        trainer.processes = processes
        await trainer.train()
        return trainer.found, idle


async def idle_share(client: Client, processes: Processes) -> float:
    """The scheduler's share of a core while nothing is to be done: its workers' heartbeats."""
    del client
    before = cpu_seconds(processes.scheduler)
    await asyncio.sleep(IDLE)
    return (cpu_seconds(processes.scheduler) - before) / IDLE


def loop_seconds() -> float:
    """Processor seconds of ten million turns of a plain loop: how fast this core runs Python."""
    start = time.process_time()
    for _ in range(10_000_000):
        pass
    return time.process_time() - start


def compared(figures: Figures, cut: NetworkCut, full: RunPlan) -> Figures:
    """A layer's figures beside the plan's, and processor time per task."""
    layer = figures["layer"] - 1
    tasks, moved = sum(tasks_of(cut, layer)), sum(moved_bytes(cut, layer))
    return figures | {
        "chunks": len(cut.owners[layer]),
        "planned_tasks": tasks,
        "paper_tasks": sum(row.tasks for row in full.rows if row.layer == layer + 1),
        "planned_bytes": moved,
        "bytes_of_planned_of": {
            kind: figures.get(f"{kind} bytes", 0) / size
            for kind, size in planned_kinds(cut, layer).items()
            if size
        },
        "tasks_of_planned": figures["tasks"] / tasks,
        "bytes_of_planned": figures["bytes"] / moved if moved else None,
        "scheduler_per_task": figures["scheduler"] / figures["tasks"],
        "workers_per_task": figures["workers"] / figures["tasks"],
        "client_per_task": figures["client"] / figures["tasks"],
    }


def planned_kinds(cut: NetworkCut, layer: int) -> dict[str, int]:
    """The plan's bytes between workers for one block, by stage; a dense layer's sums are other."""
    found: Counter[str] = Counter()
    for stage, _, received in transfers(cut, layer):
        found[stage.name] += sum(received) + sum(sigma_moved(cut, stage))
    found["other"] = sum(moved_bytes(cut, layer)) - found.total()
    return dict(found)


def case(workers: int, memory: str | None, speeds: Calibration, folder: Path) -> Figures:
    """One cluster: the plan's cut of the paper's network, and what the thin network measures."""
    folder.mkdir()
    paper = paper_config()
    core = at_rate(speeds, CORE)
    full = plan(paper, workers=workers, memory=memory, calibration=core)
    config = thin_config(paper)
    cut = thin_cut(full, config)
    store = thin_store(config, BLOCKS, folder)
    with simulated_cluster(workers, folder) as processes:
        found, idle = asyncio.run(trained(processes, full, cut, store, folder / "run"))
    return {
        "workers": workers,
        "memory": memory,
        "cuts": [
            [len(layout.rows), len(layout.columns), len(layout.leaves)] for layout in cut.layouts
        ],
        "idle_share": idle,
        "load": os.getloadavg()[0],
        "loop_seconds": loop_seconds(),
        "layers": [compared(each, cut, full) for each in found],
    }


def print_case(name: str, figures: Figures) -> None:
    """A line per layer."""
    print(f"\n{name} workers; scheduler without work: {figures['idle_share']:.1%} of a core")
    print(f"  load {figures['load']:.1f}; ten million turns: {figures['loop_seconds']:.2f} s")
    for row in figures["layers"]:
        print(
            f"  layer {row['layer']}: {row['chunks']:4} chunks, {row['tasks']:7.0f} tasks a block "
            f"({row['tasks_of_planned']:.3f} of the plan's), {row['bytes'] / 1e6:7.1f} MB "
            f"({row['bytes_of_planned'] or 0:.3f}) in {row['pieces']:6.0f} pieces; scheduler "
            f"{row['scheduler']:.3f} s, {row['scheduler_per_task'] * 1e3:.3f} ms a task; workers "
            f"{row['workers_per_task'] * 1e3:.2f}, client {row['client_per_task'] * 1e3:.2f} ms a "
            f"task; clock {row['clock']:.1f} s; lag {row['lag']:.2f} s"
        )
        print("    bytes of the plan's:", end=" ")
        print(*(f"{kind} {of:.3f}" for kind, of in row["bytes_of_planned_of"].items()), sep=", ")
    sys.stdout.flush()


def measured_cases(speeds: Calibration) -> Figures:
    """Run all cases, and print each."""
    cases = {}
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        for number, (name, (workers, memory)) in enumerate(CASES.items()):
            cases[name] = case(workers, memory, speeds, Path(temporary, f"case-{number}"))
            print_case(name, cases[name])
    return cases


def main(recorded: bool) -> None:
    """Measure, or take what is recorded; print and record what follows."""
    speeds = calibrate(paper_config())
    if recorded:
        cases = json.loads((RESULTS / "scaling.json").read_text(encoding="utf-8"))["cases"]
    else:
        cases = measured_cases(speeds)
    found = limits(cases, speeds)
    print_limits(found)
    print(record("scaling", {"cases": cases, "limits": found}))


if __name__ == "__main__":
    main("recorded" in sys.argv[1:])
