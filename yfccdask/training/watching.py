"""Is everyone there, and does anything still happen? What a session looks at while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker, NoValidWorkerError

from yfccdask.errors import LostChunk
from yfccdask.training.planning.sites import workers_of

WATCH_SECONDS = 2.0  # between looks
ANSWER_SECONDS = 10.0  # in which a worker that lives says what it does
LEAST_PATIENCE = 300.0
LONGEST_BLOCKS = 10  # of the longest block's time is as long as nothing may happen
WHILE_SETTLING = 10  # times the patience, for a commit


LOSSES = (KilledWorker, NoValidWorkerError, FutureCancelledError, CommClosedError)
T = TypeVar("T")


class HungWorkers(Exception):
    """Workers that hold tasks which don't end; they are to be restarted."""

    def __init__(self, addresses: Sequence[str], seconds: float) -> None:
        self.addresses = list(addresses)
        names = ", ".join(self.addresses) or "no worker in particular"
        super().__init__(f"nothing was done for {seconds:.0f} s; busy: {names}")


@dataclass
class Patience:
    """How long ago something was done, and how long that may be.

    ``planned`` are the seconds of a tick by the plan, ``asked`` the configuration's own bound.
    """

    asked: float | None
    planned: float
    longest: float = 0.0
    settling: bool = False
    held: bool = False
    last: float = field(default_factory=time.monotonic)

    @property
    def bound(self) -> float:
        """Seconds without progress after which workers are given up."""
        usual = max(LEAST_PATIENCE, LONGEST_BLOCKS * max(self.longest, self.planned))
        bound = usual if self.asked is None else self.asked
        return bound * WHILE_SETTLING if self.settling else bound

    @property
    def idle(self) -> float:
        """Seconds since something was done."""
        return time.monotonic() - self.last

    def progress(self) -> None:
        """Something was done just now."""
        if not self.settling and not self.held:
            self.longest = max(self.longest, self.idle)
        self.last = time.monotonic()

    @property
    def over(self) -> bool:
        return not self.held and self.idle > self.bound


def lost_chunk(run: Path, what: object) -> LostChunk:
    """The error that a lost worker ends an attempt with."""
    return LostChunk(
        f"{run}: expected every worker to stay, found one lost ({what}): go on from the last "
        f"commit with `yfccdask resume {run}`"
    )


async def while_all_stay(client: Client, run: Path, work: Awaitable[T], patience: Patience) -> T:
    """The result of work on a run, unless a worker is lost or hangs before it is there.

    Raises
    ------
    LostChunk
        If one is gone, or hangs (`HungWorkers` is then its cause).
    """
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(lost_worker(client, list(await workers_of(client)), patience))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return await doing
        raise lost_chunk(run, await watching)
    except LOSSES as error:
        raise lost_chunk(run, error) from None
    except HungWorkers as error:
        raise lost_chunk(run, error) from error
    finally:
        doing.cancel()
        watching.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def lost_worker(client: Client, workers: Sequence[str], patience: Patience) -> str:
    """Wait until one of the workers is gone (its pinned tasks would wait for ever).

    Raises
    ------
    HungWorkers
        If all are there, and nothing is done for longer than patience lasts.
    """
    while True:
        await asyncio.sleep(min(WATCH_SECONDS, patience.bound))
        assert client.scheduler is not None
        missing = set(workers) - set(await client.scheduler.ncores())
        if missing:
            return f"{sorted(missing)[0]} is gone"
        if patience.over:
            raise HungWorkers(await busy_workers(client, workers), patience.idle)


async def busy_workers(client: Client, workers: Sequence[str]) -> list[str]:
    """The workers that execute something, or don't answer at all."""
    answers = await asyncio.gather(*(_busy(client, address) for address in workers))
    return [address for address, busy in zip(workers, answers, strict=True) if busy]


async def _busy(client: Client, address: str) -> bool:
    asked = client.run(executing, workers=[address], on_error="return")
    try:
        answer: dict[str, Any] = await asyncio.wait_for(asked, ANSWER_SECONDS)
    except (TimeoutError, OSError):
        return True
    return bool(answer.get(address, True))


def executing(dask_worker: Any) -> int:
    """On a worker: the tasks that it executes now."""
    return int(dask_worker.state.executing_count)


async def restart_workers(client: Client, addresses: Sequence[str]) -> None:
    """Have workers killed, and started again where they have a nanny."""
    with suppress(TimeoutError, OSError, ValueError):  # ValueError: one has no nanny
        await client.restart_workers(list(addresses), timeout=30, raise_for_error=False)
    await client.run_on_scheduler(forget_workers, list(addresses))


async def forget_workers(addresses: list[str], dask_scheduler: Any) -> None:
    """On the scheduler: remove the workers that are still there."""
    for address in set(addresses) & set(dask_scheduler.workers):
        await dask_scheduler.remove_worker(address, stimulus_id="yfccdask-hung-worker")
