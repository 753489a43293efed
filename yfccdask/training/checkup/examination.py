"""``doctor``: whether a machine and a cluster are fit to train on, and what to do where not.

Machines are asked once (`probes`), rules judge the answers (`rules`), and what must
be tried is tried (`trials`). Everything has a time limit.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client

from yfccdask.config import Config, load_config
from yfccdask.data import BlockStore, open_store
from yfccdask.errors import YfccdaskError
from yfccdask.training.checkup.findings import (
    FAILURE,
    OK,
    WARNING,
    ClusterFacts,
    Finding,
    gigabytes,
    grouped,
    number_of,
    parted,
    reason,
)
from yfccdask.training.checkup.probes import (
    CLIENT_DISK_BYTES,
    LOW_DISK,
    PREFIX,
    broken_pins,
    disk_facts,
    in_thread,
    nearest_folder,
    read_rate,
    scheduler_facts,
    worker_facts,
)
from yfccdask.training.checkup.rules import RULES, Rule, disk_finding, pin_findings
from yfccdask.training.checkup.trials import (
    controller_findings,
    dashboard_findings,
    plan_findings,
    reach_findings,
    store_findings,
)
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.compatibility import place_names, process_versions
from yfccdask.training.planning.sites import workers_of
from yfccdask.training.start import cluster_for, on_device, run_blocking

START_SECONDS, CONNECT_SECONDS, CLOSE_SECONDS = 90.0, 30.0, 20.0
ANSWER_SECONDS, FACTS_SECONDS = 10.0, 60.0
FILE_SECONDS, TRIAL_SECONDS, STORE_SECONDS, PLAN_SECONDS = 30.0, 30.0, 90.0, 300.0
STORE_READ_BYTES = 1 << 26
UNANSWERED = "see whether scheduler, workers and file systems are alive; their logs say more"


def doctor(
    cluster: ClusterRequest | None = None,
    *,
    data: BlockStore | str | Path | None = None,
    run: str | Path | None = None,
    config: Config | str | Path | None = None,
) -> list[Finding]:
    """Check a machine and a cluster before a run; it ends by itself, also where they are sick.

    Parameters
    ----------
    cluster : ClusterRequest, optional
        By default an embedded cluster with a process per core.
    data : BlockStore or path, optional
        The store that is to be trained on; nothing is written there.
    run : path, optional
        Where a run is to be written, by default the current folder. What is written for a test
        into it, or into the nearest folder above it that exists, is gone afterwards.
    config : Config, preset's name or path, optional
        What is to be trained: its plan is held against what the cluster has.

    Returns
    -------
    list of Finding
        In the order of the checks; a check that can't be made is a finding too.

    Raises
    ------
    ConfigError
    """
    where = None if data is None else Path(data.path if isinstance(data, BlockStore) else data)
    request, whole = cluster or ClusterRequest(), None
    if config is not None:  # as `train` takes them
        whole = config if isinstance(config, Config) else load_config(config)
        whole = on_device(whole, request.device)
        request = cluster_for(whole, request)
    meant = Meant(where and where.absolute(), Path(run or "."), whole)
    return list(run_blocking(_examined(request, meant)))


@dataclass(frozen=True)
class Meant:
    """What is to be trained, and where."""

    data: Path | None
    run: Path
    config: Config | None


async def _examined(request: ClusterRequest, meant: Meant) -> list[Finding]:
    """What can be said without a cluster, then the cluster."""
    found = [own_versions(), *pin_findings({"client": broken_pins()})]
    folder, disk = await run_folder(meant.run)
    found.append(disk)
    if meant.data is not None:
        work = in_thread(FILE_SECONDS, data_finding, meant.data)
        found += (stores := await limited("data", FILE_SECONDS, work))
        if stores[0].level == FAILURE:
            meant = replace(meant, data=None)
    return found + await _on_cluster(request, folder, meant)


def own_versions() -> Finding:
    """What this process runs."""
    versions = process_versions()
    return Finding("client", OK, ", ".join(f"{name} {text}" for name, text in versions.items()))


async def run_folder(run: Path) -> tuple[Path | None, Finding]:
    """Where tests for a run may write, and how its disk is; no folder if it can't be written."""
    try:
        folder = await in_thread(FILE_SECONDS, nearest_folder, run)
    except (OSError, TimeoutError) as error:
        why = f"{run}: no run can be written there ({reason(error, FILE_SECONDS)})"
        return None, Finding("disk", FAILURE, why, "name a folder that can be written")
    finding = disk_finding("disk", await disk_facts(folder, CLIENT_DISK_BYTES))
    return (None if finding.level == FAILURE else folder), finding


def data_finding(path: Path) -> list[Finding]:
    """A store that is to be trained on, how fast it is read, and what its disk has left."""
    try:
        store = open_store(path)
    except YfccdaskError as error:
        what, remedy = parted(str(error))
        return [Finding("data", FAILURE, what, remedy or "make one with `yfccdask ingest`")]
    free, rate = shutil.disk_usage(path).free, read_rate(path, STORE_READ_BYTES)
    what = (
        f"{path}: {store.images:,} images in {store.blocks} blocks, digest {store.digest[:16]}; "
        f"{rate / 1e6:.0f} MB/s read, {gigabytes(free)} free on its disk"
    )
    if free < LOW_DISK:
        return [Finding("data", WARNING, what, "free some, or put the store on another disk")]
    return [Finding("data", OK, what)]


