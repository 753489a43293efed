"""Bytes that every worker holds at once, counted from shapes.

A worker's peak is what lies in its memory between tasks (the model's chunks, copies that feed the
next layer, pieces of fields) and what its largest task adds while it runs (a fresh chunk, buffers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from yfccdask.geometry import ChunkIndex, Rectangle
from yfccdask.training.inputs import WHITENING_BLOCKS
from yfccdask.training.planning.chunk_sizes import (
    chunk_bytes,
    hosted_bytes,
    initial_bytes,
    momentum_bytes,
    optimiser_bytes,
    positions_of,
    resident_bytes,
    slot_bytes,
    visit_bytes,
    weight_bytes,
)
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.stages import Stage, held_in_turns, transfers

PLANES = 4  # of one image, while LCN filters it
RELEASE = 0.1  # seconds
KEPT = 1 << 25  # bytes below which a freed array stays with the process, as workers are set up
Bytes = list[int]


@dataclass(frozen=True)
class LayerMemory:
    """What one layer takes on every worker, in bytes; lists have one number per worker.

    Attributes
    ----------
    weights, optimiser : list of int
        The layer's chunks: weights alone; momenta, offsets, alphas and costs.
    momenta : list of int
        Of the weights: the part of ``optimiser`` that is let go once the layer has finished.
    copies : list of int
        Older states that feed the next layer while this one trains on.
    fields : list of int
        Pieces of the blocks in flight on their way to the layer.
    staged : list of int
        Its inputs of all blocks, where they are kept in memory.
    temporaries : list of int
        What its largest task adds while it runs.
    slots : list of int
        What streamed chunks travel through on a GPU, which layers share.
    hosted : list of int
        Of the host's memory: streamed chunks, copies among them, and versions on their way.
    """

    weights: Bytes
    optimiser: Bytes
    momenta: Bytes
    copies: Bytes
    fields: Bytes
    staged: Bytes
    temporaries: Bytes
    slots: Bytes
    hosted: Bytes

    @property
    def model(self) -> Bytes:
        """Weights and what the optimiser adds to them."""
        return [sum(pair) for pair in zip(self.weights, self.optimiser, strict=True)]

    @property
    def at_rest(self) -> Bytes:
        """The model once the layer has finished: without the momenta of its weights."""
        return [whole - gone for whole, gone in zip(self.model, self.momenta, strict=True)]


@lru_cache(maxsize=64)
def layer_memory(cut: NetworkCut, layer: int, images: int | None) -> LayerMemory:
    """All of a layer's bytes; ``images`` are those of the whole store, for staging."""
    chain = transfers(cut, layer)
    on_disk, nothing = cut.config.engine.weights == "disk", [0] * cut.workers
    return LayerMemory(
        nothing if on_disk else _resident(cut, layer, weight_bytes),
        nothing if on_disk else _resident(cut, layer, optimiser_bytes),
        nothing if on_disk else _resident(cut, layer, momentum_bytes),
        copy_bytes(cut, layer),
        field_bytes(cut, most_held(cut, layer)),
        staged_bytes(cut, layer, input_held(cut, layer), images),
        temporary_bytes(cut, layer, [transfer.stage for transfer in chain], images),
        _largest(cut, layer, slot_bytes),
        host_bytes(cut, layer),
    )


def worker_peaks(cut: NetworkCut, images: int | None) -> list[int]:
    """The most bytes that every worker holds at once, above what it holds when idle.

    Where layers train one after another, the most over their turns: a layer's turn holds the layers
    below it as well, at rest. Where they are staggered, all of them at once.
    """
    memories = [layer_memory(cut, layer, images) for layer in cut.layers]
    if cut.staggered:
        return phase_bytes([], memories)
    phases = [phase_bytes(memories[:n], [memories[n]]) for n in cut.layers]
    return [max(peaks) for peaks in zip(*phases, strict=True)]


def phase_bytes(finished: Sequence[LayerMemory], training: Sequence[LayerMemory]) -> Bytes:
    """What every worker holds while some layers train, and others below them have finished."""
    lasting = [memory.at_rest for memory in finished] + [memory.model for memory in training]
    lasting += [memory.copies for memory in training]
    lasting += [memory.fields for memory in training] + [memory.staged for memory in training]
    largest = [max(sizes) for sizes in zip(*(m.temporaries for m in training), strict=True)]
    slots = [max(sizes) for sizes in zip(*(m.slots for m in (*finished, *training)), strict=True)]
    return _added(*lasting, largest, slots)


def _summed(
    cut: NetworkCut, layer: int, count: Callable[[NetworkCut, int, ChunkIndex], int]
) -> Bytes:
    held = cut.per_worker(layer)
    return [sum(count(cut, layer, index) for index in chunks) for chunks in held]


