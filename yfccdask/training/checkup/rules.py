"""What `doctor` makes of the facts: from what machines answered to findings, nothing is asked here.

A check of something else: its facts go into `probes.worker_facts`, its rule is one more function
in `RULES` (those of GPUs are in `gpu_rules`), and docs/troubleshooting.md says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dask.utils import parse_timedelta

from yfccdask.training.checkup.findings import (
    FAILURE,
    OK,
    WARNING,
    ClusterFacts,
    Facts,
    Finding,
    gigabytes,
    grouped,
    number_of,
    parted,
    spelled,
)
from yfccdask.training.checkup.gpu_rules import gpu_findings
from yfccdask.training.checkup.probes import LOW_DISK, MALLOC
from yfccdask.training.clusters import TRAINING_SETTINGS, is_loopback
from yfccdask.training.compatibility import NAMED, mismatches, place_names
from yfccdask.training.enforcing import can_be_set_late

BITS = ("numpy", "numba", "scipy", "zarr")
ENCRYPTED = ("tls", "wss", "https")
Rule = Callable[[ClusterFacts], list[Finding]]
ENVIRON = "distributed.nanny.pre-spawn-environ"
IDLE_TIMEOUT = "distributed.scheduler.idle-timeout"
SLOW_DISK = 5e6  # bytes a second; a hard disk writes twenty times that
ROUNDING = 1.01  # limits that share a host's memory out may be over it by a little


def version_findings(facts: ClusterFacts) -> list[Finding]:
    """Versions that must be alike, and those that decide on bits."""
    versions = {place: answer["versions"] for place, answer in facts.places.items()}
    if not versions:
        return []
    everywhere = {"client": facts.client, **versions}
    scheduler = versions.pop("scheduler", facts.client)
    lines = mismatches(facts.client, scheduler, versions)
    found = [Finding("versions", FAILURE, *parted(line)) for line in lines]
    for name in BITS:
        groups = grouped({place: each.get(name, "absent") for place, each in everywhere.items()})
        if len(groups) > 1:
            remedy = f"install one {name} everywhere: bits depend on it"
            found.append(Finding("versions", WARNING, f"{name}: {spelled(groups)}", remedy))
    return found or [Finding("versions", OK, f"alike on {number_of(everywhere)}")]


def pin_findings(broken: dict[str, list[str]]) -> list[Finding]:
    """Requirements that are not met, from the lines of `broken_pins` by place."""
    remedy = "install what yfccdask asks for there: `pip install --upgrade yfccdask`"
    places: dict[str, list[str]] = {}
    for place, lines in broken.items():
        for line in lines:
            places.setdefault(line, []).append(place)
    found = [
        Finding("pins", FAILURE, f"{line} on {place_names(where)}", remedy)
        for line, where in places.items()
    ]
    well = f"what yfccdask requires is installed on {number_of(broken)}"
    return found or [Finding("pins", OK, well)]


def cluster_pin_findings(facts: ClusterFacts) -> list[Finding]:
    """The same, of scheduler and workers."""
    broken = {place: answer["pins"] for place, answer in facts.places.items()}
    return pin_findings(broken) if broken else []


def blas_findings(facts: ClusterFacts) -> list[Finding]:
    """Whether all workers multiply with the same BLAS, one that can be told its threads."""
    if not facts.workers:
        return []
    groups = grouped({place: blas_text(each["blas"]) for place, each in facts.workers.items()})
    found = []
    if len(groups) > 1:
        remedy = "use one kind of machine and one environment: bits depend on the BLAS"
        found.append(Finding("blas", WARNING, spelled(groups), remedy))
    if places := groups.get(""):
        what = f"no BLAS whose threads yfccdask can set to one on {place_names(places)}"
        remedy = "start them with OMP_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1"
        found.append(Finding("blas", WARNING, what, remedy))
    return found or [
        Finding(
            "blas",
            OK,
            f"{next(iter(groups))} on {number_of(facts.workers)}; {_pool_threads(facts)}",
        )
    ]


def blas_text(pools: list[Facts]) -> str:
    """Each BLAS once: library, version, core type."""
    keys = ("internal_api", "version", "architecture")
    texts = {" ".join(str(pool[key]) for key in keys if pool[key]) for pool in pools}
    return " and ".join(sorted(texts))


def _pool_threads(facts: ClusterFacts) -> str:
    """How many threads these have: no matter, for every task sets them to one."""
    numbers = {pool["num_threads"] for each in facts.workers.values() for pool in each["blas"]}
    if numbers == {1}:
        return "1 thread"
    return f"{' or '.join(map(str, sorted(numbers)))} threads now, 1 from the first task on"


def thread_findings(facts: ClusterFacts) -> list[Finding]:
    """Workers of several threads, and a BLAS that is told its number for one thread only."""
    several = {place: each for place, each in facts.workers.items() if each["threads"] > 1}
    if not several:
        return [Finding("threads", OK, "1 per worker")] if facts.workers else []
    most = max(each["threads"] for each in several.values())
    what = f"up to {most} on {place_names(several)}"
    remedy = "`dask worker --nthreads 1 --nworkers N`: two workers of one thread each are faster"
    found = [Finding("threads", WARNING, what, remedy)]
    layers = {pool["threading_layer"] for each in several.values() for pool in each["blas"]}
    if "openmp" in layers:
        what = "a BLAS on OpenMP is limited to one thread in one of its worker's threads only"
        remedy = "start the workers with OMP_NUM_THREADS=1: bits depend on it"
        found.append(Finding("threads", WARNING, what, remedy))
    return found


def binding_findings(facts: ClusterFacts) -> list[Finding]:
    """Doors that others than this machine's own processes reach without a certificate."""
    places: dict[tuple[bool, str], set[str]] = {}
    hosts: dict[tuple[bool, str], set[str]] = {}
    for place, answer in facts.places.items():
        for door in filter(is_open, answer["doors"]):
            kind = (door["what"] == "dashboard", door["protocol"])
            places.setdefault(kind, set()).add(place)
            hosts.setdefault(kind, set()).update(door["hosts"])
    found = [
        Finding("bindings", WARNING, *_open_door(*kind, sorted(hosts[kind]), places[kind]))
        for kind in places
    ]
    well = f"{number_of(facts.places)} listen on loopback or with TLS"
    return found or ([Finding("bindings", OK, well)] if facts.places else [])


