"""What a run reads: the store checked against the configuration, blocks as preprocessed fields."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import dask.array as da
import numpy as np
from dask._task_spec import Task
from distributed import Client

from yfccdask.config import Config, LocalLayer, Whitening
from yfccdask.data.blocks import BlockStore, block, block_moments
from yfccdask.data.runs import Run
from yfccdask.errors import StoreError
from yfccdask.geometry import FieldLayout, Layout
from yfccdask.geometry.cuts import tile_makers
from yfccdask.graph import Forward, StateChunks, layer_input, preprocess
from yfccdask.graph.images import ContrastScale
from yfccdask.graph.pieces import Owners, array_from_tasks, field_layout, pinned
from yfccdask.graph.whitening_graph import fitted_filter, patch_moment
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.training.clusters import compute_chunks, started
from yfccdask.training.pipeline.visits import block_order

WHITENING_BLOCKS = 8  # blocks that the whitening's patches are sampled from, at most


def check_store(config: Config, store: BlockStore) -> None:
    """Refuse a store to train on whose images or blocks are not the configuration's.

    Raises
    ------
    StoreError
        Naming the key, what the configuration expects and what the store holds.
    """
    check_images(config, store)
    _check_keys(store, {"batching.data_block": (config.batching.data_block, store.block_size)})
    largest = max((store.block_images(b) for b in range(store.blocks)), default=0)
    if largest < config.batching.mini_batch:
        raise StoreError(
            f"{store.path}: expected at least one mini-batch of {config.batching.mini_batch} "
            f"images in a block, found {largest}: ingest more images, or use a smaller "
            "batching.mini_batch"
        )


def check_images(config: Config, store: BlockStore) -> None:
    """Refuse a store whose images a network of this configuration can't look at.

    Raises
    ------
    StoreError
        Naming the key, what the configuration expects and what the store holds.
    """
    pairs = {
        "images.size": (config.images.size, store.size),
        "images.channels": (config.images.channels, store.channels),
        "images.dtype": (config.images.dtype, str(store.dtype)),
    }
    _check_keys(store, pairs)


def _check_keys(store: BlockStore, pairs: dict[str, tuple[object, object]]) -> None:
    for key, (expected, found) in pairs.items():
        if expected != found:
            raise StoreError(
                f"{store.path}: expected {key} of {expected} as the configuration says, found "
                f"{found}: ingest again, or change the configuration (--set {key}={found})"
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
    window = ContrastWindow(lcn.window, spread, lcn.mode == "valid", lcn.rectify == "both")
    return window, lcn.floor


def constant_array(name: str, values: np.ndarray) -> da.Array:
    """A small array as one Dask chunk, under one key on the cluster."""
    zeros = (0,) * values.ndim
    task = Task((name, *zeros), np.asarray, values)
    chunks = tuple((size,) for size in values.shape)
    return array_from_tasks(name, {(name, *zeros): task}, [], chunks, values.dtype)


def turn_of(tick: int, layer: int) -> int:
    """Whose turn it is to preprocess: layers that train side by side read different blocks."""
    return tick + layer


@dataclass(frozen=True)
class Inputs:
    """Builds the field of any block for any layer; computes nothing.

    ``token`` makes the names of one session's keys its own. With layer 1's ``first`` layout and the
    ``owners`` of its chunks, tiles are read and preprocessed by these workers in turns.
    """

    config: Config
    store: BlockStore
    whitening: da.Array | None
    token: str
    first: Layout | None = None
    owners: Owners | None = None

    def preprocessed(self, number: int, turn: int = 0) -> da.Array:
        """The field of block ``number`` (image, y, x, channel) that layer 1 reads.

        ``turn`` says whose turn it is to make it, and changes nothing else.
        """
        images = block(self.store, number)
        owners = self.tile_owners(field_layout(images), turn)
        read = {(images.name, 0, *index, 0): owner for index, owner in owners.items()}
        moments = block_moments(self.store, number)
        key = (moments.name, 0, 0)
        first = dict(zip([key], owners.values(), strict=False))  # elsewhere it may follow a visit
        return preprocess(
            pinned(images, read),
            pinned(moments, first),
            contrast_scale(self.config),
            self.whitening,
            np.dtype(self.config.dtype),
            owners,
            self.config.arithmetic.device,
        )

    def tile_owners(self, images: FieldLayout, turn: int) -> dict[tuple[int, int], str]:
        """The worker of every stored tile, empty where Dask may choose."""
        if self.first is None or not self.owners:
            return {}
        return tile_makers(self.first, self.owners, images, turn)

    def field(
        self, number: int, tick: int, below: list[Forward], prepared: da.Array | None = None
    ) -> da.Array:
        """The field of block ``number`` that the layer above ``below`` reads at a tick.

        ``prepared`` is the preprocessed block, if it is there already.
        """
        name = f"block{number}-above{len(below)}-tick{tick}-{self.token}"
        if prepared is None:
            prepared = self.preprocessed(number, turn_of(tick, len(below)))
        return layer_input(name, prepared, below, self.config.batching.mini_batch)

    def forward(self, layer: int, states: StateChunks, scale: float) -> Forward:
        """A trained layer (counted from 0) as its successors see it."""
        window, floor = contrast_window(self.config, layer)
        arithmetic = self.config.arithmetic
        stored = np.dtype(np.float16) if arithmetic.fields == "half" else None
        return Forward(states, scale, window, floor, arithmetic.products, stored)


async def prepared_whitening(
    client: Client, run: Run, store: BlockStore, token: str
) -> da.Array | None:
    """The run's whitening filter on the cluster: fitted once, then the run's own.

    Raises
    ------
    StoreError
        If the images that the filter would be fitted on are all blank.
    """
    if run.config.preprocessing.whitening is None:
        return None
    if not run.has_whitening:
        fitted = await fit_whitening(client, run.config, store, token)
        await asyncio.to_thread(run.save_whitening, fitted)
    values = await asyncio.to_thread(run.whitening)
    return await started(client, constant_array(f"whitening-{token}", np.asarray(values)))


async def fit_whitening(
    client: Client, config: Config, store: BlockStore, token: str
) -> np.ndarray:
    """The whitening filter (fy, fx, channel_in, channel_out) of a store's first blocks."""
    settings = config.preprocessing.whitening or Whitening()
    numbers = sorted(block_order(config.seed, 0, store.blocks)[:WHITENING_BLOCKS])
    blocks = [(block(store, b), block_moments(store, b)) for b in numbers]
    how = (contrast_scale(config), settings.patch, settings.samples, config.seed)
    moment = patch_moment(f"patch-moment-{token}", blocks, *how)
    fitted = fitted_filter(f"fitted-{token}", moment, settings.patch, settings.floor)
    (values,) = await compute_chunks(client, fitted)
    if not values.any():
        raise StoreError(
            f"{store.path}: expected images that vary, found only blank ones in blocks "
            f"{numbers}: nothing can be learned from them"
        )
    return values


def session_token() -> str:
    """A name for one session's keys."""
    return uuid4().hex[:8]
