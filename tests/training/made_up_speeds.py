"""A calibration that nobody measured: the same figures on every machine."""

from __future__ import annotations

from yfccdask.config import Config, network_geometry
from yfccdask.training.inputs import contrast_window
from yfccdask.training.planning.calibration import (
    Calibration,
    contrast_key,
    kernel_key,
    tile_key,
    tile_size,
)

FLOP_RATE = 5e10
PASS_RATE = 1e9  # values per second that LCN and preprocessing go through


def made_up_calibration(config: Config, idle_bytes: int = 0) -> Calibration:
    """Seconds from operations alone, everything at round rates."""
    visits, forwards, contrasts = {}, {}, {}
    for number, layer in enumerate(network_geometry(config).layers):
        inputs = min(layer.leaf, layer.inputs) if layer.dense else layer.inputs
        flop = 10 * inputs * layer.units * config.batching.mini_batch
        visits[kernel_key(layer, config)] = flop / FLOP_RATE
        forwards[kernel_key(layer, config)] = flop / FLOP_RATE / 5
        if contrast_window(config, number)[0] is not None:
            contrasts[contrast_key(layer, config)] = layer.output.size / PASS_RATE
    tile = tile_size(config) ** 2 * config.images.channels / PASS_RATE * 10
    return Calibration(
        visits, forwards, contrasts, {tile_key(config): tile}, 1e10, 1e9, 5e8, idle_bytes
    )