def _resident(
    cut: NetworkCut, layer: int, count: Callable[[NetworkCut, int, ChunkIndex], int]
) -> Bytes:
    """As `_summed`, of the chunks that are not streamed from a host."""
    hosted, held = cut.hosted_of(layer), cut.per_worker(layer)
    return [
        sum(count(cut, layer, index) for index in chunks if index not in hosted) for chunks in held
    ]


def _largest(
    cut: NetworkCut, layer: int, count: Callable[[NetworkCut, int, ChunkIndex], int]
) -> Bytes:
    held = cut.per_worker(layer)
    return [max((count(cut, layer, index) for index in chunks), default=0) for chunks in held]


def host_bytes(cut: NetworkCut, layer: int) -> Bytes:
    """A layer's streamed chunks on the hosts of the GPUs: all, what a copy adds, two on their way.

    Those are the chunk that a visit fills, and the one before, which is let go late.
    """
    held, largest = _summed(cut, layer, hosted_bytes), _largest(cut, layer, hosted_bytes)
    if feeds_another(cut, layer):
        copies = held if cut.config.pipeline.sync_every > 1 else largest
        held = _added(held, copies)
    return _added(held, largest, largest)


def host_peaks(cut: NetworkCut, images: int | None) -> Bytes:
    """The most bytes of streamed chunks that every GPU's host holds, all layers at once."""
    return _added(*(layer_memory(cut, layer, images).hosted for layer in cut.layers))


def _added(*parts: Sequence[int]) -> Bytes:
    return [sum(values) for values in zip(*parts, strict=True)]


def copy_bytes(cut: NetworkCut, layer: int) -> Bytes:
    """Older states of a layer that feeds one above it while both train.

    With ``sync_every: 1`` the copy is the state before the tick's visit, and a chunk's forward pass
    comes before its visit: a worker holds one extra chunk, that of a visit that ran ahead.
    Otherwise it holds its whole share a second time.
    """
    if not feeds_another(cut, layer) or cut.config.engine.weights == "disk":
        return [0] * cut.workers
    held = cut.per_worker(layer)
    sizes = [[resident_bytes(cut, layer, index) for index in chunks] for chunks in held]
    if cut.config.pipeline.sync_every > 1:
        return [sum(held) for held in sizes]
    return [max(held, default=0) * cut.threads for held in sizes]


def feeds_another(cut: NetworkCut, layer: int) -> bool:
    """Whether a layer's copy makes the input of one above it while both train."""
    return cut.staggered and layer + 1 < len(cut.layouts)


def late_bytes(cut: NetworkCut, layer: int, seconds: float) -> Bytes:
    """What a worker still has of the chunk before its last while the next visit fills its own.

    The scheduler's word to let go comes `RELEASE` seconds late; ``seconds`` are those of one
    mini-batch of a position or leaf.
    """
    found = [0] * cut.workers
    for index, worker in cut.owners[layer].items():
        size = resident_bytes(cut, layer, index)
        leaves = cut.layouts[layer].leaves[index[2]] if cut.layer(layer).dense else 1
        visit = seconds * positions_of(cut, layer, index) * leaves * cut.mini_batches
        found[worker] = max(found[worker], round(size * min(1.0, RELEASE / max(visit, RELEASE))))
    return found


def most_held(cut: NetworkCut, layer: int) -> list[Bytes]:
    """Each stage's bytes on every worker; of those made in turns, the most of any turn."""
    later = [transfer.held for transfer in transfers(cut, layer)[2:]]
    turns = zip(*held_in_turns(cut), strict=True)
    return [[max(sizes) for sizes in zip(*each, strict=True)] for each in turns] + later


