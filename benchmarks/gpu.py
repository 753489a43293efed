"""The GPU's bars, in one command: ``python -m benchmarks.gpu``.

Measures, in one process: the bandwidth of a copy on the device and to it, the rates of matrix
products in every precision (and torch's at the same shapes, where torch is installed), then every
stage and a whole step of parts of the paper's three layers, as ratios to their floors: the sum over
stages of ``max(bytes / bandwidth, flop / rate)``. Then the link to the host's memory, a part of
layer 2 streamed through it, and a staggered tick of the network on small images. Gradients are
compared with float64. Images per second of the whole network are what its parts come to. Writes
``benchmarks/results/gpu-NAME.json`` and prints a table.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_cases import (
    DENSE_SHARE,
    OBJECTIVE,
    SCALE,
    Case,
    DeviceClock,
    HostClock,
    Timed,
    dense_case,
    local_case,
    made_field,
    paper_layers,
)
from benchmarks.gpu_streaming import (
    STREAMED_ROWS,
    StaggeredTick,
    link_speeds,
    small_network,
    streamed,
    streamed_case,
    tick_figures,
)
from benchmarks.recording import record
from yfccdask.backend import to_host
from yfccdask.backend.device import Library, library, library_for, product
from yfccdask.backend.device.products import PRECISIONS, operand_dtype
from yfccdask.numerics import local_visits
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.device.images import whitened_on_device
from yfccdask.numerics.device.visits import rounded
from yfccdask.numerics.states import State
from yfccdask.training.planning.device_floors import local_stages, step_floor

IMAGES, STEPS = 192, 5
ROWS = {"layer 1": 8, "layer 2": 2}  # of positions
WHOLE = "whole layer's step, ms"
Figures = dict[str, Any]


def bandwidths(device: Library, clock: HostClock, size: int = 2 << 30) -> Figures:
    """Bytes per second: read and written by a copy on the device, and from the host's memory."""
    source = device.full((size // 4,), 1.0, np.float32)
    target = device.empty(source.shape, np.float32)

    def copy() -> None:
        target[...] = source

    pixels = np.zeros(size // 8, np.uint8)
    return {
        "copy": 2 * size / clock.seconds(copy),
        "upload of uint8, pinned": pixels.nbytes / clock.seconds(lambda: device.upload(pixels)),
    }


def product_rates(device: Library, clock: HostClock, size: int = 8192) -> dict[str, float]:
    """Floating-point operations per second of a large square product, per precision."""
    rates, out = {}, device.empty((1, size, size), np.float32)
    for precision in PRECISIONS:
        kind = operand_dtype(precision)
        a, b = (device.full((1, size, size), 1, kind) for _ in range(2))
        made = product("NN", a, b, out, precision=precision)
        rates[precision] = 2 * size**3 / clock.seconds(lambda made=made: device.multiply(made))
    return rates


def field_figures(
    device: Library, clock: HostClock, bandwidth: float, images: int = 64, size: int = 300
) -> Figures:
    """Images per second from uint8 to whitened, and through the LCN of a field of 24 maps.

    LCN's least is the field read three times and written once.
    """
    rng, factors = np.random.default_rng(0), np.ones((2, images), np.float32)
    pixels = device.upload(rng.integers(0, 255, (images, size, size, 3), dtype=np.uint8))
    whitening, mirror = rng.normal(size=(17, 17, 3, 3)) / 30, ((8, 8), (8, 8))
    white = clock.seconds(lambda: whitened_on_device(device, pixels, *factors, whitening, mirror))
    field = made_field(device, images, size - 12, size - 12, 24)
    window = ContrastWindow(15, 3.75, True)
    normalised = clock.seconds(lambda: normalise_field(field, window, 1e-4))
    kept = normalise_field(field, window, 1e-4)
    least = (3 * field.nbytes + kept.nbytes) / bandwidth
    return {
        "contrast and whitening": images / white,
        "LCN": images / normalised,
        "LCN / floor": normalised / least,
    }


def measured(
    case: Case, precision: str, clock: HostClock, bandwidth: float, rate: float
) -> Figures:
    """A whole step, and its stages, as ratios to their floors."""
    step = clock.seconds(lambda: case.train(precision)) / case.shape.steps
    stages = case.stages(case.shape, precision)
    floor = step_floor(stages, bandwidth, rate)
    found = stage_seconds(case, precision, clock)
    ratios = {
        name: round(seconds / stages[name].floor(bandwidth, rate), 2)
        for name, seconds in found.items()
        if name in stages and stages[name].bytes
    }
    other = sum(seconds for name, seconds in found.items() if name not in stages)
    return {
        "step, ms": 1e3 * step,
        "floor, ms": 1e3 * floor,
        "step / floor": step / floor,
        "stages / floor": ratios,
        "other kernels, share of the step": other / step,
        WHOLE: 1e3 * step / case.share,
    }


def stage_seconds(case: Case, precision: str, clock: HostClock) -> dict[str, float]:
    """Seconds per step of every kernel and product, the median of three visits."""
    plain = library.LIBRARIES["gpu"]
    timed, visits = Timed(plain, clock), list[dict[str, float]]()
    library.LIBRARIES["gpu"] = timed
    try:
        for _ in range(4):
            case.train(precision)
            visits.append(timed.seconds())
    finally:
        library.LIBRARIES["gpu"] = plain
    return {
        case.products.get(name, name): float(np.median([each[name] for each in visits[1:]]))
        / case.shape.steps
        for name in visits[0]
    }


def gradient_errors(case: Case, positions: int = 16) -> dict[str, float]:
    """Normwise error of the first step's gradient by W against float64, on a few positions."""
    some = State(*(part[:1, :positions] for part in case.state))
    images, width = case.shape.images, (positions - 1) * case.how[0].stride + case.how[0].size[1]
    field = device_copy(case.field[:images, : case.how[0].size[0], :width])
    exact = State(*(to_host(part).astype(np.float64) for part in some))
    some = State(*(device_copy(part) for part in some))
    how = (SCALE, *case.how, OBJECTIVE, case.rates[:1])
    wanted, _ = local_visits.train_visit(exact, to_host(field).astype(np.float64), *how)
    errors = {}
    for precision in PRECISIONS:
        found, _ = local_visits.train_visit(some, field, *how, precision)
        apart = to_host(found.weights_momentum) - wanted.weights_momentum
        errors[precision] = float(np.linalg.norm(apart) / np.linalg.norm(wanted.weights_momentum))
    return errors


def device_copy(array: Any) -> Any:
    """A contiguous copy on the device."""
    return library.library_of(array).copy(array)


def torch_ratios(case: Case, precision: str, clock: HostClock) -> dict[str, float]:
    """Torch's time over ours for the four products of a local case, at the same shapes.

    Torch's bfloat16 products also write bfloat16, ours float32.
    """
    torch = import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    p, n, k, d = case.shape[:4]
    made = {"device": "cuda", "dtype": kind}
    w, m = torch.ones(p, k, d, **made), torch.ones(p, k, d, **made)
    xr, sg = torch.ones(p, 2 * n, d, **made), torch.ones(p, 2 * n, k, **made)
    x, r, g, s = xr[:, :n], xr[:, n:], sg[:, :n], sg[:, n:]
    flipped = w.transpose(1, 2)
    calls = {
        "multiply s": lambda: torch.bmm(x, flipped, out=s),
        "multiply 2r": lambda: r.baddbmm_(s, w, alpha=2),
        "multiply g": lambda: g.baddbmm_(r, flipped),
        "multiply M": lambda: m.baddbmm_(sg.transpose(1, 2), xr, beta=0.9, alpha=1 / n),
    }
    ours = stage_seconds(case, precision, clock)
    return {name: clock.seconds(call) / ours[name] for name, call in calls.items()}


def far_products_agree(device: Library) -> bool:
    """Whether products reach beyond 2^31 elements: the last columns of the whole layer 3."""
    layer = paper_layers()[2]
    units, inputs, leaf = layer.units, layer.inputs, layer.leaf
    weights = device.full((1, units, inputs), 0.5, np.float32)
    x, out = device.full((1, 8, leaf), 2.0, np.float32), device.empty((1, 8, units), np.float32)
    device.multiply(product("TN", weights[:, :, inputs - leaf :], x, out))
    far = to_host(rounded(device, weights[:, -2:, inputs - 64 :]))
    return bool((to_host(out) == leaf).all() and (far == 0x3F00).all())


def images_per_second(layers: dict[str, dict[str, Figures]]) -> dict[str, float]:
    """What training all layers comes to, per precision: their whole steps, one after the other.

    Fields between layers and staggered copies are not in it.
    """
    return {
        precision: 1e3 * IMAGES / sum(each[precision][WHOLE] for each in layers.values())
        for precision in PRECISIONS
    }


def beyond(
    device: Library, clock: HostClock, figures: Figures, makers: dict[str, Any], size: int
) -> Figures:
    """The link, streamed visits, and a staggered tick; ``makers`` as for `run`."""
    speeds, rates = figures["bytes per second"]["copy"], figures["flop per second"]
    link = link_speeds(device, clock, size // 4)
    found: Figures = {"bytes per second of the link": link}
    case, both = makers["streamed"](), link["each way, both at once"]
    found["streamed visit"] = {
        precision: streamed(case, precision, clock, speeds, rates[precision], both)
        for precision in PRECISIONS
    }
    del case
    tick = makers["tick"]()
    found["staggered tick"] = {
        precision: tick_figures(tick, precision, clock, speeds, rates[precision])
        for precision in PRECISIONS
    }
    return found


def run(
    device: Library,
    clock: HostClock,
    makers: dict[str, Any],
    extra: dict[str, Any],
    size: int = 2 << 30,
) -> Figures:
    """All figures; ``makers`` make the cases one after the other: one is there at a time.

    ``extra`` makes the ``streamed`` case and the staggered ``tick``.
    """
    speeds = bandwidths(device, clock, size)
    rates = product_rates(device, clock, 8192 if size > 1 << 20 else 64)
    figures: Figures = {"bytes per second": speeds, "flop per second": rates, "layers": {}}
    for name, make in makers.items():
        case = make()
        figures["layers"][name] = {
            precision: measured(case, precision, clock, speeds["copy"], rates[precision])
            for precision in PRECISIONS
        }
        if case.stages is local_stages and find_spec("torch") is not None:
            for precision in PRECISIONS:
                own = figures["layers"][name][precision]
                own["torch / ours"] = torch_ratios(case, precision, clock)
        if "gradient errors" not in figures and case.stages is local_stages:
            figures["gradient errors"] = gradient_errors(case)
    figures |= beyond(device, clock, figures, extra, size)
    how = (64, 300) if size > 1 << 20 else (2, 44)
    figures["images per second, fields"] = field_figures(device, clock, speeds["copy"], *how)
    figures["images per second, all layers"] = images_per_second(figures["layers"])
    return figures


def printed(figures: Figures) -> Table:
    """The table of steps and their ratios."""
    table = Table(title="One step of 192 images")
    for column in ("", "", "step, ms", "floor, ms", "step / floor", "whole layer, ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, layer in figures["layers"].items():
        for precision, each in layer.items():
            values = (each["step, ms"], each["floor, ms"], each["step / floor"])
            whole = each[WHOLE]
            table.add_row(name, precision, *(f"{value:.2f}" for value in values), f"{whole:.1f}")
    return table


def paper_makers(device: Library) -> dict[str, Any]:
    """Parts of the paper's layers, each made when it is called."""
    one, two, three = paper_layers()
    rows = -(-three.input.height // DENSE_SHARE)
    return {
        "layer 1": lambda: local_case(device, "layer 1", one, ROWS["layer 1"], IMAGES, STEPS),
        "layer 2": lambda: local_case(device, "layer 2", two, ROWS["layer 2"], IMAGES, STEPS),
        "layer 3": lambda: dense_case(device, "layer 3", three, rows, IMAGES, STEPS),
    }


def extra_makers(device: Library) -> dict[str, Any]:
    """A part of layer 2 that is streamed, and the paper's network on small images."""
    two = paper_layers()[1]
    return {
        "streamed": lambda: streamed_case(device, two, STREAMED_ROWS, IMAGES, STEPS),
        "tick": lambda: StaggeredTick(device, small_network()),
    }


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", help="of the result, the device's by default")
    device, console = library_for("gpu"), Console()
    cupy = import_module("cupy")
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    card = properties["name"].decode()
    name = parser.parse_args().name or card.replace(" ", "-").lower()
    figures = run(device, DeviceClock(cupy), paper_makers(device), extra_makers(device))
    cupy.get_default_memory_pool().free_all_blocks()
    figures["products beyond 2^31 elements agree"] = far_products_agree(device)
    figures["card"] = {
        "name": card,
        "memory, bytes": properties["totalGlobalMem"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
    }
    console.print(printed(figures))
    console.print_json(data={key: figures[key] for key in figures if key != "layers"})
    console.print(f"written to {record(f'gpu-{name}', figures)}")


if __name__ == "__main__":
    main()
