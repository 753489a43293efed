"""Integers only: how fields, windows, positions, tiles, chunks and leaves fit together."""

from yfccdask.geometry.layers import LayerGeometry, NetworkGeometry, dense_layer, local_layer
from yfccdask.geometry.layout import ChunkIndex, FieldLayout, Layout, layer_layout
from yfccdask.geometry.leaves import leaf_ranges, tree_fold, tree_nodes
from yfccdask.geometry.rectangles import Field, Rectangle

__all__ = [
    "ChunkIndex",
    "Field",
    "FieldLayout",
    "LayerGeometry",
    "Layout",
    "NetworkGeometry",
    "Rectangle",
    "dense_layer",
    "layer_layout",
    "leaf_ranges",
    "local_layer",
    "tree_fold",
    "tree_nodes",
]
