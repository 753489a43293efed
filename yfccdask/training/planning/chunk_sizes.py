"""Bytes of one weight chunk: as it lies there, and what a visit of it adds."""

from __future__ import annotations

from yfccdask.geometry import ChunkIndex
from yfccdask.numerics.dense_visits import COLUMNS
from yfccdask.numerics.device.streaming import SLOTS
from yfccdask.numerics.device.visits import buffer_values, together
from yfccdask.training.planning.network_cut import NetworkCut

SIX = 2  # weights, offsets and alphas, each with its momentum
HEADS = 8  # arrays (image, unit) of a dense layer's mini-batch: z, s, slope, h, gradient, ...
INTEGER, DOUBLE = 8, 8  # bytes of an int64 and of a float64
COST_BYTES = 2 * 8  # two float64 terms of the cost


def positions_of(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """Positions of one chunk."""
    layout = cut.layouts[layer]
    return layout.rows[index[0]] * layout.columns[index[1]]


def inputs_of(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """Inputs of every position that are a chunk's."""
    start, stop = cut.layouts[layer].inputs_of(index[2])
    return stop - start


def chunk_weights(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """How many weights a chunk has."""
    own = positions_of(cut, layer, index) * cut.layer(layer).units
    return own * inputs_of(cut, layer, index)


def weight_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """The weights of one chunk."""
    return chunk_weights(cut, layer, index) * cut.itemsize


def momentum_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """The momentum of a chunk's weights, as it is stored."""
    return chunk_weights(cut, layer, index) * cut.momentum_itemsize


def optimiser_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """One chunk's momenta, offsets and alphas, and the costs of its last visit."""
    positions, inputs = positions_of(cut, layer, index), inputs_of(cut, layer, index)
    rest = SIX * positions * (inputs + 1) * cut.itemsize
    costs = cut.mini_batches * positions * COST_BYTES
    return momentum_bytes(cut, layer, index) + rest + costs


def chunk_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """One chunk as it lies in memory."""
    return weight_bytes(cut, layer, index) + optimiser_bytes(cut, layer, index)


def resident_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """What a chunk takes of its worker's memory between visits; that is the GPU's where it has one.

    Chunks that are streamed lie elsewhere.
    """
    return 0 if index in cut.hosted_of(layer) else chunk_bytes(cut, layer, index)


def hosted_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """What a chunk takes of the host's memory, where a GPU streams it from there."""
    return chunk_bytes(cut, layer, index) if index in cut.hosted_of(layer) else 0


def slot_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """What a hosted chunk's groups take of the device while they travel."""
    if index not in cut.hosted_of(layer):
        return 0
    positions = positions_of(cut, layer, index)
    own = together(positions, cut.mini_batch, cut.layer(layer).units, cut.layer(layer).inputs)
    return SLOTS * chunk_bytes(cut, layer, index) * own // positions


def initial_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """What making a chunk's initial weights takes beside the chunk.

    They are integers of 8 bytes first and float64 next: position by position in a local layer, the
    whole chunk at once in a dense one, whose momenta come afterwards. A GPU makes them in place;
    what is hosted is there whole before it is moved.
    """
    if cut.on_gpu:
        return hosted_bytes(cut, layer, index)
    dense, units = cut.layer(layer).dense, cut.layer(layer).units
    numbers = units * inputs_of(cut, layer, index)
    making = numbers * (INTEGER + DOUBLE + (cut.itemsize if cut.itemsize < DOUBLE else 0))
    return max(0, making - chunk_bytes(cut, layer, index)) if dense else making


def visit_bytes(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """A visit's own memory: the fresh chunk, and the buffers of its kernels.

    A commit takes no more: it encodes one array of a chunk at a time, with two copies of it. A
    chunk that a GPU streams never lies there whole.
    """
    fresh = chunk_bytes(cut, layer, index)
    if index in cut.hosted_of(layer):
        fresh = 0
    if cut.config.engine.weights == "disk":
        fresh *= 2  # the chunk as it was read, and its successor
    buffers = _dense_buffers if cut.layer(layer).dense else _local_buffers
    return fresh + buffers(cut, layer, index) * cut.itemsize


def _local_buffers(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """Values in the buffers of `yfccdask.numerics.host_visits`, or of a GPU's."""
    n, units, inputs = cut.mini_batch, cut.layer(layer).units, cut.layer(layer).inputs
    if cut.on_gpu:
        rounded = cut.config.arithmetic.products == "bf16"
        given = (positions_of(cut, layer, index), n, units, inputs, rounded)
        return buffer_values(*given, cut.half_momentum)
    moved = units * inputs if cut.half_momentum else 0
    return 2 * n * (inputs + units) + 3 * n * units + units * inputs + inputs + moved


def _dense_buffers(cut: NetworkCut, layer: int, index: ChunkIndex) -> int:
    """Values that `yfccdask.numerics.dense_visits` holds: operands, sums up the tree, gradient."""
    geometry, leaves = cut.layer(layer), cut.layouts[layer].leaves[index[2]]
    n, units, inputs = cut.mini_batch, geometry.units, inputs_of(cut, layer, index)
    leaf = min(geometry.leaf, inputs)
    codes = n * units * (HEADS + 1 + leaves.bit_length())
    gradient = units * min(COLUMNS, leaf)
    moved = (units * leaf if cut.on_gpu else gradient) if cut.half_momentum else 0
    return 2 * n * inputs + inputs + codes + max(n * leaf, gradient + moved)
