"""A network cut into chunks that have workers: what everything else of the plan is counted from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from yfccdask.config import Config
from yfccdask.geometry import ChunkIndex, LayerGeometry, Layout

Owners = dict[ChunkIndex, int]


@dataclass(frozen=True, eq=False)  # compared as an object, so that what is counted can be kept
class NetworkCut:
    """Every layer's layout, and the worker (from 0) of every chunk.

    Attributes
    ----------
    config : Config
    workers : int
    layouts : tuple of Layout
    owners : tuple of dict
        Worker number of every chunk, per layer.
    threads : int
        Tasks that one worker runs at once.
    hosted : tuple of frozenset
        Per layer, the chunks that lie in the host's memory and are streamed through a GPU; empty
        where there are none.
    """

    config: Config
    workers: int
    layouts: tuple[Layout, ...]
    owners: tuple[Owners, ...]
    threads: int = 1
    hosted: tuple[frozenset[ChunkIndex], ...] = ()

    @property
    def layers(self) -> range:
        return range(len(self.layouts))

    @cached_property
    def itemsize(self) -> int:
        """Bytes of one weight or one value of a field."""
        return np.dtype(self.config.dtype).itemsize

    @property
    def on_gpu(self) -> bool:
        """Whether weights and fields lie on GPUs."""
        return self.config.arithmetic.device == "gpu"

    @property
    def field_itemsize(self) -> int:
        """Bytes of one value of a field that leaves a local layer."""
        return 2 if self.config.arithmetic.fields == "half" else self.itemsize

    @property
    def half_momentum(self) -> bool:
        """Whether the weights' momentum is stored as bfloat16."""
        return self.config.arithmetic.momentum == "half"

    @property
    def momentum_itemsize(self) -> int:
        """Bytes of one value of the weights' momentum between visits."""
        return 2 if self.half_momentum else self.itemsize

    def hosted_of(self, number: int) -> frozenset[ChunkIndex]:
        """A layer's chunks that are streamed from a host."""
        return self.hosted[number] if self.hosted else frozenset()

    @property
    def images(self) -> int:
        """Images of one data block."""
        return self.config.batching.data_block

    @property
    def mini_batch(self) -> int:
        return self.config.batching.mini_batch

    @property
    def mini_batches(self) -> int:
        """Mini-batches of one data block."""
        return self.images // self.mini_batch

    @property
    def staggered(self) -> bool:
        """Whether layers train side by side."""
        return self.config.pipeline.start != "finished" and len(self.layouts) > 1

    def layer(self, number: int) -> LayerGeometry:
        """A layer's geometry (counted from 0)."""
        return self.layouts[number].layer

    def per_worker(self, number: int) -> list[list[ChunkIndex]]:
        """Every worker's chunks of a layer."""
        held: list[list[ChunkIndex]] = [[] for _ in range(self.workers)]
        for index, worker in self.owners[number].items():
            held[worker].append(index)
        return held

    def passes(self, number: int) -> int:
        """Times that a layer sees the whole store."""
        return self.config.layers[number].passes

    def staged(self, number: int) -> str:
        """Where a layer's input is kept for later passes: recompute, memory or disk.

        Only a layer of several passes keeps it, and only over layers that train no more.
        """
        frozen = number == 0 or not self.staggered
        kept = self.passes(number) > 1 and frozen
        return self.config.engine.stage_fields if kept else "recompute"
