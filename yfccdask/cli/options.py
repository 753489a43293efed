"""What the commands share: options, output as text or JSON, errors as one line and an exit code."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from dask.utils import parse_bytes
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from yfccdask.errors import ClusterError, YfccdaskError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.clusters.requested import DEVICES, PROTOCOLS, RMM_POOL

Command = Callable[..., Any]
SCHEDULER = ("scheduler", "scheduler_file", "tls_ca_file", "tls_cert", "tls_key")
CLUSTER = (
    *SCHEDULER,
    "await_workers",
    "workers",
    "memory",
    "host",
    "insecure",
    "device",
    "pool",
    "protocol",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: one object, or one a line for events."
)
settings = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the configuration, e.g. layers.0.units=96; repeatable.",
)


def scheduler_options(command: Command) -> Command:
    """A scheduler that runs already, as ``cluster``: a `ClusterRequest`, or None."""

    @_scheduler
    @_tls_files
    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        asked = {name: options.pop(name) for name in SCHEDULER}
        if any(asked.values()) and not (asked["scheduler"] or asked["scheduler_file"]):
            raise click.UsageError("expected --scheduler with TLS files, found none")
        found = _cluster_request(asked) if any(asked.values()) else None
        return command(*arguments, cluster=found, **options)

    return wrapped


def _scheduler(command: Command) -> Command:
    file = click.option("--scheduler-file", type=click.Path(), help="The file that it wrote.")
    address = click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler.")
    return address(file(command))


def _tls_files(command: Command) -> Command:
    authority = click.option(
        "--tls-ca-file", metavar="FILE", help="PEM file of the cluster's authority."
    )
    own = click.option("--tls-cert", metavar="FILE", help="PEM file of one's own certificate.")
    key = click.option("--tls-key", metavar="FILE", help="PEM file of its key.")
    return authority(own(key(command)))


def _devices(command: Command) -> Command:
    device = click.option(
        "--device",
        type=click.Choice(DEVICES),
        help="What to train on (default: as the configuration says, arithmetic.device).",
    )
    pool = click.option(
        "--pool",
        metavar="SIZE",
        default=str(RMM_POOL),
        show_default=True,
        help="Memory of each GPU that an embedded cluster takes: a share, or e.g. 60GB.",
    )
    protocol = click.option(
        "--protocol",
        type=click.Choice(PROTOCOLS),
        help="How an embedded cluster talks (default: tcp); ucxx for GPUs, without encryption.",
    )
    return device(pool(protocol(command)))


def cluster_options(command: Command) -> Command:
    """Where to run: a scheduler, or workers of one's own and who may reach them.

    The command is given them as ``cluster``, a `ClusterRequest`.
    """

    @_scheduler
    @click.option(
        "--await-workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Wait until the running scheduler has N workers (for batch jobs).",
    )
    @click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Single-threaded worker processes of an embedded cluster (default: one per core, or "
        "per GPU).",
    )
    @click.option("--memory", metavar="SIZE", help="Memory per worker, e.g. 4GB.")
    @click.option(
        "--host",
        metavar="ADDRESS",
        help="Where an embedded cluster listens (default: 127.0.0.1); others ask for TLS files.",
    )
    @_tls_files
    @click.option(
        "--insecure",
        is_flag=True,
        help="Listen on --host without TLS: whoever reaches it can run code as you.",
    )
    @_devices
    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        asked = {name: options.pop(name) for name in CLUSTER}
        return command(*arguments, cluster=_cluster_request(asked), **options)

    return wrapped


def _cluster_request(asked: dict[str, Any]) -> ClusterRequest:
    """The request, or wrong use in a line."""
    if asked["scheduler"] and asked["scheduler_file"]:
        raise click.UsageError("expected --scheduler or --scheduler-file, found both")
    running = asked["scheduler"] or asked["scheduler_file"]
    if running and (asked.get("workers") or asked.get("memory")):
        raise click.UsageError(
            "expected no --workers and no --memory with a scheduler of its own: "
            "they are for an embedded cluster"
        )
    if asked.get("memory") is not None:
        _check_size("--memory", asked["memory"])
    if "pool" in asked:
        asked["pool"] = _share_or_size("--pool", asked["pool"])
    try:
        return ClusterRequest(**asked)
    except ClusterError as error:
        raise click.UsageError(str(error)) from None


def _check_size(option: str, text: str) -> None:
    try:
        parse_bytes(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a size such as 4GB, found {text!r}", param_hint=option
        ) from None


def _share_or_size(option: str, text: str) -> float | str:
    """A share of the memory up to 1, or a size."""
    with suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    _check_size(option, text)
    return text


def say(as_json: bool, facts: dict[str, Any], text: str) -> None:
    """Print the facts as JSON, or the text."""
    click.echo(json.dumps(facts, default=str) if as_json else text)


def print_table(headings: list[str], rows: list[list[str]], red: Collection[int] = ()) -> None:
    """A table on the terminal, numbers to the right, as wide as it needs to be.

    ``red`` are the numbers of the rows that are over a limit.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 3 else "right", no_wrap=True)
    for number, row in enumerate(rows):
        table.add_row(*row, style="red" if number in red else None)
    console = Console(highlight=False, width=10_000)
    console.width = Measurement.get(console, console.options, table).maximum  # nothing is cut
    console.print(table)


@contextmanager
def detachable(embedded: bool) -> Iterator[None]:
    """Around what follows a run: Ctrl-C leaves one alone that another process trains."""
    try:
        yield
    except KeyboardInterrupt:
        if embedded:
            raise
        click.echo("the run goes on without this command; `yfccdask attach` follows it", err=True)
        sys.exit(0)


def report_errors(command: Command) -> Command:
    """Turn yfccdask's own errors into one line and their exit code; bugs keep their traceback."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except YfccdaskError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            if error.filename is None:
                raise
            click.secho(f"error: {error.filename}: {error.strerror}", fg="red", err=True)
            sys.exit(1)

    return wrapped
