"""Does the first layer learn edges? ``python -m benchmarks.edges [grey|null|colour ...]``

Trains 8 x 8 positions of 128 units on more than 50,000 distinct crops of the sample photographs:
in grey, on a null model (Gaussian images of the grey crops' spectrum), and in colour. Prints the
share of units that are edges, beside the initial weights', and writes results and mosaics.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import numpy as np

from benchmarks.recording import RESULTS, record
from yfccdask.analysis.edge_share import edge_shares, spread_positions, trained_filters
from yfccdask.analysis.pictures import filter_pictures, mosaic
from yfccdask.config import load_config
from yfccdask.data import BlockStore, fetch_samples, ingest, open_store, write_store
from yfccdask.data.runs import Run
from yfccdask.training.start import train

CROPS = 51_000  # distinct crops in all, at least
CONFIG = Path(__file__).with_name("edges.yaml")
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLOUR = [
    "images.channels=3",
    "preprocessing.whitening.floor=0.2",
    "layers.0.input_deviation=0.05",
    "layers.0.rate=0.007",
]


def crops(folder: Path, size: int, channels: int, count: int) -> BlockStore:
    """At least ``count`` crops of the sample photographs."""
    photos = folder / "photos"
    each = -(-count // fetch_samples(photos).photographs)
    name = f"crops-{size}-{channels}"
    made = ingest(photos, folder / name, size=size, channels=channels, crops_per_image=each)
    return open_store(made.store)


def gaussian_images(store: BlockStore, path: Path) -> BlockStore:
    """As many Gaussian images with the mean power spectrum of a store's grey images."""
    sample = store.read(range(0, store.images, 16))[..., 0].astype(np.float64)
    sample -= sample.mean(axis=(1, 2), keepdims=True)
    amplitude = np.sqrt((np.abs(np.fft.fft2(sample)) ** 2).mean(axis=0))
    blocks = [
        _gaussian_block(amplitude, store.block_images(b), seed=b) for b in range(store.blocks)
    ]
    return write_store(da.concatenate(blocks), path, block_size=store.block_size)


def _gaussian_block(amplitude: np.ndarray, count: int, seed: int) -> da.Array:
    noise = np.random.default_rng(seed).normal(size=(count, *amplitude.shape))
    shaped = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    shaped *= 40 / shaped.std(axis=(1, 2), keepdims=True)
    pixels = np.clip(np.rint(shaped + 128), 0, 255).astype(np.uint8)[..., None]
    return da.from_array(pixels, chunks=pixels.shape)


def learn(name: str, store: BlockStore, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Train, judge the filters, and draw them."""
    started = time.monotonic()
    run = train(load_config(CONFIG, overrides), store, folder / f"run-{name}")
    seconds = time.monotonic() - started
    shares = edge_shares(run)
    draw(name, run)
    blocks = run.events("block")
    figures = {
        "images": store.images,
        "mini_batches": sum(len(event["sparsity"]) for event in blocks),
        "seconds": round(seconds, 1),
        "images_per_second": round(sum(e["images"] for e in blocks) / blocks[-1]["seconds"], 1),
        "trained": asdict(shares.trained),
        "initial": asdict(shares.initial),
    }
    print(
        f"{name:7} edges {shares.trained.share:6.1%} (initial {shares.initial.share:.1%}) of "
        f"{shares.trained.units} units, {figures['mini_batches']} mini-batches, {seconds:.0f} s",
        flush=True,
    )
    return figures


def draw(name: str, run: Run) -> None:
    """Four positions' filters as one picture in ``docs/pictures``."""
    cells = spread_positions(run.geometry.layers[0].grid, 4)
    filters = np.concatenate([trained_filters(run, run.commit(), cell)[:72] for cell in cells])
    PICTURES.mkdir(parents=True, exist_ok=True)
    mosaic(filter_pictures(filters), columns=24, zoom=2).save(PICTURES / f"edges-{name}.png")


def main(wanted: list[str]) -> None:
    """Run the parts that are wanted (all by default) and record them together."""
    if unknown := set(wanted) - {"grey", "null", "colour"}:
        raise SystemExit(f"expected grey, null or colour, found {' '.join(sorted(unknown))}")
    former = RESULTS / "edges.json"
    figures: dict[str, Any] = json.loads(former.read_text()) if former.exists() else {}
    with TemporaryDirectory() as temporary:
        folder, size = Path(temporary), load_config(CONFIG).images.size
        grey = crops(folder, size, 1, CROPS) if {"grey", "null"} & set(wanted) else None
        if grey is not None and "grey" in wanted:
            figures["grey"] = learn("grey", grey, folder, [])
        if grey is not None and "null" in wanted:
            null = gaussian_images(grey, folder / "null")
            figures["null"] = learn("null", null, folder, [])
        if "colour" in wanted:
            figures["colour"] = learn("colour", crops(folder, size, 3, CROPS), folder, COLOUR)
    print(record("edges", figures))


if __name__ == "__main__":
    main(sys.argv[1:] or ["grey", "null", "colour"])
