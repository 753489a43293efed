"""The training loop: one coroutine over an asynchronous client, tick after tick.

States are rebound to the next visit's as soon as it is submitted, so the cluster holds one copy of
the weights and the chunks in flight; the costs come back later and are recorded in order. Every few
ticks the run settles: what is under way is waited for, chunks get new keys that remember nothing,
and where one is due, a commit is written.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker, NoValidWorkerError

from yfccdask.config import Config
from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import Commit
from yfccdask.data.events import Event
from yfccdask.data.runs import Run
from yfccdask.errors import Diverged, LostChunk
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph import Forward, StateChunks, initial_chunks, train_block
from yfccdask.graph.network_graph import field_deviation
from yfccdask.graph.rekeying import held_chunks
from yfccdask.graph.state_chunks import Scratch
from yfccdask.training.clusters import compute_chunks, computed, gather_chunks, started
from yfccdask.training.committing import Network, read_commit, write_commit
from yfccdask.training.errands import Errands
from yfccdask.training.inputs import Inputs, prepared_whitening, session_token
from yfccdask.training.schedule import (
    Tick,
    Visit,
    layer_starts,
    number_of_ticks,
    objective_of,
    rates_of,
    ticks,
    visit_numbers,
)
from yfccdask.training.staging import StagedFields

SETTLE_EVERY = 16  # ticks after which chunks get new keys
WATCH_SECONDS = 2.0  # between looks at whether all workers are there
OnEvent = Callable[[Event], None]
Costs = list[tuple[Visit, da.Array]]


@dataclass
class Trainer:
    """One session of training: what it needs, and how far it is.

    ``layouts`` cut the layers; ``owners`` are the addresses of the workers that hold each layer's
    chunks. A session that goes on from a commit is given its ``network`` and number.
    """

    client: Client
    run: Run
    store: BlockStore
    layouts: list[Layout]
    owners: list[dict[ChunkIndex, str]]
    on_event: OnEvent = lambda event: None
    token: str = field(default_factory=session_token)
    network: Network = field(default_factory=Network)
    commits: int = 0
    versions: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.staged = StagedFields(self.client, self.config.engine.stage_fields, self.scratch)
        holders = {address for owners in self.owners for address in owners.values()}
        self.errands = Errands(self.client, self.scratch, sorted(holders))
        self.began: dict[int, float] = {}

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def scratch(self) -> Scratch:
        return Scratch(self.config.engine.scratch, self.token)

    @property
    def weights_scratch(self) -> Scratch | None:
        """Where weights are put between visits; None keeps them in memory."""
        return self.scratch if self.config.engine.weights == "disk" else None

    @property
    def block_images(self) -> list[int]:
        return [self.store.block_images(b) for b in range(self.store.blocks)]

    def log(self, kind: str, **fields: Any) -> None:
        """Record an event and pass it on to whoever follows."""
        self.on_event(self.run.log(kind, **fields))

    def go_on_from(self, commit: Commit | None) -> None:
        """Put a commit's network on the workers; without one, start at the first tick."""
        if commit is not None:
            where = (self.layouts, self.owners, self.weights_scratch, self.token)
            self.network = read_commit(self.client, commit, self.config, *where)
            self.commits = commit.number

    async def train(self) -> None:
        """Train from the next tick to the end of the schedule.

        Raises
        ------
        LostChunk
            If a worker was lost; the run can be resumed from its last commit.
        Diverged
            If an objective or a weight is not finite.
        """
        self.log_beginning()
        training = asyncio.create_task(self.whole_schedule())
        watching = asyncio.create_task(self.lost_worker())
        try:
            await asyncio.wait({training, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not training.done():
                raise self.lost(watching.result())
            await training
        except (KilledWorker, NoValidWorkerError, FutureCancelledError) as error:
            raise self.lost(error) from None
        finally:
            training.cancel()
            watching.cancel()
        self.log("end", reason="finished")

    def log_beginning(self) -> None:
        """Log what there is to train, and where this session begins."""
        visits = visit_numbers(self.config, self.block_images)
        if not self.commits:
            self.log("start", images=self.store.images, blocks=self.store.blocks, visits=visits)
            return
        tick, starts = self.network.tick, layer_starts(self.config, visits)
        done = [
            min(max(tick - start, 0), count) for start, count in zip(starts, visits, strict=True)
        ]
        self.log("resume", commit=self.commits, tick=tick, visits=visits, done=done)

    async def whole_schedule(self) -> None:
        """Prepare the inputs, then all ticks from the next one on."""
        white = await prepared_whitening(self.client, self.run, self.store, self.token)
        where = (self.layouts[0], self.owners[0])
        await self.all_ticks(Inputs(self.config, self.store, white, self.token, *where))
        await self.errands.clear()

    async def lost_worker(self) -> str:
        """Wait until a worker that holds chunks is gone (its pinned tasks would wait for ever)."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            missing = set(self.errands.workers) - set(
                (await self.client.scheduler.identity())["workers"]
            )
            if missing:
                return f"{sorted(missing)[0]} is gone"

    def lost(self, what: object) -> LostChunk:
        """The error that a lost worker ends the session with."""
        return LostChunk(
            f"{self.run.path}: expected every worker to stay, found one lost ({what}): go on from "
            f"the last commit with `yfccdask resume {self.run.path}`"
        )

    async def all_ticks(self, inputs: Inputs) -> None:
        """Submit tick after tick, a few ahead of those that are recorded."""
        under_way: deque[tuple[Tick, Costs]] = deque()
        for tick in ticks(self.config, self.block_images):
            if tick.number < self.network.tick:
                continue
            under_way.append((tick, await self.submit(inputs, tick)))
            self.network.tick = tick.number + 1
            settling = self.commit_due(tick) or self.network.tick % SETTLE_EVERY == 0
            while len(under_way) >= (1 if settling else self.config.engine.blocks_in_flight):
                await self.record(*under_way.popleft())
            if settling:
                await self.settle(tick)

    async def submit(self, inputs: Inputs, tick: Tick) -> Costs:
        """Submit a tick's visits, upper layers first: they let go of the older states."""
        network, submitted = self.network, []
        network.copies |= {layer: network.states[layer] for layer in tick.renewed}
        for visit in reversed(tick.visits):
            if visit.first:
                await self.start_layer(inputs, tick, visit)
            submitted.append((visit, await self.submit_visit(inputs, tick, visit)))
        for layer in tick.passing:
            network.copies.pop(layer, None)
        return submitted[::-1]

    def below(self, inputs: Inputs, layer: int) -> list[Forward]:
        """The copies of the layers below, as the blocks of a layer go through them."""
        network = self.network
        return [inputs.forward(n, network.copies[n], network.scales[n]) for n in range(layer)]

    async def start_layer(self, inputs: Inputs, tick: Tick, visit: Visit) -> None:
        """Measure what brings the layer's first field to its set deviation; make its weights."""
        layer, below = visit.layer, self.below(inputs, visit.layer)
        first = inputs.field(visit.block, tick.number, below)
        measured = field_deviation(f"deviation-layer{layer + 1}-{self.token}", first)
        (deviation,) = map(float, await compute_chunks(self.client, measured))
        wanted = self.config.layers[layer].input_deviation
        if not math.isfinite(deviation) or deviation == 0:
            raise Diverged(
                f"layer {layer + 1}: expected an input field that varies, found a deviation of "
                f"{deviation} over block {visit.block}: are its images blank?"
            )
        facts = {"layer": layer + 1, "tick": tick.number}
        self.log("scale", **facts, deviation=deviation, wanted=wanted)
        self.network.scales[layer] = wanted / deviation
        states = self.initial_states(layer)
        self.network.states[layer] = started(self.client, states)
        self.versions[layer] = [states.version]
        self.began[layer] = time.monotonic()

    def initial_states(self, layer: int) -> StateChunks:
        settings = self.config.layers[layer]
        return initial_chunks(
            f"state-layer{layer + 1}-{self.token}",
            self.layouts[layer],
            seed=self.config.seed,
            layer=layer,
            alpha=settings.alpha,
            dtype=np.dtype(self.config.dtype),
            owners=self.owners[layer],
            scratch=self.weights_scratch,
        )

    async def field(self, inputs: Inputs, tick: Tick, visit: Visit) -> da.Array:
        """The field of a visit's block, kept for the next pass where that changes no bits."""
        below = self.below(inputs, visit.layer)

        def build() -> da.Array:
            return inputs.field(visit.block, tick.number, below)

        frozen = all(self.finished(n, tick) for n in range(visit.layer))
        if not frozen or self.config.layers[visit.layer].passes == 1:
            return build()
        return await self.staged.field(visit.layer, visit.block, build)

    def finished(self, layer: int, tick: Tick) -> bool:
        """Whether a layer below another one has seen all its visits before a tick."""
        return layer not in {visit.layer for visit in tick.visits}

    async def submit_visit(self, inputs: Inputs, tick: Tick, visit: Visit) -> da.Array:
        """Submit a visit and rebind the layer's states; returns the costs under way."""
        layer, settings = visit.layer, self.config.layers[visit.layer]
        states = self.network.states[layer]
        new = train_block(
            f"state-layer{layer + 1}-tick{tick.number}-{self.token}",
            states,
            await self.field(inputs, tick, visit),
            self.network.scales[layer],
            objective_of(settings),
            rates_of(settings, states.layout.layer, visit),
            visit.mini_batches * self.config.batching.mini_batch,
        )
        self.versions.setdefault(layer, [states.version]).append(new.version)
        order = -tick.number  # blocks in flight would take turns, and hold their fields longer
        self.network.states[layer], costs = started(self.client, new, new.costs(), priority=order)
        return costs

    async def record(self, tick: Tick, submitted: Costs) -> None:
        """Wait for a tick's costs and log them; one that is not finite ends the run."""
        for visit, costs in submitted:
            parts = await gather_chunks(self.client, costs)
            self.record_visit(tick, visit, whole_grid(costs, parts).mean(axis=(1, 2)))
            self.staged.let_go(visit.layer, visit.block)
        await self.discard_versions()
        for visit in tick.visits:
            if visit.last:
                await self.finish_layer(visit.layer)

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

    async def finish_layer(self, layer: int) -> None:
        """Check a trained layer's values, and free its staged inputs."""
        finite = self.network.states[layer].finite()
        if not all(await compute_chunks(self.client, finite)):
            self.log("diverged", layer=layer + 1)
            raise Diverged(divergence(layer, "at its last mini-batch"))
        await self.errands.remove(self.staged.forget(layer))

    async def discard_versions(self) -> None:
        """Remove the weights on disk that no later visit and no copy can ask for."""
        if self.weights_scratch is None:
            return
        used = {copy.version for copy in self.network.copies.values()}
        ahead = self.config.engine.blocks_in_flight + 1  # what visits under way read and write
        gone = []
        for layer, versions in self.versions.items():
            gone += [name for name in versions[:-ahead] if name not in used]
            self.versions[layer] = [name for name in versions if name not in gone]
        await self.errands.remove([*gone, *(f"steps-{name}" for name in gone)])

    def commit_due(self, tick: Tick) -> bool:
        """Whether a commit follows a tick: a layer has finished, or it is time."""
        every = self.config.checkpoints.every_blocks
        return tick.finishes or (every is not None and (tick.number + 1) % every == 0)

    async def settle(self, tick: Tick) -> None:
        """Nothing is under way: give all chunks keys without a past; commit where it is due."""
        await self.rekey(tick)
        if not self.commit_due(tick):
            return
        self.commits += 1
        started = time.monotonic()
        finished = self.network.tick == number_of_ticks(self.config, self.block_images)
        await write_commit(self.client, self.run, self.commits, self.network, finished, self.token)
        seconds, layers = round(time.monotonic() - started, 4), len(self.network.states)
        self.log("commit", number=self.commits, tick=tick.number, layers=layers, seconds=seconds)

    async def rekey(self, tick: Tick) -> None:
        """Bound the lineage: nothing of what was computed before this tick is remembered."""
        network = self.network
        old = {
            states.name: states for states in [*network.states.values(), *network.copies.values()]
        }
        new = {}
        for number, (name, states) in enumerate(old.items()):
            fresh = held_chunks(f"held{number}-tick{tick.number}-{self.token}", states)
            new[name] = started(self.client, fresh)
            await computed(self.client, new[name])
        network.states = {layer: new[states.name] for layer, states in network.states.items()}
        network.copies = {layer: new[copy.name] for layer, copy in network.copies.items()}


def divergence(layer: int, where: str) -> str:
    """What to say of a layer (counted from 0) whose values are no longer finite."""
    return (
        f"layer {layer + 1}, {where}: expected a finite objective, found one that is not: the "
        f"descent diverged; lower layers.{layer}.rate (alpha_rate, offset_rate) and train again"
    )


def whole_grid(costs: da.Array, parts: list[np.ndarray]) -> np.ndarray:
    """All chunks' costs as one array (mini_batch, grid_y, grid_x, 2), in grid order."""
    _, rows, columns, _ = costs.numblocks
    grid = [parts[row * columns : (row + 1) * columns] for row in range(rows)]
    return np.concatenate([np.concatenate(line, axis=2) for line in grid], axis=1)
