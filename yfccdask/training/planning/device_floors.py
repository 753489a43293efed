"""The least that a GPU must move and compute for a layer: bytes and operations, stage by stage.

Arithmetic only. A step is one mini-batch of n images for P positions of K units and D inputs. Its
stages are the kernels and products of `yfccdask.numerics.device.visits` (or ``dense``), named as
they are there; a stage takes the longer of its bytes' and its operations' time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

WIDTH = {"fp32": 4, "tf32": 4, "bf16": 2}  # bytes of an operand of a product


class Card(NamedTuple):
    """Bytes per second within the memory, and operations per second of each kind of product."""

    bandwidth: float
    fp32: float
    tf32: float
    bf16: float

    def rate(self, precision: str) -> float:
        """Operations per second of products in a precision."""
        return float(getattr(self, precision))


LINK = 55e9  # bytes per second between host and device, each way at once: assumed
ASSUMED = Card(4.3e12, 67e12, 400e12, 800e12)  # where no card is there to be measured


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
    field: float
    steps: int

    @property
    def weights(self) -> int:
        """Weights of all positions."""
        return self.positions * self.units * self.inputs

    @property
    def x(self) -> int:
        """Values of all patches."""
        return self.positions * self.images * self.inputs

    @property
    def s(self) -> int:
        """Values of all codes."""
        return self.positions * self.images * self.units


def local_stages(shape: Shape, precision: str) -> dict[str, Stage]:
    """Every stage of a local layer's step; the copy of a visit's state is shared by its steps."""
    w, width, x, s = shape.weights, WIDTH[precision], shape.x, shape.s
    rounded = 0 if width == 4 else width
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
    w, width, x, s = shape.weights, WIDTH[precision], shape.x, shape.s
    rounding = 0 if width == 4 else 4 + width
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


def forward_stages(shape: Shape, precision: str) -> dict[str, Stage]:
    """Every stage of a layer's forward pass; rounded weights are shared by a visit's steps."""
    w, width, x, s = shape.weights, WIDTH[precision], shape.x, shape.s
    return {
        "round_to_brain": Stage(0 if width == 4 else (4 + width) * w / shape.steps),
        "gather": Stage(width * x + 4 * shape.images * shape.field),
        "multiply s": Stage(width * (w + x) + 4 * s, 2.0 * w * shape.images),
        "scatter": Stage(8 * s),
    }


def contrast_stages(field: int, normalised: int) -> dict[str, Stage]:
    """LCN of one image: a field of so many values is read three times, its result written once."""
    return {"LCN": Stage(4.0 * (3 * field + normalised))}


def tile_stages(pixels: int, channels: int, patch: int) -> dict[str, Stage]:
    """Contrast and whitening of one image's tile of ``pixels``, stored as bytes."""
    values = pixels * channels
    products = 2.0 * values * channels * patch**2 if patch > 1 else 0.0
    return {"contrast and whitening": Stage(5.0 * values, products)}


def step_floor(stages: dict[str, Stage], bandwidth: float, rate: float) -> float:
    """Seconds of a step whose every stage takes its floor."""
    return math.fsum(stage.floor(bandwidth, rate) for stage in stages.values())
