"""Progress as it happens: bars in a terminal, a line now and then elsewhere, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from yfccdask.dashboard.notebook_progress import WidgetDisplay, in_notebook, show_in_notebook

Event = dict[str, Any]
LINE_EVERY = 10.0  # seconds between lines where there is no terminal


@contextmanager
def file_progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """A callback ``(done, total, text)`` that shows how far files are."""
    if quiet:
        yield lambda done, total, text: None
        return
    last = [0.0]

    def show(done: int, total: int, text: str) -> None:
        if done < total and time.monotonic() - last[0] < LINE_EVERY / 5:
            return
        last[0] = time.monotonic()
        click.echo(f"{what}: {done} of {total} {text}".rstrip(), err=True)

    yield show


class TrainingDisplay:
    """Turns a run's events into what a terminal shows."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.layers = progress, {}  # type: ignore[var-annotated]
        self.visits: list[int] = []
        self.last_line = 0.0

    def __call__(self, event: Event) -> None:
        shown = getattr(self, f"_{event.get('event', 'connect')}", None)
        if shown is not None:
            shown(event)

    def _connect(self, event: Event) -> None:
        place = f"scheduler {event['scheduler']}, {event['workers']} workers"
        click.echo(f"{place}; dashboard {event['dashboard']}", err=True)
        if event["ends_with_this_process"]:
            click.echo(
                "the run ends with this process; `yfccdask resume` goes on with it", err=True
            )

    def _start(self, event: Event) -> None:
        self.visits = event["visits"]

    def _attach(self, event: Event) -> None:
        click.echo(f"{event['run']}: {event['state']} on {event['workers']} workers", err=True)
        self.visits = [layer["of"] for layer in event["layers"]]
        self._begin_at([layer["blocks"] for layer in event["layers"]])

    def _commit(self, event: Event) -> None:
        self._say(f"commit {event['number']}: {event['layers']} layers")

    def _resume(self, event: Event) -> None:
        self.visits = event["visits"]
        self._say(f"going on from commit {event['commit']} at tick {event['tick']}")
        self._begin_at(event["done"])

    def _begin_at(self, done: list[int]) -> None:
        for layer, blocks in enumerate(done, start=1):
            self.layers.setdefault(layer, {}).update(blocks=blocks, images=0)

    def _warning(self, event: Event) -> None:
        click.secho(f"warning: {event['text']}", fg="yellow", err=True)

    def _lost(self, event: Event) -> None:
        click.secho(f"lost: {event['text']}", fg="yellow", err=True)

    def _pause(self, event: Event) -> None:
        click.echo(f"paused at tick {event['tick']}; `yfccdask resume` goes on", err=True)

    def _block(self, event: Event) -> None:
        layer, terms = event["layer"], len(event["sparsity"])
        objective = (sum(event["reconstruction"]) + sum(event["sparsity"])) / terms
        done = self.layers.setdefault(layer, {"blocks": 0, "images": 0})
        done["blocks"] += 1
        done["images"] += event["images"]
        rate = done["images"] / event["seconds"] if event["seconds"] else 0
        text = f"objective {objective:.4g}, {rate:,.0f} images/s"
        if self.progress is not None:
            self._bar(layer, done, text)
        elif time.monotonic() - self.last_line > LINE_EVERY or done["blocks"] == 1:
            self.last_line = time.monotonic()
            self._say(f"layer {layer}: block {done['blocks']} of {self.visits[layer - 1]}, {text}")

    def _bar(self, layer: int, done: dict[str, Any], text: str) -> None:
        assert self.progress is not None
        if "task" not in done:
            total = self.visits[layer - 1]
            done["task"] = self.progress.add_task(f"layer {layer}", total=total, text="")
        self.progress.update(done["task"], completed=done["blocks"], text=text)

    def _say(self, text: str) -> None:
        if self.progress is None:
            click.echo(text, err=True)


@contextmanager
def training_progress(as_json: bool = False) -> Iterator[Callable[[Event], None]]:
    """A callback for a run's events: a widget in a notebook, bars in a terminal, lines elsewhere.

    With ``as_json``, JSON lines on standard output.

    Examples
    --------
    >>> with yfccdask.training_progress() as show:  # doctest: +SKIP
    ...     run = yfccdask.train("demo", "blocks", "run-1", on_event=show)
    """
    if as_json:
        yield lambda event: click.echo(json.dumps(event))
        return
    if in_notebook():
        display = WidgetDisplay()
        show_in_notebook(display.widget)
        yield display
        return
    if not sys.stderr.isatty():
        yield TrainingDisplay(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = (*columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*shown, console=Console(stderr=True)) as progress:
        yield TrainingDisplay(progress)
