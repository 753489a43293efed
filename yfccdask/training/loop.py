"""The training loop: one coroutine over an asynchronous client that does as the pipeline says.

The pipeline (`yfccdask.training.pipeline`) is told what has happened and answers with what to do;
here its instructions are carried out: ticks are submitted, their costs recorded in order, and where
nothing is under way the run settles: chunks get new keys that remember nothing, and where one is
due, a commit is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, futures_of

from yfccdask.config import Config
from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import Commit
from yfccdask.data.events import Event
from yfccdask.data.runs import Run
from yfccdask.errors import Diverged
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.training.clusters import gather_chunks
from yfccdask.training.committing import Network, read_commit, write_commit
from yfccdask.training.filter_glimpses import first_filters
from yfccdask.training.history import History
from yfccdask.training.inputs import Inputs, prepared_whitening, session_token
from yfccdask.training.pipeline.messages import (
    Begun,
    End,
    Hold,
    Instruction,
    Recover,
    Settle,
    Settled,
    Tick,
    TickDone,
    Wish,
    Wished,
    WorkerLost,
)
from yfccdask.training.pipeline.messages import Event as PipelineEvent
from yfccdask.training.pipeline.state_machine import Progress, StateMachine
from yfccdask.training.pipeline.visits import Visit
from yfccdask.training.submission import Costs, Submission, divergence
from yfccdask.training.watching import LOSSES, HungWorkers, Patience, lost_chunk, lost_worker

OnEvent = Callable[[Event], None]


@dataclass
class Trainer:
    """One session of training: what it needs, and how far it is.

    ``layouts`` cut the layers; ``owners`` are the addresses of the workers that hold each layer's
    chunks. A session that goes on from a commit is given it by `go_on_from`. ``tick_seconds`` is
    what the plan says of a tick; ``on_settled`` is awaited where what was computed is forgotten;
    ``commits`` is the number of the last commit; ``hosted`` are the chunks that GPUs stream. Its
    ``history`` is told of ticks and filters.
    """

    client: Client
    run: Run
    store: BlockStore
    layouts: list[Layout]
    owners: list[dict[ChunkIndex, str]]
    on_event: OnEvent = lambda event: None
    token: str = field(default_factory=session_token)
    tick_seconds: float = 0.0
    on_settled: Callable[[], Awaitable[None]] | None = None
    commits: int = 0
    resumed_from: int | None = None
    hosted: list[frozenset[ChunkIndex]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history = History(self.config)
        self.network = Network()
        self.inbox: asyncio.Queue[PipelineEvent] = asyncio.Queue()
        self.recording: asyncio.Queue[tuple[Tick, Costs]] = asyncio.Queue()
        self.machine = StateMachine(self.config, self.block_images)
        self.patience = Patience(self.config.recovery.patience, self.tick_seconds)
        self.began: dict[int, float] = {}
        where = (self.layouts, self.owners, self.token, self.network, self.log)
        self.submission = Submission(self.client, self.config, *where, hosted=self.hosted)

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def block_images(self) -> list[int]:
        return [self.store.block_images(b) for b in range(self.store.blocks)]

    def log(self, kind: str, **fields: Any) -> None:
        """Record an event and pass it on to whoever follows."""
        self.on_event(self.run.log(kind, **fields))

    def wish(self, what: Wish) -> None:
        """A person, or a signal, wants something of this session."""
        self.inbox.put_nowait(Wished(what, time.monotonic()))

    async def go_on_from(self, commit: Commit) -> None:
        """Put a commit's network on the workers.

        Raises
        ------
        DamagedCommit
            If a chunk can't be read.
        """
        where = (self.layouts, self.owners, self.submission.weights_scratch, self.token)
        loaded = await read_commit(self.client, commit, self.config, *where, self.hosted)
        self.network.states, self.network.copies = loaded.states, loaded.copies
        self.network.scales, self.network.at_rest = loaded.scales, loaded.at_rest
        progress = Progress.from_dict(commit.state["progress"])
        self.machine = StateMachine(self.config, self.block_images, progress)
        self.resumed_from = commit.number

    async def train(self) -> str:
        """Train from the next tick until the pipeline ends; returns why: finished or stopped.

        Raises
        ------
        LostChunk
            If a worker was lost, or hangs (`HungWorkers` is then its cause).
        Diverged
            If an objective or a weight is not finite.
        """
        self.log_beginning()
        tasks = [
            asyncio.create_task(work)
            for work in (self.session(), self.record_ticks(), self.watch())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done = next(task for task in tasks if task.done())
            return str(await done)
        except LOSSES as error:
            raise lost_chunk(self.run.path, error) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def log_beginning(self) -> None:
        """Log what there is to train, and where this session begins."""
        if self.resumed_from is None:
            facts = {"images": self.store.images, "blocks": self.store.blocks}
            self.log("start", **facts, visits=self.machine.visits)
        else:
            self.log("resume", commit=self.resumed_from, **self.standing())

    async def session(self) -> str:
        """Prepare the inputs, then do as the pipeline says until it ends."""
        white = await prepared_whitening(self.client, self.run, self.store, self.token)
        where = (self.layouts[0], self.owners[0])
        inputs = Inputs(self.config, self.store, white, self.token, *where)
        event: PipelineEvent = Begun(time.monotonic())
        while True:
            for instruction in self.machine.handle(event):
                if isinstance(instruction, End):
                    await self.submission.end()
                    return instruction.reason
                await self.carry_out(inputs, instruction)
            event = await self.inbox.get()
            if self.patience.held and self.machine.phase == "held" and is_resume(event):
                self.unhold()

    async def carry_out(self, inputs: Inputs, instruction: Instruction) -> None:
        """Do what the pipeline says."""
        match instruction:
            case Tick():
                costs = await self.submission.submit(inputs, instruction)
                self.history.begin_tick(instruction)
                self.recording.put_nowait((instruction, costs))
            case Settle():
                seconds = await self.settle(instruction)
                self.inbox.put_nowait(Settled(time.monotonic(), seconds))
            case Hold():
                self.hold()

    def hold(self) -> None:
        """Nothing is to happen until a person wants to go on."""
        self.patience.held = True
        self.log("pause", tick=self.machine.progress.tick)

    def unhold(self) -> None:
        """A person wants to go on; the pause is no part of any layer's time."""
        pause = self.patience.idle
        self.began = {layer: began + pause for layer, began in self.began.items()}
        self.patience.held = False
        self.patience.progress()
        self.log("unpause", **self.standing())

    def standing(self) -> dict[str, Any]:
        """How far the run is, and how far it is to go."""
        machine = self.machine
        done = [machine.done(layer) for layer in range(len(machine.visits))]
        return {"tick": machine.progress.tick, "visits": machine.visits, "done": done}

    async def watch(self) -> None:
        """Tell the pipeline when a worker is gone."""
        try:
            why = await lost_worker(self.client, self.submission.errands.workers, self.patience)
        except HungWorkers as error:
            raise lost_chunk(self.run.path, error) from error
        for instruction in self.machine.handle(WorkerLost(why, time.monotonic())):
            if isinstance(instruction, Recover):
                raise lost_chunk(self.run.path, instruction.why)

    async def record_ticks(self) -> None:
        """Record ticks in their order as their costs come in."""
        while True:
            done = await self.record(*await self.recording.get())
            self.patience.progress()
            self.inbox.put_nowait(done)

    async def record(self, tick: Tick, submitted: Costs) -> TickDone:
        """Wait for a tick's costs, log them and let go of them: they hold all that led to them.

        One that is not finite ends the run.
        """
        objectives = {}
        for visit, costs in submitted:
            parts = await gather_chunks(self.client, costs)
            for future in futures_of(costs):
                future.release()
            means = whole_grid(costs, parts).mean(axis=(1, 2))
            self.record_visit(tick, visit, means)
            objectives[visit.layer] = float(means.sum(axis=1).mean())
            self.submission.staged.let_go(visit.layer, visit.block)
        await self.submission.discard_versions(tick.number)
        for visit in tick.visits:
            if visit.last:
                await self.submission.finish_layer(visit.layer)
        self.history.end_tick(tick.number)
        return TickDone(tick.number, objectives, time.monotonic())

    def record_visit(self, tick: Tick, visit: Visit, means: np.ndarray) -> None:
        """Log a visit whose costs are averaged over positions (mini_batch, 2)."""
        began = self.began.setdefault(visit.layer, time.monotonic())
        fields = {
            "layer": visit.layer + 1,
            "tick": tick.number,
            "pass": visit.sweep,
            "block": visit.block,
            "images": visit.mini_batches * self.config.batching.mini_batch,
            "first_mini_batch": visit.first_step,
            "seconds": round(time.monotonic() - began, 4),
        }
        if not np.isfinite(means).all():
            self.log("diverged", **fields)
            raise Diverged(divergence(visit.layer, f"pass {visit.sweep}, block {visit.block}"))
        terms = {"reconstruction": means[:, 0].tolist(), "sparsity": means[:, 1].tolist()}
        self.log("block", **fields, **terms)

    async def settle(self, settle: Settle) -> float | None:
        """Give all chunks keys without a past; commit where it is due; returns its seconds."""
        self.patience.settling = True
        await self.submission.rekey(settle.tick)
        if self.on_settled:
            await self.on_settled()
        seconds = await self.commit(settle) if settle.commit else None
        if self.network.states and self.history.wants_filters(committed=settle.commit):
            self.history.see_filters(await first_filters(self.client, self.network.states[0]))
        self.patience.progress()
        self.patience.settling = False
        return seconds

    async def commit(self, settle: Settle) -> float:
        """Write a commit; returns the seconds that it took."""
        began, self.commits = time.monotonic(), self.commits + 1
        pin = settle.layer_ended and self.config.checkpoints.pin_layers
        what = (self.commits, self.network, self.machine.progress, settle.finished)
        await write_commit(self.client, self.run, *what, self.token, pin)
        seconds = time.monotonic() - began
        facts = {"number": self.commits, "tick": settle.tick - 1, "pinned": pin}
        layers = len(self.network.states)
        self.log("commit", **facts, layers=layers, seconds=round(seconds, 4))
        return seconds


def is_resume(event: PipelineEvent) -> bool:
    """Whether a person wants to go on."""
    return isinstance(event, Wished) and event.what == "resume"


def whole_grid(costs: da.Array, parts: list[np.ndarray]) -> np.ndarray:
    """All chunks' costs as one array (mini_batch, grid_y, grid_x, 2), in grid order."""
    _, rows, columns, _ = costs.numblocks
    grid = [parts[row * columns : (row + 1) * columns] for row in range(rows)]
    return np.concatenate([np.concatenate(line, axis=2) for line in grid], axis=1)
