"""The controller: a plugin on the Dask scheduler that trains one run at a time.

It has a client of its own, so that a run goes on when the one that started it is gone. Graphs are
built in threads: the scheduler's event loop stays free.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler, Security
from distributed.diagnostics.plugin import SchedulerPlugin

from yfccdask.config import parse_config
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import has_finished
from yfccdask.data.events import Event
from yfccdask.data.runs import Run, open_run, refuse_existing
from yfccdask.errors import ClusterBusy, RunError, StoreError, YfccdaskError
from yfccdask.training.compatibility import (
    process_versions,
)
from yfccdask.training.control.extensions import found_extensions, install_all
from yfccdask.training.control.garbage import collect_in_turns, full_collections_held
from yfccdask.training.control.protocol import (
    HANDLER,
    PROTOCOL,
    TOPIC,
    Message,
    check_protocol,
    refusal,
)
from yfccdask.training.enforcing import in_force
from yfccdask.training.inputs import check_store
from yfccdask.training.session import Session, Work

KEPT_EVENTS = 1000
PRUNE_SECONDS = 30.0
logger = logging.getLogger("yfccdask.controller")


class Controller(SchedulerPlugin):
    """Trains a run from the scheduler; commands come as plain dicts to the handler `HANDLER`.

    Examples
    --------
    On a scheduler that is started with it: ``dask scheduler --preload yfccdask.preload``. On one
    that runs already: ``client.register_plugin(Controller())``, which `train` does by itself.
    ``own_process`` says that the process is there for the scheduler alone.
    """

    name = "yfccdask"
    idempotent = True

    def __init__(self, own_process: bool = False) -> None:
        self.own_process = own_process
        self.session: Session | None = None
        self.training: asyncio.Task[str] | None = None
        self.ended: Message | None = None
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.serial = 0
        self.version = process_versions()["yfccdask"]  # reads files: not at every question

    def __reduce__(self) -> tuple[type[Controller], tuple[()]]:
        return Controller, ()

    async def start(self, scheduler: Scheduler) -> None:
        """Answer commands from now on; Dask calls this when the plugin is added."""
        self.scheduler = scheduler
        scheduler.handlers[HANDLER] = self.answer
        self.pruning = asyncio.create_task(self.prune())
        install_all(await asyncio.to_thread(found_extensions), self, scheduler)

    async def before_close(self) -> None:
        """The scheduler is to close (a signal, say): commit, within the run's grace."""
        await self.stopped()

    async def close(self) -> None:
        self.pruning.cancel()

    async def answer(self, request: Message) -> Message:
        """Answer a command; an error of ours is an answer too."""
        commands: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "status": self.status,
            "events": self.recent_events,
            "start": self.begin,
            "resume": self.resume,
            "pause": self.wish,
            "stop": self.wish,
        }
        try:
            check_protocol(request)
            return await commands[request["command"]](request)
        except (YfccdaskError, OSError) as error:
            return refusal(error)
        except Exception as error:  # the client is told, the log has it all
            logger.exception("command %s", request.get("command"))
            return refusal(error)

    @property
    def busy(self) -> bool:
        """Whether a run is in training, paused included."""
        return self.training is not None and not self.training.done()

    async def status(self, request: Message) -> Message:
        """What there is to know: of the run in training, else of the last one."""
        facts: Message = {"protocol": PROTOCOL, "serial": self.serial}
        facts |= {
            "version": self.version,
            "host": platform.node(),
            "pid": os.getpid(),
        }
        if self.session is None:
            return facts | {"state": "idle"}
        state = self.session.status()
        if not self.busy:
            state["state"] = "idle"
        return facts | state | {"ended": self.ended}

    def status_now(self) -> Message:
        """The run's status as plain values, made without asking anybody.

        ``state`` is ``empty`` before the first run, and how a run ended once it has.
        """
        if self.session is None:
            return {"state": "empty"}
        facts = self.session.status()
        if not self.busy:
            facts["state"] = (self.ended or {"reason": "stopped"})["reason"]
        return facts | {"ended": self.ended}

    def snapshot(self) -> Message:
        """The status, and the run's bounded history: what pages show."""
        if self.session is None:
            return self.status_now()
        return self.status_now() | {"history": self.session.history.snapshot()}

    async def recent_events(self, request: Message) -> Message:
        """The run's last events, as many as are kept, after the one with a serial number."""
        since = request.get("since", 0)
        return {"events": [event for event in self.events if event["serial"] > since]}

    async def begin(self, request: Message) -> Message:
        """Begin a new run: its configuration, store and folder are in the request."""
        self.refuse_second(request["run"])
        config = parse_config(request["config"], "the request")
        path = refuse_existing(request["run"])
        store = await asyncio.to_thread(open_store, request["store"])
        check_store(config, store)
        asked = (request["force"], request["versions"])
        return await self.launched(Work(store, config, path, None, *asked), request)

    async def resume(self, request: Message) -> Message:
        """Go on with a run: one that is paused here, else from its last commit."""
        path = Path(request["run"]) if request.get("run") else None
        session = self.session
        if self.busy and session and path in (None, session.work.path):
            if not session.paused:
                raise ClusterBusy(trains_already(session))
            session.wish("resume")
            return await self.status(request)
        if path is None:
            raise RunError("expected the run to go on with, found none: name its folder")
        self.refuse_second(path)
        run = await asyncio.to_thread(resumable, path)
        store = await asyncio.to_thread(store_of, run)
        asked = (request["force"], request["versions"])
        return await self.launched(Work(store, run.config, path, run, *asked), request)

    def refuse_second(self, path: str | Path) -> None:
        """One run at a time: the one that holds the cluster is named."""
        if self.busy and self.session:
            session = self.session
            if Path(path) == session.work.path:
                raise ClusterBusy(trains_already(session))
            raise ClusterBusy(
                f"{path}: expected a free cluster, found {session.work.path} on it "
                f"({session.state}): wait, `yfccdask stop` it, or use another cluster"
            )

    async def launched(self, work: Work, request: Message) -> Message:
        """Start a session; answer once its plan is accepted and its run on disk."""
        self.session = Session(self.clients, work, self.publish, self.scheduler.address)
        self.session.on_settled = collect_in_turns if self.own_process else None
        self.events.clear()
        self.ended = None
        self.training = asyncio.create_task(self.trained(self.session))
        await self.session.began.wait()
        if self.own_process:
            gc.freeze()  # the plan stays as long as the run trains
        if self.training.done() or self.ended or self.session.trainer is None:
            await self.training  # it ended before it could begin
        return await self.status(request)

    async def trained(self, session: Session) -> str:
        """Train a session to its end, and say how it ended to all who follow."""
        held = full_collections_held() if self.own_process else nullcontext()
        try:
            with held:
                async with in_force(self.scheduler):
                    reason = await session.train()
        except BaseException as error:
            self.ended = {"reason": "failed", **refusal(error)}
            if not isinstance(error, YfccdaskError | asyncio.CancelledError):
                logger.exception("%s failed", session.work.path)
            raise
        else:
            self.ended = {"reason": reason}
            return reason
        finally:
            self.publish({"event": "over", **(self.ended or {})})

    async def wish(self, request: Message) -> Message:
        """Pause or stop the run in training."""
        session = self.session
        if not self.busy or session is None:
            raise RunError("expected a run in training on this cluster, found none")
        if request.get("run") and Path(request["run"]) != session.work.path:
            raise RunError(f"expected {request['run']} on this cluster, found {session.work.path}")
        session.wish(request["command"])
        return await self.status(request)

    def stop_soon(self) -> None:
        """Stop what trains, if anything, without waiting (for signals)."""
        if self.busy and self.session:
            self.session.wish("stop")

    async def stopped(self) -> None:
        """Stop what trains, and wait until it has."""
        if self.busy and self.session and self.training:
            self.stop_soon()
            await asyncio.wait({self.training})

    def publish(self, event: Event) -> None:
        """Keep an event, and pass it on to whoever listens."""
        self.serial += 1
        numbered = {**event, "serial": self.serial}
        self.events.append(numbered)
        self.scheduler.log_event(TOPIC, numbered)

    def clients(self) -> Client:
        """A client of this scheduler."""
        return Client(
            self.scheduler.address,
            asynchronous=True,
            set_as_default=False,
            security=client_security(self.scheduler.security),
            name="yfccdask-controller",
        )

    async def prune(self) -> None:
        """Let go of what Dask remembers of tasks that are forgotten.

        Its spans keep a task group for every collection that ever was.
        """
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            forget_task_groups(self.scheduler)


