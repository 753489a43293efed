"""Small jobs on the side: removing from the workers' disks what nothing will ask for again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from distributed import Client

from yfccdask.data.scratch import remove_places
from yfccdask.graph.state_chunks import Scratch


@dataclass
class Errands:
    """Jobs that nobody waits for, on every worker that holds chunks."""

    client: Client
    scratch: Scratch
    workers: list[str]
    under_way: set[Any] = field(default_factory=set)

    async def remove(self, places: list[str]) -> None:
        """Remove places of the session's scratch."""
        self.under_way = {job for job in self.under_way if not job.done()}
        for address in self.workers if places else ():
            where = {"workers": [address], "pure": False}
            job = self.client.submit(clear_scratch, self.scratch, places, **where)
            self.under_way.add(job)

    async def clear(self) -> None:
        """Remove all of the session's scratch, and wait until it is gone."""
        await self.remove([""])
        await self.client.gather(list(self.under_way))


def clear_scratch(scratch: Scratch, places: list[str]) -> None:
    """Task: remove places from the session's folder on this worker."""
    remove_places(scratch.folder, places)
