"""``report``."""

from __future__ import annotations

from pathlib import Path

import click

from yfccdask.analysis.reporting import find_store, report
from yfccdask.cli.options import as_json, cluster_options, report_errors, say
from yfccdask.data.runs import open_run
from yfccdask.training.clusters import ClusterRequest


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="The block store, where it is no longer where it was at training.",
)
@cluster_options
@as_json
@report_errors
def report_command(run: Path, data: Path | None, cluster: ClusterRequest, as_json: bool) -> None:
    """Write RUN/report.html: one file with curves, filters, and the photographs units like."""
    opened = open_run(run)
    _, note = find_store(opened, data)
    if note:
        click.secho(f"note: {note} Name the store with --data STORE.", fg="yellow", err=True)
    path = report(opened, store=data, cluster=cluster)
    say(as_json, {"report": str(path)}, f"report: {path}")
