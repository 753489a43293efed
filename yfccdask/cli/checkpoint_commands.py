"""``checkpoint ls|verify|prune|pin|unpin``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from yfccdask.cli.options import as_json, print_table, report_errors, say
from yfccdask.data.checkpoints import (
    CommitCheck,
    list_commits,
    pin,
    prune_run,
    unpin,
    verify_run,
)

run_argument = click.argument("run", type=click.Path(path_type=Path))
number_argument = click.argument("number", type=click.IntRange(min=1))


@click.group("checkpoint")
def checkpoint_group() -> None:
    """The commits of a run: list, verify, remove, keep."""


@checkpoint_group.command("ls")
@run_argument
@as_json
@report_errors
def ls_command(run: Path, as_json: bool) -> None:
    """List RUN's commits, the newest first."""
    found = list_commits(run)
    if as_json:
        say(True, {"commits": [asdict(each) for each in found]}, "")
    elif found:
        headings = ["commit", "state", "damage", "tick", "layers", "bytes", "written"]
        print_table(headings, [_row(asdict(each)) for each in found])
    else:
        click.echo(f"{run}: no commits yet")


def _row(facts: dict[str, Any]) -> list[str]:
    pinned = ", pinned" if facts["pinned"] else ""
    written = facts["written"] and datetime.fromtimestamp(facts["written"]).isoformat(
        " ", "seconds"
    )
    numbers = [f"{value:,}" if value is not None else "-" for value in map(facts.get, NUMBERS)]
    state = facts["state"] + pinned
    return [str(facts["number"]), state, facts["damage"], *numbers, written or "-"]


NUMBERS = ("tick", "layers", "bytes")


@checkpoint_group.command("verify")
@run_argument
@click.option("--deep", is_flag=True, help="Read every byte and compare its digest.")
@as_json
@report_errors
def verify_command(run: Path, deep: bool, as_json: bool) -> None:
    """Compare RUN's commits with what was written; exit code 1 where one is damaged."""
    found = verify_run(run, deep)
    facts = {"deep": deep, "commits": [each.as_dict() for each in found]}
    say(as_json, facts, "\n".join(map(check_text, found)) or f"{run}: no commits yet")
    if any(each.damages for each in found):
        sys.exit(1)


def check_text(check: CommitCheck) -> str:
    """A commit's check as lines."""
    if not check.damages:
        return f"{check.name}: whole, {check.files} files"
    lines = [f"{check.name}: damaged"]
    return "\n".join([*lines, *(f"  {damage}" for damage in check.damages)])


@checkpoint_group.command("prune")
@run_argument
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N", help="Default: as the run's configuration."
)
@click.option("--damaged", is_flag=True, help="Also those that a resume has set aside.")
@as_json
@report_errors
def prune_command(run: Path, keep: int | None, damaged: bool, as_json: bool) -> None:
    """Remove all but RUN's newest commits and the pinned ones."""
    gone = prune_run(run, keep, damaged)
    say(as_json, {"removed": gone}, f"removed: {', '.join(gone) or 'none'}")


@checkpoint_group.command("pin")
@run_argument
@number_argument
@report_errors
def pin_command(run: Path, number: int) -> None:
    """Keep a commit of RUN until it is unpinned."""
    pin(run, number)


@checkpoint_group.command("unpin")
@run_argument
@number_argument
@report_errors
def unpin_command(run: Path, number: int) -> None:
    """Let a commit of RUN go as others do."""
    unpin(run, number)
