"""Runs in words: the one that a cluster trains, and a table of those on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from yfccdask.training.run_overviews import RunOverview
from yfccdask.training.tally import LayerTally


def live_text(status: dict[str, Any]) -> str:
    """A controller's status as lines."""
    if "run" not in status:
        return "idle: no run was trained on this cluster yet"
    lines = [f"{status['run']}: {status['state']} on {status['workers']} workers"]
    for each in status["layers"]:
        lines.append(f"  layer {each['layer']}: {layer_text(LayerTally(**each))}")
    if commit := status["commit"]:
        share = status["commit_share"]
        cost = "" if share is None else f"; commits took {share:.1%} of the time"
        ago = time.time() - commit["time"]
        lines.append(f"  commit {commit['number']} at tick {commit['tick']}, {age(ago)} ago{cost}")
    lines += [f"  warning: {text}" for text in status["warnings"]]
    if status["lost"]:
        lines.append(f"  workers lost: {status['lost']}; it went on from its last commit each time")
    if ended := status.get("ended"):
        lines.append(f"  ended: {ended['reason']} {ended.get('text', '')}".rstrip())
    return "\n".join(lines)


def layer_text(layer: LayerTally) -> str:
    """A layer's progress in a few words."""
    text = f"{layer.blocks} of {layer.of} blocks"
    if layer.objective is not None:
        text += f", objective {layer.objective:.4g}"
    if layer.images_per_second is not None:
        text += f", {layer.images_per_second:,.0f} images/s"
    return text


def runs_table(found: Sequence[RunOverview]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for a terminal."""
    headings = ["run", "state", "blocks per layer", "commit", "written", "why"]
    now = time.time()
    rows = [
        [
            each.run,
            each.state,
            " ".join(f"{layer.blocks}/{layer.of}" for layer in each.layers) or "-",
            "-" if each.commit is None else str(each.commit),
            "-" if each.committed is None else f"{age(now - each.committed)} ago",
            shorten(each.reason, 80, placeholder=" ..."),
        ]
        for each in found
    ]
    return headings, rows


def age(seconds: float) -> str:
    """A time span in its largest unit.

    Examples
    --------
    >>> age(50), age(600), age(90000)
    ('50 s', '10 min', '25 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
