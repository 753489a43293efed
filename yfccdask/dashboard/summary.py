"""A run in a few lines: each layer's objective, first and last, and its throughput."""

from __future__ import annotations

from typing import Any

from yfccdask.data.runs import Run


def layer_summaries(run: Run) -> list[dict[str, Any]]:
    """Per trained layer: images, images/s, and the objective of the first and last block.

    An objective is reconstruction plus sparsity, averaged over the block's mini-batches.
    """
    summaries = []
    for layer in range(1, len(run.geometry.layers) + 1):
        blocks = [event for event in run.events("block") if event["layer"] == layer]
        if blocks:
            summaries.append(_summary(layer, blocks))
    return summaries


def _summary(layer: int, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    images, seconds = sum(event["images"] for event in blocks), blocks[-1]["seconds"]
    return {
        "layer": layer,
        "images": images,
        "mini_batches": sum(len(event["sparsity"]) for event in blocks),
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else None,
        "objective_first": _objective(blocks[0]),
        "objective_last": _objective(blocks[-1]),
    }


def _objective(event: dict[str, Any]) -> float:
    return (sum(event["reconstruction"]) + sum(event["sparsity"])) / len(event["sparsity"])


def summary_text(summaries: list[dict[str, Any]]) -> str:
    """The summaries as lines."""
    return "\n".join(
        f"layer {item['layer']}: objective {item['objective_first']:.4g} -> "
        f"{item['objective_last']:.4g} over {item['mini_batches']:,} mini-batches, "
        f"{item['images_per_second'] or 0:,.0f} images/s"
        for item in summaries
    )
