"""What a run reads: the store checked against the configuration, blocks as preprocessed fields."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import dask.array as da
import numpy as np
from dask._task_spec import Task

from yfccdask.config import Config, LocalLayer, network_geometry
from yfccdask.data.blocks import BlockStore, block, block_moments
from yfccdask.errors import PlanRefused, StoreError
from yfccdask.graph import Forward, StateChunks, layer_input, preprocess
from yfccdask.graph.images import ContrastScale
from yfccdask.graph.pieces import array_from_tasks
from yfccdask.numerics.contrast import ContrastWindow


def check_store(config: Config, store: BlockStore) -> None:
    """Refuse a store whose images or blocks are not the configuration's.

    Raises
    ------
    StoreError
        Naming the key, what the configuration expects and what the store holds.
    """
    pairs = {
        "images.size": (config.images.size, store.size),
        "images.channels": (config.images.channels, store.channels),
        "images.dtype": (config.images.dtype, str(store.dtype)),
        "batching.data_block": (config.batching.data_block, store.block_size),
    }
    for key, (expected, found) in pairs.items():
        if expected != found:
            raise StoreError(
                f"{store.path}: expected {key} of {expected} as the configuration says, found "
                f"{found}: ingest again, or change the configuration (--set {key}={found})"
            )
    largest = max((store.block_images(b) for b in range(store.blocks)), default=0)
    if largest < config.batching.mini_batch:
        raise StoreError(
            f"{store.path}: expected at least one mini-batch of {config.batching.mini_batch} "
            f"images in a block, found {largest}: ingest more images, or use a smaller "
            "batching.mini_batch"
        )


def contrast_scale(config: Config) -> ContrastScale:
    """Contrast normalisation in the store's units."""
    full = float(np.iinfo(config.images.dtype).max)
    return ContrastScale(config.preprocessing.contrast_floor, full)


def contrast_window(config: Config, layer: int) -> tuple[ContrastWindow | None, float]:
    """The LCN window after a layer (counted from 0) and its floor."""
    settings = config.layers[layer]
    if not isinstance(settings, LocalLayer) or settings.lcn is None:
        return None, 0.0
    lcn = settings.lcn
    spread = lcn.spread or lcn.window / 4
    return ContrastWindow(lcn.window, spread, lcn.mode == "valid"), lcn.floor


def constant_array(name: str, values: np.ndarray) -> da.Array:
    """A small array as one Dask chunk, under one key on the cluster."""
    zeros = (0,) * values.ndim
    task = Task((name, *zeros), np.asarray, values)
    chunks = tuple((size,) for size in values.shape)
    return array_from_tasks(name, {(name, *zeros): task}, [], chunks, values.dtype)


@dataclass(frozen=True)
class Inputs:
    """Builds the field of any block for any layer; computes nothing.

    ``token`` makes the names of one session's keys its own.
    """

    config: Config
    store: BlockStore
    whitening: da.Array | None
    token: str

    def preprocessed(self, number: int) -> da.Array:
        """The field of block ``number`` (image, y, x, channel) that layer 1 reads."""
        return preprocess(
            block(self.store, number),
            block_moments(self.store, number),
            contrast_scale(self.config),
            self.whitening,
            np.dtype(self.config.dtype),
        )

    def field(self, number: int, below: list[Forward]) -> da.Array:
        """The field of block ``number`` that the layer above ``below`` reads."""
        name = f"block{number}-above{len(below)}-{self.token}"
        rows = self.config.batching.mini_batch
        return layer_input(name, self.preprocessed(number), below, rows)

    def forward(self, layer: int, states: StateChunks, scale: float) -> Forward:
        """A trained layer (counted from 0) as its successors see it."""
        window, floor = contrast_window(self.config, layer)
        return Forward(states, scale, window, floor)


def check_staging(config: Config, store: BlockStore, memory: float) -> None:
    """Refuse to keep fields in the workers' memory that would take more than half of it.

    Parameters
    ----------
    config : Config
    store : BlockStore
    memory : float
        Bytes that all workers have together.

    Raises
    ------
    PlanRefused
        Naming the layer, the bytes and what to change.
    """
    if config.engine.stage_fields == "recompute":
        return
    itemsize = np.dtype(config.dtype).itemsize
    for number, layer in enumerate(network_geometry(config).layers, start=1):
        needed = store.images * layer.input.size * itemsize
        if 2 * needed > memory:
            raise PlanRefused(
                f"engine.stage_fields: expected the input of layer {number} to fit half of the "
                f"workers' memory, found {needed / 1e9:.3g} GB of fields and {memory / 1e9:.3g} GB "
                "of memory: use --set engine.stage_fields=recompute, more workers or fewer images"
            )


def session_token() -> str:
    """A name for one session's keys."""
    return uuid4().hex[:8]
