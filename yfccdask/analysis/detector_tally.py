"""What one pass keeps of a layer's responses, to make detectors of: all of them, or histograms.

All responses are kept where they fit `EXACT_BYTES`: thresholds are then exact. Of more, histograms
per unit, label and half are kept, whose edges come from the first images; a threshold then lies at
an edge, and what is said of it is exact all the same. Memory is bounded, and what is kept of two
parts of the images adds up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yfccdask.data.durable import replace_file
from yfccdask.errors import RunError
from yfccdask.numerics.detection import (
    Detectors,
    add_to_histograms,
    binned_detectors,
    empty_histograms,
    exact_detectors,
    quantile_edges,
)

EXACT_BYTES = 1 << 28
HISTOGRAM_BYTES = 1 << 30
MOST_BINS, LEAST_BINS = 512, 16
SAMPLE = 4096  # images, at least, that edges are made of


class Tally:
    """The responses of a layer's units to labelled images, as far as a pass has come.

    Parameters
    ----------
    units : int
    members : bool array (image, label)
        Of all images that the pass will see, in its order.
    half : int8 array (image,)
    exact_bytes : int
        What all responses may take; histograms are kept where they take more.

    Raises
    ------
    RunError
        If histograms of so many units and labels don't fit.
    """

    def __init__(
        self, units: int, members: np.ndarray, half: np.ndarray, exact_bytes: int = EXACT_BYTES
    ) -> None:
        self.units, self.members, self.half = units, members, half
        self.seen, self.blocks = 0, 0
        self.exact = units * len(members) * 4 <= exact_bytes
        self.bins = 0 if self.exact else _affordable_bins(units, members.shape[1])
        self.kept: list[np.ndarray] = []  # (unit, image); for histograms those the edges wait for
        self.edges = self.histograms = np.zeros(0, np.float32)

    def add(self, responses: np.ndarray) -> None:
        """Count the next images' responses (image, unit)."""
        self.kept.append(np.ascontiguousarray(responses.T, dtype=np.float32))
        self.blocks += 1
        waiting = not len(self.edges) and sum(part.shape[1] for part in self.kept) < SAMPLE
        if not self.exact and not waiting:
            self._count()

    def detectors(self) -> Detectors:
        """Every unit's best detector of every label, out of all that was counted."""
        if self.exact:
            values = np.concatenate(self.kept, axis=1)
            count = values.shape[1]
            return exact_detectors(values, self.members[:count], self.half[:count])
        if self.kept:
            self._count()
        return binned_detectors(self.histograms, self.edges)

    def save(self, path: Path) -> None:
        """Keep what was counted so far, whole or not at all."""
        kept = np.concatenate(self.kept, axis=1) if self.kept else np.zeros((self.units, 0))
        arrays = {"kept": kept, "edges": self.edges, "histograms": self.histograms}
        places = {"seen": np.int64(self.seen), "blocks": np.int64(self.blocks)}
        replace_file(path, lambda file: np.savez(file, **arrays, **places))

    def load(self, path: Path) -> None:
        """Go on from what `save` kept, if it is there."""
        if not path.exists():
            return
        with np.load(path) as stored:
            self.kept = [stored["kept"]] if stored["kept"].shape[1] else []
            self.edges, self.histograms = stored["edges"], stored["histograms"]
            self.seen, self.blocks = int(stored["seen"]), int(stored["blocks"])

    def _count(self) -> None:
        """Put what is kept into histograms."""
        values = np.concatenate(self.kept, axis=1)
        if not len(self.edges):
            self.edges = quantile_edges(values, self.bins)
            self.histograms = empty_histograms(self.units, self.members.shape[1], self.bins)
        place = slice(self.seen, self.seen + values.shape[1])
        where = (self.members[place], self.half[place])
        add_to_histograms(self.histograms, values, self.edges, *where)
        self.seen, self.kept = place.stop, []


def _affordable_bins(units: int, labels: int) -> int:
    bins = min(MOST_BINS, HISTOGRAM_BYTES // (units * (labels + 1) * 2 * 4))
    if bins < LEAST_BINS:
        raise RunError(
            f"expected histograms of {units:,} units and {labels:,} labels within "
            f"{HISTOGRAM_BYTES >> 20:,} MB, found room for {bins} bins each: take fewer labels, or "
            "a layer of fewer units"
        )
    return int(bins)