def is_open(door: Facts) -> bool:
    """Whether anybody on the network may come in."""
    return door["protocol"] not in ENCRYPTED and not all(map(is_loopback, door["hosts"]))


def _open_door(
    dashboard: bool, protocol: str, hosts: list[str], places: Iterable[str]
) -> tuple[str, str]:
    """What is open, and how to shut it."""
    listed = ", ".join(hosts[:NAMED]) + ", ..." * (len(hosts) > NAMED)
    what = f"{protocol} on {listed} of {place_names(places)}"
    if dashboard:
        return (
            f"dashboard, {what}: whoever reaches it sees paths, settings and logs",
            "`--dashboard-address 127.0.0.1:0`, and come in by an ssh tunnel",
        )
    return (
        f"{what}: whoever reaches a Dask scheduler or worker can run code as its user",
        "start them with --protocol tls and --tls-ca-file, --tls-cert and --tls-key, or, on one "
        "machine, with --host 127.0.0.1",
    )


def disk_finding(name: str, disk: Facts) -> Finding:
    """One folder's disk."""
    if "error" in disk:
        what = f"{disk['folder']} can't be written: {disk['error']}"
        return Finding(name, FAILURE, what, "name a folder that can be, or free space there")
    if disk["free"] < LOW_DISK:
        what = f"{gigabytes(disk['free'])} free at {disk['folder']}"
        return Finding(name, WARNING, what, "free some, or name a folder on another disk")
    if disk["write"] < SLOW_DISK:
        what = f"{disk['folder']}: {disk_text([disk])}: every commit will take long"
        return Finding(name, WARNING, what, "name a folder on a disk that is faster, or less busy")
    return Finding(name, OK, f"{disk['folder']}: {disk_text([disk])}")


def scratch_findings(facts: ClusterFacts) -> list[Finding]:
    """The workers' own folders."""
    disks = {place: each["disk"] for place, each in facts.workers.items()}
    found = [disk_finding("scratch", disk) for disk in disks.values()]
    bad = list(dict.fromkeys(each for each in found if each.level != OK))
    if bad or not disks:
        return bad
    return [Finding("scratch", OK, f"{number_of(disks)}: {disk_text(disks.values())}")]


def disk_text(disks: Iterable[Facts]) -> str:
    """The least of what was measured."""
    least = {key: min(disk[key] for disk in disks) for key in ("free", "write", "read")}
    speeds = f"{least['write'] / 1e6:.0f} MB/s written, {least['read'] / 1e6:.0f} MB/s read"
    return f"{gigabytes(least['free'])} free, {speeds}"


def sight_findings(facts: ClusterFacts) -> list[Finding]:
    """Whether scheduler and workers see the folders that they are to share with the client."""
    remedy = "put it on a file system that all machines mount at the same path"
    found = []
    for path, name in facts.shared.items():
        blind = [place for place, answer in facts.places.items() if path in answer["unseen"]]
        if blind:
            what = f"{name}: not seen by {place_names(blind)}"
            found.append(Finding("shared", FAILURE, what, remedy))
        elif facts.places:
            what = f"{name}: seen by {number_of(facts.places)}"
            found.append(Finding("shared", OK, what))
    return found


