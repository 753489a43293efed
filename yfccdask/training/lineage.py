"""What led to the chunks that are held: the scheduler remembers it, and forgets it in portions.

Letting go of the newest chunks at once would make the scheduler forget, in one go of its event
loop, everything that has been computed since chunks were last given new keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future

PORTION_SECONDS = 0.015  # a client sends what it has every 10 ms
RELEASES = 16  # futures at a time


@dataclass
class Lineage:
    """The keys at which what was submitted can be cut, a list per slice, the oldest first."""

    client: Client
    portions: list[list[Any]] = field(default_factory=list)

    async def forget(self, futures: Sequence[Future]) -> None:
        """Let go of futures and of all that led to them, the newest slices first.

        What is computed and in nobody's memory is wanted here for a moment: so the scheduler
        doesn't go on from it when it forgets what was made of it.
        """
        portions, self.portions = self.portions, []
        assert self.client.scheduler is not None
        keys = [key for portion in portions for key in portion]
        states = await self.client.scheduler.get_task_status(keys=keys)
        cuts = [[key for key in each if states[key] == "released"] for each in portions]
        self._tell("client-desires-keys", [key for cut in cuts for key in cut])
        await self._release(futures)
        for cut in reversed(cuts):
            self._tell("client-releases-keys", cut)
            await asyncio.sleep(PORTION_SECONDS)

    async def _release(self, futures: Sequence[Future]) -> None:
        for number, future in enumerate(futures, 1):
            future.release()
            if number % RELEASES == 0:
                await asyncio.sleep(PORTION_SECONDS)

    def _tell(self, what: str, keys: list[Any]) -> None:
        """What a client says of the keys of its futures; there are none for these."""
        if keys:
            self.client._send_to_scheduler({"op": what, "keys": keys, "client": self.client.id})
