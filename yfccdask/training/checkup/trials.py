"""What `doctor` tries on a cluster rather than asks.

Whether workers reach each other, whether controller and dashboard answer, whether a small store
comes back, and whether the plan of a run fits.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import dask.array as da
import numpy as np
import psutil
from distributed import Client
from distributed.comm.addressing import get_address_host, unparse_host_port

from yfccdask.config import Config
from yfccdask.data import BlockStore, block, open_store, write_store
from yfccdask.errors import ClusterError, YfccdaskError
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
from yfccdask.training.checkup.probes import PREFIX, in_thread, reach_facts
from yfccdask.training.clusters import is_loopback
from yfccdask.training.compatibility import PROTOCOL, place_names
from yfccdask.training.control.live import LiveRun
from yfccdask.training.planning.records import RunPlan
from yfccdask.training.planning.sites import plan_on

FILE_SECONDS, PAGE_SECONDS = 30.0, 10.0
STATUS_PAGE, OWN_PAGE = "/status", "/yfccdask"  # Dask's, and the one that the controller adds
PRELOAD = "dask scheduler --preload yfccdask.preload"


async def controller_findings(client: Client, facts: ClusterFacts) -> list[Finding]:
    """Whether the scheduler has yfccdask's controller, and understands this client."""
    if facts.scheduler is None:
        return []
    if not facts.scheduler["controller"] and client.cluster is not None:
        return [Finding("controller", OK, "none yet: `train` puts it on an embedded cluster")]
    if not facts.scheduler["controller"]:
        what = (
            "none on the scheduler: `train` puts it there by itself, but with it from the start "
            "no pickles are needed and SIGUSR1 stops a run cleanly"
        )
        return [Finding("controller", WARNING, what, f"`{PRELOAD}`")]
    try:
        status = await LiveRun(client).ask("status")
    except ClusterError as error:
        return [Finding("controller", FAILURE, *parted(str(error)))]
    if (found := status.get("protocol")) != PROTOCOL:
        what = f"expected protocol {PROTOCOL}, found {found}"
        remedy = "install the same yfccdask on client and scheduler, and start that again"
        return [Finding("controller", FAILURE, what, remedy)]
    run = "" if status["state"] == "idle" else f": {status['run']}"
    return [Finding("controller", OK, f"protocol {found}, {status['state']}{run}")]


async def reach_findings(client: Client, facts: ClusterFacts) -> list[Finding]:
    """Whether each worker reaches the scheduler and one other worker: halos go between them."""
    workers = sorted(facts.workers)
    others = [*workers[1:], *workers[:1]] if len(workers) > 1 else [None] * len(workers)
    answers = await asyncio.gather(*map(partial(reached, client), workers, others))
    failed = {worker: _named(answer) for worker, answer in zip(workers, answers, strict=True)}
    remedy = "open the ports between these machines, or give --interface or --host to each of them"
    found = [
        Finding("network", FAILURE, f"{place_names(places)}: can't reach {what}", remedy)
        for what, places in grouped(failed).items()
        if what
    ]
    well = f"{number_of(workers)} reach the scheduler and each other"
    return found or ([Finding("network", OK, well)] if workers else [])


def _named(failed: dict[str, str]) -> str:
    """Who is not reached, and why not, as part of a sentence."""
    names = {name: "the scheduler" if name == "scheduler" else name for name in failed}
    return ", ".join(f"{names[name]} ({why})" for name, why in failed.items())


async def reached(client: Client, worker: str, other: str | None) -> dict[str, str]:
    """What `reach_facts` says on a worker."""
    return dict((await client.run(reach_facts, other, workers=[worker]))[worker])


async def dashboard_findings(client: Client, facts: ClusterFacts) -> list[Finding]:
    """Whether the scheduler's dashboard answers this machine, and has yfccdask's page."""
    scheduler: Any = client.scheduler
    port = (await scheduler.identity(n_workers=0))["services"].get("dashboard")
    if port is None:
        what, remedy = "the scheduler has none", "start it with --dashboard-address :8787"
        return [Finding("dashboard", WARNING, what, remedy)]
    doors = facts.scheduler["doors"] if facts.scheduler else []
    pages = [door for door in doors if door["what"] == "dashboard"]
    host = get_address_host(scheduler.address)
    if pages and all(is_loopback(each) for door in pages for each in door["hosts"]):
        if not is_own(host):
            return [Finding("dashboard", OK, tunnel_text(host, port))]
        host = pages[0]["hosts"][0]
    scheme = "https" if "https" in {door["protocol"] for door in pages} else "http"
    where = unparse_host_port(host, port)
    with_page = bool(facts.scheduler and facts.scheduler["controller"])
    return [
        await in_thread(PAGE_SECONDS, page_finding, f"{scheme}://{where}{route}", port)
        for route in (STATUS_PAGE, *[OWN_PAGE] * with_page)
    ]


