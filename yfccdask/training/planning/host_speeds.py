"""How fast a core of this machine is with the kernels that a run uses, and what a worker weighs."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from yfccdask.config import Config
from yfccdask.data.durable import sync_file
from yfccdask.geometry import Field, LayerGeometry
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.fields import as_pieces
from yfccdask.numerics.local_visits import Objective, Rates, State, Windows
from yfccdask.numerics.whitening import filter_images, normalise_contrast
from yfccdask.training.inputs import contrast_scale

MOST_FLOP = 16e9  # of one measured call; a larger position or leaf is measured with fewer units
LEAST_SECONDS = 0.02  # of calls, after one to warm up, or two calls
COPIED = 64 << 20  # bytes of the copies that measure rates
SENT = 16 << 20
OBJECTIVE, RATE = Objective(0.1, 1e-4, 0.9), Rates(1e-6, 1e-6, 1e-6)


def give_back() -> None:
    """Return freed memory to the system, so that measuring leaves an idle process as it was."""
    with suppress(OSError, AttributeError):  # where the C library is another one
        ctypes.CDLL(None).malloc_trim(0)


def seconds_of(work: Callable[[], Any]) -> float:
    """The least time of the processor for a call, after one to warm up."""
    work()
    found: list[float] = []
    while len(found) < 2 or sum(found) < LEAST_SECONDS:
        start = time.thread_time()
        work()
        found.append(max(time.thread_time() - start, 1e-9))
    return min(found)


def kernel_seconds(
    layer: LayerGeometry, config: Config, rng: np.random.Generator
) -> tuple[float, float]:
    """Seconds of one mini-batch of one position or leaf: its training, and its forward pass."""
    inputs = min(layer.leaf, layer.inputs) if layer.dense else layer.inputs
    images = config.batching.mini_batch
    share = min(1.0, MOST_FLOP / (10 * inputs * layer.units * images))
    units = max(1, round(layer.units * share))
    weights = rng.normal(size=(1, 1, units, inputs)).astype(config.dtype)
    state = local_visits.fresh_state(weights / np.sqrt(np.float32(inputs)), 1.0)
    work = _dense_work if layer.dense else _local_work
    train, forward = work(state, layer, rng.normal(size=(images, inputs)).astype(config.dtype))
    whole = layer.units / units
    return seconds_of(train) * whole, seconds_of(forward) * whole


Work = Callable[[], Any]


def _local_work(state: State, layer: LayerGeometry, x: np.ndarray) -> tuple[Work, Work]:
    region = x.reshape(len(x), *layer.window, layer.input.maps)
    windows, units = Windows(layer.window, layer.stride), state.weights.shape[2]
    return (
        lambda: local_visits.train_visit(state, region, 0.1, windows, OBJECTIVE, (RATE,)),
        lambda: local_visits.forward_visit(state, region, 0.1, windows, (1, units), len(x)),
    )


def _dense_work(state: State, layer: LayerGeometry, x: np.ndarray) -> tuple[Work, Work]:
    del layer
    leaf, leaves = x.shape[1], dense_visits.Leaves(0, 1, 1, x.shape[1])
    region = x[:, None, None, :]
    inputs = dense_visits.Inputs(as_pieces(region), 0, 0.1)
    return (
        lambda: dense_visits.train_dense_visit(state, region, 0.1, leaf, OBJECTIVE, (RATE,)),
        lambda: dense_visits.code_sums(state, inputs, slice(0, len(x)), leaves),
    )


def contrast_seconds(
    layer: LayerGeometry, config: Config, window: ContrastWindow, rng: np.random.Generator
) -> float:
    """Seconds of LCN for one image of a layer's output."""
    out = layer.output
    images = max(1, min(32, (8 << 20) // (out.size * 4)))
    field = rng.normal(size=(images, out.height, out.width, out.maps)).astype(config.dtype)
    return seconds_of(lambda: normalise_field(field, window, 1e-4)) / images


def preprocessing_seconds(config: Config, tile: int, patch: int, rng: np.random.Generator) -> float:
    """Seconds of contrast and whitening for one tile of one image, halo included."""
    side, channels, images = tile + patch - 1, config.images.channels, 16
    pixels = rng.integers(0, 256, size=(images, side, side, channels), dtype=config.images.dtype)
    moments = np.full(images, 128.0), np.full(images, 60.0)
    contrast, filter_ = contrast_scale(config), rng.normal(size=(patch, patch, channels, channels))

    def work() -> Any:
        field = normalise_contrast(pixels, *moments, *contrast, np.dtype(config.dtype))
        return field if patch == 1 else filter_images(field, filter_)

    return seconds_of(work) / images


@cache
def copy_rate() -> float:
    """Bytes per second that one core copies within memory."""
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    return COPIED / seconds_of(lambda: np.copyto(target, source))


@cache
def network_rate() -> float:
    """Bytes per second between two sockets of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_send, args=(server.getsockname(),))
        sender.start()
        connection, _ = server.accept()
        with connection:
            started, got = time.monotonic(), 0
            while part := connection.recv(1 << 20):
                got += len(part)
            seconds = time.monotonic() - started
        sender.join()
    return got / max(seconds, 1e-9)


def _send(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(bytes(SENT))


@cache
def disk_rate(folder: str) -> float:
    """Bytes per second that reach the disk under a folder, flushed."""
    values = np.ones(COPIED // 4, np.uint8)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary, "values")
        started = time.monotonic()
        path.write_bytes(values.data)
        sync_file(path)
        return len(values) / max(time.monotonic() - started, 1e-9)


@cache
def idle_bytes() -> int:
    """Memory of a fresh process that has loaded what a worker loads; resident bytes."""
    code = f"from {__name__} import loaded_bytes; print(loaded_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def loaded_bytes() -> int:
    """Resident bytes of this process once every kernel is loaded: a worker's before it has data.

    Where the system does not say, 0.
    """
    _load_kernels()
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


def _load_kernels() -> None:
    """Call everything that is compiled when it is first used, on a few numbers."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 4, 4, 1)).astype(np.float32)
    state = local_visits.fresh_state(rng.normal(size=(1, 1, 16, 16)).astype(np.float32), 1.0)
    layer = LayerGeometry(Field(4, 4, 1), (4, 4), 1, (1, 1), (4, 4), 1)
    for kind in (_local_work, _dense_work):
        for work in kind(state, layer, values.reshape(4, 16)):
            work()
    normalise_field(values, ContrastWindow(3, 1.0, False), 1e-4)
    pixels = rng.integers(0, 256, size=values.shape, dtype=np.uint8)
    scaled = normalise_contrast(pixels, np.ones(4), np.ones(4), 0.1, 255.0, np.dtype(np.float32))
    zarr.create_array(store={}, data=pixels)[...]
    filter_images(scaled, rng.normal(size=(3, 3, 1, 1)))
