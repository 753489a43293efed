"""What fields in half precision cost in accuracy: ``python -m benchmarks.half_fields``.

The demo's layer 1 codes a block of smooth noise (four seeds); its field goes through LCN into layer
2, which takes one step. Printed are normwise errors of ``arithmetic.fields: half`` against full
precision: of the field that enters layer 2, of layer 2's codes and of its gradient by W.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.recording import record
from yfccdask.config import load_config, network_geometry
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics.contrast import normalise_field
from yfccdask.numerics.fields import deviation_of, row_moments
from yfccdask.numerics.local_visits import forward_visit, initial_state, train_visit
from yfccdask.numerics.states import State, Windows
from yfccdask.training.inputs import contrast_window
from yfccdask.training.pipeline.visits import layer_visits, objective_of, rates_of

IMAGES, SEEDS = 192, 4
Array = Any


def through_two_layers(field: Array, stored: Any) -> dict[str, Array]:
    """The field that enters layer 2, layer 2's codes, and its gradient at the first step."""
    config = load_config("demo")
    one, two = network_geometry(config).layers[:2]
    window, floor = contrast_window(config, 0)
    assert window is not None
    states = [initial(number, layer) for number, layer in enumerate((one, two))]
    how = (1.0, Windows(one.window, one.stride), one.tile, IMAGES)
    codes = forward_visit(states[0], field, *how, stored=stored)
    between = normalise_field(codes, window, floor, stored=stored)
    scale = config.layers[1].input_deviation / deviation_of(row_moments(between))
    visit = next(layer_visits(config, 1, [IMAGES]))
    windows = Windows(two.window, two.stride)
    rates = rates_of(config.layers[1], two, visit)
    moved, _ = train_visit(
        states[1], between, scale, windows, objective_of(config.layers[1]), rates
    )
    out = forward_visit(states[1], between, scale, windows, two.tile, IMAGES)
    return {"field": between, "codes": out, "gradient": moved.weights_momentum}


def initial(number: int, layer: LayerGeometry) -> State:
    """A layer's state before training."""
    positions = np.arange(layer.positions).reshape(layer.grid)
    return initial_state(0, number, positions, layer.units, layer.inputs, 1.0, "f4")


def smooth_noise(seed: int) -> Array:
    """A preprocessed block (image, y, x, channel) with as much correlation as whitening leaves."""
    noise = np.random.default_rng(seed).normal(size=(IMAGES, 64, 64, 3)).astype(np.float32)
    return 0.05 * (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2))


def error(found: Array, exact: Array) -> float:
    """Normwise relative error."""
    exact = exact.astype(np.float64)
    return float(np.linalg.norm(found.astype(np.float64) - exact) / np.linalg.norm(exact))


def main() -> None:
    """Print and record the errors."""
    worst: dict[str, float] = {}
    for seed in range(SEEDS):
        field = smooth_noise(seed)
        half, full = (through_two_layers(field, kind) for kind in (np.float16, None))
        for name, values in half.items():
            worst[name] = max(worst.get(name, 0.0), error(values, full[name]))
    for name, value in worst.items():
        print(f"{name}: {value:.1e}")
    print(record("half_fields", {"largest normwise error of half precision": worst}))


if __name__ == "__main__":
    main()