def is_own(host: str) -> bool:
    """Whether a numeric address is one of this machine's."""
    found = psutil.net_if_addrs().values()
    return is_loopback(host) or host in {each.address for addresses in found for each in addresses}


def tunnel_text(host: str, port: int) -> str:
    """How to see a dashboard that its own machine alone reaches."""
    return f"on loopback of {host} only, as it should be; `ssh -L 8787:127.0.0.1:{port} {host}`"


def page_finding(url: str, port: int) -> Finding:
    """Whether a page answers."""
    try:
        page = page_text(url)
    except HTTPError as error:
        what = f"{url} is no page ({error})"
        remedy = "start the scheduler without --no-dashboard, and with bokeh installed"
        return Finding("dashboard", WARNING, what, remedy)
    except (OSError, HTTPException) as error:
        what = f"{url} does not answer this machine ({reason(error, PAGE_SECONDS)})"
        remedy = f"come in by an ssh tunnel to port {port} of the scheduler's machine"
        return Finding("dashboard", WARNING, what, remedy)
    if "Dask needs bokeh" in page:
        what = f"{url} has no pages: the scheduler has no bokeh, or another one than Dask needs"
        return Finding("dashboard", WARNING, what, "install yfccdask's requirements there")
    return Finding("dashboard", OK, url)


def page_text(url: str) -> str:
    """The beginning of a page, straight from its machine."""
    opener = build_opener(ProxyHandler({}))
    with opener.open(url, timeout=PAGE_SECONDS) as page:
        return str(page.read(10_000).decode(errors="replace"))


async def store_findings(client: Client, facts: ClusterFacts, folder: Path) -> list[Finding]:
    """Write a small store, read it on the cluster and write that again: the same to the bit?

    While a run trains there, it is read here: the run is not to wait for it.
    """
    busy = bool(facts.scheduler and facts.scheduler["training"])
    pixels = np.random.default_rng().integers(0, 256, (12, 32, 32, 3), np.uint8)
    with TemporaryDirectory(prefix=PREFIX, dir=folder, ignore_cleanup_errors=True) as name:
        paths = [Path(name, part) for part in ("written", "again")]
        store = await in_thread(FILE_SECONDS, write_small, pixels, paths[0])
        images = da.concatenate([block(store, b) for b in range(store.blocks)])
        if busy:
            found = await in_thread(FILE_SECONDS, partial(images.compute, scheduler="sync"))
        else:
            found = await client.compute(images, workers=list(facts.workers))
        again = await in_thread(FILE_SECONDS, write_small, found, paths[1])
    where = "here, for a run trains on the cluster" if busy else "on the cluster"
    if not np.array_equal(found, pixels) or again.digest != store.digest:
        what = f"{folder}: a store read {where} is not what was written"
        return [Finding("store", FAILURE, what, "don't train there: test the disk and the memory")]
    return [Finding("store", OK, f"{folder}: written, read {where}, the same to the bit")]


def write_small(images: np.ndarray[Any, Any], path: Path) -> BlockStore:
    """A store of two blocks, opened from its disk."""
    return open_store(write_store(images, path, block_size=8).path)


async def plan_findings(
    client: Client, facts: ClusterFacts, config: Config, data: BlockStore | None, run: Path
) -> list[Finding]:
    """Whether the run that is meant would fit: its plan against memory, scratch and folder."""
    if facts.scheduler and facts.scheduler["training"]:
        what = "not made, for a run trains on the cluster: speeds would be wrong"
        return [Finding("plan", OK, what)]
    try:
        plan, _ = await plan_on(client, config, data, run)
    except YfccdaskError as error:
        return [Finding("plan", FAILURE, *parted(str(error)))]
    fitting = " or ".join(plan.suggestions) or "see `yfccdask plan`"
    return [
        *(Finding("plan", FAILURE, *_refusal(text, fitting)) for text in plan.refusals),
        *(Finding("plan", WARNING, *parted(text)) for text in plan.warnings),
    ] or [Finding("plan", OK, plan_text(plan))]


def _refusal(text: str, fitting: str) -> tuple[str, str]:
    """What is refused, and what would do: only for memory there are suggestions."""
    return (text, fitting) if text.startswith("memory:") else parted(text)


def plan_text(plan: RunPlan) -> str:
    """What a run that fits takes, of what there is."""
    limit = "no limit" if plan.site.memory is None else gigabytes(plan.site.memory)
    folder = f"{gigabytes(plan.disk.checkpoints)} of {gigabytes(plan.site.folder_free or 0)} free"
    return f"{gigabytes(plan.peak)} on the fullest worker of {limit}; checkpoints take {folder}"
