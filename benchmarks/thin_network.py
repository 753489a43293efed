"""The paper's network with its own graph and next to no arithmetic.

Same images' size, windows, strides, positions, chunks, mini-batches and owners as the plan gives
the paper's network, but one channel, one map, one image per mini-batch and four dense units: each
block is exactly the same tasks and the same pieces between the same workers, with fewer bytes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.config import Config, load_config, network_geometry, parse_config
from yfccdask.data import BlockStore, write_store
from yfccdask.geometry import Layout
from yfccdask.training.planning import RunPlan
from yfccdask.training.planning.network_cut import NetworkCut

UNITS = 4  # of the dense layer


def thin_config(paper: Config) -> Config:
    """The thin network of a configuration."""
    batches = paper.batching.data_block // paper.batching.mini_batch
    tree = {
        "images": {"size": paper.images.size, "channels": 1},
        "batching": {"data_block": batches, "mini_batch": 1},
        "preprocessing": {"whitening": {"patch": 17, "samples": 2000}},
        "layers": [_thin_layer(layer) for layer in paper.layers],
    }
    found = parse_config(tree, "thin network")
    geometry, full = network_geometry(found).layers, network_geometry(paper).layers
    for thin, thick, layer in zip(geometry, full, tree["layers"], strict=True):
        if thin.dense:
            layer["leaf"] = math.ceil(thin.inputs / math.ceil(thick.inputs / thick.leaf))
    return parse_config(tree, "thin network")


def _thin_layer(layer: Any) -> dict[str, Any]:
    if layer.kind == "dense":
        return {"kind": "dense", "units": UNITS, "rate": 1e-6, "sparsity": layer.sparsity}
    tile = list(layer.tile)
    same = {"window": layer.window, "stride": layer.stride, "tile": tile, "lcn": layer.lcn}
    same["lcn"] = None if layer.lcn is None else layer.lcn.model_dump()
    return {"kind": "local", "units": tile[0] * tile[1], "rate": 1e-5, **same}


def thin_cut(plan: RunPlan, config: Config) -> NetworkCut:
    """The thin network cut as a plan cuts the full one, for the same workers."""
    thin = network_geometry(config).layers
    layouts = tuple(
        replace(layout, layer=layer) for layout, layer in zip(plan.layouts, thin, strict=True)
    )
    for layout, full in zip(layouts, plan.layouts, strict=True):
        _check_same(layout, full)
    return NetworkCut(config, plan.site.workers, layouts, tuple(plan.owners))


def _check_same(thin: Layout, full: Layout) -> None:
    """Raise ValueError unless a thin layer has the positions and leaves of the full one."""
    for layout in (thin, full):
        leaves = math.ceil(layout.layer.inputs / layout.layer.leaf) if layout.layer.dense else 1
        if (sum(layout.rows), sum(layout.columns)) != layout.layer.grid:
            raise ValueError(f"expected {layout.layer.grid} positions, found {layout}")
        if sum(layout.leaves) != leaves:
            raise ValueError(f"expected {leaves} leaves, found {sum(layout.leaves)}")


def thin_store(config: Config, blocks: int, folder: Path) -> BlockStore:
    """Blocks of noise."""
    size, images = config.images.size, config.batching.data_block
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(blocks * images, size, size, 1), dtype=np.uint8)
    return write_store(pixels, folder / "store", block_size=images)


def paper_config() -> Config:
    """The paper's network."""
    return load_config("paper")
