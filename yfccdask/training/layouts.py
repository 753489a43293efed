"""How a trained network is cut for a pass over its images."""

from __future__ import annotations

from yfccdask.data.runs import Run
from yfccdask.geometry import Layout, layer_layout


def layouts_of(run: Run, workers: int) -> list[Layout]:
    """How every layer is cut: by the configuration's engine section, else by the plan."""
    engine = run.config.engine
    return [
        layer_layout(
            layer,
            workers,
            None if engine.chunk is None else _within(engine.chunk, layer.grid),
            engine.chunk_leaves,
        )
        for layer in run.geometry.layers
    ]


def _within(chunk: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    return min(chunk[0], grid[0]), min(chunk[1], grid[1])
