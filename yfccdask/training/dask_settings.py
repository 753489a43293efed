"""Dask's settings that training wants: `SETTINGS_FILE`, and the same as a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SETTINGS_FILE = Path(__file__).with_suffix(".yaml")  # as Dask reads it, through DASK_CONFIG


def flattened(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A tree's leaves by their dotted names, as `dask.config.set` takes them.

    Examples
    --------
    >>> flattened({"distributed": {"scheduler": {"work-stealing": False}}})
    {'distributed.scheduler.work-stealing': False}
    """
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        dotted = f"{above}{name}"
        leaves |= flattened(value, f"{dotted}.") if isinstance(value, dict) else {dotted: value}
    return leaves


TRAINING_SETTINGS = flattened(yaml.safe_load(SETTINGS_FILE.read_text(encoding="utf-8")))
