"""``doctor``."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click
from distributed.versions import VersionMismatchWarning

from yfccdask.cli.options import as_json, cluster_options, report_errors, say, settings
from yfccdask.config import load_config
from yfccdask.training.checkup import FAILURE, OK, WARNING, Finding, doctor
from yfccdask.training.clusters import ClusterRequest

COLOURS = {OK: "green", WARNING: "yellow", FAILURE: "red"}


@click.command("doctor")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="A store that is to be trained on; nothing is written there.",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Where a run is to be written (default: the current folder); the disk is tried there.",
)
@click.option(
    "--config",
    metavar="CONFIG",
    help="What is to be trained, a preset's name or a file: whether its plan fits the cluster.",
)
@settings
@cluster_options
@as_json
@report_errors
def doctor_command(
    data: Path | None,
    run: Path | None,
    config: str | None,
    overrides: tuple[str, ...],
    cluster: ClusterRequest,
    as_json: bool,
) -> None:
    """Check this machine and the cluster before a run: versions, GPUs, disks, memory, open doors.

    One line per finding, with the remedy. Exit code 1 if there is a failure; warnings are none.
    """
    # Dask's client, given up on a scheduler that hangs, says so when it is collected.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    warnings.simplefilter("ignore", VersionMismatchWarning)  # a finding says it
    if overrides and config is None:
        raise click.UsageError("expected --config with --set, found none")
    whole = None if config is None else load_config(config, overrides)
    found = doctor(cluster, data=data, run=run, config=whole)
    levels = Counter(finding.level for finding in found)
    facts = {
        "checks": [asdict(finding) for finding in found],
        "failures": levels[FAILURE],
        "warnings": levels[WARNING],
    }
    say(as_json, facts, "\n".join([*map(finding_text, found), levels_text(levels)]))
    if levels[FAILURE]:
        sys.exit(1)


def finding_text(finding: Finding) -> str:
    """A finding as a line."""
    level = click.style(f"{finding.level:8}", fg=COLOURS[finding.level])
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{level} {finding.name:11} {finding.found}{remedy}"


def levels_text(levels: Counter[str]) -> str:
    """How many there are of each level."""
    return f"ok: {levels[OK]}, warnings: {levels[WARNING]}, failures: {levels[FAILURE]}"
