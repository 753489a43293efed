"""When Python collects garbage on a scheduler of its own: in full only where a run settles.

A full collection looks at everything that lives, in one go of the event loop, and Python begins
one when it likes. Where a run settles, what it has computed is forgotten and little lives.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEVER = 1_000_000_000  # collections of the middle generation until one of the oldest


@contextmanager
def full_collections_held() -> Iterator[None]:
    """No full collection but those that are asked for; what lives already is not looked at."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds[:2], NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def collect_in_turns() -> None:
    """Collect all garbage, the young first; others have a turn of the event loop between."""
    gc.collect(1)
    await asyncio.sleep(0)
    gc.collect()
