"""Which chunks a GPU streams from its host's memory: only as many as don't fit the device.

Positions of a local layer commute, so where a chunk lies changes no bit. The dense layer does not
commute; it stays. Chunks of the topmost local layer are the first to go: their weights cross once a
visit, while those of the layers below also cross for every forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from yfccdask.geometry import ChunkIndex
from yfccdask.training.planning.network_cut import NetworkCut

Peaks = Callable[[NetworkCut], Sequence[int]]
Place = tuple[int, ChunkIndex]


def with_hosted(cut: NetworkCut, most: float, peaks: Peaks) -> NetworkCut:
    """The cut with the fewest chunks of every worker hosted that bring its peak to ``most`` bytes.

    Where even all of them are not enough, all of them are. ``peaks`` gives the bytes of every
    worker's device.
    """
    order = [hosting_order(cut, worker) for worker in range(cut.workers)]
    low, high = [0] * cut.workers, [len(chunks) for chunks in order]
    for worker, peak in enumerate(peaks(cut)):
        if peak <= most:  # the first that is hosted costs more than it saves: its slots
            high[worker] = 0
    while low != high:
        tried = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        found = peaks(_hosting(cut, order, tried))
        for worker, (count, peak) in enumerate(zip(tried, found, strict=True)):
            if low[worker] == high[worker]:
                continue
            if peak <= most:
                high[worker] = count
            else:
                low[worker] = count + 1
    return _hosting(cut, order, high)


def hosting_order(cut: NetworkCut, worker: int) -> list[Place]:
    """A worker's chunks of local layers, the first to be hosted first."""
    local = [layer for layer in reversed(cut.layers) if not cut.layer(layer).dense]
    return [
        (layer, index)
        for layer in local
        for index, owner in sorted(cut.owners[layer].items())
        if owner == worker
    ]


def _hosting(
    cut: NetworkCut, order: Sequence[Sequence[Place]], counts: Sequence[int]
) -> NetworkCut:
    places = {
        place for chunks, count in zip(order, counts, strict=True) for place in chunks[:count]
    }
    hosted = tuple(frozenset(index for n, index in places if n == layer) for layer in cut.layers)
    return replace(cut, hosted=hosted)
