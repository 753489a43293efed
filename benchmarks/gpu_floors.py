"""The least that a step on a GPU must move and compute: ``python -m benchmarks.gpu_floors``.

Arithmetic only: prints the paper's layers on a card of given bandwidth and rates. A step is one
mini-batch of n images for P positions of K units and D inputs. Its stages are the kernels and
products of `yfccdask.numerics.device.visits` (or ``dense``), named as they are there.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from yfccdask.config import load_config, network_geometry

WIDTH = {"fp32": 4, "tf32": 4, "bf16": 2}  # bytes of an operand of a product


class Stage(NamedTuple):
    """Bytes to and from memory, and floating-point operations of products."""

    bytes: float
    flop: float = 0.0

    def floor(self, bandwidth: float, rate: float) -> float:
        """Seconds at ``bandwidth`` bytes and ``rate`` operations per second."""
        return max(self.bytes / bandwidth, self.flop / rate)


class Shape(NamedTuple):
    """What a step works on: positions, images, units, inputs; values of the field per image."""

    positions: int
    images: int
    units: int
    inputs: int
    field: int
    steps: int

    @property
    def weights(self) -> int:
        """Weights of all positions."""
        return self.positions * self.units * self.inputs


def local_stages(shape: Shape, precision: str) -> dict[str, Stage]:
    """Every stage of a local layer's step; the copy of a visit's state is shared by its steps."""
    w, width = shape.weights, WIDTH[precision]
    rounded = 0 if width == 4 else width
    x = shape.positions * shape.images * shape.inputs
    s = shape.positions * shape.images * shape.units
    product = 2.0 * w * shape.images
    return {
        "copy of the state": Stage(2 * 8 * w / shape.steps),
        "round_to_brain": Stage((4 + width) * w / shape.steps if rounded else 0),
        "gather": Stage((4 + width) * x + 4 * shape.images * shape.field),
        "multiply s": Stage(width * (w + x) + 4 * s, product),
        "code_terms": Stage((8 + rounded) * s),
        "multiply 2r": Stage(width * (w + s) + 8 * x, product),
        "residual_terms": Stage((4 + rounded) * x),
        "multiply g": Stage(width * (w + x) + 8 * s, product),
        "gradient_terms": Stage((8 + rounded) * s),
        "multiply M": Stage(2 * width * (x + s) + 8 * w, 2 * product),
        "update_rows": Stage((12 + rounded) * w),
    }


def dense_stages(shape: Shape, precision: str) -> dict[str, Stage]:
    """Every stage of a dense layer's step; operands of bfloat16 are rounded before each product."""
    w, width = shape.weights, WIDTH[precision]
    rounding = 0 if width == 4 else 4 + width
    x = shape.images * shape.inputs
    s = shape.images * shape.units
    product = 2.0 * w * shape.images
    return {
        "copy of the state": Stage(2 * 8 * w / shape.steps),
        "round_to_brain": Stage(rounding * (3 * w + 4 * x)),
        "inputs": Stage(2 * (4 * x + 4 * x)),
        "multiply s and h": Stage(2 * (width * (w + x) + 4 * s), 2 * product),
        "multiply r": Stage(width * (w + s) + 4 * x, product),
        "dense_residual_terms": Stage(4 * (x + x + x)),
        "multiply M": Stage(2 * width * (x + s) + 8 * w, 2 * product),
        "descend_columns": Stage(12 * w),
        "scale of the rows": Stage(8 * w / shape.steps),
    }


def step_floor(stages: dict[str, Stage], bandwidth: float, rate: float) -> float:
    """Seconds of a step whose every stage takes its floor."""
    return sum(stage.floor(bandwidth, rate) for stage in stages.values())


def paper_shapes(steps: int = 5) -> dict[str, Shape]:
    """The paper's layers, whole, at 192 images."""
    layers = network_geometry(load_config("paper")).layers
    return {
        f"layer {number}": Shape(
            layer.positions, 192, layer.units, layer.inputs, layer.input.size, steps
        )
        for number, layer in enumerate(layers, start=1)
    }


def main() -> None:
    """Print the floors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="bytes per second")
    for precision, rate in (("fp32", 67e12), ("tf32", 400e12), ("bf16", 800e12)):
        parser.add_argument(f"--{precision}", type=float, default=rate, help="flop per second")
    card = vars(parser.parse_args())
    table = Table("", "weights", "Tflop", *(f"{each}, ms" for each in WIDTH))
    total = dict.fromkeys(WIDTH, 0.0)
    for name, shape in paper_shapes().items():
        stages_of = dense_stages if shape.positions == 1 else local_stages
        floors = {
            each: step_floor(stages_of(shape, each), card["bandwidth"], card[each])
            for each in WIDTH
        }
        total = {each: total[each] + floors[each] for each in WIDTH}
        flop = sum(stage.flop for stage in stages_of(shape, "fp32").values())
        cells = (f"{1e3 * floors[each]:.0f}" for each in WIDTH)
        table.add_row(name, f"{shape.weights / 1e9:.2f} G", f"{flop / 1e12:.1f}", *cells)
    table.add_row("all", "", "", *(f"{1e3 * total[each]:.0f}" for each in WIDTH))
    table.add_row("images/s", "", "", *(f"{192 / total[each]:.0f}" for each in WIDTH))
    Console().print(table)


if __name__ == "__main__":
    main()