def memory_findings(facts: ClusterFacts) -> list[Finding]:
    """Limits: the plan needs them, and they must be true."""
    limits = {place: each["memory_limit"] or 0 for place, each in facts.workers.items()}
    found = []
    if without := [place for place, limit in limits.items() if not limit]:
        what = f"no limit on {place_names(without)}: the plan needs one"
        found.append(Finding("memory", WARNING, what, "`dask worker --memory-limit 4GB`"))
    for host in sorted({each["host"] for each in facts.workers.values()}):
        here = {place for place, each in facts.workers.items() if each["host"] == host}
        total, there = sum(limits[place] for place in here), _host_memory(facts, here)
        if total > ROUNDING * there:
            what = f"{host}: limits of {gigabytes(total)} in all, of {gigabytes(there)} there are"
            remedy = "start fewer workers there, or with a lower --memory-limit"
            found.append(Finding("memory", WARNING, what, remedy))
    if found or not limits:
        return found
    well = f"at least {gigabytes(min(limits.values()))} on each of {number_of(limits)}"
    return [Finding("memory", OK, well)]


def _host_memory(facts: ClusterFacts, places: Iterable[str]) -> int:
    return max(int(facts.workers[place]["host_memory"]) for place in places)


class Change(NamedTuple):
    """A setting that training wants otherwise, and the environment variable that makes it so."""

    name: str
    value: str
    variable: str


def setting_findings(facts: ClusterFacts) -> list[Finding]:
    """Dask's settings that training wants otherwise; most of them a run sets by itself."""
    found = []
    for changes, places in unwanted_on(facts, late=False).items():
        what = "; ".join(f"{_short(name)} is {value}" for name, value, _ in changes)
        what = f"on {place_names(places)}: {what}, which can't be changed while they run"
        remedy = f"start them with {' '.join(change.variable for change in changes)}"
        found.append(Finding("settings", WARNING, what, remedy))
    mended = [
        f"{', '.join(_short(change.name) for change in changes)} on {number_of(places)}"
        for changes, places in unwanted_on(facts, late=True).items()
    ]
    if mended:
        what = f"the controller sets them for as long as a run trains: {'; '.join(mended)}"
        found.append(Finding("settings", OK, what))
    well = f"as training wants them on {number_of(facts.places)}"
    return found or ([Finding("settings", OK, well)] if facts.places else [])


def unwanted_on(facts: ClusterFacts, late: bool) -> dict[tuple[Change, ...], list[str]]:
    """Who has which changes to be made, those that a run makes itself or those that it can't."""
    changes = {place: unwanted(place, each) for place, each in facts.places.items()}
    chosen = {
        place: tuple(change for change in each if can_be_set_late(change.name) is late)
        for place, each in changes.items()
    }
    return {each: places for each, places in grouped(chosen).items() if each}


def unwanted(place: str, answer: Facts) -> tuple[Change, ...]:
    """Settings that matter at a place, and are not as training wants them."""
    own = "distributed.scheduler." if place == "scheduler" else "distributed.worker."
    kinds = (own, "distributed.admin.", "distributed.comm.")
    changes = [
        Change(name, str(answer["settings"].get(name)), variable(name))
        for name, wanted in TRAINING_SETTINGS.items()
        if name.startswith(kinds) and not _same(answer["settings"].get(name), wanted)
    ]
    if answer.get("idle_timeout"):  # it would end a paused run
        changes.append(Change(IDLE_TIMEOUT, f"{answer['idle_timeout']:.0f} s", ""))
    return (*changes, *_trimming(answer.get("malloc", {})))


def _short(name: str) -> str:
    return name.removeprefix("distributed.")


def _same(value: Any, wanted: Any) -> bool:
    """Whether two settings mean the same: none is off, a minute is 60 seconds."""
    if isinstance(wanted, str):
        return value is not None and bool(parse_timedelta(value) == parse_timedelta(wanted))
    return bool((value or False) == wanted)


def variable(name: str) -> str:
    """The environment variable that sets one of `TRAINING_SETTINGS`.

    Examples
    --------
    >>> variable("distributed.scheduler.work-stealing")
    'DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False'
    """
    key = name.upper().replace("-", "_").replace(".", "__")
    return f"DASK_{key}={TRAINING_SETTINGS[name]}"


def _trimming(malloc: dict[str, str | None]) -> list[Change]:
    """What a nanny sets unless told otherwise: freed memory is given back, and faulted in again."""
    if not any(malloc.values()):
        return []  # glibc adjusts itself
    settings: dict[str, Any] = TRAINING_SETTINGS
    wanted = {name: settings[f"{ENVIRON}.{name}"] for name in MALLOC}
    return [
        Change(name, str(malloc.get(name)), f"{name}={wanted[name]}")
        for name in MALLOC
        if int(malloc.get(name) or 0) < wanted[name]
    ]


RULES: tuple[Rule, ...] = (
    version_findings,
    cluster_pin_findings,
    blas_findings,
    thread_findings,
    gpu_findings,
    binding_findings,
    scratch_findings,
    sight_findings,
    memory_findings,
    setting_findings,
)
