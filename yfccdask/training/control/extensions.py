"""What comes with the controller on a scheduler: its pages, its metrics, and what others add.

An extension is an entry point of the group `GROUP`: a function that is given the controller and the
scheduler once, on the scheduler's event loop. So training knows nothing of what shows it, and
wherever the controller is put, by a preload or by a client, its pages come with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

GROUP = "yfccdask.scheduler"
Extension = Callable[[Any, Any], None]
logger = logging.getLogger("yfccdask.extensions")


def found_extensions() -> dict[str, Extension]:
    """The extensions that are installed, by name; one that can't be imported is said and left out.

    It reads files and imports modules: call it in a thread.
    """
    found: dict[str, Extension] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found[entry.name] = entry.load()
        except Exception:  # training goes on without it
            logger.exception("the extension %s can't be imported", entry.name)
    return found


def install_all(extensions: dict[str, Extension], controller: Any, scheduler: Any) -> None:
    """Install extensions; one that fails is said in the scheduler's log, and no more."""
    for name, install in extensions.items():
        try:
            install(controller, scheduler)
        except Exception:
            logger.exception("the extension %s can't be installed", name)
