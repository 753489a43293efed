"""The network's table before anything is launched: positions, weights, bytes, operations."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.config import Config, load_config, network_geometry
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.geometry import LayerGeometry
from yfccdask.training.inputs import check_store
from yfccdask.training.schedule import unused_images


@dataclass(frozen=True)
class LayerPlan:
    """One layer's row; all numbers are exact integers.

    ``weight_bytes`` are the weights alone; ``state_bytes`` add offsets, alphas and all momenta.
    ``flop_per_image`` is one training step's 10 K D per position.
    """

    layer: int
    kind: str
    input: str
    positions: int
    grid: tuple[int, int]
    window: tuple[int, int]
    stride: int
    D: int
    K: int
    weights: int
    weight_bytes: int
    state_bytes: int
    flop_per_image: int
    output: str
    normalised: str


@dataclass(frozen=True)
class StorePlan:
    """What a store gives a run: images per pass and images that no whole mini-batch holds."""

    path: str
    images: int
    blocks: int
    mini_batches: int
    unused_images: int


@dataclass(frozen=True)
class NetworkPlan:
    """The whole network's table, and the store's where one was given."""

    layers: tuple[LayerPlan, ...]
    store: StorePlan | None = None

    def total(self, name: str) -> int:
        """The sum of a column over the layers."""
        return sum(getattr(layer, name) for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        columns = ("positions", "weights", "weight_bytes", "state_bytes", "flop_per_image")
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "total": {name: self.total(name) for name in columns},
            "store": None if self.store is None else asdict(self.store),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of text, the total last."""
        heads = ["layer", "input", "window, stride", "positions", "D", "K", "weights", "bytes"]
        heads += ["with momenta", "Mflop/image", "output, after LCN"]
        return heads, [*(_row(layer) for layer in self.layers), self._total_row()]

    def _total_row(self) -> list[str]:
        return [
            "total",
            "",
            "",
            f"{self.total('positions'):,}",
            "",
            "",
            f"{self.total('weights'):,}",
            size_text(self.total("weight_bytes")),
            size_text(self.total("state_bytes")),
            f"{self.total('flop_per_image') / 1e6:,.1f}",
            "",
        ]

    def _repr_html_(self) -> str:
        heads, rows = self.table()
        head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def size_text(count: int) -> str:
    """Bytes in decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.4g} {unit}"


def _row(layer: LayerPlan) -> list[str]:
    stride = "" if layer.kind == "dense" else f", {layer.stride}"
    return [
        f"{layer.layer} {layer.kind}",
        layer.input,
        f"{layer.window[0]} x {layer.window[1]}{stride}",
        f"{layer.grid[0]} x {layer.grid[1]} = {layer.positions:,}",
        f"{layer.D:,}",
        f"{layer.K:,}",
        f"{layer.weights:,}",
        size_text(layer.weight_bytes),
        size_text(layer.state_bytes),
        f"{layer.flop_per_image / 1e6:,.1f}",
        layer.output
        if layer.output == layer.normalised
        else f"{layer.output} -> {layer.normalised}",
    ]


def plan(config: Config | str | Path, data: BlockStore | str | Path | None = None) -> NetworkPlan:
    """The network's table from its configuration.

    Parameters
    ----------
    config : Config, preset's name or path
    data : BlockStore or path, optional
        Also says how many of its images a pass uses; must fit the configuration.

    Examples
    --------
    >>> plan("paper").total("weights")
    15355871232
    """
    config = config if isinstance(config, Config) else load_config(config)
    itemsize = np.dtype(config.dtype).itemsize
    layers = tuple(
        _layer_plan(number, layer, itemsize)
        for number, layer in enumerate(network_geometry(config).layers, start=1)
    )
    if data is None:
        return NetworkPlan(layers)
    store = open_store(data)
    check_store(config, store)
    return NetworkPlan(layers, _store_plan(config, store))


def _layer_plan(number: int, layer: LayerGeometry, itemsize: int) -> LayerPlan:
    return LayerPlan(
        layer=number,
        kind="dense" if layer.dense else "local",
        input=str(layer.input),
        positions=layer.positions,
        grid=layer.grid,
        window=layer.window,
        stride=layer.stride,
        D=layer.inputs,
        K=layer.units,
        weights=layer.weights,
        weight_bytes=layer.weights * itemsize,
        state_bytes=2 * layer.parameters * itemsize,
        flop_per_image=layer.flop_per_image,
        output=str(layer.output),
        normalised=str(layer.normalised),
    )


def _store_plan(config: Config, store: BlockStore) -> StorePlan:
    images = [store.block_images(b) for b in range(store.blocks)]
    size = config.batching.mini_batch
    return StorePlan(
        str(store.path),
        sum(images),
        len(images),
        sum(count // size for count in images),
        unused_images(images, size),
    )