def input_held(cut: NetworkCut, layer: int) -> Bytes:
    """A layer's input for one block on every worker; the mean where it is made in turns."""
    if layer > 0:
        return transfers(cut, layer)[-1].held
    turns = [made for _, made in held_in_turns(cut)]
    return [-(-sum(sizes) // len(turns)) for sizes in zip(*turns, strict=True)]


def field_bytes(cut: NetworkCut, held: list[Bytes]) -> Bytes:
    """Pieces of fields at once: ``held`` are each stage's bytes on every worker.

    A stage is let go piece by piece as the next one is made, so at most two neighbouring ones are
    whole. All blocks in flight may be as far: Dask gives the same priority to what is submitted
    within a tenth of a second. The next block is preprocessed ahead of them.
    """
    pairs = zip(held, [*held[1:], [0] * cut.workers], strict=True)
    largest = [max(sums) for sums in zip(*(_added(*pair) for pair in pairs), strict=True)]
    flight = cut.config.engine.blocks_in_flight
    pairs = zip(largest, ahead_bytes(cut), strict=True)
    return [flight * size + ahead for size, ahead in pairs]


def ahead_bytes(cut: NetworkCut) -> Bytes:
    """The tiles that every worker makes of the block after those in flight, at most."""
    stage, total = transfers(cut, 0)[1].stage, [0] * cut.workers
    tiles = -(-len(stage.makers) // len(stage.takers))
    for worker in stage.takers:
        total[worker] = tiles * max(map(stage.piece_bytes, stage.makers))
    return total


def staged_bytes(cut: NetworkCut, layer: int, held: Sequence[int], images: int | None) -> Bytes:
    """A layer's inputs of all blocks but those in flight, where the configuration keeps them.

    A worker that was sent a piece has it beside the one that made it, until Dask tidies up.
    """
    if cut.staged(layer) != "memory" or images is None:
        return [0] * cut.workers
    blocks = max(0, -(-images // cut.images) - cut.config.engine.blocks_in_flight)
    return [blocks * size for size in held]


def scratch_bytes(cut: NetworkCut, layer: int, images: int | None) -> Bytes:
    """Bytes on every worker's own disk: streamed weights, and inputs that are staged there.

    A version of the weights stays until no block in flight can ask for it; the newest is written
    beside them.
    """
    total, engine = [0] * cut.workers, cut.config.engine
    if engine.weights == "disk":
        versions = 2 + engine.blocks_in_flight
        share = _summed(cut, layer, chunk_bytes)
        total = [versions * size for size in share]
    if cut.staged(layer) == "disk" and images is not None:
        blocks, made = -(-images // cut.images), transfers(cut, layer)[-1].made
        total = [size + blocks * block for size, block in zip(total, made, strict=True)]
    return total


def temporary_bytes(
    cut: NetworkCut, layer: int, stages: Sequence[Stage], images: int | None
) -> Bytes:
    """What the largest task on the way to a layer, or its visit, adds while it runs.

    Arrays below `KEPT` that the other tasks worked on were freed, but stay with the process: the
    visit's larger arrays can't take their place.
    """
    visits = [
        max((visit_bytes(cut, layer, index) for index in held), default=0)
        for held in cut.per_worker(layer)
    ]
    first = [
        max((initial_bytes(cut, layer, index) for index in held), default=0)
        for held in cut.per_worker(layer)
    ]
    making, kept = [0] * cut.workers, [0] * cut.workers
    for stage in stages:
        arrays = _largest_work(cut, stage)
        making = [max(most, sum(sizes)) for most, sizes in zip(making, arrays, strict=True)]
        small = [sum(size for size in sizes if size < KEPT) for sizes in arrays]
        kept = _added(kept, small)
    kept = _added(kept, sampled_bytes(cut, stages[0], images))
    largest = map(max, _added(visits, kept), making, first)
    return [size * cut.threads for size in largest]


def sampled_bytes(cut: NetworkCut, stored: Stage, images: int | None) -> Bytes:
    """Stored tiles of all the blocks that the whitening was fitted on, where they are small."""
    found, blocks = [0] * cut.workers, WHITENING_BLOCKS
    if images is not None:
        blocks = min(blocks, -(-images // cut.images))
    if cut.config.preprocessing.whitening is not None:
        for piece, worker in stored.makers.items():
            size = stored.piece_bytes(piece)
            found[worker] += blocks * size if size < KEPT else 0
    return found


def _largest_work(cut: NetworkCut, stage: Stage) -> list[tuple[int, ...]]:
    """On every worker, the arrays that its largest task of a stage works on."""
    found: list[tuple[int, ...]] = [()] * cut.workers
    for (piece, maker), (_, region) in zip(stage.makers.items(), stage.reads, strict=True):
        work = _work_arrays(cut, stage, piece, region)
        for worker in stage.takers or (maker,):
            found[worker] = max(found[worker], work, key=sum)
    return found


def _work_arrays(
    cut: NetworkCut, stage: Stage, piece: tuple[int, int], region: Rectangle
) -> tuple[int, ...]:
    """What a task holds beside the pieces that it reads and the one that it makes."""
    values = region.area * cut.config.images.channels
    stored = cut.images * values * np.dtype(cut.config.images.dtype).itemsize
    if stage.name == "stored":
        return (stage.piece_bytes(piece),)  # as it lies in the file
    if stage.name == "preprocessed":
        white = cut.config.preprocessing.whitening is not None
        return (stored, cut.images * values * cut.itemsize * white)
    if stage.name in ("measured", "normalised"):
        if cut.on_gpu:  # all images at once, and the field is read where it lies
            return (cut.images * region.area * PLANES * cut.itemsize,)
        return (region.area * (stage.layout.maps + PLANES) * cut.itemsize,)  # one image at a time
    return (0,)  # a forward pass works on less than a visit
