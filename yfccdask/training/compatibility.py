"""Whether client, scheduler and workers can understand each other: their versions, compared."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from typing import NoReturn

from distributed import Client

from yfccdask.errors import VersionMismatch

PROTOCOL = 1
"""Version of the plain dicts that a client and the controller on the scheduler exchange."""

PACKAGES = (
    "yfccdask",
    "dask",
    "distributed",
    "numpy",
    "numba",
    "scipy",
    "zarr",
    "cloudpickle",
    "msgpack",
)
ALIKE = ("yfccdask", "python", "dask", "distributed", "cloudpickle")
UNREADABLE = (ImportError, AttributeError)  # raised by unpickling what is not installed
NAMED = 3  # addresses spelled out in a message; of more it says how many

Versions = dict[str, str]


def process_versions() -> Versions:
    """Versions of Python and of the packages in this process; "absent" where there is none."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def mismatches(client: Versions, scheduler: Versions, workers: dict[str, Versions]) -> list[str]:
    """What must be alike on client, scheduler and workers, and is not: a line each.

    Differences of NumPy and its like are not among them: they change bits, not understanding
    (see `provenance.differences`).

    Examples
    --------
    >>> mismatches({"dask": "1"}, {"dask": "2"}, {})[0].partition(": install")[0]
    'dask: expected one version everywhere, found 1 on the client, 2 on the scheduler'
    """
    lines = []
    for name in ALIKE:
        wanted = _compared(name, scheduler)
        holders: dict[str, list[str]] = {}
        for place, versions in {"client": client, "scheduler": scheduler, **workers}.items():
            holders.setdefault(_compared(name, versions), []).append(place)
        if len(holders) > 1:
            lines.append(_line(name, wanted, holders))
    return lines


def _compared(name: str, versions: Versions) -> str:
    """A version as far as it matters: of Python major and minor."""
    version = versions.get(name, "absent")
    return ".".join(version.split(".")[:2]) if name == "python" else version


def _line(name: str, wanted: str, holders: dict[str, list[str]]) -> str:
    found = ", ".join(f"{v} on {place_names(places)}" for v, places in sorted(holders.items()))
    remedy = f"install {name} {wanted}, which the scheduler has, on all of them"
    if wanted == "absent":
        remedy = f"install the same {name} on all of them"
    return f"{name}: expected one version everywhere, found {found}: {remedy}"


def place_names(places: Iterable[str]) -> str:
    """Client, scheduler and workers' addresses as part of a sentence, however many they are.

    Examples
    --------
    >>> place_names(["client", "tcp://a:1", "tcp://b:1", "tcp://c:1", "tcp://d:1"])
    'the client and 4 workers (tcp://a:1, tcp://b:1, tcp://c:1, ...)'
    """
    places = list(places)
    names = [f"the {place}" for place in places if place in ("client", "scheduler")]
    workers = sorted(place for place in places if place not in ("client", "scheduler"))
    if workers:
        number = "1 worker" if len(workers) == 1 else f"{len(workers)} workers"
        dots = ["..."] if len(workers) > NAMED else []
        names.append(f"{number} ({', '.join(workers[:NAMED] + dots)})")
    return " and ".join(names)


def refuse_mismatches(lines: Iterable[str]) -> None:
    """Raise `VersionMismatch` with every line, if there is one."""
    lines = list(lines)
    if lines:
        raise VersionMismatch("\n".join(lines))


async def check_versions(client: Client, own: Versions) -> None:
    """Refuse a cluster that could not understand the one who asks, of versions ``own``.

    Raises
    ------
    VersionMismatch
    """
    refuse_mismatches(mismatches(own, *await scheduler_and_worker_versions(client)))


async def scheduler_and_worker_versions(client: Client) -> tuple[Versions, dict[str, Versions]]:
    """`process_versions` of the scheduler, and of each worker by its address.

    Raises
    ------
    VersionMismatch
        Where yfccdask is not installed there, or is one that knows no such question.
    """
    missing: dict[str, Exception] = {}
    scheduler: Versions = {}
    try:
        scheduler = await client.run_on_scheduler(process_versions)
    except UNREADABLE as error:
        missing["scheduler"] = error
    answers = await client.run(process_versions, on_error="return")
    for address, answer in answers.items():
        if _could_not_read(answer):
            missing[address] = answer
        elif isinstance(answer, Exception):
            raise answer
    if missing:
        _refuse_missing(missing)
    return scheduler, answers


def _could_not_read(answer: object) -> bool:
    """Whether a worker failed to unpickle what it was asked.

    The scheduler hands such an error on as text, in a plain `Exception`.
    """
    names = tuple(error.__name__ for error in (*UNREADABLE, ModuleNotFoundError))
    text = type(answer) is Exception and str(answer).startswith(names)
    return text or isinstance(answer, UNREADABLE)


def _refuse_missing(missing: dict[str, Exception]) -> NoReturn:
    own, places = _version("yfccdask"), place_names(missing)
    reasons = "; ".join(sorted({str(error) for error in missing.values()}))
    raise VersionMismatch(
        f"expected yfccdask {own} on {places}, found none, or one that differs ({reasons}): "
        f"install yfccdask {own} there"
    )
