"""How fast this machine is, measured in a second or two with the kernels that a run uses."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from yfccdask.backend import blas_description
from yfccdask.backend.device import Library, library_for
from yfccdask.config import Config, network_geometry
from yfccdask.data.blocks import Layout as StoreLayout
from yfccdask.data.durable import write_text
from yfccdask.errors import ConfigError, DeviceError
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.training.inputs import contrast_window
from yfccdask.training.planning import device_speeds, host_speeds
from yfccdask.training.planning.device_floors import ASSUMED, Card

PairOf: TypeAlias = Callable[[LayerGeometry], tuple[float, float]]
ContrastOf: TypeAlias = Callable[[LayerGeometry, ContrastWindow], float]


@dataclass(frozen=True)
class Calibration:
    """What the plan's seconds are made of; a cluster's own figures may be put in a saved file.

    Attributes
    ----------
    visits, forwards : dict
        Seconds on one core, or one GPU, for one mini-batch of one position (a local layer) or of
        one leaf (a dense one), by `kernel_key`.
    contrasts : dict
        Seconds of LCN for one image, all of its field, by `contrast_key`.
    preprocessing : dict
        Seconds of contrast and whitening for one tile of one image, by `tile_key`.
    copy_rate, network_rate, disk_rate : float
        Bytes per second: within memory, between two processes of this machine, to the disk.
    idle_bytes : int
        Memory of a worker that has loaded everything and holds nothing.
    machine : dict
        Where this was measured; ``card`` where a GPU's figures are arithmetic for an assumed one.
    """

    visits: dict[str, float]
    forwards: dict[str, float]
    contrasts: dict[str, float]
    preprocessing: dict[str, float]
    copy_rate: float
    network_rate: float
    disk_rate: float
    idle_bytes: int
    machine: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the figures as JSON."""
        write_text(Path(path), json.dumps(asdict(self), indent=1) + "\n")


def load_calibration(path: str | Path) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises
    ------
    ConfigError
        If the file is not JSON or lacks a figure.
    """
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
        return Calibration(**{each.name: tree[each.name] for each in fields(Calibration)})
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path}: expected a calibration as `yfccdask plan --save-calibration` writes it, "
            f"found {error!r}: make a new one"
        ) from None


def kernel_key(layer: LayerGeometry, config: Config) -> str:
    """What the time of one position's mini-batch depends on."""
    shape = f"K={layer.units} n={config.batching.mini_batch} {_kind(config)}"
    if layer.dense:
        return f"dense leaf={min(layer.leaf, layer.inputs)} {shape}"
    return f"local D={layer.inputs} {shape}"


def contrast_key(layer: LayerGeometry, config: Config) -> str:
    """What the time of one image's LCN depends on."""
    signs = " by sign" if layer.signs == 2 else ""
    return f"{layer.output} window={layer.lcn_window} {layer.lcn_mode}{signs} {_kind(config)}"


def tile_key(config: Config) -> str:
    """What the time of preprocessing one image's tile depends on."""
    patch = patch_size(config)
    tile = f"{tile_size(config)} x {config.images.channels} {config.images.dtype}"
    return f"tile={tile} patch={patch} {_kind(config)}"


def _kind(config: Config) -> str:
    """The type of weights, and how a GPU multiplies them."""
    arithmetic = config.arithmetic
    return config.dtype + (f" gpu {arithmetic.products}" if arithmetic.device == "gpu" else "")


def patch_size(config: Config) -> int:
    """Pixels per side of the whitening filter; 1 where there is none."""
    white = config.preprocessing.whitening
    return 1 if white is None else white.patch


def tile_size(config: Config) -> int:
    """Pixels per side of the store's tiles."""
    images = config.images
    return StoreLayout(1, images.size, images.channels, images.dtype).tile


def _tile(config: Config) -> tuple[int, int]:
    return tile_size(config), patch_size(config)


