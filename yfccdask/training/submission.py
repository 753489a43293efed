"""From a tick to tasks on the cluster: graphs are built in a thread, off the event loop.

States are rebound to the next visit's as soon as it is submitted, so the cluster holds one copy of
the weights and the chunks in flight; the costs come back later.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import dask.array as da
import numpy as np
from distributed import Client, futures_of

from yfccdask.config import Config
from yfccdask.errors import Diverged
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph import Forward, StateChunks, initial_chunks, train_block
from yfccdask.graph.network_graph import field_deviation
from yfccdask.graph.rekeying import held_chunks
from yfccdask.graph.state_chunks import Scratch, chunks_at_rest
from yfccdask.training.clusters import compute_chunks, computed, started
from yfccdask.training.committing import Network
from yfccdask.training.errands import Errands
from yfccdask.training.inputs import Inputs, turn_of
from yfccdask.training.lineage import Lineage
from yfccdask.training.pipeline.messages import Tick
from yfccdask.training.pipeline.visits import Visit, objective_of, rates_of
from yfccdask.training.staging import StagedFields

Costs = list[tuple[Visit, da.Array]]
Log = Callable[..., None]
HostedChunks = list[frozenset[ChunkIndex]]


@dataclass
class Submission:
    """Submits ticks to a cluster, and rebinds a network's states.

    ``layouts`` cut the layers; ``owners`` are the addresses of the workers that hold each layer's
    chunks; ``token`` makes the session's keys its own; ``prepared`` are the preprocessed
    blocks that the next tick reads, by their numbers; ``hosted`` are the chunks of each layer that
    GPUs stream from their hosts' memory.
    """

    client: Client
    config: Config
    layouts: list[Layout]
    owners: list[dict[ChunkIndex, str]]
    token: str
    network: Network
    log: Log
    versions: dict[int, list[str]] = field(default_factory=dict)
    copies_read: dict[int, set[str]] = field(default_factory=dict)
    prepared: dict[int, da.Array] = field(default_factory=dict)
    hosted: HostedChunks = field(default_factory=list)

    def __post_init__(self) -> None:
        self.staged = StagedFields(self.client, self.config.engine.stage_fields, self.scratch)
        holders = {address for owners in self.owners for address in owners.values()}
        self.lineage = Lineage(self.client)
        self.errands = Errands(self.client, self.scratch, sorted(holders))

    @property
    def scratch(self) -> Scratch:
        return Scratch(self.config.engine.scratch, self.token)

    @property
    def weights_scratch(self) -> Scratch | None:
        """Where weights are put between visits; None keeps them in memory."""
        return self.scratch if self.config.engine.weights == "disk" else None

    async def submit(self, inputs: Inputs, tick: Tick) -> Costs:
        """Submit a tick's visits, upper layers first: they let go of the older states."""
        network, submitted = self.network, []
        network.copies |= {layer: network.states[layer] for layer in tick.renewed}
        self.copies_read[tick.number] = {copy.version for copy in network.copies.values()}
        for visit in reversed(tick.visits):
            if visit.first:
                await self.start_layer(inputs, tick, visit)
            submitted.append((visit, await self.submit_visit(inputs, tick, visit)))
        for layer in tick.passing:
            network.copies.pop(layer, None)
        await self.prepare(inputs, tick)
        return submitted[::-1]

    async def prepare(self, inputs: Inputs, tick: Tick) -> None:
        """Have the next tick's blocks read and preprocessed while the visits under way train.

        They are held until the visits that read them are submitted. What is staged isn't read.
        """
        prepared = {}
        for visit in tick.ahead:
            if (visit.layer, visit.block) not in self.staged.fields:
                turn = turn_of(tick.number + 1, visit.layer)
                made = await asyncio.to_thread(inputs.preprocessed, visit.block, turn)
                order = -tick.number - 1  # after the visits under way
                prepared[visit.block] = await started(self.client, made, priority=order)
        self.prepared = prepared

    def below(self, inputs: Inputs, layer: int) -> list[Forward]:
        """The copies of the layers below, as the blocks of a layer go through them."""
        network = self.network
        return [inputs.forward(n, network.copies[n], network.scales[n]) for n in range(layer)]

    async def start_layer(self, inputs: Inputs, tick: Tick, visit: Visit) -> None:
        """Measure what brings the layer's first field to its set deviation; make its weights."""
        layer = visit.layer
        deviation = await self.measured_deviation(inputs, tick, visit)
        wanted = self.config.layers[layer].input_deviation
        self.log("scale", layer=layer + 1, tick=tick.number, deviation=deviation, wanted=wanted)
        self.network.scales[layer] = wanted / deviation
        made = await asyncio.to_thread(self.initial_states, layer)
        states = await started(self.client, made, lineage=self.lineage)
        self.network.states[layer] = states
        self.versions[layer] = [states.version]

    async def measured_deviation(self, inputs: Inputs, tick: Tick, visit: Visit) -> float:
        """The standard deviation of the field that a layer sees first, in float64."""
        layer, below = visit.layer, self.below(inputs, visit.layer)

        def measured() -> da.Array:
            first = inputs.field(visit.block, tick.number, below, self.prepared.get(visit.block))
            name = f"deviation-layer{layer + 1}-{self.token}"
            return field_deviation(name, first)

        made = await asyncio.to_thread(measured)
        (deviation,) = map(float, await compute_chunks(self.client, made))
        if not math.isfinite(deviation) or deviation == 0:
            raise Diverged(
                f"layer {layer + 1}: expected an input field that varies, found a deviation of "
                f"{deviation} over block {visit.block}: are its images blank?"
            )
        return deviation

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
            device=self.config.arithmetic.device,
            momentum=self.config.arithmetic.momentum,
            hosted=self.hosted[layer] if self.hosted else (),
        )

    async def field(self, inputs: Inputs, tick: Tick, visit: Visit) -> da.Array:
        """The field of a visit's block, kept for the next pass where that changes no bits."""
        below = self.below(inputs, visit.layer)

        def build() -> da.Array:
            return inputs.field(visit.block, tick.number, below, self.prepared.get(visit.block))

        training = {each.layer for each in tick.visits}
        frozen = not training & set(range(visit.layer))
        if not frozen or self.config.layers[visit.layer].passes == 1:
            return await asyncio.to_thread(build)
        return await self.staged.field(visit.layer, visit.block, build)

    async def submit_visit(self, inputs: Inputs, tick: Tick, visit: Visit) -> da.Array:
        """Submit a visit and rebind the layer's states; returns the costs under way."""
        field = await self.field(inputs, tick, visit)
        graph = await asyncio.to_thread(self.visit_graph, tick, visit, field)
        order = -tick.number  # blocks in flight would take turns, and hold their fields longer
        new, costs = await started(
            self.client, graph, graph.costs(), priority=order, lineage=self.lineage
        )
        self.versions.setdefault(visit.layer, [self.network.states[visit.layer].version])
        self.versions[visit.layer].append(new.version)
        self.network.states[visit.layer] = new
        return costs

    def visit_graph(self, tick: Tick, visit: Visit, field: da.Array) -> StateChunks:
        """The states after a visit, as a graph."""
        layer, settings = visit.layer, self.config.layers[visit.layer]
        states = self.network.states[layer]
        return train_block(
            f"state-layer{layer + 1}-tick{tick.number}-{self.token}",
            states,
            field,
            self.network.scales[layer],
            objective_of(settings),
            rates_of(settings, states.layout.layer, visit),
            visit.mini_batches * self.config.batching.mini_batch,
            self.config.arithmetic.products,
        )

    async def finish_layer(self, layer: int) -> None:
        """Check a trained layer's values; free its staged inputs, and its weights' momenta."""
        finite = self.network.states[layer].finite()
        if not all(await compute_chunks(self.client, finite)):
            self.log("diverged", layer=layer + 1)
            raise Diverged(divergence(layer, "at its last mini-batch"))
        rested = chunks_at_rest(f"rest-layer{layer + 1}-{self.token}", self.network.states[layer])
        self.network.states[layer] = await started(self.client, rested, lineage=self.lineage)
        self.versions.setdefault(layer, []).append(rested.version)
        self.network.at_rest.add(layer)
        await self.errands.remove(self.staged.forget(layer))

    async def discard_versions(self, tick: int) -> None:
        """After a tick: remove the weights on disk that no later visit and no copy can ask for."""
        self.copies_read.pop(tick, None)
        if self.weights_scratch is None:
            return
        used = {copy.version for copy in self.network.copies.values()}.union(
            *self.copies_read.values()
        )
        ahead = self.config.engine.blocks_in_flight + 1  # what visits under way read and write
        gone = []
        for layer, versions in self.versions.items():
            gone += [name for name in versions[:-ahead] if name not in used]
            self.versions[layer] = [name for name in versions if name not in gone]
        await self.errands.remove([*gone, *(f"steps-{name}" for name in gone)])

    async def rekey(self, tick: int) -> None:
        """Bound the lineage: nothing of what was computed before a tick is remembered."""
        network = self.network
        every = [*network.states.items(), *network.copies.items()]
        old = {states.name: (layer, states) for layer, states in every}
        new = {}
        for number, (name, (layer, states)) in enumerate(old.items()):
            fresh = held_chunks(f"held{number}-layer{layer + 1}-tick{tick}-{self.token}", states)
            new[name] = await started(self.client, fresh)
            await computed(self.client, new[name])
        network.states = {layer: new[states.name] for layer, states in network.states.items()}
        network.copies = {layer: new[copy.name] for layer, copy in network.copies.items()}
        await self.lineage.forget(futures_of([states for _, states in old.values()]))

    async def end(self) -> None:
        """Let go of everything on the cluster."""
        self.prepared = {}
        await self.errands.clear()
        network = self.network
        held = [*network.states.values(), *network.copies.values()]
        await self.lineage.forget(futures_of(held))


def divergence(layer: int, where: str) -> str:
    """What to say of a layer (counted from 0) whose values are no longer finite."""
    return (
        f"layer {layer + 1}, {where}: expected a finite objective, found one that is not: the "
        f"descent diverged; lower layers.{layer}.rate (alpha_rate, offset_rate) and train again"
    )
