"""What `benchmarks.gpu` times: visits of parts of the paper's layers, and what they launch."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from yfccdask.backend.device import Library, Product
from yfccdask.config import load_config, network_geometry
from yfccdask.geometry import Field, LayerGeometry
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.states import Objective, Rates, State, Windows
from yfccdask.training.planning.device_floors import Shape, Stage, dense_stages, local_stages

OBJECTIVE = Objective(sparsity=0.1, epsilon=1e-4, momentum=0.9)
RATE = Rates(0.01, 0.01, 1e-6)
SCALE = 0.1
DENSE_SHARE = 4  # a dense layer's inputs are cut to one part in so many

Array = Any
Work = Callable[[], Any]


class HostClock:
    """Times work that is done when its call returns."""

    def seconds(self, work: Work, repeats: int = 5) -> float:
        """The median of some calls, after one to warm up."""
        work()
        return statistics.median(self._once(work) for _ in range(repeats))

    def _once(self, work: Work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def mark(self) -> float:
        """A point in the work that has been asked for."""
        return time.perf_counter()

    def between(self, start: float, stop: float) -> float:
        """Seconds from one mark to another; waits for both."""
        return stop - start


class DeviceClock(HostClock):
    """Times a GPU's work by events on the current stream."""

    def __init__(self, cupy: Any) -> None:
        self.cuda = cupy.cuda

    def _once(self, work: Work) -> float:
        start = self.mark()
        work()
        return self.between(start, self.mark())

    def mark(self) -> Any:
        """An event that may be timed."""
        event = self.cuda.Event()
        event.record()
        return event

    def between(self, start: Any, stop: Any) -> float:
        """Seconds from one event to another; waits for both."""
        stop.synchronize()
        return float(self.cuda.get_elapsed_time(start, stop)) / 1e3


class Timed:
    """A library that notes when each launch and product began and ended."""

    on_device = True

    def __init__(self, library: Library, clock: HostClock) -> None:
        self.library, self.clock = library, clock
        self.marks: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)

    def launch(self, kernel: str, *given: Any) -> None:
        """As the library's; named without the types that a kernel is made for."""
        start = self.clock.mark()
        self.library.launch(kernel, *given)
        self.marks.append((_stage_of(kernel), start, self.clock.mark()))

    def multiply(self, product: Product) -> None:
        """As the library's."""
        start = self.clock.mark()
        self.library.multiply(product)
        name = f"multiply {product.operation} {product.beta:g}"
        self.marks.append((name, start, self.clock.mark()))

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage since the last call."""
        found: dict[str, float] = defaultdict(float)
        for name, start, stop in self.marks:
            found[name] += self.clock.between(start, stop)
        self.marks.clear()
        return dict(found)


def _stage_of(kernel: str) -> str:
    return kernel.split("_")[0] if kernel.startswith(("gather_", "inputs_")) else kernel


# What a product is in a step, by its operation and beta.
LOCAL_PRODUCTS = {
    "multiply TN 0": "multiply s",
    "multiply NN 1": "multiply 2r",
    "multiply TN 1": "multiply g",
    "multiply NT 0.9": "multiply M",
}
DENSE_PRODUCTS = {
    "multiply TN 0": "multiply s and h",
    "multiply NN 0": "multiply r",
    "multiply NT 0.9": "multiply M",
}


class Case(NamedTuple):
    """A part of a layer: ``share`` of its weights; ``train`` makes a visit of all ``steps``."""

    name: str
    share: float
    shape: Shape
    stages: Callable[[Shape, str], dict[str, Stage]]
    state: State
    field: Array
    how: tuple[Any, ...]
    visit: Callable[..., Any]

    def train(self, precision: str) -> Any:
        """One visit."""
        given = (self.state, self.field, SCALE, *self.how, OBJECTIVE, self.rates)
        return self.visit(*given, precision)

    @property
    def products(self) -> dict[str, str]:
        """What the products that `Timed` names are in a step."""
        return LOCAL_PRODUCTS if self.stages is local_stages else DENSE_PRODUCTS

    @property
    def rates(self) -> tuple[Rates, ...]:
        return (RATE,) * self.shape.steps


def paper_layers() -> tuple[LayerGeometry, ...]:
    """The paper's layers."""
    return network_geometry(load_config("paper")).layers


def local_case(
    library: Library, name: str, layer: LayerGeometry, rows: int, images: int, steps: int
) -> Case:
    """Some rows of a local layer's positions, and the field that they read."""
    grid = (min(rows, layer.grid[0]), layer.grid[1])
    numbers = np.arange(math.prod(grid)).reshape(grid)
    state = local_visits.initial_state(0, 0, numbers, layer.units, layer.inputs, 1.0, "f4", "gpu")
    height, width = ((size - 1) * layer.stride + layer.window[0] for size in grid)
    field = made_field(library, images * steps, height, width, layer.input.maps)
    values = height * width * layer.input.maps
    shape = Shape(math.prod(grid), images, layer.units, layer.inputs, values, steps)
    share = shape.positions / layer.positions
    how = (Windows(layer.window, layer.stride),)
    return Case(name, share, shape, local_stages, state, field, how, local_visits.train_visit)


def dense_case(
    library: Library, name: str, layer: LayerGeometry, rows: int, images: int, steps: int
) -> Case:
    """A dense layer over some rows of its field."""
    whole = layer.input
    part = Field(min(rows, whole.height), whole.width, whole.maps)
    given = (0, 2, layer.units, (0, part.size))
    squares = dense_visits.initial_squares(*given, "gpu")
    weights = dense_visits.initial_columns(*given, squares, "f4", "gpu")
    field = made_field(library, images * steps, part.height, part.width, part.maps)
    shape = Shape(1, images, layer.units, part.size, part.size, steps)
    state, how = local_visits.fresh_state(weights, 1.0), (layer.leaf,)
    share, visit = part.size / whole.size, dense_visits.train_dense_visit
    return Case(name, share, shape, dense_stages, state, field, how, visit)


def made_field(library: Library, images: int, height: int, width: int, maps: int) -> Array:
    """A field of noise: one image's worth from the host, turned a little from image to image."""
    rng, out = np.random.default_rng(0), library.empty((images, height, width, maps), "f4")
    noise = library.upload(rng.normal(size=(1, height, width, maps)).astype(np.float32))
    for image in range(images):
        out[image : image + 1] = noise * (1.0 if image % 2 else -1.0)
    return out
