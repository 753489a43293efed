"""``status``, ``attach``, ``pause``, ``stop`` and ``runs``: runs in training, and those on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from yfccdask.cli.options import (
    as_json,
    detachable,
    print_table,
    report_errors,
    say,
    scheduler_options,
)
from yfccdask.dashboard.progress import training_progress
from yfccdask.dashboard.status_text import live_text, runs_table
from yfccdask.dashboard.summary import layer_summaries, summary_text
from yfccdask.data.run_locks import holder_of
from yfccdask.errors import RunError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.control.live import LiveRun, scheduler_of
from yfccdask.training.run_overviews import list_runs, overview
from yfccdask.training.start import on_cluster

run_argument = click.argument("run", type=click.Path(path_type=Path), required=False)
Command = Callable[..., Any]


def live_command(name: str) -> Callable[[Command], click.Command]:
    """A command on the run that a cluster trains: by the run's folder, or by the scheduler."""

    def decorate(command: Command) -> click.Command:
        shared = (click.command(name), run_argument, scheduler_options, as_json, report_errors)
        for decorator in reversed(shared):
            command = decorator(command)
        return command  # type: ignore[return-value]

    return decorate


def place_of(run: Path | None, cluster: ClusterRequest | None) -> ClusterRequest:
    """The cluster that was named, or the one that trains the run that was."""
    if cluster is not None:
        return cluster
    if run is None:
        raise click.UsageError("expected a RUN, --scheduler or --scheduler-file, found none")
    return ClusterRequest(scheduler=scheduler_of(run))


def asked(place: ClusterRequest, command: str, run: Path | None) -> dict[str, Any]:
    """Send a command to the controller of a cluster; its answer."""
    named = str(run.absolute()) if run else None
    answer: dict[str, Any] = on_cluster(place, lambda live: live.ask(command, run=named))
    return answer


@live_command("status")
def status_command(run: Path | None, cluster: ClusterRequest | None, as_json: bool) -> None:
    """How far a run is: state, blocks and objective per layer, last commit, workers.

    Of a RUN that nobody trains, what is on disk.
    """
    if run is not None and cluster is None:
        holder = holder_of(run)
        if not holder:
            found = overview(run)
            if found.state == "unreadable":
                raise RunError(found.reason)
            say(as_json, found.as_dict(), f"{run}: {found.state}. {found.reason}".rstrip(" ."))
            return
        cluster = ClusterRequest(scheduler=holder["scheduler"])
    status = asked(place_of(run, cluster), "status", None)
    say(as_json, status, live_text(status))


@live_command("attach")
def attach_command(run: Path | None, cluster: ClusterRequest | None, as_json: bool) -> None:
    """Follow a run in training to its end; Ctrl-C leaves it alone. With --json, lines of events."""
    with detachable(embedded=False), training_progress(as_json) as follow:
        done = on_cluster(place_of(run, cluster), lambda live: LiveRun.followed(live, follow))
    if not as_json:
        click.echo(summary_text(layer_summaries(done)))


@live_command("pause")
def pause_command(run: Path | None, cluster: ClusterRequest | None, as_json: bool) -> None:
    """Commit, and keep everything on the workers until `yfccdask resume`."""
    status = asked(place_of(run, cluster), "pause", run)
    say(as_json, status, f"{status['run']}: {status['state']}; `yfccdask resume` goes on")


@live_command("stop")
def stop_command(run: Path | None, cluster: ClusterRequest | None, as_json: bool) -> None:
    """Commit and end a run in training; `yfccdask resume` goes on with it later."""
    status = asked(place_of(run, cluster), "stop", run)
    say(as_json, status, f"{status['run']}: {status['state']}; it commits first")


@click.command("runs")
@click.argument("directory", type=click.Path(path_type=Path), default=Path())
@as_json
@report_errors
def runs_command(directory: Path, as_json: bool) -> None:
    """The runs in a folder: state, blocks per layer, last commit, why each ended."""
    found = list_runs(directory)
    if as_json:
        say(True, {"runs": [each.as_dict() for each in found]}, "")
    elif found:
        print_table(*runs_table(found))
    else:
        click.echo(f"{directory}: no runs")
