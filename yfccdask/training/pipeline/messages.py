"""What the state machine is told, and what it tells: events in, instructions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from yfccdask.training.pipeline.visits import Visit

Wish: TypeAlias = Literal["pause", "resume", "stop", "commit"]


@dataclass(frozen=True)
class Tick:
    """Instruction: train these visits; between ticks the whole run has a definite state.

    ``visits`` are independent of each other, from the image upwards. Before them, the copies of the
    layers in ``renewed`` are taken; after them, those in ``passing`` are let go, since they are
    renewed at the next tick. ``copies`` says at the start of which tick each layer's copy was
    taken. ``ahead`` are the next tick's visits, but for layers that start with it. Layers count
    from 0.
    """

    number: int
    visits: tuple[Visit, ...]
    renewed: frozenset[int]
    passing: frozenset[int]
    copies: Mapping[int, int] = field(default_factory=dict)
    ahead: tuple[Visit, ...] = ()

    @property
    def finishes(self) -> bool:
        """Whether a layer finishes with this tick."""
        return any(visit.last for visit in self.visits)


@dataclass(frozen=True)
class Settle:
    """Instruction: nothing is under way; re-key, and commit if ``commit`` says so.

    ``tick`` is the next one; ``finished`` says that there is none.
    """

    tick: int
    commit: bool
    finished: bool
    layer_ended: bool = False


@dataclass(frozen=True)
class Hold:
    """Instruction: keep everything where it is until a person wishes to go on."""


@dataclass(frozen=True)
class End:
    """Instruction: the session is over."""

    reason: Literal["finished", "stopped"]


@dataclass(frozen=True)
class Recover:
    """Instruction: cancel what is under way, and go on from the last commit."""

    why: str


@dataclass(frozen=True)
class Begun:
    """Event: the session can begin; ``at`` is in seconds on a clock, here and below."""

    at: float


@dataclass(frozen=True)
class TickDone:
    """Event: a tick's costs are known; ``objectives`` are the means of its visits, by layer."""

    number: int
    objectives: Mapping[int, float]
    at: float


@dataclass(frozen=True)
class Settled:
    """Event: what `Settle` asked for is done; a commit, if there was one, took ``seconds``."""

    at: float
    seconds: float | None = None


@dataclass(frozen=True)
class Wished:
    """Event: a person, or a signal, wants something."""

    what: Wish
    at: float


@dataclass(frozen=True)
class WorkerLost:
    """Event: a worker that holds chunks is gone."""

    why: str
    at: float


Instruction: TypeAlias = Tick | Settle | Hold | End | Recover
Event: TypeAlias = Begun | TickDone | Settled | Wished | WorkerLost
