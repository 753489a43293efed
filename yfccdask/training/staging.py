"""A layer's inputs between its passes: computed again, kept in memory, or read from disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import dask.array as da
from distributed import Client, futures_of

from yfccdask.graph.staged_graph import loaded_field, stored_field
from yfccdask.graph.state_chunks import Scratch
from yfccdask.training.clusters import computed, started


@dataclass
class StagedFields:
    """What the layers in training have seen on earlier passes, by layer and block."""

    client: Client
    mode: Literal["recompute", "memory", "disk"]
    scratch: Scratch
    fields: dict[tuple[int, int], da.Array] = field(default_factory=dict)
    stored: dict[tuple[int, int], da.Array] = field(default_factory=dict)

    async def field(self, layer: int, block: int, build: Callable[[], da.Array]) -> da.Array:
        """The field of a block that enters a layer; ``build`` makes its graph the first time."""
        if self.mode == "recompute":
            return await asyncio.to_thread(build)
        where = (layer, block)
        if where not in self.fields:
            made = await started(self.client, await asyncio.to_thread(build))
            if self.mode == "disk":
                name = f"staged-layer{layer + 1}-block{block}-{self.scratch.session}"
                self.stored[where] = await started(
                    self.client, stored_field(name, made, self.scratch)
                )
            self.fields[where] = made
            return made
        if self.mode == "disk":
            return await self._loaded(where)
        return self.fields[where]

    async def _loaded(self, where: tuple[int, int]) -> da.Array:
        stored = self.stored[where]
        await computed(self.client, stored)
        holders = await self.client.who_has(futures_of(stored))
        workers = {key: addresses[0] for key, addresses in holders.items()}
        return loaded_field(f"read-{stored.name}", stored, self.fields[where], workers)

    def let_go(self, layer: int, block: int) -> None:
        """Free the memory of a field that lies on disk; its shape is kept."""
        made = self.fields.get((layer, block))
        if self.mode == "disk" and made is not None and futures_of(made):
            self.fields[layer, block] = da.empty(made.shape, chunks=made.chunks, dtype=made.dtype)

    def forget(self, layer: int) -> list[str]:
        """Drop a layer's fields; returns the places on disk that are free now."""
        for where in [where for where in self.fields if where[0] == layer]:
            del self.fields[where]
        gone = [where for where in self.stored if where[0] == layer]
        return [self.stored.pop(where).name for where in gone]
