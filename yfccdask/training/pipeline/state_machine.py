"""The pipeline: events in, instructions out; it knows no array, no file, no cluster and no clock.

At tick t layer L trains on its visit ``t - start_L``. The blocks that feed it come through copies
of the layers below, which are renewed every ``sync_every`` ticks, before anything trains at that
tick. A layer that has finished is its own copy. What is trained at which tick depends on the
configuration and on recorded objectives only; the times in events decide about commits alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeAlias

from yfccdask.config import Config
from yfccdask.training.pipeline.commit_clock import CommitClock
from yfccdask.training.pipeline.messages import (
    Begun,
    End,
    Event,
    Hold,
    Instruction,
    Recover,
    Settle,
    Settled,
    Tick,
    TickDone,
    Wish,
    Wished,
    WorkerLost,
)
from yfccdask.training.pipeline.start_rules import starts_now, still_needed
from yfccdask.training.pipeline.visits import Upcoming, layer_visits, visit_numbers

SETTLE_EVERY = 16  # ticks after which chunks get new keys
Phase: TypeAlias = Literal["waiting", "running", "settling", "held", "ended"]


@dataclass
class Progress:
    """How far a run is: all that the schedule goes on from; part of every commit.

    Attributes
    ----------
    tick : int
        The next one.
    starts : list of int
        The first tick of every started layer.
    copies : dict
        By layer, the tick at whose start its copy was taken.
    objectives : dict
        By layer, its visits' objectives that a start can still depend on.
    """

    tick: int = 0
    starts: list[int] = field(default_factory=lambda: [0])
    copies: dict[int, int] = field(default_factory=dict)
    objectives: dict[int, dict[int, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tick": self.tick,
            "starts": list(self.starts),
            "taken": sorted(self.copies.items()),
            "objectives": [
                [n, sorted(each.items())] for n, each in sorted(self.objectives.items())
            ],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Progress:
        """What `as_dict` gave, JSON in between or not."""
        objectives = {layer: dict(map(tuple, each)) for layer, each in found["objectives"]}
        copies = dict(map(tuple, found["taken"]))
        return cls(found["tick"], list(found["starts"]), copies, objectives)


class StateMachine:
    """The pipeline of one session.

    Parameters
    ----------
    config : Config
    block_images : sequence of int
        Images in every block of the store.
    progress : Progress, optional
        Where a commit left off.

    Examples
    --------
    >>> machine = StateMachine(config, [960] * 10)  # doctest: +SKIP
    >>> machine.handle(Begun(at=0.0))  # doctest: +SKIP
    [Tick(number=0, ...), Tick(number=1, ...)]
    """

    def __init__(
        self, config: Config, block_images: Sequence[int], progress: Progress | None = None
    ) -> None:
        self.config, self.progress = config, progress or Progress()
        self.visits = visit_numbers(config, block_images)
        self.upcoming = [
            Upcoming(islice(layer_visits(config, layer, block_images), self.done(layer), None))
            for layer in range(len(self.visits))
        ]
        self.clock = CommitClock(config.checkpoints, 0.0, self.progress.tick)
        self.phase: Phase = "waiting"
        self.under_way: set[int] = set()
        self.wishes: set[Wish] = set()
        self.barrier = self.layer_ended = False
        self.now = self.held_at = 0.0

    def done(self, layer: int) -> int:
        """Visits that a layer was given at earlier ticks."""
        starts = self.progress.starts
        if layer >= len(starts):
            return 0
        return min(self.progress.tick - starts[layer], self.visits[layer])

    @property
    def finished(self) -> bool:
        """Whether every visit of every layer was given out."""
        layers = range(len(self.visits))
        return all(self.done(layer) == self.visits[layer] for layer in layers)

    def handle(self, event: Event) -> list[Instruction]:
        """Take note of an event; what is to be done now."""
        if self.phase == "ended" and not isinstance(event, WorkerLost):
            return []
        self.now = event.at
        match event:
            case Begun():
                self.clock = CommitClock(self.config.checkpoints, event.at, self.progress.tick)
                self.phase = "running"
            case TickDone():
                self._note(event)
            case Settled():
                return self._after_settling(event)
            case Wished():
                return self._wished(event.what)
            case WorkerLost():
                self.phase = "ended"
                return [Recover(event.why)]
        return self._go_on()

    def _note(self, event: TickDone) -> None:
        self.under_way.discard(event.number)
        for layer, objective in event.objectives.items():
            visit = event.number - self.progress.starts[layer]
            self.progress.objectives.setdefault(layer, {})[visit] = objective
        self._forget_objectives()

    def _forget_objectives(self) -> None:
        """Keep the objectives that the start of a layer above can still depend on."""
        waiting = len(self.progress.starts) - 1  # the only layer that another one waits for
        if self.config.pipeline.start != "plateau" or waiting + 1 == len(self.visits):
            self.progress.objectives.clear()
            return
        known = self.progress.objectives.get(waiting, {})
        first = still_needed(self.config.pipeline, self.done(waiting))
        kept = {visit: value for visit, value in known.items() if visit >= first}
        self.progress.objectives = {waiting: kept} if kept else {}

    def _wished(self, what: Wish) -> list[Instruction]:
        if what == "resume":
            self.wishes -= {"pause"}
            if self.phase == "held":
                self.phase = "running"
                self.clock.leave_out(self.now - self.held_at)
            return self._go_on()
        if self.phase == "held":
            if what != "stop":
                return []
            self.phase = "ended"
            return [End("stopped")]
        self.wishes.add(what)
        self.barrier = True
        return self._go_on()

    def _go_on(self) -> list[Instruction]:
        """New ticks as long as there is room; once nothing is under way, what waited for that."""
        if self.phase != "running":
            return []
        found: list[Instruction] = []
        while not (self.barrier or self.finished) and self._room():
            found.append(self._next_tick())
        if not self.under_way:
            self.phase = "settling"
            found.append(self._settle())
        return found

    def _room(self) -> bool:
        """Whether the next tick is near enough to the oldest one under way."""
        oldest = min(self.under_way, default=self.progress.tick)
        return self.progress.tick - oldest < self.config.engine.blocks_in_flight

    def _next_tick(self) -> Tick:
        progress, number = self.progress, self.progress.tick
        self._start_layers()
        renewed = frozenset(layer for layer in self._feeding() if self._renewed(layer, number))
        progress.copies |= dict.fromkeys(renewed, number)
        active = [n for n in range(len(progress.starts)) if self.done(n) < self.visits[n]]
        visits = tuple(next(self.upcoming[layer]) for layer in active)
        progress.tick += 1
        passing = frozenset(layer for layer in self._feeding() if self._renewed(layer, number + 1))
        following = (self.upcoming[layer].ahead for layer in active)
        ahead = tuple(visit for visit in following if visit is not None)
        tick = Tick(number, visits, renewed, passing, dict(progress.copies), ahead)
        self.under_way.add(number)
        self.layer_ended = tick.finishes
        self.clock.wanted |= tick.finishes
        due = self.clock.due(progress.tick, self.now)
        self.barrier = tick.finishes or due or progress.tick % SETTLE_EVERY == 0
        return tick

    def _start_layers(self) -> None:
        top = len(self.progress.starts) - 1
        known = self.progress.objectives.get(top, {})
        if top + 1 < len(self.visits) and starts_now(
            self.config.pipeline, self.done(top), self.visits[top], known
        ):
            self.progress.starts.append(self.progress.tick)

    def _feeding(self) -> range:
        """The layers that a started layer is above."""
        return range(len(self.progress.starts) - 1)

    def _renewed(self, layer: int, number: int) -> bool:
        """Whether the copy of a layer that feeds others is taken anew before a tick."""
        starts = self.progress.starts
        ended = number >= starts[layer] + self.visits[layer]
        return ended or (number - starts[layer + 1]) % self.config.pipeline.sync_every == 0

    def _settle(self) -> Settle:
        tick = self.progress.tick
        pinned = self.layer_ended and self.config.checkpoints.pin_layers
        asked = pinned or bool(self.wishes) or self.finished
        commit = tick > self.clock.tick and (asked or self.clock.due(tick, self.now))
        return Settle(tick, commit, self.finished, self.layer_ended)

    def _after_settling(self, event: Settled) -> list[Instruction]:
        if event.seconds is not None:
            self.clock.committed(self.progress.tick, event.at, event.seconds)
        if self.wishes and self.clock.tick < self.progress.tick:  # they came while it settled
            return [self._settle()]
        wishes, self.wishes = self.wishes, set()
        self.barrier = self.layer_ended = False
        if self.finished or "stop" in wishes:
            self.phase = "ended"
            return [End("finished" if self.finished else "stopped")]
        self.phase, self.held_at = "held" if "pause" in wishes else "running", event.at
        return [Hold()] if self.phase == "held" else self._go_on()
