"""What a run's bits depend on beside its configuration: versions, BLAS, the store."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from distributed import Client

from yfccdask.backend import blas_description
from yfccdask.data.blocks import BlockStore

PACKAGES = ("yfccdask", "numpy", "numba", "scipy", "dask", "distributed", "zarr")
Facts = dict[str, Any]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the bits depend on."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def process_facts() -> Facts:
    """What the bits that this process computes depend on."""
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "blas": blas_description(),
    }


async def worker_facts(client: Client) -> list[Facts]:
    """The different facts among a cluster's workers: one where all are alike."""
    found: dict[str, Facts] = await client.run(process_facts)
    return unique(found.values())


def unique(facts: Iterable[Facts]) -> list[Facts]:
    """Each of the facts once, in the order of their text."""
    return [each for _, each in sorted({str(each): each for each in facts}.items())]


def run_provenance(store: BlockStore, workers: list[Facts]) -> dict[str, Any]:
    """Recorded in ``config.yaml``: when, with what, on which data."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **workers[0],
        "other_workers": workers[1:],
        "store": {
            "path": str(Path(store.path).resolve()),
            "digest": store.digest,
            "blocks": store.blocks,
            "images": store.images,
        },
    }


def differences(recorded: dict[str, Any], workers: list[Facts]) -> list[str]:
    """How workers differ from those that a run was begun with; each may change its bits."""
    before = [{key: recorded[key] for key in workers[0]}, *recorded["other_workers"]]
    lines = []
    for now in workers:
        if now not in before:
            lines += [
                f"{name}: {was} then, {found} now" for name, was, found in _changed(before[0], now)
            ]
    if len(before) > 1 or len(workers) > 1:
        lines.append("the workers are not all alike: bits depend on which one has which chunk")
    return lines


def _changed(then: Facts, now: Facts) -> list[tuple[str, Any, Any]]:
    flat = [{**facts["versions"], "machine": facts["machine"]} for facts in (then, now)]
    for names, facts in zip(flat, (then, now), strict=True):
        for number, blas in enumerate(facts["blas"]):
            names |= {f"BLAS {number} {key}": value for key, value in blas.items()}
    keys = sorted(flat[0] | flat[1])
    changed = [(key, flat[0].get(key), flat[1].get(key)) for key in keys]
    return [(key, was, found) for key, was, found in changed if was != found]
