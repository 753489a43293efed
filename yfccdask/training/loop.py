"""The training loop: one coroutine over an asynchronous client, layer after layer.

States are rebound to the next visit's as soon as it is submitted, so the cluster holds one copy of
the weights and the chunks in flight; the costs come back later and are recorded in order.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

from yfccdask.config import Config
from yfccdask.data.blocks import BlockStore, block, block_moments
from yfccdask.data.commits import begin_commit, create_layer, finish_commit
from yfccdask.data.events import Event
from yfccdask.data.runs import Run
from yfccdask.errors import Diverged, StoreError
from yfccdask.geometry import Layout, layer_layout
from yfccdask.graph import Forward, StateChunks, initial_chunks, train_block
from yfccdask.graph.commit_graph import written_chunks
from yfccdask.graph.network_graph import field_deviation
from yfccdask.graph.whitening_graph import fitted_filter, patch_moment
from yfccdask.training.clusters import gather_chunks
from yfccdask.training.inputs import Inputs, contrast_scale, session_token
from yfccdask.training.schedule import Visit, block_order, layer_visits, objective_of, rates_of

WHITENING_BLOCKS = 8  # blocks that the whitening's patches are sampled from, at most
OnEvent = Callable[[Event], None]


@dataclass
class Trainer:
    """One session of training: what it needs, and the layers trained so far."""

    client: Client
    run: Run
    store: BlockStore
    layouts: list[Layout]
    on_event: OnEvent = lambda event: None
    token: str = field(default_factory=session_token)
    below: list[Forward] = field(default_factory=list)
    staged: dict[int, da.Array] = field(default_factory=dict)
    commits: int = 0

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def block_images(self) -> list[int]:
        return [self.store.block_images(b) for b in range(self.store.blocks)]

    def log(self, kind: str, **fields: Any) -> None:
        """Record an event and pass it on to whoever follows."""
        self.on_event(self.run.log(kind, **fields))

    async def train(self) -> None:
        """Train every layer, one after another, with a commit at the end of each."""
        visits = [
            sum(1 for _ in layer_visits(self.config, layer, self.block_images))
            for layer in range(len(self.layouts))
        ]
        self.log("start", images=self.store.images, blocks=self.store.blocks, visits=visits)
        inputs = await self.prepare_inputs()
        for layer in range(len(self.layouts)):
            await self.train_layer(inputs, layer)
            await self.commit()
        self.log("end", reason="finished")

    async def prepare_inputs(self) -> Inputs:
        """Fit the whitening filter once, store it with the run, and put it on the cluster."""
        settings = self.config.preprocessing.whitening
        if settings is None:
            return Inputs(self.config, self.store, None, self.token)
        numbers = sorted(block_order(self.config.seed, 0, self.store.blocks)[:WHITENING_BLOCKS])
        blocks = [(block(self.store, b), block_moments(self.store, b)) for b in numbers]
        moment = patch_moment(
            f"patch-moment-{self.token}",
            blocks,
            contrast_scale(self.config),
            settings.patch,
            settings.samples,
            self.config.seed,
        )
        name = f"whitening-{self.token}"
        fitted = self.client.persist(fitted_filter(name, moment, settings.patch, settings.floor))
        values = await self.client.compute(fitted)
        if not values.any():
            raise StoreError(
                f"{self.store.path}: expected images that vary, found only blank ones in blocks "
                f"{numbers}: nothing can be learned from them"
            )
        self.run.save_whitening(values)
        return Inputs(self.config, self.store, fitted, self.token)

    async def train_layer(self, inputs: Inputs, layer: int) -> None:
        """Train one layer over all its passes, then add it to the layers below."""
        scale = await self.measure_scale(inputs, layer)
        states = self.client.persist(self.initial_states(layer))
        under_way: deque[tuple[Visit, da.Array]] = deque()
        started = time.monotonic()
        for visit in layer_visits(self.config, layer, self.block_images):
            states, costs = self.submit(inputs, states, visit, scale)
            under_way.append((visit, costs))
            if len(under_way) >= self.config.engine.blocks_in_flight:
                await self.record(*under_way.popleft(), started)
        while under_way:
            await self.record(*under_way.popleft(), started)
        self.staged.clear()
        if not (await self.client.compute(states.finite())).all():
            self.log("diverged", layer=layer + 1)
            raise Diverged(divergence(layer, "at its last mini-batch"))
        self.below.append(inputs.forward(layer, states, scale))

    async def measure_scale(self, inputs: Inputs, layer: int) -> float:
        """What brings the first block's field to the layer's set deviation; frozen from then on."""
        first = next(layer_visits(self.config, layer, self.block_images))
        measured = field_deviation(
            f"deviation-layer{layer + 1}-{self.token}", inputs.field(first.block, self.below)
        )
        deviation = float(await self.client.compute(measured))
        wanted = self.config.layers[layer].input_deviation
        if not math.isfinite(deviation) or deviation == 0:
            raise Diverged(
                f"layer {layer + 1}: expected an input field that varies, found a deviation of "
                f"{deviation} over block {first.block}: are its images blank?"
            )
        self.log("scale", layer=layer + 1, deviation=deviation, wanted=wanted)
        return wanted / deviation

    def initial_states(self, layer: int) -> StateChunks:
        settings = self.config.layers[layer]
        return initial_chunks(
            f"state-layer{layer + 1}-{self.token}",
            self.layouts[layer],
            seed=self.config.seed,
            layer=layer,
            alpha=settings.alpha,
            dtype=np.dtype(self.config.dtype),
        )

    def field(self, inputs: Inputs, number: int) -> da.Array:
        """The field of a block that enters the layer in training, kept where that is asked for."""
        if self.config.engine.stage_fields == "recompute":
            return inputs.field(number, self.below)
        if number not in self.staged:
            self.staged[number] = self.client.persist(inputs.field(number, self.below))
        return self.staged[number]

    def submit(
        self, inputs: Inputs, states: StateChunks, visit: Visit, scale: float
    ) -> tuple[StateChunks, da.Array]:
        """Submit a visit; returns the states after it and its costs, both under way."""
        settings, geometry = self.config.layers[visit.layer], states.layout.layer
        new = train_block(
            f"state-layer{visit.layer + 1}-pass{visit.sweep}-block{visit.block}-{self.token}",
            states,
            self.field(inputs, visit.block),
            scale,
            objective_of(settings),
            rates_of(settings, geometry, visit),
            visit.mini_batches * self.config.batching.mini_batch,
        )
        return self.client.persist([new, new.costs()], optimize_graph=False)

    async def record(self, visit: Visit, costs: da.Array, started: float) -> None:
        """Wait for a visit's costs and log them; a cost that is not finite ends the run."""
        parts = await gather_chunks(self.client, costs)
        means = whole_grid(costs, parts).mean(axis=(1, 2))
        fields = {
            "layer": visit.layer + 1,
            "pass": visit.sweep,
            "block": visit.block,
            "images": visit.mini_batches * self.config.batching.mini_batch,
            "first_mini_batch": visit.first_step,
            "seconds": round(time.monotonic() - started, 4),
        }
        if not np.isfinite(means).all():
            self.log("diverged", **fields)
            raise Diverged(divergence(visit.layer, f"pass {visit.sweep}, block {visit.block}"))
        terms = {"reconstruction": means[:, 0].tolist(), "sparsity": means[:, 1].tolist()}
        self.log("block", **fields, **terms)

    async def commit(self) -> None:
        """Write all layers trained so far into a new commit."""
        self.commits += 1
        started = time.monotonic()
        partial = begin_commit(self.run.checkpoints, self.commits)
        digests: dict[str, str] = {}
        for number, layer in enumerate(self.below):
            create_layer(partial, number, layer.states.layout, self.config.dtype)
            name = f"commit{self.commits}-layer{number + 1}-{self.token}"
            written = self.client.persist(
                written_chunks(name, layer.states, partial.resolve(), number)
            )
            for part in await gather_chunks(self.client, written):
                digests |= part[0]
        scales = [layer.scale for layer in self.below]
        state = {"layers": len(self.below), "scales": scales, "seed": self.config.seed}
        finish_commit(partial, self.commits, state, digests)
        seconds = round(time.monotonic() - started, 4)
        self.log("commit", number=self.commits, layers=len(self.below), seconds=seconds)


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


def layouts_of(run: Run, workers: int) -> list[Layout]:
    """How every layer is cut: by the configuration's engine section, else by the plan."""
    engine = run.config.engine
    return [
        layer_layout(
            layer,
            workers,
            None if engine.chunk is None else _within(engine.chunk, layer.grid),
            engine.chunk_leaves,
        )
        for layer in run.geometry.layers
    ]


def _within(chunk: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    return min(chunk[0], grid[0]), min(chunk[1], grid[1])
