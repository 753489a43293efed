"""The least that a step on a GPU must move and compute: ``python -m benchmarks.gpu_floors``.

Arithmetic only: prints the paper's layers on a card of given bandwidth and rates, by the same sums
as a plan's (`yfccdask.training.planning.device_floors`).
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from yfccdask.config import load_config, network_geometry
from yfccdask.training.planning.device_floors import (
    ASSUMED,
    WIDTH,
    Shape,
    dense_stages,
    local_stages,
    step_floor,
)


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
    for name, rate in ASSUMED._asdict().items():
        unit = "bytes" if name == "bandwidth" else "operations of products"
        parser.add_argument(f"--{name}", type=float, default=rate, help=f"{unit} per second")
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
