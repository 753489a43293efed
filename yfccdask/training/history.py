"""What pages show of a run while it trains: bounded, however long it goes on.

The session feeds it the run's events and ticks; `History.snapshot` gives plain values, ready for
JSON. Nothing here asks the cluster for anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from yfccdask.config import Config
from yfccdask.data.events import Event
from yfccdask.training.bounded_curves import Curve, Marks
from yfccdask.training.pipeline.messages import Tick

TERMS = ("reconstruction", "sparsity")
MOST_TICKS, MOST_BLOCKS, MOST_INCIDENTS = 24, 300, 100
PACE_SHARE = 20  # of the blocks shown, one point's images/s are measured over
LOOK_SECONDS, WATCHED_SECONDS = 10.0, 60.0
LEAST_LOOK_SECONDS = 1.0
INCIDENTS = ("commit", "lost", "warning", "pause", "unpause", "resume", "diverged", "end")
Snapshot = dict[str, Any]


def no_curves() -> dict[str, Curve]:
    """An empty curve for each term of the objective."""
    return {term: Curve() for term in TERMS}


@dataclass
class LayerHistory:
    """One layer's curves, marks on them, and when its last blocks were done.

    Attributes
    ----------
    first_tick : int or None
        At which it started.
    next_started : int or None
        The mini-batch at which the layer above started.
    synchronised : Marks
        Mini-batches at which the layer above was given a new copy of it.
    blocks : deque of (seconds since the epoch, images or None)
        None where the run was begun again or had paused: no pace is measured across.
    """

    curves: dict[str, Curve] = field(default_factory=no_curves)
    first_tick: int | None = None
    next_started: int | None = None
    synchronised: Marks = field(default_factory=Marks)
    blocks: deque[tuple[float, int | None]] = field(
        default_factory=lambda: deque(maxlen=MOST_BLOCKS)
    )

    def as_dict(self) -> Snapshot:
        """For JSON."""
        curves = {term: curve_dict(curve) for term, curve in self.curves.items()}
        return {
            "mini_batches": self.curves["sparsity"].count,
            "curves": curves,
            "first_tick": self.first_tick,
            "next_started": self.next_started,
            "synchronised": list(self.synchronised.places),
            "pace": pace_of(list(self.blocks)),
        }


def curve_dict(curve: Curve) -> Snapshot:
    """A curve's points as lists of equal length."""
    mean, least, largest = map(list, zip(*curve.bins, strict=True)) if curve.bins else ([],) * 3
    bands = {"mean": mean, "least": least, "largest": largest}
    return {"mini_batch": curve.middles(), "smoothed": curve.smoothed(), **bands}


def pace_of(blocks: list[tuple[float, int | None]]) -> Snapshot:
    """Images per second over the last blocks; None where there is nothing to measure from."""
    reach = max(1, len(blocks) // PACE_SHARE)
    images = list(accumulate((count or 0 for _, count in blocks), initial=0))
    breaks = list(accumulate((count is None for _, count in blocks), initial=0))
    rates: list[float | None] = []
    for number in range(1, len(blocks)):
        first = max(0, number - reach)
        seconds = blocks[number][0] - blocks[first][0]
        broken = breaks[number + 1] > breaks[first + 1] or seconds <= 0
        rates.append(None if broken else (images[number + 1] - images[first + 1]) / seconds)
    return {"time": [at for at, _ in blocks[1:]], "images_per_second": rates}


class History:
    """A run's past in a bounded number of values.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.layers = [LayerHistory() for _ in config.layers]
        self.ticks: deque[Snapshot] = deque(maxlen=MOST_TICKS)
        self.incidents: deque[Event] = deque(maxlen=MOST_INCIDENTS)
        self.plan: Snapshot | None = None
        self.filters: Snapshot | None = None
        self.version, self.kept = 0, (-1, {})  # type: tuple[int, Snapshot] | Any
        self.watched = self.looked = float("-inf")

    @property
    def empty(self) -> bool:
        """Whether nothing was trained yet, as far as is known here."""
        return not any(layer.curves["sparsity"].count for layer in self.layers)

    def add_all(self, events: Iterable[Event]) -> None:
        """Take note of a run's earlier events."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take note of an event."""
        self.version += 1
        kind = event["event"]
        if kind in INCIDENTS:
            self.incidents.append(event)
        if kind == "block":
            self._add_block(event)
        elif kind == "scale":
            self._add_start(event)
        elif kind in ("resume", "unpause"):
            self._begin_again(event)

    def _add_start(self, event: Event) -> None:
        number = event["layer"] - 1
        self.layers[number].first_tick = event["tick"]
        if number:
            below = self.layers[number - 1]
            below.next_started = below.curves["sparsity"].count

    def _add_block(self, event: Event) -> None:
        number, tick, first = event["layer"] - 1, event["tick"], event["first_mini_batch"]
        layer = self.layers[number]
        for term in TERMS:
            layer.curves[term].add(first, event[term])
        layer.blocks.append((event["time"], event["images"]))
        above = self.layers[number + 1].first_tick if number + 1 < len(self.layers) else None
        if above is None or tick < above:
            return
        if tick == above:
            layer.next_started = first
        if (tick - above) % self.config.pipeline.sync_every == 0:
            layer.synchronised.add(first)

    def _begin_again(self, event: Event) -> None:
        """What was trained after a tick will be trained again; a pause is no slowness."""
        for layer in self.layers:
            if layer.blocks:
                layer.blocks.append((event["time"], None))
        if event["event"] == "resume":
            kept = [tick for tick in self.ticks if tick["number"] < event["tick"]]
            self.ticks = deque(kept, MOST_TICKS)

    def begin_tick(self, tick: Tick) -> None:
        """A tick is under way."""
        self.version += 1
        visits = [[each.layer, each.sweep, each.block] for each in tick.visits]
        self.ticks.append(
            {
                "number": tick.number,
                "visits": visits,
                "renewed": sorted(tick.renewed),
                "began": time.time(),
                "ended": None,
            }
        )

    def end_tick(self, number: int) -> None:
        """A tick's costs are known."""
        self.version += 1
        for tick in self.ticks:
            if tick["number"] == number:
                tick["ended"] = time.time()

    def wants_filters(self, committed: bool) -> bool:
        """Whether it is time to look at filters: at commits, and while somebody is watching."""
        now = time.monotonic()
        if committed:
            return now - self.looked > LEAST_LOOK_SECONDS
        watched = now - self.watched < WATCHED_SECONDS
        return watched and now - self.looked > LOOK_SECONDS

    def see_filters(self, filters: Snapshot | None) -> None:
        """Keep a picture of the first layer's filters in place of the last one."""
        self.looked = time.monotonic()
        if filters is not None:
            self.version += 1
            done = self.layers[0].curves["sparsity"].count
            self.filters = filters | {"time": time.time(), "mini_batches": done}

    def snapshot(self) -> Snapshot:
        """All of it as plain values; the same object as long as nothing has happened.

        ``filters`` holds bytes: int8, 127 for each filter's largest weight.
        """
        self.watched = time.monotonic()
        if self.kept[0] != self.version:
            self.kept = (self.version, self._fresh_snapshot())
        return self.kept[1]

    def _fresh_snapshot(self) -> Snapshot:
        return {
            "version": self.version,
            "layers": [layer.as_dict() for layer in self.layers],
            "ticks": [dict(tick) for tick in self.ticks],
            "incidents": list(self.incidents),
            "sync_every": self.config.pipeline.sync_every,
            "block_images": self.config.batching.data_block,
            "plan": self.plan,
            "filters": self.filters,
        }
