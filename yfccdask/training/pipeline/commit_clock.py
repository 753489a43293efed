"""When a commit is due: by blocks, by time, and never for more than a share of the time."""

from __future__ import annotations

from dataclasses import dataclass

from yfccdask.config import Checkpoints


@dataclass
class CommitClock:
    """What commits have cost so far; times are seconds on any one clock.

    Attributes
    ----------
    since : float
        When the last commit ended, or the session began.
    tick : int
        The run's tick then.
    cost : float
        Seconds that the last commit took.
    spent : float
        Seconds that all commits of the session took.
    wanted : bool
        Whether a layer has finished since: reason enough for a commit, if it can be paid for.
    """

    settings: Checkpoints
    began: float
    tick: int
    since: float = 0.0
    cost: float = 0.0
    spent: float = 0.0
    wanted: bool = False

    def __post_init__(self) -> None:
        self.since = self.began

    def due(self, tick: int, now: float) -> bool:
        """Whether a commit is due at a tick, and worth its cost."""
        blocks, seconds = self.settings.every_blocks, self.settings.every_seconds
        by_blocks = blocks is not None and tick - self.tick >= blocks
        by_time = seconds is not None and now - self.since >= seconds
        return tick > self.tick and (by_blocks or by_time or self.wanted) and self.affordable(now)

    def affordable(self, now: float) -> bool:
        """Whether all commits, with another one like the last, would cost no more than their share.

        The session's first commit always is: what it will cost isn't known.
        """
        share, elapsed = self.settings.most_share, now - self.began
        return share is None or self.spent + self.cost <= share * (elapsed + self.cost)

    def committed(self, tick: int, now: float, seconds: float) -> None:
        """Take note of a commit that has just ended."""
        self.tick, self.since, self.cost = tick, now, seconds
        self.spent += seconds
        self.wanted = False

    def leave_out(self, pause: float) -> None:
        """Seconds in which nothing was trained are no part of the session."""
        self.began += pause
        self.since += pause

    def share(self, now: float) -> float:
        """Share of the session's time that commits have cost."""
        return self.spent / (now - self.began) if now > self.began else 0.0
