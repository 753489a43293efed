"""The plan as an object: the network's table, and what every worker has to do and to hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from yfccdask.geometry import ChunkIndex, Layout
from yfccdask.training.planning.tables import (
    Table,
    html_list,
    html_table,
    network_table,
    readings_table,
    totals_table,
    work_table,
)

USED = 0.95  # of a worker's memory: Dask's nanny ends it above that


@dataclass(frozen=True)
class LayerPlan:
    """One layer's row; all numbers are exact integers.

    ``weight_bytes`` are the weights alone; ``state_bytes`` add offsets, alphas and all momenta.
    ``flop_per_image`` is one training step's 10 K D per position.
    """

    layer: int
    kind: str
    input: str
    positions: int
    grid: tuple[int, int]
    window: tuple[int, int]
    stride: int
    D: int
    K: int
    weights: int
    weight_bytes: int
    state_bytes: int
    flop_per_image: int
    output: str
    normalised: str


@dataclass(frozen=True)
class StorePlan:
    """What a store gives a run: images per pass and images that no whole mini-batch holds."""

    path: str
    images: int
    blocks: int
    mini_batches: int
    unused_images: int


@dataclass(frozen=True)
class Reading:
    """Another way to read the paper's geometry, and its weights per layer."""

    name: str
    text: str
    weights: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.weights)


@dataclass(frozen=True)
class NetworkPlan:
    """The whole network's table, and the store's where one was given."""

    layers: tuple[LayerPlan, ...]
    store: StorePlan | None = None
    readings: tuple[Reading, ...] = ()

    def total(self, name: str) -> int:
        """The sum of a column over the layers."""
        return sum(getattr(layer, name) for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        columns = ("positions", "weights", "weight_bytes", "state_bytes", "flop_per_image")
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "total": {name: self.total(name) for name in columns},
            "store": None if self.store is None else asdict(self.store),
            "readings": [asdict(each) | {"total": each.total} for each in self.readings],
        }

    def table(self) -> Table:
        """Headings and rows of text, the total last."""
        return network_table(self.layers, self.total)

    def readings_table(self) -> Table:
        """Other readings of the paper's geometry; no rows for a network of one's own."""
        return readings_table(self.readings)

    def _repr_html_(self) -> str:
        return html_table(self.table()) + self._readings_html()

    def _readings_html(self) -> str:
        return html_table(self.readings_table()) if self.readings else ""


@dataclass(frozen=True)
class WorkRow:
    """One layer on one worker: bytes that it holds, and one data block's work.

    Attributes
    ----------
    layer, worker : int
        Layers count from 1, workers from 0.
    chunks : int
        Weight chunks of the layer that the worker has.
    weights, optimiser, copies, fields, staged, temporaries, slots, hosted : int
        Bytes; see `yfccdask.training.planning.counting.LayerMemory`.
    scratch : int
        Bytes on the worker's own disk.
    moved : int
        Bytes that other workers send for one block.
    tasks : int
        Tasks for one block.
    seconds : float
        Expected for one block whose input has to be made.
    """

    layer: int
    worker: int
    chunks: int
    weights: int
    optimiser: int
    copies: int
    fields: int
    staged: int
    temporaries: int
    slots: int
    hosted: int
    scratch: int
    moved: int
    tasks: int
    seconds: float


@dataclass(frozen=True)
class DiskPlan:
    """Bytes on disk: exact for the arrays; what a file system adds is not counted.

    ``store``, ``activations`` and ``days`` need to know how many images there are.
    """

    store: int | None
    checkpoints: int
    scratch: int
    activations: int | None


@dataclass(frozen=True)
class Site:
    """Where a run is planned for.

    Attributes
    ----------
    workers, threads : int
    memory : int or None
        Bytes per worker; None where nothing limits it.
    folder : str or None
        Where the run is to be written.
    folder_free, scratch_free : int or None
        Bytes that are free there, and on the worker's own disk with the least.
    host_memory : int or None
        Bytes of the host for each worker whose ``memory`` is a GPU's.
    """

    workers: int
    memory: int | None = None
    threads: int = 1
    folder: str | None = None
    folder_free: int | None = None
    scratch_free: int | None = None
    host_memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunPlan(NetworkPlan):
    """The network's table, and how a run of it lies on a number of workers.

    Attributes
    ----------
    site : Site
    images : int or None
        Images of one pass.
    layouts : list of Layout
    owners : list of dict
        The worker (from 0) of every chunk, per layer.
    hosted : list of frozenset
        The chunks that lie in the host's memory and are streamed through a GPU, per layer.
    rows : tuple of WorkRow
        Every layer on every worker.
    idle : int
        Bytes of a worker that holds nothing.
    peaks : tuple of int
        Projected peak of every worker in bytes, idle worker included.
    host_peak : int
        Bytes of streamed weights on the host of the fullest worker's GPU.
    seconds : float
        For one block of every layer.
    days : float or None
        For all passes over the images.
    scheduler_share : float
        The scheduler's processor time as a share of the run's (of a block's, without images).
    disk : DiskPlan
    refusals, warnings, suggestions : tuple of str
    """

    site: Site
    images: int | None
    layouts: list[Layout] = field(repr=False)
    owners: list[dict[ChunkIndex, int]] = field(repr=False)
    hosted: list[frozenset[ChunkIndex]] = field(repr=False)
    rows: tuple[WorkRow, ...] = field(repr=False)
    idle: int
    peaks: tuple[int, ...] = field(repr=False)
    host_peak: int
    seconds: float
    days: float | None
    scheduler_share: float
    disk: DiskPlan
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """Bytes of the fullest worker."""
        return max(self.peaks)

    @property
    def over_memory(self) -> bool:
        """Whether a worker would hold more than it may."""
        return self.site.memory is not None and self.peak > USED * self.site.memory

    @property
    def tasks(self) -> int:
        """Tasks for one block of every layer."""
        return sum(row.tasks for row in self.rows)

    @property
    def moved(self) -> int:
        """Bytes that cross between workers for one block of every layer."""
        return sum(row.moved for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        cuts = [
            {"rows": layout.rows, "columns": layout.columns, "leaves": layout.leaves}
            for layout in self.layouts
        ]
        return super().as_dict() | {
            "site": asdict(self.site),
            "images": self.images,
            "chunks": cuts,
            "owners": [
                [[*index, worker] for index, worker in owners.items()] for owners in self.owners
            ],
            "hosted": [[[*index] for index in sorted(each)] for each in self.hosted],
            "rows": [asdict(row) for row in self.rows],
            "run": self._run_dict(),
            "refusals": list(self.refusals),
            "warnings": list(self.warnings),
            "suggestions": list(self.suggestions),
        }

    def _run_dict(self) -> dict[str, Any]:
        return {
            "idle": self.idle,
            "peaks": list(self.peaks),
            "peak": self.peak,
            "host_peak": self.host_peak,
            "tasks": self.tasks,
            "moved": self.moved,
            "seconds": self.seconds,
            "days": self.days,
            "scheduler_share": self.scheduler_share,
            "disk": asdict(self.disk),
        }

    def work_table(self) -> Table:
        """A row per layer and kind of worker: those that do the same share a row."""
        return work_table(self.rows, self.layouts)

    def totals_table(self) -> Table:
        """What concerns the whole run: figure, and what it is about."""
        return totals_table(self)

    def _repr_html_(self) -> str:
        notes = (*self.refusals, *self.warnings, *self.suggestions)
        tables = (self.table(), self.work_table(), self.totals_table())
        return "".join(map(html_table, tables)) + self._readings_html() + html_list(notes)
