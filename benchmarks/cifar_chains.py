"""Layers 2 and 3 above a trained first layer, with and without rectification between layers.

A rectified field has twice the maps, so a layer that reads it has twice the weights: each network
is judged beside one of as many weights that reads signed fields.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from benchmarks.cifar_again import Again, Lower, both_signs, by_unit, linear_share, upper_of
from benchmarks.cifar_features import probe_parts
from benchmarks.cifar_upper import Upper, learn, respond, untrained
from yfccdask.numerics.contrast import normalise_field
from yfccdask.training.inputs import contrast_window

Array = Any


class Chain(NamedTuple):
    """Layers 2 and 3 over the first layer of the network of a ``seed``.

    ``reads`` is what both read, "signed" or "rectified"; ``trained`` is False where all three
    layers keep their random weights.
    """

    reads: str
    second: dict[str, Any]
    third: dict[str, Any]
    seed: int = 0
    trained: bool = True

    @property
    def below(self) -> tuple[int, bool]:
        """The seed of the network whose first layer it has, and whether that is a random one."""
        return self.seed, not self.trained

    @property
    def layers(self) -> list[Again]:
        """Both layers, lowest first."""
        both = enumerate((self.second, self.third), start=2)
        return [Again(number, self.reads, self.trained, changes) for number, changes in both]


SIGNED: dict[str, Any] = {"rate": 0.008, "passes": 18}
RECTIFIED: dict[str, Any] = {"rate": 0.0005, "passes": 18}
HALVED: dict[str, Any] = {"rate": 0.001, "passes": 18}
SEEDS = (0, 1, 2)
PLAIN = {
    "signed": Chain("signed", {}, SIGNED),
    "rectified, half the units in layer 2": Chain(
        "rectified", {"units": 32, "rate": 0.0025}, HALVED
    ),
    "signed, twice the units in layer 2": Chain(
        "signed", {"units": 128}, {"rate": 0.004, "passes": 18}
    ),
    "rectified": Chain("rectified", {"rate": 0.0025}, RECTIFIED),
}
RANDOM = {f"{name}, random weights": one._replace(trained=False) for name, one in PLAIN.items()}
OTHERS = {
    f"{name}, seed {seed}": PLAIN[name]._replace(seed=seed)
    for seed in SEEDS[1:]
    for name in ("rectified", "signed")
}
CHAINS = PLAIN | RANDOM | OTHERS


def judged_chain(chain: Chain, lower: Lower) -> dict[str, Any]:
    """Train layers 2 and 3 above a network's first one, and probe all three.

    ``lower`` is what that network, or its random weights, makes of the images.
    """
    began, fields = time.monotonic(), lower.fields(2, chain.reads)
    parts, weights, linear = [lower.responses(1)], [], []
    for variant in chain.layers:
        upper = upper_of(variant, lower.run.config, fields[0])
        learned = learn(upper, fields[0]) if chain.trained else untrained(upper, fields[0])
        outputs = [respond(upper, learned, field) for field in fields]
        parts.append([by_unit(upper, one) for one in outputs])
        weights.append(upper.geometry.weights)
        linear.append(round(100 * linear_share(parts[-2], parts[-1]), 1))
        fields = [read_above(upper, output, chain.reads) for output in outputs]
    names = [f"layer {number}" for number in range(1, len(parts) + 1)]
    splits = [[part[split] for part in parts] for split in (0, 1)]
    row = {**chain._asdict(), "weights": weights, "linear": linear}
    row["probe"] = {
        "trained" if chain.trained else "random": probe_parts(splits, *lower.data, names)
    }
    return {**row, "seconds": round(time.monotonic() - began)}


def read_above(upper: Upper, output: Array, reads: str) -> Array:
    """What the layer above reads of an output field (image, y, x, map): after LCN."""
    window, floor = contrast_window(upper.config, upper.number)
    field = output if window is None else normalise_field(output, window, floor)
    return both_signs(field) if reads == "rectified" else field
