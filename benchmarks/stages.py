"""What a block costs, stage by stage, on one core: ``python -m benchmarks.stages``.

Process CPU time (best of three) of each stage of the demo's first layer for 960 images, as a ratio
to that layer's training visit, and the visit's share of the same run's sgemm rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.recording import record
from yfccdask.backend import use_one_blas_thread
from yfccdask.config import load_config, network_geometry
from yfccdask.numerics.contrast import normalise_field
from yfccdask.numerics.local_visits import Windows, forward_visit, initial_state, train_visit
from yfccdask.numerics.whitening import filter_images, normalise_contrast
from yfccdask.training.inputs import contrast_scale, contrast_window
from yfccdask.training.pipeline.visits import layer_visits, objective_of, rates_of


def best(work: Callable[[], Any]) -> float:
    """The least process CPU time of three calls, after one to warm up."""
    work()
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def sgemm_rate(size: int = 2048) -> float:
    """Floating-point operations per second of a large float32 product on one core."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    return 2 * size**3 / best(lambda: a @ a)


def stages() -> dict[str, float]:
    """Seconds of every stage for one block of the demo."""
    config = load_config("demo")
    layer, settings = network_geometry(config).layers[0], config.layers[0]
    rng, images = np.random.default_rng(0), config.batching.data_block
    pixels = rng.integers(0, 256, size=(images, 64, 64, 3), dtype=np.uint8)
    mean = pixels.mean(axis=(1, 2, 3)).astype(np.float32)
    deviation = pixels.std(axis=(1, 2, 3)).astype(np.float32)
    contrast, filter_ = contrast_scale(config), rng.normal(size=(17, 17, 3, 3)) / 30

    def preprocess() -> np.ndarray:
        field = normalise_contrast(pixels, mean, deviation, *contrast, np.dtype("f4"))
        return filter_images(field, filter_, ((8, 8), (8, 8)))

    field, windows = preprocess(), Windows(layer.window, layer.stride)
    numbers = np.arange(layer.positions).reshape(layer.grid)
    state = initial_state(0, 0, numbers, layer.units, layer.inputs, 1.0, np.dtype("f4"))
    visit = next(layer_visits(config, 0, [images]))
    how = (windows, objective_of(settings), rates_of(settings, layer, visit))
    output = forward_visit(state, field, 0.1, windows, layer.tile, 192)
    window, floor = contrast_window(config, 0)
    assert window is not None
    return {
        "contrast and whitening": best(preprocess),
        "training visit": best(lambda: train_visit(state, field, 0.1, *how)),
        "forward": best(lambda: forward_visit(state, field, 0.1, windows, layer.tile, 192)),
        "LCN": best(lambda: normalise_field(output, window, floor)),
        "flop of the visit": float(layer.flop_per_image * images),
    }


def main() -> None:
    """Print and record the ratios."""
    use_one_blas_thread()
    peak, found = sgemm_rate(), stages()
    flop = found.pop("flop of the visit")
    visit = found["training visit"]
    ratios = {name: round(seconds / visit, 3) for name, seconds in found.items()}
    share = round(flop / visit / peak, 3)
    for name, ratio in ratios.items():
        print(f"{name:24} {ratio:6.2f} of the visit ({found[name]:.3f} s for 960 images)")
    print(f"{'the visit':24} {share:6.2f} of this run's sgemm rate ({peak / 1e9:.0f} Gflop/s)")
    figures = {"seconds": found, "of_the_visit": ratios, "visit_of_sgemm": share}
    print(record("stages", figures))


if __name__ == "__main__":
    main()
