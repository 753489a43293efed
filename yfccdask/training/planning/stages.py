"""The fields of one data block on their way to a layer: their pieces, who makes and who reads them.

Pieces move whole: a task that reads a region is given every piece that the region touches, and a
worker that was given a piece once has it for all its tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from yfccdask.config import image_field
from yfccdask.data.blocks import Layout as StoreLayout
from yfccdask.geometry import Field, FieldLayout, Rectangle
from yfccdask.geometry.cuts import takers, tile_makers, touched
from yfccdask.graph.network_graph import normalised_cuts
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.training.inputs import contrast_window
from yfccdask.training.planning.network_cut import NetworkCut

PieceIndex = tuple[int, int]
TURNS = 16  # that are looked at, at most
Read = tuple[int, Rectangle]  # the worker of a task, and what the task reads of the stage before


@dataclass(frozen=True)
class Stage:
    """A field of one block, cut into pieces.

    Attributes
    ----------
    name : str
    layout : FieldLayout
    makers : mapping
        The worker that makes each piece.
    pixel_bytes : int
        Bytes of one pixel: all images of the block, all maps.
    reads : sequence
        What the tasks that make the pieces read of the stage before: one for each piece.
    takers : tuple of int
        Workers that take turns from block to block, if they do; ``makers`` is one block's.
    """

    name: str
    layout: FieldLayout
    makers: Mapping[PieceIndex, int]
    pixel_bytes: int
    reads: Sequence[Read]
    takers: tuple[int, ...] = ()

    def piece_bytes(self, piece: PieceIndex) -> int:
        """Bytes of one piece over all images of the block."""
        return self.layout.rows[piece[0]] * self.layout.columns[piece[1]] * self.pixel_bytes

    def made(self, workers: int) -> list[int]:
        """Bytes that every worker makes."""
        total = [0] * workers
        for piece, maker in self.makers.items():
            total[maker] += self.piece_bytes(piece)
        return total

    def received(self, workers: int, reads: Sequence[Read]) -> list[int]:
        """Bytes that every worker gets from others for the tasks that do these reads."""
        total = [0] * workers
        for worker, pieces in enumerate(_pieces_read(self.layout, workers, reads)):
            wanted = (piece for piece in pieces if self.makers[piece] != worker)
            total[worker] = sum(map(self.piece_bytes, wanted))
        return total


class Transfer(NamedTuple):
    """A stage, and its bytes on every worker: those that it makes, those that others send it."""

    stage: Stage
    made: tuple[int, ...]
    received: tuple[int, ...]

    @property
    def held(self) -> list[int]:
        """Bytes of the stage on every worker once all is made and sent."""
        return [sum(pair) for pair in zip(self.made, self.received, strict=True)]


def _pieces_read(layout: FieldLayout, workers: int, reads: Sequence[Read]) -> list[set[PieceIndex]]:
    found: list[set[PieceIndex]] = [set() for _ in range(workers)]
    for worker, region in reads:
        found[worker].update(touched(layout, region))
    return found


def visit_reads(cut: NetworkCut, layer: int) -> list[Read]:
    """What a layer's visits read of its input."""
    layout = cut.layouts[layer]
    return [(worker, layout.region(index)) for index, worker in cut.owners[layer].items()]


@lru_cache(maxsize=64)
def transfers(cut: NetworkCut, layer: int) -> tuple[Transfer, ...]:
    """Every field that a block becomes on its way to a layer (counted from 0), its input last."""
    if layer == 0:
        stored = stored_stage(cut)
        return _handed_on(cut, [stored, preprocessed_stage(cut, stored)], visit_reads(cut, 0))
    stages = [output_stage(cut, layer - 1)]
    if contrast_window(cut.config, layer - 1)[0] is not None:
        stages += contrast_stages(cut, layer - 1)
    return transfers(cut, layer - 1) + _handed_on(cut, stages, visit_reads(cut, layer))


