"""What a trained network, and the random weights it began from, make of labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import dask
import numpy as np

from benchmarks.cifar_data import Split
from benchmarks.cifar_probe import Score, flattened, probe
from yfccdask.analysis.network_pass import Network, block_rows, open_network, units_of_tiles
from yfccdask.config import Config
from yfccdask.data.runs import Run
from yfccdask.numerics.contrast import normalise_field
from yfccdask.training.inputs import contrast_window

Array = Any
VALIDATION = 10_000  # labelled images that choose the probe's regularisation
Maker = Callable[[Network, int], list[Any]]


def responses(network: Network, block: int) -> list[Any]:
    """Every layer's ``s = alpha W x`` before LCN, lazily (image, grid_y, grid_x, unit)."""
    numbers = range(1, len(network.layers) + 1)
    found = network.responses(block, numbers)
    return [found[number] for number in numbers]


def normalised_responses(network: Network, block: int) -> list[Any]:
    """The same after each layer's own LCN."""
    tiles = [layer.states.layout.layer.tile for layer in network.layers]
    fields = normalised_fields(network, block)
    return [dask.delayed(units_of_tiles)(*pair) for pair in zip(fields, tiles, strict=True)]


def normalised_fields(network: Network, block: int) -> list[Any]:
    """Every layer's field after its LCN, which is what the next one reads: (image, y, x, map)."""
    return [
        dask.delayed(_after_contrast)(field, network.run.config, number)
        for number, field in enumerate(network.fields(block))
    ]


def _after_contrast(field: Array, config: Config, number: int) -> Array:
    window, floor = contrast_window(config, number)
    return field if window is None else normalise_field(field, window, floor)


def collect(network: Network, make: Maker = responses) -> list[Array]:
    """Every layer's responses to all images of the network's store, float32 (image, ...)."""
    store, parts = network.store, list[Array]()
    for block in range(store.blocks):
        made = dask.compute(make(network, block), scheduler="synchronous")[0]
        parts = parts or [np.empty((store.images, *one.shape[1:]), one.dtype) for one in made]
        for part, one in zip(parts, made, strict=True):
            part[block_rows(store, block)] = one
    return parts


def probe_network(
    run: Run, train: Split, test: Split, *, initial: bool, make: Maker = responses
) -> dict[str, Any]:
    """Probe every layer of a run and all of them together.

    ``initial`` takes the random weights that training began from, behind the same whitening.
    """
    parts = [
        collect(open_network(run, split.store, initial=initial), make) for split in (train, test)
    ]
    names = [f"layer {number + 1}" for number in range(len(parts[0]))]
    return probe_parts(parts, train, test, names)


def probe_parts(
    parts: Sequence[Sequence[Array]], train: Split, test: Split, names: list[str]
) -> dict[str, Any]:
    """Probe responses (image, ...) to both splits' images, by layer."""
    how: dict[str, Any] = {"validation": VALIDATION, "names": names}
    return as_table(probe(parts[0], train.labels, parts[1], test.labels, **how))


def probe_thinned(run: Run, train: Split, test: Split, count: int) -> dict[str, Any]:
    """Probe ``count`` responses of every layer, the same random ones for all images."""
    parts = [collect(open_network(run, split.store)) for split in (train, test)]
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(part[0].size)[:count] for part in parts[0]]
    thinned = [
        [flattened(part)[:, some] for part, some in zip(layers, chosen, strict=True)]
        for layers in parts
    ]
    names = [f"layer {number + 1}" for number in range(len(chosen))]
    return probe_parts(thinned, train, test, names)


def probe_pixels(train: Split, test: Split) -> dict[str, Any]:
    """Probe the raw pixels (rectified they stay what they are: no pixel is negative)."""
    pixels = [
        [split.store.read(range(split.store.images)).astype(np.float32) / 255]
        for split in (train, test)
    ]
    how: dict[str, Any] = {"validation": VALIDATION, "names": ["pixels"], "rectify": False}
    return as_table(probe(pixels[0], train.labels, pixels[1], test.labels, **how))


def as_table(scores: dict[str, Score]) -> dict[str, Any]:
    """Scores for a JSON file, accuracies in per cent."""
    table = {}
    for name, score in scores.items():
        values = asdict(score)
        shares = {key: round(100 * values[key], 2) for key in ("test", "validation")}
        table[name] = {**values, **shares}
    return table