def forget_task_groups(scheduler: Scheduler) -> int:
    """Take out of Dask's spans the groups whose tasks are all forgotten; returns how many."""
    extension = scheduler.extensions.get("spans")
    gone = 0
    for span in getattr(extension, "spans", {}).values():
        old = {group for group in span.groups if group.name not in scheduler.task_groups}
        if old == span.groups and old:  # Dask can't do with a span that has none
            old.pop()
        span.groups -= old
        gone += len(old)
    return gone


def client_security(security: Security) -> Security | None:
    """What a client on the scheduler needs: the scheduler's own certificate serves for both."""
    if not security.require_encryption and security.tls_ca_file is None:
        return None
    return Security(
        tls_ca_file=security.tls_ca_file,
        tls_client_cert=security.tls_client_cert or security.tls_scheduler_cert,
        tls_client_key=security.tls_client_key or security.tls_scheduler_key,
        require_encryption=True,
    )


def trains_already(session: Session) -> str:
    """What to say to somebody who wants a run to train that does."""
    path = session.work.path
    return (
        f"{path}: expected a run that nobody trains, found it in training here ({session.state}): "
        f"`yfccdask attach {path}` follows it"
    )


def resumable(path: Path) -> Run:
    """A run that has not finished.

    Raises
    ------
    RunError
    """
    run = open_run(path)
    if has_finished(run.path):
        raise RunError(f"{run.path}: expected a run to go on with, found one that has finished")
    return run


def store_of(run: Run) -> BlockStore:
    """The store that a run was begun with.

    Raises
    ------
    StoreError
        If it is gone, or another one lies there.
    """
    recorded: dict[str, Any] = run.provenance["store"]
    store = open_store(recorded["path"])
    if store.digest != recorded["digest"]:
        raise StoreError(
            f"{store.path}: expected the store that the run was begun with, of digest "
            f"{recorded['digest']}, found {store.digest}: put that store back"
        )
    return store
