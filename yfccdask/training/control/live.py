"""The client's side of a run on a cluster: start it, follow it, pause it, stop it."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.comm import CommClosedError

from yfccdask.data.events import Event
from yfccdask.data.run_locks import holder_of
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import ClusterError, RunError, Stopped
from yfccdask.training.compatibility import process_versions
from yfccdask.training.control.controller import Controller
from yfccdask.training.control.html_status import status_html
from yfccdask.training.control.protocol import HANDLER, TOPIC, Message, answered, error_of, request

LOOK_SECONDS = 5.0  # without an event, before the scheduler is asked whether it is there
ANSWER_SECONDS = 20.0  # in which it answers, if it is
OnEvent = Callable[[Event], None]


class LiveRun:
    """The run that a cluster trains, whoever started it.

    Methods return values with an ordinary client, and coroutines with an asynchronous one.

    Parameters
    ----------
    client : distributed.Client

    Examples
    --------
    >>> live = yfccdask.attach(client)  # doctest: +SKIP
    >>> live.status()["layers"][0]["objective"]  # doctest: +SKIP
    1.47
    >>> live.pause()  # doctest: +SKIP
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def status(self) -> Any:
        """How far the run is: state, layers, last commit, workers; ``state: idle`` for no run."""
        return self._sync("status")

    def pause(self) -> Any:
        """Commit, and keep everything on the workers until `resume`; returns the status."""
        return self._sync("pause")

    def resume(self) -> Any:
        """Go on with a run that is paused; returns the status."""
        return self._sync("resume", run=None, force=False, versions=process_versions())

    def stop(self) -> Any:
        """Commit and end the run, which can be resumed; returns the status."""
        return self._sync("stop")

    def events(self, since: int = 0) -> Any:
        """The run's last events, after the one with serial number ``since``."""
        return self.client.sync(self._events, since)

    def follow(self, on_event: OnEvent = lambda event: None) -> Any:
        """Give every event to ``on_event`` until the run ends; returns the `Run`.

        Raises
        ------
        Stopped
            If it was stopped; `yfccdask resume` goes on with it.
        ClusterError
            If the scheduler is gone.
        YfccdaskError
            What the run failed with.
        """
        return self.client.sync(self.followed, on_event)

    def _sync(self, command: str, **fields: Any) -> Any:
        return self.client.sync(self.ask, command, **fields)

    async def ask(self, command: str, **fields: Any) -> Message:
        """Send a command; its answer, or the error that it was refused with."""
        handler = getattr(self.client.scheduler, HANDLER)
        try:
            answer = await handler(request=request(command, **fields))
        except (OSError, CommClosedError) as error:
            raise lost_scheduler(self.client, error) from None
        if answer is None:  # what Dask says to a request that nobody handles
            raise ClusterError(
                f"{self.client.scheduler.address}: expected yfccdask's controller on the "
                "scheduler, found none: start it with `dask scheduler --preload yfccdask.preload`, "
                "or train something there"
            )
        return answered(answer)

    async def _events(self, since: int) -> list[Event]:
        return list((await self.ask("events", since=since))["events"])

    async def installed(self) -> LiveRun:
        """Put the controller on the scheduler, unless it is there.

        Raises
        ------
        ClusterError
            If the scheduler can't import yfccdask.
        """
        try:
            await self.client.register_plugin(Controller())
        except (ImportError, AttributeError) as error:
            raise ClusterError(
                f"expected yfccdask on the scheduler, found it can't be imported ({error}): "
                "install it there, and start the scheduler again"
            ) from None
        return self

    async def begin(self, command: str, **fields: Any) -> AsyncIterator[Event]:
        """Send ``start`` or ``resume``; the run's events from its first one on."""
        inbox = self.subscribed()
        since = (await self.ask("status"))["serial"]
        await self.ask(command, versions=process_versions(), **fields)
        return self.from_inbox(inbox, since)

    async def followed(self, on_event: OnEvent) -> Run:
        """`follow` as a coroutine."""
        inbox = self.subscribed()
        status = await self.ask("status")
        if status["state"] == "idle":
            raise ClusterError("expected a run in training on this cluster, found none")
        on_event({"event": "attach", **status})
        return await outcome(status["run"], self.from_inbox(inbox, status["serial"]), on_event)

    def subscribed(self) -> asyncio.Queue[Event]:
        """A queue that every event comes to from now on."""
        inbox: asyncio.Queue[Event] = asyncio.Queue()

        async def put(event: tuple[float, Event]) -> None:
            inbox.put_nowait(event[1])

        self.client.subscribe_topic(TOPIC, put)
        return inbox

    async def from_inbox(self, inbox: asyncio.Queue[Event], last: int) -> AsyncIterator[Event]:
        """The events after one, each once: those that are kept, then those that come."""
        for event in await self._events(last):
            last = event["serial"]
            yield event
        while True:
            try:
                event = await asyncio.wait_for(inbox.get(), LOOK_SECONDS)
            except TimeoutError:
                await self.still_there()
                continue
            if event["serial"] > last:
                last = event["serial"]
                yield event

    async def still_there(self) -> None:
        """Ask the scheduler for a sign of life; ClusterError if there is none."""
        try:
            await asyncio.wait_for(self.ask("status"), ANSWER_SECONDS)
        except TimeoutError as error:
            raise lost_scheduler(self.client, error) from None

    def _repr_html_(self) -> str:
        status = self.status()
        if not isinstance(status, dict):  # an asynchronous client
            status.close()
            return html.escape(repr(self))
        return status_html(status)

    def __repr__(self) -> str:
        return f"<LiveRun on {self.client.scheduler.address}>"


