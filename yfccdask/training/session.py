"""One run in training, from the plan to its end: planned, begun or resumed, recovered, stopped.

There is one way to go on after anything: load the last commit that can be read, and train from
there. A lost worker, a hung one and a person's ``resume`` all take it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, span

from yfccdask.config import Config
from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import (
    commit_folder,
    commit_numbers,
    next_number,
    open_commit,
    set_aside,
)
from yfccdask.data.events import Event
from yfccdask.data.run_locks import hold_run
from yfccdask.data.runs import Run, create_run
from yfccdask.errors import DamagedCommit, ForeignCommit, LostChunk, YfccdaskError
from yfccdask.training.compatibility import Versions, check_versions, process_versions
from yfccdask.training.history import History
from yfccdask.training.loop import OnEvent, Trainer
from yfccdask.training.pipeline.messages import Wish
from yfccdask.training.planned_figures import plan_facts
from yfccdask.training.planning import at_addresses, plan_on, refuse
from yfccdask.training.planning.sites import workers_of
from yfccdask.training.provenance import Facts, differences, run_provenance, worker_facts
from yfccdask.training.tally import Tally
from yfccdask.training.watching import HungWorkers, Patience, restart_workers, while_all_stay

Clients = Callable[[], AbstractAsyncContextManager[Client]]


@dataclass(frozen=True)
class Work:
    """What a session trains: a run that is there, or a new one at ``path``.

    ``versions`` are those of the client that asked for it.
    """

    store: BlockStore
    config: Config
    path: Path
    run: Run | None = None
    force: bool = False
    versions: Versions = field(default_factory=process_versions)


@dataclass
class Session:
    """Training of one run on one cluster.

    ``clients`` makes an asynchronous client: a fresh one for every attempt, since closing one lets
    go of all that it had under way. ``on_settled`` is awaited where what was computed is forgotten.
    ``began`` is done once the run is on disk, its plan accepted.
    """

    clients: Clients
    work: Work
    on_event: OnEvent = lambda event: None
    scheduler: str = ""
    on_settled: Callable[[], Awaitable[None]] | None = None
    run: Run | None = None
    trainer: Trainer | None = None
    paused: bool = False
    recovering: bool = False
    failures: int = 0
    workers: int = 0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.run = self.work.run
        self.history = History(self.config)
        self.began: asyncio.Event = asyncio.Event()
        self.stop_asked = asyncio.Event()
        self.held = ExitStack()
        self.last_commit = 0

    @property
    def config(self) -> Config:
        return self.work.config

    @property
    def state(self) -> str:
        """One word: starting, running, pausing, paused, stopping or recovering."""
        if self.stop_asked.is_set():
            return "stopping"
        if self.recovering:
            return "recovering"
        if self.trainer is None:
            return "starting"
        if self.paused:
            return "paused" if self.trainer.machine.phase == "held" else "pausing"
        return "running"

    def status(self) -> dict[str, Any]:
        """How far the run is, for JSON."""
        machine = self.trainer.machine if self.trainer else None
        return {
            "state": self.state,
            "run": str(self.work.path),
            "store": str(self.work.store.path),
            "workers": self.workers,
            "tick": machine.progress.tick if machine else None,
            "commit_share": machine.clock.share(time.monotonic()) if machine else None,
            **self.tally.as_dict(),
        }

    def publish(self, event: Event) -> None:
        """Count an event and pass it on."""
        self.tally.add(event)
        self.history.add(event)
        self.on_event(event)

    def log(self, kind: str, **fields: Any) -> None:
        """Record an event in the run, once there is one."""
        if self.run is not None:
            self.publish(self.run.log(kind, **fields))

    def wish(self, what: Wish) -> None:
        """A person, or a signal, wants something."""
        if what == "stop":
            self.stop_asked.set()
        if what in ("pause", "resume"):
            self.paused = what == "pause"
        if self.trainer is not None:
            self.trainer.wish(what)

    async def train(self) -> str:
        """Train until the run has finished or is stopped; returns which.

        Raises
        ------
        PlanRefused, RunHeld, DamagedCommit, DiskFull, Diverged, LostChunk
        """
        try:
            with self.held:
                if self.run is not None:
                    self.hold(self.run)
                try:
                    reason = await self.until_stopped()
                    self.log("end", reason=reason, commit_share=self.status()["commit_share"])
                    return reason
                except BaseException as error:
                    self.log_failure(error)
                    raise
        finally:
            self.began.set()

    def log_failure(self, error: BaseException) -> None:
        """Say in the run why it ended; a full disk may not even take that."""
        text = str(error) if isinstance(error, YfccdaskError) else repr(error)
        with suppress(YfccdaskError, OSError):
            self.log("end", reason="failed", error=type(error).__name__, text=text)

    def hold(self, run: Run) -> None:
        """Hold the run: no other session may train it until this one is over."""
        facts = {"host": platform.node(), "pid": os.getpid(), "since": time.time()}
        facts |= {"scheduler": self.scheduler}
        self.held.enter_context(hold_run(run.path, facts))

    async def until_stopped(self) -> str:
        """Train; a stop that is asked for has its grace to commit in."""
        training = asyncio.create_task(self.attempts())
        asked = asyncio.create_task(self.stop_asked.wait())
        try:
            await asyncio.wait({training, asked}, return_when=asyncio.FIRST_COMPLETED)
            if training.done():
                return await training
            done, _ = await asyncio.wait({training}, timeout=self.config.checkpoints.grace)
            return await training if done else "stopped"
        finally:
            asked.cancel()
            training.cancel()
            await asyncio.gather(training, asked, return_exceptions=True)

    async def attempts(self) -> str:
        """Train, and after a loss go on from the last commit, as often as the recovery allows."""
        while True:
            try:
                return await self.attempt()
            except LostChunk as error:
                if self.stop_asked.is_set():
                    return "stopped"
                self.count_failure(error)
                self.recovering = True
                self.log("lost", text=str(error), failures=self.failures)
                await self.recover(error)
                self.recovering = False

    def count_failure(self, error: LostChunk) -> None:
        """Give up after so many losses in a row without a commit between them."""
        commits = self.trainer.commits if self.trainer else 0
        self.failures = 1 if commits > self.last_commit else self.failures + 1
        self.last_commit, self.trainer = commits, None
        if self.failures > self.config.recovery.attempts:
            raise error

    async def recover(self, error: LostChunk) -> None:
        """Restart what hangs, and wait for as many workers as there were."""
        async with self.clients() as client:
            if isinstance(error.__cause__, HungWorkers):
                await restart_workers(client, error.__cause__.addresses)
            deadline = time.monotonic() + self.config.recovery.wait
            while (found := len(await workers_of(client))) < self.workers:
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.2)
        if not found:
            raise LostChunk(
                f"{self.work.path}: expected workers to come back within "
                f"{self.config.recovery.wait:g} s, found none: start workers, then `yfccdask "
                f"resume {self.work.path}`"
            ) from error

    async def attempt(self) -> str:
        """Plan on the workers that are there, load what there is, and train."""
        async with self.clients() as client:
            with span("yfccdask"):
                return await self.attempt_on(client)

    async def attempt_on(self, client: Client) -> str:
        """An attempt as one of Dask's spans: by itself Dask begins and keeps one a tick or so."""
        patience = Patience(self.config.recovery.patience, planned=0.0, settling=True)
        preparing = self.prepared(client)
        trainer = await while_all_stay(client, self.work.path, preparing, patience)
        self.trainer = trainer
        if self.paused:
            trainer.wish("pause")
        if self.stop_asked.is_set():
            return "stopped"
        self.began.set()
        return await trainer.train()

    async def prepared(self, client: Client) -> Trainer:
        """A trainer on the client's cluster, with the last commit's network on it."""
        await check_versions(client, self.work.versions)
        plan, addresses = await plan_on(client, self.config, self.work.store, self.work.path)
        if not self.work.force:
            refuse(plan)
        facts, known = await worker_facts(client), self.run is not None
        run = self.run or self.new_run(facts)
        self.workers = max(self.workers, len(addresses))
        where = (run, self.work.store, list(plan.layouts), at_addresses(plan, addresses))
        kept = {"tick_seconds": plan.seconds, "hosted": plan.hosted}
        trainer = Trainer(client, *where, self.publish, **kept)
        trainer.on_settled, trainer.history = self.on_settled, self.history
        self.history.plan = plan_facts(plan, addresses)
        if known and self.history.empty:
            self.history.add_all(await asyncio.to_thread(run.events))
        if known:
            for text in differences(run.provenance, facts):
                self.log("warning", text=text)
            await self.load(trainer, run)
        trainer.commits = await asyncio.to_thread(next_number, run.checkpoints) - 1
        return trainer

    def new_run(self, facts: list[Facts]) -> Run:
        """Make the run's folder, and hold it."""
        provenance = run_provenance(self.work.store, facts)
        self.run = create_run(self.work.path, self.config, provenance)
        self.hold(self.run)
        return self.run

    async def load(self, trainer: Trainer, run: Run) -> None:
        """Put the newest commit that can be read on the workers; say which ones can't.

        Raises
        ------
        DamagedCommit
            If there are commits, and none can be read.
        """
        damaged: dict[Path, DamagedCommit] = {}
        for number in commit_numbers(run.checkpoints):
            folder = commit_folder(run.checkpoints, number)
            try:
                await trainer.go_on_from(await asyncio.to_thread(open_commit, folder))
                for path in damaged:
                    set_aside(path)
                return
            except ForeignCommit:
                raise
            except DamagedCommit as error:
                damaged[folder] = error
                self.log("warning", text=f"{error}: going on from the commit before it")
        if damaged:
            raise DamagedCommit(
                f"{run.checkpoints}: expected a commit that can be read, found {len(damaged)} that "
                f"can't (the newest: {next(iter(damaged.values()))}): put a copy back, or move "
                "them away to train from the first tick"
            )
