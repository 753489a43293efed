"""Tasks of a block, and bytes that cross between workers: exactly what the graphs are made of."""

from __future__ import annotations

from yfccdask.geometry import tree_nodes
from yfccdask.training.planning.network_cut import NetworkCut
from yfccdask.training.planning.stages import Stage, transfers

SUM_BYTES = 8  # of a float64
PHASES = 3  # of a dense layer's mini-batch: code, residual, descent


def tasks_of(cut: NetworkCut, layer: int) -> list[int]:
    """Tasks on every worker for one block of a layer: its input, its visit, its costs."""
    tasks = making_tasks(cut, layer)
    return [made + own for made, own in zip(tasks, visit_tasks(cut, layer), strict=True)]


def making_tasks(cut: NetworkCut, layer: int) -> list[int]:
    """Tasks on every worker that make the input of a layer from the stored block."""
    tasks = [0] * cut.workers
    tasks[0] += 1  # the images' means and deviations
    for stage, _, _ in transfers(cut, layer):
        for worker in stage.makers.values():
            tasks[worker] += 1
        for worker in sum_workers(stage):
            tasks[worker] += 1
    for below in range(layer):
        if cut.layer(below).dense:  # every chunk's sums come before the code
            for worker in cut.owners[below].values():
                tasks[worker] += 1
    return tasks


def sum_workers(stage: Stage) -> list[int]:
    """Who adds up sigma: along the rows of every band of rectangles, and then over all rows."""
    if stage.name != "measured":
        return []
    bands = [stage.makers[i, 0] for i in range(len(stage.layout.rows))]
    return [*bands, bands[0]]


def visit_tasks(cut: NetworkCut, layer: int) -> list[int]:
    """Tasks on every worker that train a layer on a block whose field is there."""
    tasks, owners = [0] * cut.workers, cut.owners[layer]
    for index, worker in owners.items():
        tasks[worker] += 2 if index[2] == 0 else 1  # the visit; the costs once a position
    if in_parts(cut, layer):
        for worker in owners.values():  # three phases a mini-batch, and two parts of them as keys
            tasks[worker] += (PHASES + 2) * cut.mini_batches
        tasks[owners[0, 0, 0]] += PHASES * cut.mini_batches  # a sum after each phase
    return tasks


def in_parts(cut: NetworkCut, layer: int) -> bool:
    """Whether a dense layer is in several chunks."""
    return cut.layer(layer).dense and len(cut.layouts[layer].leaves) > 1


def moved_bytes(cut: NetworkCut, layer: int) -> list[int]:
    """Bytes that every worker is sent for one block of a layer."""
    return [
        making + own
        for making, own in zip(making_moved(cut, layer), visit_moved(cut, layer), strict=True)
    ]


def making_moved(cut: NetworkCut, layer: int) -> list[int]:
    """Bytes that every worker is sent while a layer's input is made."""
    total = [0] * cut.workers
    for stage, _, received in transfers(cut, layer)[:-1]:
        total = [sum(parts) for parts in zip(total, received, sigma_moved(cut, stage), strict=True)]
    return total


def sigma_moved(cut: NetworkCut, stage: Stage) -> list[int]:
    """On the way to c: planes to the first of their band, row sums to the first band, c to all."""
    moved = [0] * cut.workers
    if stage.name != "measured":
        return moved
    top = stage.makers[0, 0]
    for piece, maker in stage.makers.items():
        first = stage.makers[piece[0], 0]
        if maker != first:
            moved[first] += stage.piece_bytes(piece)
    for i, rows in enumerate(stage.layout.rows):
        if stage.makers[i, 0] != top:
            moved[top] += SUM_BYTES * cut.images * rows
    for worker in set(stage.makers.values()) - {top}:
        moved[worker] += SUM_BYTES * cut.images
    return moved


def visit_moved(cut: NetworkCut, layer: int) -> list[int]:
    """Bytes that every worker is sent for a visit: pieces of its input, a dense layer's sums."""
    received = list(transfers(cut, layer)[-1].received)
    if not in_parts(cut, layer):
        return received
    return [sum(pair) for pair in zip(received, dense_sums_moved(cut, layer), strict=True)]


def dense_sums_moved(cut: NetworkCut, layer: int) -> list[int]:
    """Per block: every chunk's partial sums to the first chunk's worker, and what it sends back."""
    layout, owners = cut.layouts[layer], cut.owners[layer]
    units, total = layout.layer.units, sum(layout.leaves)
    codes, rows = cut.mini_batch * units * cut.itemsize, units * cut.itemsize
    head, moved = owners[0, 0, 0], [0] * cut.workers
    for index, worker in owners.items():
        if worker != head:
            nodes = len(tree_nodes(total, *layout.leaves_of(index[2])))
            moved[head] += nodes * (2 * codes + units * 8)  # z, r W^T, squares of the rows
    for worker in set(owners.values()) - {head}:
        moved[worker] += 3 * codes + rows + 2 * codes + rows + rows  # head, descent, scale
    return [cut.mini_batches * size for size in moved]