def attach(where: Client | Run | str | Path) -> LiveRun:
    """The run that a cluster trains: its state as a table in a notebook, pause, resume, stop.

    Parameters
    ----------
    where : distributed.Client, Run, path or str
        A client, a run in training, its folder, or the address of a scheduler.

    Raises
    ------
    RunError
        If nobody trains the run.

    Examples
    --------
    >>> yfccdask.attach("run-1").follow(print)  # doctest: +SKIP
    >>> yfccdask.attach("tcp://127.0.0.1:8786").pause()  # doctest: +SKIP
    """
    if isinstance(where, Client):
        return LiveRun(where)
    address = where if isinstance(where, str) and "://" in where else scheduler_of(where)
    return LiveRun(Client(address, set_as_default=False))


def scheduler_of(run: Run | str | Path) -> str:
    """The address of the scheduler that trains a run.

    Raises
    ------
    RunError
        If nobody does.
    """
    path = open_run(run).path
    holder = holder_of(path)
    if not holder or "scheduler" not in holder:
        raise RunError(
            f"{path}: expected a run in training, found that nobody trains it: `yfccdask runs "
            f"{path.absolute().parent}` says how it ended, `yfccdask resume {path}` goes on with it"
        )
    return str(holder["scheduler"])


async def outcome(path: str | Path, events: AsyncIterator[Event], on_event: OnEvent) -> Run:
    """Follow events to the run's end; the run, or the error that it ended with."""
    async for event in events:
        if event["event"] != "over":
            on_event(event)
            continue
        if event["reason"] == "failed":
            raise error_of(event["error"], event["text"])
        if event["reason"] == "stopped":
            raise Stopped(f"{path}: stopped and resumable; `yfccdask resume {path}` goes on")
        break
    return open_run(path)


def lost_scheduler(client: Client, error: Exception) -> ClusterError:
    """What to say when a scheduler doesn't answer any more."""
    address = client.scheduler.address if client.scheduler is not None else client._start_arg
    return ClusterError(
        f"expected the scheduler {address} to answer, found it gone "
        f"({str(error) or 'no answer'}): if it was stopped, start it again and go on with "
        "`yfccdask resume RUN`"
    )