@lru_cache(maxsize=64)
def held_in_turns(cut: NetworkCut) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Bytes of the stored and the preprocessed tiles on every worker, turn by turn."""
    found: list[tuple[tuple[int, ...], ...]] = []
    wanted: list[set[PieceIndex]] = []
    for turn in range(min(cut.workers, TURNS)):
        stored = stored_stage(cut, turn)
        made = preprocessed_stage(cut, stored)
        wanted = wanted or _pieces_read(made.layout, cut.workers, visit_reads(cut, 0))
        read = _pieces_read(stored.layout, cut.workers, made.reads)
        found.append((_held(stored, read), _held(made, wanted)))
    return tuple(found)


def _held(stage: Stage, wanted: list[set[PieceIndex]]) -> tuple[int, ...]:
    """Bytes on every worker of what it makes and what it wants."""
    held = [set(pieces) for pieces in wanted]
    for piece, maker in stage.makers.items():
        held[maker].add(piece)
    return tuple(sum(map(stage.piece_bytes, pieces)) for pieces in held)


def _handed_on(cut: NetworkCut, stages: list[Stage], last: list[Read]) -> tuple[Transfer, ...]:
    readers = [*(stage.reads for stage in stages[1:]), last]
    return tuple(
        Transfer(stage, tuple(stage.made(cut.workers)), tuple(stage.received(cut.workers, reads)))
        for stage, reads in zip(stages, readers, strict=True)
    )


def stored_stage(cut: NetworkCut, turn: int = 0) -> Stage:
    """The store's tiles, read by the first layer's workers in turns."""
    images = cut.config.images
    store = StoreLayout(cut.images, images.size, images.channels, images.dtype)
    edges = (store.tile,) * (images.size // store.tile)
    layout = FieldLayout(edges, edges, images.channels)
    first = (cut.layouts[0], cut.owners[0])
    makers = tile_makers(*first, layout, turn)
    reads = [(makers[piece], place) for piece, place in layout.places.items()]  # of the files
    pixel = cut.images * images.channels * np.dtype(images.dtype).itemsize
    return Stage("stored", layout, makers, pixel, reads, tuple(takers(*first)))


def preprocessed_stage(cut: NetworkCut, stored: Stage) -> Stage:
    """Contrast and whitening, tile by tile; the filter reads a halo of the neighbours' pixels."""
    white = cut.config.preprocessing.whitening
    halo = 0 if white is None else white.patch // 2
    whole = stored.layout.whole
    reads = [
        (stored.makers[piece], place.grown(halo, whole))
        for piece, place in stored.layout.places.items()
    ]
    pixel = cut.images * image_field(cut.config).maps * cut.itemsize
    return Stage("preprocessed", stored.layout, stored.makers, pixel, reads, stored.takers)


def output_stage(cut: NetworkCut, layer: int) -> Stage:
    """A layer's output: every chunk's tiles where the chunk is."""
    layout, owners = cut.layouts[layer], cut.owners[layer]
    makers = {index[:2]: owner for index, owner in owners.items() if index[2] == 0}
    width = cut.itemsize if layout.layer.dense else cut.field_itemsize
    pixel = cut.images * layout.layer.maps * width
    return Stage("output", layout.output, makers, pixel, visit_reads(cut, layer))


def contrast_stages(cut: NetworkCut, layer: int) -> list[Stage]:
    """LCN's stages: every rectangle's mean and sigma, then the normalised field.

    Both are cut as `normalised_cuts` says. To divide, a rectangle's own pixels are read again,
    which its worker has from before. One rectangle that is the whole field takes one task.
    """
    geometry, owners = cut.layouts[layer].layer, cut.owners[layer]
    window, _ = contrast_window(cut.config, layer)
    assert window is not None
    size, pixel = geometry.output, cut.images * cut.itemsize
    maps, cuts = geometry.normalised.maps, normalised_cuts(cut.layouts[layer])
    made, layout = cut.images * maps * cut.field_itemsize, FieldLayout(*cuts, maps)
    makers = {(i, j): owners[i, j, 0] for i, j in layout.places}
    halos = [(makers[piece], _halo(window, place, size)) for piece, place in layout.places.items()]
    if len(makers) == 1:
        return [Stage("normalised", layout, makers, made, halos)]
    own = [(makers[piece], place) for piece, place in layout.places.items()]
    return [
        Stage("measured", layout, makers, 2 * pixel, halos),
        Stage("normalised", layout, makers, made, own),
    ]


def _halo(window: ContrastWindow, place: Rectangle, size: Field) -> Rectangle:
    rows = window.reads((place.top, place.bottom), size.height)
    return Rectangle(*rows, *window.reads((place.left, place.right), size.width))
