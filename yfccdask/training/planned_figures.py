"""A run's plan in the few numbers that its pages compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yfccdask.training.planning import RunPlan


def plan_facts(plan: RunPlan, addresses: Sequence[str]) -> dict[str, Any]:
    """Plain values, by layer and worker; worker ``n`` of the plan is at ``addresses[n]``.

    Returns
    -------
    dict
        ``workers``: addresses; ``peaks``: bytes; ``idle``, ``limit``: bytes of a worker;
        ``layers``: for each its ``kind``, ``units``, ``positions``, ``flop_per_image``, and by
        worker ``seconds`` for a block and ``chunks``.
    """
    return {
        "workers": list(addresses),
        "peaks": list(plan.peaks),
        "idle": plan.idle,
        "limit": plan.site.memory,
        "layers": [
            {
                "kind": layer.kind,
                "units": layer.K,
                "positions": layer.positions,
                "flop_per_image": layer.flop_per_image,
                "seconds": _column(plan, layer.layer, "seconds"),
                "chunks": _column(plan, layer.layer, "chunks"),
            }
            for layer in plan.layers
        ],
    }


def _column(plan: RunPlan, layer: int, name: str) -> list[Any]:
    """A layer's column (counted from 1) over the workers."""
    rows = sorted((row for row in plan.rows if row.layer == layer), key=lambda row: row.worker)
    return [getattr(row, name) for row in rows]


def planned_rate(facts: dict[str, Any], active: Sequence[int], images: int) -> float | None:
    """Images/s of every layer that trains, by the plan, while these do (counted from 0)."""
    each = [facts["layers"][layer]["seconds"] for layer in active]
    if not each:
        return None
    seconds = max(map(sum, zip(*each, strict=True)))
    return images / seconds if seconds > 0 else None
