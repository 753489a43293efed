"""Frozen features for probes, as files that a killed extraction goes on with.

One file per layer and kind of weights holds the responses of the chosen images, signed and not
pooled; what a probe sees is rectified in both signs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
from distributed import Client

from yfccdask.analysis.network_pass import (
    Network,
    chosen_places,
    chosen_responses,
    each_block,
    fetched,
)
from yfccdask.analysis.probing_fits import TRAIN, rectified, standardise
from yfccdask.data.blocks import BlockStore
from yfccdask.data.durable import write_text

READ_AT_ONCE = 1024  # images whose pixels are read at once


@dataclass(frozen=True)
class FeatureSet:
    """What a probe is given: some files side by side.

    ``signed`` files hold responses, which are rectified in both signs; pixels are taken as they
    are. ``width`` counts features.
    """

    name: str
    files: tuple[Path, ...]
    signed: bool
    width: int

    def load(self, split: np.ndarray) -> np.ndarray:
        """Standardised features, float32 (image, feature)."""
        parts = [np.load(path, mmap_mode="r") for path in self.files]
        values = np.concatenate([rectified(part) if self.signed else part for part in parts], 1)
        return standardise(values.astype(np.float32, copy=False), split == TRAIN)


def labelled_places(store: BlockStore, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The blocks that rows (ascending) lie in, and where within each."""
    blocks, within = np.divmod(rows, store.block_size)
    return {int(block): within[blocks == block] for block in np.unique(blocks)}


def extract_responses(
    client: Client,
    network: Network,
    rows: np.ndarray,
    units: dict[int, np.ndarray],
    folder: Path,
    name: str,
) -> dict[int, Path]:
    """Write the responses of some layers' units to some images, a file per layer.

    Parameters
    ----------
    client : distributed.Client
    network : Network
    rows : int array (image,)
        Of the store, ascending.
    units : dict of int to int array
        Per layer (counted from 1) the units to keep, counted over (grid_y, grid_x, unit).
    folder, name
        The files are ``folder/name-layer-N.npy``, float32 (image, unit). What a former, killed call
        with the same arguments has written is kept.
    """
    files = {number: folder / f"{name}-layer-{number}.npy" for number in units}
    state, places = folder / f"{name}.json", labelled_places(network.store, rows)
    done = _done(state, files)
    arrays = {
        number: _opened(path, (len(rows), len(units[number])), new=not done)
        for number, path in files.items()
    }
    at = sum(len(places[block]) for block in list(places)[:done])
    build = partial(_chosen, network, places, units)
    into = _columns(network, units)
    for count, (block, found) in enumerate(each_block(client, build, list(places)[done:]), done):
        for (number, columns), responses in zip(into, found, strict=True):
            rows = slice(at, at + len(places[block]))
            arrays[number][rows, columns] = fetched(client, responses)
        for array in arrays.values():
            array.flush()
        at += len(places[block])
        write_text(state, json.dumps({"blocks": count + 1}))
    return files


def extract_pixels(store: BlockStore, rows: np.ndarray, path: Path, most: int) -> int:
    """Write raw pixels, float32 (image, y * x * channel); returns over how many a side they are
    averaged, so that there are at most ``most`` of them."""
    factor = _shrinking(store, most)
    array = _opened(path, (len(rows), pixel_features(store, most)), new=True)
    for start in range(0, len(rows), READ_AT_ONCE):
        images = store.read(rows[start : start + READ_AT_ONCE])
        array[start : start + READ_AT_ONCE] = shrunk(images, factor).reshape(len(images), -1)
    array.flush()
    return factor


def pixel_features(store: BlockStore, most: int) -> int:
    """How many features `extract_pixels` makes of an image."""
    return int((store.size // _shrinking(store, most)) ** 2 * store.channels)


def _shrinking(store: BlockStore, most: int) -> int:
    """Over how many pixels a side images are averaged for at most so many values."""
    return max(1, int(np.ceil(np.sqrt(store.size**2 * store.channels / most))))


def shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    """Images (image, y, x, channel) averaged over squares of ``factor`` pixels; a rest is cut off.

    >>> shrunk(np.arange(4.0).reshape(1, 2, 2, 1), 2).ravel().tolist()
    [1.5]
    """
    side = images.shape[1] // factor
    cut = images[:, : side * factor, : side * factor]
    parts = cut.reshape(len(images), side, factor, side, factor, images.shape[-1])
    return np.asarray(parts.mean(axis=(2, 4), dtype=np.float32))


def chosen_units(count: int, most: int, seed: int) -> np.ndarray:
    """All of so many units, or ``most`` of them drawn at random, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _chosen(
    network: Network, places: dict[int, np.ndarray], units: dict[int, np.ndarray], block: int
) -> list[da.Array]:
    """The chosen units' responses to a block's images, layer after layer, chunk after chunk."""
    found = network.responses(block, list(units))
    parts = [chosen_responses(found[number], places[block], units[number]) for number in units]
    return [part for own in parts for part in own]


def _columns(network: Network, units: dict[int, np.ndarray]) -> list[tuple[int, np.ndarray]]:
    """Each of these arrays' layer, and the columns of its file that it holds."""
    layouts = {number: network.layers[number - 1].states.layout for number in units}
    return [
        (number, columns)
        for number, layout in layouts.items()
        for columns, _ in chosen_places(
            ((1,), layout.rows, layout.columns, (layout.layer.units,)), units[number]
        ).values()
    ]


def _done(state: Path, files: dict[int, Path]) -> int:
    """How many blocks a former call has written."""
    if not state.exists() or not all(path.exists() for path in files.values()):
        return 0
    return int(json.loads(state.read_text(encoding="utf-8"))["blocks"])


def _opened(path: Path, shape: tuple[int, int], new: bool) -> np.memmap:
    if not new:
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