def check_calibration(calibration: Calibration, config: Config) -> Calibration:
    """The calibration, if it has a figure for everything that a configuration needs.

    Raises
    ------
    ConfigError
        Naming what is missing.
    """
    layers = network_geometry(config).layers
    needed = {kernel_key(layer, config) for layer in layers}
    missing = sorted(needed - calibration.visits.keys() | needed - calibration.forwards.keys())
    normalised = [layer for n, layer in enumerate(layers) if contrast_window(config, n)[0]]
    keys = {contrast_key(layer, config) for layer in normalised}
    missing += sorted(keys - calibration.contrasts.keys())
    missing += sorted({tile_key(config)} - calibration.preprocessing.keys())
    if missing:
        raise ConfigError(
            f"expected a calibration with a figure for {missing[0]!r}, found none: it was saved "
            "for another configuration; leave --calibration out, or save a new one"
        )
    return calibration


def calibrate(config: Config) -> Calibration:
    """Measure this machine for a configuration: `measured_speeds`, and a fresh process's memory.

    For a GPU where this machine has none: arithmetic for `ASSUMED`, a card that nobody measured.
    """
    if config.arithmetic.device != "gpu":
        return replace(measured_speeds(config), idle_bytes=host_speeds.idle_bytes())
    try:
        return measured_speeds(config)
    except DeviceError:
        return assumed_speeds(config)


@cache
def measured_speeds(config: Config) -> Calibration:
    """Measure the parts of a configuration's blocks on one core of this machine, or on its GPU.

    One position of every kind of local layer and one leaf of a dense one train on a mini-batch of
    noise; where that would be more than 4 Gflop, fewer units are taken and the time is scaled. LCN
    and preprocessing are timed on a few images. The processor's time counts, not the clock's, so
    that a busy machine gives the same figures. On a GPU many positions are measured together, by
    the clock. Kept for as long as the process lives.

    Raises
    ------
    DeviceError
        If the configuration's device is a GPU, and there is none.
    """
    library = library_for(config.arithmetic.device)
    if library.on_device:
        return _speeds(config, *_on_device(library, config), {"machine": platform.platform()})
    rng = np.random.default_rng(0)
    found = _speeds(
        config,
        lambda layer: host_speeds.kernel_seconds(layer, config, rng),
        lambda layer, window: host_speeds.contrast_seconds(layer, config, window, rng),
        lambda: host_speeds.preprocessing_seconds(config, *_tile(config), rng),
        {"machine": platform.platform(), "blas": blas_description()},
    )
    host_speeds.give_back()
    return found


def assumed_speeds(config: Config, card: Card = ASSUMED) -> Calibration:
    """What no kernel can beat on a GPU of given bandwidth and rates."""
    return _speeds(
        config,
        lambda layer: device_speeds.least_layer(card, layer, config),
        lambda layer, window: device_speeds.least_contrast(card, layer),
        lambda: device_speeds.least_tile(card, config, *_tile(config)),
        {"card": card._asdict()},
    )


def _on_device(library: Library, config: Config) -> tuple[PairOf, ContrastOf, Callable[[], float]]:
    """How a GPU's layers, LCN and tiles are measured."""
    return (
        lambda layer: device_speeds.measured_layer(library, layer, config),
        lambda layer, window: device_speeds.measured_contrast(library, layer, window),
        lambda: device_speeds.measured_tile(library, config, *_tile(config)),
    )


def _speeds(
    config: Config,
    pair_of: PairOf,
    contrast_of: ContrastOf,
    tile: Callable[[], float],
    machine: dict[str, Any],
) -> Calibration:
    """A figure for everything that a configuration needs; each kind of layer once."""
    visits, forwards, contrasts = {}, {}, {}
    for number, layer in enumerate(network_geometry(config).layers):
        key, window = kernel_key(layer, config), contrast_window(config, number)[0]
        if key not in visits:
            visits[key], forwards[key] = pair_of(layer)
        if window is not None:
            contrasts[contrast_key(layer, config)] = contrast_of(layer, window)
    tiles = {tile_key(config): tile()}
    rates = (
        host_speeds.copy_rate(),
        host_speeds.network_rate(),
        host_speeds.disk_rate(tempfile.gettempdir()),
    )
    return Calibration(visits, forwards, contrasts, tiles, *rates, 0, machine)
