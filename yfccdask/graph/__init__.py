"""Builds Dask graphs over persisted, immutable chunks; never computes."""

from yfccdask.graph.cost_graph import cost_and_gradient
from yfccdask.graph.images import preprocess
from yfccdask.graph.network_graph import Forward, layer_input
from yfccdask.graph.state_chunks import StateChunks, chunks_from_tasks, initial_chunks
from yfccdask.graph.visits import forward_block, train_block

__all__ = [
    "Forward",
    "StateChunks",
    "chunks_from_tasks",
    "cost_and_gradient",
    "forward_block",
    "initial_chunks",
    "layer_input",
    "preprocess",
    "train_block",
]
