"""How far a run is, from its events: what `status` says."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from yfccdask.data.events import Event


@dataclass
class LayerTally:
    """One layer (counted from 1): blocks trained of all, its last objective, its throughput."""

    layer: int
    blocks: int
    of: int
    objective: float | None = None
    images_per_second: float | None = None
    images: int = 0


@dataclass
class Tally:
    """All layers, the last commit, and what commits cost; fed event by event."""

    layers: list[LayerTally] = field(default_factory=list)
    commit: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    lost: int = 0

    def add(self, event: Event) -> None:
        """Take note of an event."""
        kind = event["event"]
        if kind in ("start", "resume"):
            done = event.get("done", [0] * len(event["visits"]))
            pairs = zip(done, event["visits"], strict=True)
            self.layers = [LayerTally(n, *pair) for n, pair in enumerate(pairs, start=1)]
        elif kind == "block":
            self._add_block(event)
        elif kind == "commit":
            self.commit = {key: event[key] for key in ("number", "tick", "time", "seconds")}
        elif kind == "warning":
            self.warnings = [*self.warnings[-9:], event["text"]]
        elif kind == "lost":
            self.lost += 1

    def _add_block(self, event: Event) -> None:
        layer = self.layers[event["layer"] - 1]
        layer.blocks += 1
        layer.images += event["images"]
        layer.objective = float(np.mean(event["reconstruction"]) + np.mean(event["sparsity"]))
        seconds = event["seconds"]
        layer.images_per_second = layer.images / seconds if seconds else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