async def limited(
    name: str, seconds: float, work: Coroutine[Any, Any, list[Finding]]
) -> list[Finding]:
    """A check's findings; that it took too long, or broke, is one as well."""
    try:
        return await asyncio.wait_for(work, seconds)
    except Exception as error:
        return [Finding(name, FAILURE, reason(error, seconds), UNANSWERED)]


async def _on_cluster(request: ClusterRequest, folder: Path | None, meant: Meant) -> list[Finding]:
    """What there is to say of the cluster, if it can be reached."""
    stack = AsyncExitStack()
    seconds = START_SECONDS if request.embedded else CONNECT_SECONDS
    try:
        async with asyncio.timeout(seconds):
            client = await stack.enter_async_context(connect(request))
    except Exception as error:
        return [unreachable(request, error, seconds)]
    try:
        return await _cluster_checks(client, folder, meant)
    except Exception as error:
        return [Finding("cluster", FAILURE, reason(error, ANSWER_SECONDS), UNANSWERED)]
    finally:
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await stack.aclose()


def unreachable(request: ClusterRequest, error: Exception, seconds: float) -> Finding:
    """No cluster, and why not."""
    if isinstance(error, YfccdaskError):
        return Finding("cluster", FAILURE, *parted(str(error)))
    where = request.scheduler or request.scheduler_file or "an embedded cluster"
    return Finding("cluster", FAILURE, f"{where}: {reason(error, seconds)}", UNANSWERED)


async def _cluster_checks(client: Client, folder: Path | None, meant: Meant) -> list[Finding]:
    """Ask everybody once, judge the answers, and try what has to be tried."""
    store = {str(meant.data): f"the store {meant.data}"} if meant.data else {}
    with marker(folder) as mark:
        facts, found = await asked(client, mark | store)
    found += [finding for rule in RULES for finding in judged(rule, facts)]
    found += await limited("network", TRIAL_SECONDS, reach_findings(client, facts))
    found += await limited("controller", TRIAL_SECONDS, controller_findings(client, facts))
    found += await limited("dashboard", TRIAL_SECONDS, dashboard_findings(client, facts))
    if folder and facts.workers:
        found += await limited("store", STORE_SECONDS, store_findings(client, facts, folder))
    if meant.config and facts.workers:
        found += await limited("plan", PLAN_SECONDS, planned(client, facts, meant))
    return found


async def planned(client: Client, facts: ClusterFacts, meant: Meant) -> list[Finding]:
    """The plan of what is meant."""
    assert meant.config is not None
    data = None
    if meant.data is not None:
        data = await in_thread(FILE_SECONDS, open_store, meant.data)
    return await plan_findings(client, facts, meant.config, data, meant.run)


def judged(rule: Rule, facts: ClusterFacts) -> list[Finding]:
    """A rule's findings; answers that it can't judge (another version's, say) are one as well."""
    try:
        return rule(facts)
    except Exception as error:
        remedy = "install the same yfccdask everywhere; if it is, please report this"
        return [Finding(rule.__name__, FAILURE, reason(error, FACTS_SECONDS), remedy)]


@contextmanager
def marker(folder: Path | None) -> Iterator[dict[str, str]]:
    """A file for others to look for, and what it stands for; none without a folder."""
    if folder is None:
        yield {}
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX) as file:
        yield {file.name: f"the run's folder {folder}"}


async def asked(client: Client, shared: dict[str, str]) -> tuple[ClusterFacts, list[Finding]]:
    """What scheduler and workers answer, and who of them does not."""
    addresses = sorted(await asyncio.wait_for(workers_of(client), ANSWER_SECONDS))
    pings = await answers_of(client, addresses, ANSWER_SECONDS, os.getpid)
    awake = [address for address, answer in pings.items() if not isinstance(answer, Exception)]
    answers = await answers_of(client, awake, FACTS_SECONDS, worker_facts, list(shared))
    answers["scheduler"] = await scheduler_answer(client, list(shared))
    own = process_versions()
    remedy = f"install yfccdask {own['yfccdask']} there, as here; the log there says more"
    found = [
        *silence_findings(pings, ANSWER_SECONDS, UNANSWERED),
        *silence_findings(answers, FACTS_SECONDS, remedy),
    ]
    well = [Finding("answers", OK, f"{number_of(answers)} answer")]
    told = {place: each for place, each in answers.items() if not isinstance(each, Exception)}
    scheduler = told.pop("scheduler", None)
    return ClusterFacts(own, scheduler, told, shared), found or well


async def scheduler_answer(client: Client, paths: list[str]) -> Any:
    """The scheduler's facts, or the error in their place."""
    run: Any = client.run_on_scheduler
    try:
        return await asyncio.wait_for(run(scheduler_facts, paths), FACTS_SECONDS)
    except Exception as error:
        return error


async def answers_of(
    client: Client, addresses: list[str], seconds: float, question: Any, *arguments: Any
) -> dict[str, Any]:
    """Each worker's answer, or the error in its place; nobody waits for another."""

    async def answer(address: str) -> Any:
        work = client.run(question, *arguments, workers=[address], on_error="return")
        return (await asyncio.wait_for(work, seconds))[address]

    answers = await asyncio.gather(*map(answer, addresses), return_exceptions=True)
    return dict(zip(addresses, answers, strict=True))


def silence_findings(answers: dict[str, Any], seconds: float, remedy: str) -> list[Finding]:
    """Who did not answer, and why not."""
    reasons = {
        place: reason(answer, seconds)
        for place, answer in answers.items()
        if isinstance(answer, Exception)
    }
    return [
        Finding("answers", FAILURE, f"{place_names(places)}: {why}", remedy)
        for why, places in grouped(reasons).items()
    ]
