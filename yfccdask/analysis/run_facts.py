"""What identifies a run, and what became of its layers, as texts and numbers for a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import xarray as xr

from yfccdask.analysis.results import commit_digest
from yfccdask.dashboard.summary import images_per_second, objective_ends
from yfccdask.data.commits import Commit
from yfccdask.data.events import Event
from yfccdask.data.runs import Run


def facts_of(run: Run, commit: Commit, events: Sequence[Event]) -> dict[str, str]:
    """What identifies the run, as text."""
    versions = run.provenance.get("versions", {})
    store = run.provenance.get("store", {})
    images = run.config.images
    return {
        "Started": str(run.provenance.get("created", "unknown")),
        "Duration": duration(seconds_of(events)),
        "Images": f"{store.get('images', 0):,} of {images.size} × {images.size} pixels, "
        f"{images.channels} channel{'s' if images.channels > 1 else ''}",
        "Machine": str(run.provenance.get("machine", "unknown")),
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "Commit": f"{commit.number} (manifest {commit_digest(commit)})",
        "Store": f"{store.get('path', 'unknown')} (digest {store.get('digest', 'unknown')})",
    }


def seconds_of(events: Sequence[Event]) -> float:
    """How long all sessions of a run took together."""
    steps = ((before["time"], event) for before, event in pairwise(events))
    return sum(event["time"] - before for before, event in steps if event["event"] != "start")


def duration(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> duration(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def state_of(events: Sequence[Event]) -> str:
    """How the run's last session ended, in a few words."""
    words = {"start": "not finished", "diverged": "its training diverged", "end": "finished"}
    kinds = [event["event"] for event in events if event["event"] in words]
    return words[kinds[-1]] if kinds else words["start"]


def layer_row(
    run: Run, number: int, blocks: Sequence[Event], strongest: xr.Dataset | None
) -> dict[str, Any]:
    """A layer's row of the table (counted from 1), from its blocks' events and its pass."""
    layer = run.geometry.layers[number - 1]
    return {
        "number": number,
        "kind": "dense" if layer.dense else "local",
        "grid": layer.grid,
        "positions": layer.positions,
        "window": f"{layer.window[0]} × {layer.window[1]} × {layer.input.maps}",
        "inputs": layer.inputs,
        "units": layer.units,
        "weights": layer.weights,
        "objective": objective_ends(blocks),
        "pace": images_per_second(blocks),
        "alive": None if strongest is None else float(strongest["alive"].mean()),
    }
