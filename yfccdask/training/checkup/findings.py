"""What a checkup found, the answers that it is found from, and the words for both."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from yfccdask.errors import YfccdaskError
from yfccdask.training.compatibility import Versions, place_names

OK, WARNING, FAILURE = "ok", "warning", "failure"
Facts = dict[str, Any]
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    name : str
        Of the check; one check may have several findings.
    level : str
        ``ok``, ``warning`` or ``failure``.
    found, remedy : str
        And what to do, unless all is well.
    """

    name: str
    level: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """What client, scheduler and workers answered.

    Attributes
    ----------
    client : dict
        Its versions.
    scheduler : dict or None
        See `probes.scheduler_facts`; None where it could not answer.
    workers : dict
        By address, of those that answered; see `probes.worker_facts`.
    shared : dict
        What each path stands for that all of them were asked to look for.
    """

    client: Versions
    scheduler: Facts | None
    workers: dict[str, Facts]
    shared: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, Facts]:
        """Scheduler and workers, as far as they answered."""
        return ({"scheduler": self.scheduler} if self.scheduler else {}) | self.workers


def parted(line: str) -> tuple[str, str]:
    """What a line or an error says was found, and the remedy after its last colon, if any."""
    found, colon, remedy = line.rpartition(": ")
    return (found, remedy) if colon else (line, "")


def reason(error: BaseException, seconds: float) -> str:
    """What went wrong, in words."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {seconds:.0f} s"
    return str(error) if isinstance(error, YfccdaskError) else f"{type(error).__name__}: {error}"


def gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def grouped(values: dict[str, Value]) -> dict[Value, list[str]]:
    """The places that have each value."""
    groups: dict[Value, list[str]] = {}
    for place, value in values.items():
        groups.setdefault(value, []).append(place)
    return groups


def number_of(places: Collection[str]) -> str:
    """Places without their addresses.

    Examples
    --------
    >>> number_of(["client", "scheduler", "tcp://a:1", "tcp://b:1"])
    'client, scheduler and 2 workers'
    """
    names = [place for place in places if place in ("client", "scheduler")]
    workers = sum(place not in ("client", "scheduler") for place in places)
    if workers:
        names.append("1 worker" if workers == 1 else f"{workers} workers")
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def spelled(groups: Mapping[str, list[str]]) -> str:
    """Values and who has them, as part of a sentence."""
    return ", ".join(f"{value or 'none'} on {place_names(who)}" for value, who in groups.items())
