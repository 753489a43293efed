"""``encode``: the activations of a run's units for every image of a store or a folder."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

from yfccdask.analysis.activation_files import (
    DIMENSIONS,
    Format,
    Labels,
    LayerShape,
    writer_of,
)
from yfccdask.analysis.activation_graph import written_parts
from yfccdask.analysis.network_pass import (
    Network,
    Pooling,
    block_rows,
    chosen_blocks,
    each_block,
    open_network,
    response_attributes,
)
from yfccdask.analysis.results import (
    MANIFEST,
    Draft,
    chosen_commit,
    new_result,
    read_folder,
    result_manifest,
    whole_folder,
)
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.ingestion import ingest
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import PlanRefused, RunError, StoreError
from yfccdask.training.checkup.probes import unseen
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client

COMMAND = "encode"
MOST_OF_DISK = 0.8  # of what is free: more is refused
SUMMARY, DONE = "summary.json", "done.json"
OnSize = Callable[["Size"], None]
OnBlock = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Size:
    """What is about to be written: ``bytes`` in all, of each layer, and what the disk has free."""

    images: int
    layers: dict[int, int]
    free: int

    @property
    def bytes(self) -> int:
        return sum(self.layers.values())


@dataclass(frozen=True)
class Encoded:
    """What was written, and how fast.

    ``seconds`` and ``images_per_second`` are those of the session that finished it, from reading
    the weights to writing the last block; None where all was there already.
    """

    path: Path
    layers: tuple[int, ...]
    images: int
    bytes: int
    seconds: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class _Request:
    """What was asked for, checked."""

    run: Run
    commit: Commit
    layers: tuple[int, ...]
    format: Format
    pooling: Pooling
    path: Path

    def parameters(self, source: str) -> dict[str, Any]:
        asked = {"layers": list(self.layers), "format": self.format, "pooling": self.pooling}
        return {**asked, "run": str(self.run.path.resolve()), "source": source}


def encode(
    run: Run | str | Path,
    source: BlockStore | str | Path,
    out: str | Path,
    *,
    layers: Sequence[int] | None = None,
    checkpoint: int | None = None,
    format: Format = "zarr",
    pooling: Pooling = "none",
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    on_size: OnSize = lambda size: None,
    on_block: OnBlock = lambda done, total, rate: None,
) -> Encoded:
    """Write the responses of a run's units to every image, block by block.

    Parameters
    ----------
    run : Run or path
    source : BlockStore or path
        A store, or a folder of images, of which the centre squares are taken at the run's size.
    out : path
        The folder to make. A killed call leaves ``out.partial``; the same call goes on with it.
    layers : sequence of int, optional
        Counted from 1; the top one where not given.
    checkpoint : int, optional
        The number of a commit; the latest where not given.
    format : str
        "zarr", "parquet" or "npy".
    pooling : str
        "rms": one value per position, the root mean square over its units. Values of different
        positions are never pooled: each has units of its own, so unit 3 here and unit 3 there
        have nothing in common.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`. Workers write: they must see
        store, run and ``out`` at the same paths as this process.
    on_size : callable, optional
        Called with a `Size` before anything is written.
    on_block : callable, optional
        Called with (images done, images in all, images per second) after every block.

    Returns
    -------
    Encoded

    Raises
    ------
    PlanRefused
        If it would take more than 80 % of what the disk has free.
    RunError, StoreError, DataError, DiskFull
        If run, layers, source or ``out`` are not what is expected, or a worker doesn't see ``out``.
    """
    request = _checked(run, out, layers, checkpoint, format, pooling)
    store = None if _is_folder_of_images(source) else open_store(source)
    where = store.path if store else os.path.abspath(str(source))
    if request.path.exists():
        return _there_already(request, store, where)
    what = (request, store, where, on_size, on_block)
    if client is not None:
        return _encode(*what, client=client)
    encoded: Encoded = with_client(cluster or ClusterRequest(), _encode, *what)
    return encoded


def _checked(
    run: Run | str | Path,
    out: str | Path,
    layers: Sequence[int] | None,
    checkpoint: int | None,
    format: Format,
    pooling: Pooling,
) -> _Request:
    run = open_run(run)
    commit = chosen_commit(run, checkpoint)
    numbers = tuple(sorted(set(layers))) if layers else (commit.layers,)
    if not 1 <= numbers[0] <= numbers[-1] <= commit.layers:
        raise RunError(
            f"expected layers from 1 to {commit.layers} in {commit.path}, found {layers}"
        )
    path = Path(os.path.abspath(out))
    if path.exists() and read_folder(path) is None:
        raise RunError(f"expected nothing at {path}, found something: choose another path")
    return _Request(run, commit, numbers, format, pooling, path)


def _encode(
    request: _Request,
    store: BlockStore | None,
    where: str,
    on_size: OnSize,
    on_block: OnBlock,
    *,
    client: Client,
) -> Encoded:
    parameters = request.parameters(where)
    manifest = result_manifest(COMMAND, request.commit, store, parameters)
    with whole_folder(request.path, manifest) as draft:
        store = store or _temporary_store(request.run, where, draft.work / "store", client)
        encoded = _Session(request, store, draft, client).written(on_size, on_block)
        _save_summary(draft.folder, encoded)
    with new_result(request.run, COMMAND, request.commit, store, parameters) as record:
        _save_summary(record.folder, encoded)
    return encoded


def _is_folder_of_images(source: BlockStore | str | Path) -> bool:
    """Whether a source is to be ingested: a folder that is no store."""
    if isinstance(source, BlockStore):
        return False
    path = Path(source)
    if not path.exists():
        raise StoreError(f"expected a block store or a folder of images at {path}, found nothing")
    return not (path / "images.zarr").exists()


def _temporary_store(run: Run, source: str, path: Path, client: Client) -> BlockStore:
    """A folder's images as a store like the run's own; it goes when the work is done."""
    images, block = run.config.images, run.config.batching.data_block
    shape: dict[str, Any] = {"size": images.size, "channels": images.channels}
    shape |= {"block_size": block}
    return open_store(ingest(source, path, client=client, **shape).store)


def _there_already(request: _Request, store: BlockStore | None, where: str) -> Encoded:
    """What a former call has written for the very same request."""
    manifest = result_manifest(COMMAND, request.commit, store, request.parameters(where))
    stored = json.loads((request.path / MANIFEST).read_text(encoding="utf-8"))
    if other := [key for key in manifest if stored.get(key) != manifest[key]]:
        raise RunError(
            f"expected nothing at {request.path}, or activations of the same request, found those "
            f"of another request (other {', '.join(other)}): choose another path, or remove it"
        )
    summary = json.loads((request.path / SUMMARY).read_text(encoding="utf-8"))
    layers = tuple(summary["layers"])
    return Encoded(request.path, layers, summary["images"], summary["bytes"], None, None)


def _save_summary(folder: Path, encoded: Encoded) -> None:
    facts = {**asdict(encoded), "path": str(encoded.path)}
    write_text(folder / SUMMARY, json.dumps(facts, indent=1) + "\n")


class _Session:
    """One session's work on a folder of activations: workers write, the client keeps the ledger."""

    def __init__(self, request: _Request, store: BlockStore, draft: Draft, client: Client) -> None:
        self.request, self.store, self.draft, self.client = request, store, draft, client
        options: dict[str, Any] = {"commit": request.commit, "client": client}
        self.network = open_network(request.run, store, layers=request.layers[-1], **options)
        self.shapes = [_shape_of(self.network, n, request.pooling) for n in request.layers]
        self.writers = [writer_of(draft.folder, one, request.format) for one in self.shapes]
        self.blocks = chosen_blocks(store)
        counts = [store.block_images(block) for block in self.blocks]
        starts = (np.cumsum(counts) - counts).tolist()
        self.starts = dict(zip(self.blocks, starts, strict=True))
        self.labels: dict[int, Labels] = {}  # of blocks under way

    def written(self, on_size: OnSize, on_block: OnBlock) -> Encoded:
        """Write every block that no former session has written."""
        size = _size_of(self.store, self.shapes, self.draft.folder)
        on_size(size)
        _refuse_absurd(size, self.draft)
        for writer in self.writers:
            writer.create()
        _refuse_blind(self.client, self.draft)
        pace, former = _Pace(), _done(self.draft)
        todo = each_block(self.client, self._written, self.blocks[former:], self._in_flight())
        for done, (block, _) in enumerate(todo, former + 1):
            labels = self.labels.pop(block)
            for writer in self.writers:
                writer.label(labels)
            write_text(self.draft.work / DONE, json.dumps(done))
            pace.count(len(labels.rows))
            on_block(labels.place.stop, self.store.images, pace.rate)
        how = (self.store.images, size.bytes, pace.seconds, pace.rate or None)
        return Encoded(self.request.path, self.request.layers, *how)

    def _written(self, block: int) -> list[da.Array]:
        """A block's parts, written when computed."""
        found = self.network.responses(block, self.request.layers, self.request.pooling)
        rows = block_rows(self.store, block)
        labels = Labels(self.starts[block], rows, self.store.ids(rows.tolist()))
        self.labels[block] = labels
        pairs = zip(found.values(), self.writers, strict=True)
        return [written_parts(responses, writer, labels) for responses, writer in pairs]

    def _in_flight(self) -> int:
        """Blocks under way beside the one that is waited for.

        After a block that isn't full, chunks of Zarr have images of two blocks: one at a time.
        """
        full = all(start % self.store.block_size == 0 for start in self.starts.values())
        return self.network.run.config.engine.blocks_in_flight if full else 0


class _Pace:
    """Images per second since the session began."""

    def __init__(self) -> None:
        self.began, self.images = time.monotonic(), 0

    def count(self, images: int) -> None:
        self.images += images

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        return self.images / self.seconds


def _shape_of(network: Network, number: int, pooling: Pooling) -> LayerShape:
    layout = network.layers[number - 1].states.layout
    units = () if pooling == "rms" else (layout.layer.units,)
    attributes = response_attributes(network, number) | {"pooling": pooling}
    if pooling == "rms":
        attributes["long_name"] = f"root mean square of each position's responses, layer {number}"
    return LayerShape(
        number,
        DIMENSIONS[: 3 + len(units)],
        (network.store.images, *layout.layer.grid, *units),
        network.store.block_size,
        str(np.dtype(network.run.config.dtype)),
        attributes,
    )


def _size_of(store: BlockStore, shapes: Sequence[LayerShape], folder: Path) -> Size:
    layers = {shape.number: shape.nbytes for shape in shapes}
    return Size(store.images, layers, shutil.disk_usage(folder).free)


def _refuse_absurd(size: Size, draft: Draft) -> None:
    """Refuse what would fill the disk; what a former session has written is part of it."""
    written = sum(path.stat().st_size for path in draft.folder.rglob("*") if path.is_file())
    limit = MOST_OF_DISK * (size.free + written)
    if size.bytes > limit:
        raise PlanRefused(
            f"expected at most {limit:,.0f} bytes of activations ({MOST_OF_DISK:.0%} of what the "
            f"disk of {draft.folder.parent} has free), found {size.bytes:,}: encode a higher layer "
            "(--layers), one value per position (--pooling rms), or fewer images"
        )


def _refuse_blind(client: Client, draft: Draft) -> None:
    """Refuse workers that don't see the folder that they are to write to."""
    token = draft.work / f"seen-{uuid.uuid4().hex}"
    write_text(token, "")
    answers = client.run(unseen, [str(token)])
    token.unlink()
    if blind := [address for address, missing in answers.items() if missing]:
        raise RunError(
            f"expected every worker to see {draft.folder}, found that {len(blind)} of "
            f"{len(answers)} don't ({', '.join(sorted(blind)[:3])}): write to a file system that "
            "client and workers share at the same path"
        )


def _done(draft: Draft) -> int:
    """Blocks that a former session has written."""
    path = draft.work / DONE
    return int(json.loads(path.read_text())) if path.is_file() else 0
