"""The whole state of a run between two ticks, to disk and back, onto any number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
from distributed import Client

from yfccdask.config import Config
from yfccdask.data.commits import (
    Commit,
    begin_commit,
    create_layer,
    finish_commit,
    layer_path,
    prune_commits,
)
from yfccdask.data.runs import Run
from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.graph import StateChunks
from yfccdask.graph.commit_graph import loaded_chunks, written_chunks
from yfccdask.graph.state_chunks import Scratch
from yfccdask.training.clusters import gather_chunks, started


@dataclass
class Network:
    """All that training goes on from.

    Attributes
    ----------
    tick : int
        The next one; everything else is as it is before it.
    states : dict
        Every started layer's chunks (layers counted from 0).
    copies : dict
        What feeds the layer above, where it is still to be used again.
    scales : dict
        What every started layer's input is multiplied by.
    """

    tick: int = 0
    states: dict[int, StateChunks] = field(default_factory=dict)
    copies: dict[int, StateChunks] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)

    @property
    def separate_copies(self) -> dict[int, StateChunks]:
        """The copies that are not their layers' present states."""
        return {
            layer: copy
            for layer, copy in self.copies.items()
            if copy.version != self.states[layer].version
        }


async def write_commit(
    client: Client, run: Run, number: int, network: Network, finished: bool, token: str
) -> Commit:
    """Write a new commit by all workers at once, then remove the oldest ones.

    ``finished`` says that the schedule has come to its end.
    """
    partial = begin_commit(run.checkpoints, number)
    groups = {(layer, False): states for layer, states in network.states.items()}
    groups |= {(layer, True): states for layer, states in network.separate_copies.items()}
    written = []
    for (layer, copy), states in groups.items():
        path = layer_path(partial.resolve(), layer, copy)
        create_layer(path, states.layout, run.config.dtype)
        name = f"commit{number}-{path.stem}-{token}"
        written.append(started(client, written_chunks(name, states, path)))
    digests = await _gathered_digests(client, written)
    state = {
        "layers": len(network.states),
        "tick": network.tick,
        "finished": finished,
        "scales": [network.scales[layer] for layer in sorted(network.states)],
        "copies": sorted(network.separate_copies),
        "seed": run.config.seed,
    }
    commit = finish_commit(partial, number, state, digests)
    prune_commits(run.checkpoints, run.config.checkpoints.keep)
    return commit


async def _gathered_digests(client: Client, written: list[da.Array]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for array in written:
        for part in await gather_chunks(client, array):
            digests |= part[0]
    return digests


def read_commit(
    client: Client,
    commit: Commit,
    config: Config,
    layouts: list[Layout],
    owners: list[Mapping[ChunkIndex, str]],
    scratch: Scratch | None,
    token: str,
) -> Network:
    """The network of a commit on a cluster's workers, in the layouts of that cluster."""

    def persisted(layer: int, copy: bool) -> StateChunks:
        path = layer_path(commit.path.resolve(), layer, copy)
        name = f"{path.stem}-commit{commit.number}-{token}"
        chunks: Any = loaded_chunks(
            name, path, layouts[layer], config.dtype, owners[layer], scratch
        )
        return started(client, chunks)

    layers = range(commit.layers)
    return Network(
        int(commit.state["tick"]),
        {layer: persisted(layer, False) for layer in layers},
        {layer: persisted(layer, True) for layer in commit.state["copies"]},
        dict(zip(layers, commit.state["scales"], strict=True)),
    )
