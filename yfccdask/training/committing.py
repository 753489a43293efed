"""The whole state of a run between two ticks, to disk and back, onto any number of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
from distributed import Client

from yfccdask.config import Config
from yfccdask.data.commit_writing import Digests, begin_commit, create_layer, finish_commit
from yfccdask.data.commits import Commit, layer_path, pin_commit, prune_commits
from yfccdask.data.runs import Run
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph import StateChunks
from yfccdask.graph.commit_graph import loaded_chunks, written_chunks
from yfccdask.graph.state_chunks import Scratch
from yfccdask.training.clusters import computed, gather_chunks, started
from yfccdask.training.pipeline.state_machine import Progress


@dataclass
class Network:
    """All arrays that training goes on from.

    Attributes
    ----------
    states : dict
        Every started layer's chunks (layers counted from 0).
    copies : dict
        What feeds the layer above, where it is still to be used again.
    scales : dict
        What every started layer's input is multiplied by.
    at_rest : set
        The layers that have finished: the momenta of their weights are let go.
    """

    states: dict[int, StateChunks] = field(default_factory=dict)
    copies: dict[int, StateChunks] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)
    at_rest: set[int] = field(default_factory=set)

    @property
    def separate_copies(self) -> dict[int, StateChunks]:
        """The copies that are not their layers' present states."""
        return {
            layer: copy
            for layer, copy in self.copies.items()
            if copy.version != self.states[layer].version
        }

    @property
    def groups(self) -> dict[tuple[int, bool], StateChunks]:
        """What a commit holds, by layer and whether it is the layer's copy."""
        states = {(layer, False): states for layer, states in self.states.items()}
        return states | {(layer, True): copy for layer, copy in self.separate_copies.items()}


async def write_commit(
    client: Client,
    run: Run,
    number: int,
    network: Network,
    progress: Progress,
    finished: bool,
    token: str,
    pin: bool = False,
) -> Commit:
    """Write a new commit by all workers at once, then remove the oldest ones.

    ``finished`` says that the schedule has come to its end; ``pin`` keeps the commit for good. What
    takes the disk's time happens in threads.
    """
    partial = await asyncio.to_thread(_empty_commit, run, number, network, token)
    written = []
    for group, states in network.groups.items():
        path = layer_path(partial.resolve(), *group)
        name = f"commit{number}-{path.stem}-{token}"
        written.append(await started(client, written_chunks(name, states, path)))
    digests = await _gathered_digests(client, written)
    state = _state_of(run, network, progress, finished)
    return await asyncio.to_thread(_finished_commit, run, partial, number, state, digests, pin)


def _empty_commit(run: Run, number: int, network: Network, token: str) -> Path:
    partial = begin_commit(run.checkpoints, number, token)
    for group, states in network.groups.items():
        path = layer_path(partial.resolve(), *group)
        create_layer(path, states.layout, run.config.dtype)
    return partial


def _state_of(run: Run, network: Network, progress: Progress, finished: bool) -> dict[str, Any]:
    """What a commit's manifest says of the run."""
    return {
        "layers": len(network.states),
        "tick": progress.tick,
        "progress": progress.as_dict(),
        "finished": finished,
        "scales": [network.scales[layer] for layer in sorted(network.states)],
        "copies": sorted(network.separate_copies),
        "at_rest": sorted(network.at_rest),
        "seed": run.config.seed,
        "store": run.provenance["store"]["digest"],
    }


def _finished_commit(
    run: Run, partial: Path, number: int, state: dict[str, Any], digests: Digests, pin: bool
) -> Commit:
    commit = finish_commit(partial, number, state, digests)
    if pin:
        pin_commit(run.checkpoints, commit.number)
    prune_commits(run.checkpoints, run.config.checkpoints.keep)
    return commit


async def _gathered_digests(client: Client, written: list[da.Array]) -> Digests:
    digests: Digests = {}
    for array in written:
        for part in await gather_chunks(client, array):
            digests |= part[0]
    return digests


async def read_commit(
    client: Client,
    commit: Commit,
    config: Config,
    layouts: list[Layout],
    owners: list[Mapping[ChunkIndex, str]],
    scratch: Scratch | None,
    token: str,
    hosted: list[frozenset[ChunkIndex]] | None = None,
) -> Network:
    """The network of a commit on a cluster's workers, in the layouts of that cluster.

    Raises
    ------
    DamagedCommit
        If a chunk can't be read, which is known once all are there.
    """

    async def persisted(layer: int, copy: bool) -> StateChunks:
        path = layer_path(commit.path.resolve(), layer, copy)
        name = f"{path.stem}-commit{commit.number}-{token}"
        rests = layer in at_rest and not copy
        made = config.arithmetic
        streamed = hosted[layer] if hosted else frozenset[ChunkIndex]()
        how = (config.dtype, owners[layer], scratch, made.device, rests, made.momentum, streamed)
        chunks: Any = loaded_chunks(name, path, layouts[layer], *how)
        return await started(client, chunks)

    layers, at_rest = range(commit.layers), set(commit.state.get("at_rest", ()))
    states = {layer: await persisted(layer, False) for layer in layers}
    copies = {layer: await persisted(layer, True) for layer in commit.state["copies"]}
    await computed(client, *states.values(), *copies.values())
    scales = dict(zip(layers, commit.state["scales"], strict=True))
    return Network(states, copies, scales, at_rest)
