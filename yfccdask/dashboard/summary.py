"""A run's events in a few numbers: each layer's objective, first and last, and its throughput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yfccdask.data.events import Event
from yfccdask.data.runs import Run

END_SHARE = 0.05  # of a layer's blocks make up its last objective


def elapsed(seconds: np.ndarray) -> np.ndarray:
    """Seconds (n,) that never run backwards: a clock that a resumed session set back goes on."""
    steps = np.diff(seconds, prepend=0.0)
    return np.cumsum(np.where(steps < 0, seconds, steps))


def blocks_by_layer(events: Sequence[Event]) -> dict[int, list[Event]]:
    """The events of trained blocks per layer (counted from 1), in order."""
    found: dict[int, list[Event]] = {}
    for event in events:
        if event["event"] == "block":
            found.setdefault(event["layer"], []).append(event)
    return dict(sorted(found.items()))


def block_pace(blocks: Sequence[Event]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since a layer began, and images trained, after each of its blocks (n,)."""
    seconds = np.array([event["seconds"] for event in blocks], float)
    images = np.array([event["images"] for event in blocks], float)
    return elapsed(seconds), np.cumsum(images)


def images_per_second(blocks: Sequence[Event]) -> float | None:
    """A layer's throughput over all its training; None where there was none."""
    seconds, images = block_pace(blocks)
    return float(images[-1] / seconds[-1]) if len(seconds) and seconds[-1] > 0 else None


def objective_ends(blocks: Sequence[Event]) -> tuple[float, float] | None:
    """A layer's mean objective over its first block, and over the last 5 % of its blocks."""
    if not blocks:
        return None
    means = [np.mean(event["reconstruction"]) + np.mean(event["sparsity"]) for event in blocks]
    last = max(1, round(END_SHARE * len(means)))
    return float(means[0]), float(np.mean(means[-last:]))


def layer_summaries(run: Run) -> list[dict[str, Any]]:
    """Per trained layer: images, mini-batches, images/s, and the objective at both ends."""
    return [_summary(layer, blocks) for layer, blocks in blocks_by_layer(run.events()).items()]


def _summary(layer: int, blocks: list[Event]) -> dict[str, Any]:
    first, last = objective_ends(blocks) or (None, None)
    return {
        "layer": layer,
        "images": sum(event["images"] for event in blocks),
        "mini_batches": sum(len(event["sparsity"]) for event in blocks),
        "images_per_second": images_per_second(blocks),
        "objective_first": first,
        "objective_last": last,
    }


def summary_text(summaries: list[dict[str, Any]]) -> str:
    """The summaries as lines."""
    return "\n".join(
        f"layer {item['layer']}: objective {item['objective_first']:.4g} -> "
        f"{item['objective_last']:.4g} over {item['mini_batches']:,} mini-batches, "
        f"{item['images_per_second'] or 0:,.0f} images/s"
        for item in summaries
    )
